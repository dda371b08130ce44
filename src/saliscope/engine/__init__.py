"""One pass, many maps: captures, heads, and faster copies of networks."""

from saliscope.engine.budget import Budget
from saliscope.engine.capture import PIXELS, Capture
from saliscope.engine.heads import Head
from saliscope.engine.inputs import batch_size, input_size, picture, with_picture
from saliscope.engine.linear_maps import LinearMap
from saliscope.engine.network import Network, Rules
from saliscope.engine.prepare import Prepared, prepare
from saliscope.engine.propagation import Carrier, Propagation
from saliscope.engine.rule_functions import divided, refuse_unseen
from saliscope.engine.shadow import shadow, unwrap
from saliscope.engine.survey import LayerFacts, Survey, survey
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
    "Carrier",
    "Head",
    "LayerFacts",
    "LinearMap",
    "Network",
    "OwnClasses",
    "Prepared",
    "Propagation",
    "Rules",
    "Survey",
    "TargetFunction",
    "TargetSpace",
    "TopClasses",
    "batch_size",
    "class_indices",
    "class_scores",
    "divided",
    "function_scores",
    "input_size",
    "picture",
    "prepare",
    "refuse_unseen",
    "shadow",
    "survey",
    "unwrap",
    "with_picture",
]
