"""One pass, many maps: captures, heads, and faster copies of networks."""

from saliscope.engine.activations import Unruled, unruled
from saliscope.engine.attention import AttentionTap
from saliscope.engine.biases import Heard, biases, undecomposed
from saliscope.engine.blocks import Blocks, blocks_of
from saliscope.engine.budget import Budget, Tell, make_budget, memory_in_bytes
from saliscope.engine.capture import PIXELS, Capture
from saliscope.engine.footprint import Footprint, Living, out_of_memory
from saliscope.engine.fresh import Stage, few_stages, reinitialised, stages
from saliscope.engine.grid import Layout, grid_of, layout_of
from saliscope.engine.heads import Head
from saliscope.engine.inputs import batch_size, call, input_size, picture, signal, with_picture
from saliscope.engine.linear_maps import LinearMap
from saliscope.engine.network import Network, Rules
from saliscope.engine.prepare import Prepared, prepare
from saliscope.engine.propagation import Carrier, Propagation
from saliscope.engine.question import Question
from saliscope.engine.rest import Answer, Rest, rest_of
from saliscope.engine.room import Room
from saliscope.engine.rule_functions import divided, refuse_unseen
from saliscope.engine.rules import ReluRule, relu_rule
from saliscope.engine.seeding import own_generator
from saliscope.engine.shadow import shadow, unwrap
from saliscope.engine.space import Space
from saliscope.engine.survey import LayerFacts, Survey, survey
from saliscope.engine.tally import Tally, count_passes, tallied
from saliscope.engine.targets import (
    BatchTarget,
    OwnClasses,
    TargetFunction,
    TargetSpace,
    TopClasses,
    class_indices,
    class_scores,
    function_scores,
)

__all__ = [
    "PIXELS",
    "Answer",
    "AttentionTap",
    "BatchTarget",
    "Blocks",
    "Budget",
    "Capture",
    "Carrier",
    "Footprint",
    "Head",
    "Heard",
    "LayerFacts",
    "Layout",
    "LinearMap",
    "Living",
    "Network",
    "OwnClasses",
    "Prepared",
    "Propagation",
    "Question",
    "ReluRule",
    "Rest",
    "Room",
    "Rules",
    "Space",
    "Stage",
    "Survey",
    "Tally",
    "TargetFunction",
    "TargetSpace",
    "Tell",
    "TopClasses",
    "Unruled",
    "batch_size",
    "biases",
    "blocks_of",
    "call",
    "class_indices",
    "class_scores",
    "count_passes",
    "divided",
    "few_stages",
    "function_scores",
    "grid_of",
    "input_size",
    "layout_of",
    "make_budget",
    "memory_in_bytes",
    "out_of_memory",
    "own_generator",
    "picture",
    "prepare",
    "refuse_unseen",
    "reinitialised",
    "relu_rule",
    "rest_of",
    "shadow",
    "signal",
    "stages",
    "survey",
    "tallied",
    "undecomposed",
    "unruled",
    "unwrap",
    "with_picture",
]
