"""One pass, many maps: captures, heads, and faster copies of networks."""

from saliscope.engine.activations import Unruled, unruled
from saliscope.engine.biases import Heard, biases, undecomposed
from saliscope.engine.budget import Budget
from saliscope.engine.capture import PIXELS, Capture
from saliscope.engine.grid import grid_of
from saliscope.engine.heads import Head
from saliscope.engine.inputs import batch_size, input_size, picture, with_picture
from saliscope.engine.network import Network, Rules
from saliscope.engine.prepare import Prepared, prepare
from saliscope.engine.rules import ReluRule, relu_rule
from saliscope.engine.shadow import shadow, unwrap
from saliscope.engine.survey import LayerFacts, Survey, survey
from saliscope.engine.tally import Tally, tallied
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
    "BatchTarget",
    "Budget",
    "Capture",
    "Head",
    "Heard",
    "LayerFacts",
    "Network",
    "OwnClasses",
    "Prepared",
    "ReluRule",
    "Rules",
    "Survey",
    "Tally",
    "TargetFunction",
    "TargetSpace",
    "TopClasses",
    "Unruled",
    "batch_size",
    "biases",
    "class_indices",
    "class_scores",
    "function_scores",
    "grid_of",
    "input_size",
    "picture",
    "prepare",
    "relu_rule",
    "shadow",
    "survey",
    "tallied",
    "undecomposed",
    "unruled",
    "unwrap",
    "with_picture",
]
