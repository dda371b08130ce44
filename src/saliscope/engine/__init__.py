"""One pass, many maps: captures, heads, and faster copies of networks."""

from saliscope.engine.capture import Capture
from saliscope.engine.heads import Head
from saliscope.engine.inputs import input_size, picture
from saliscope.engine.network import Network
from saliscope.engine.prepare import Prepared, prepare
from saliscope.engine.shadow import shadow, unwrap
from saliscope.engine.survey import LayerFacts, Survey, survey
from saliscope.engine.targets import (
    OwnClasses,
    TargetFunction,
    TargetSpace,
    TopClasses,
    class_indices,
    class_scores,
    function_scores,
)

__all__ = [
    "Capture",
    "Head",
    "LayerFacts",
    "Network",
    "OwnClasses",
    "Prepared",
    "Survey",
    "TargetFunction",
    "TargetSpace",
    "TopClasses",
    "class_indices",
    "class_scores",
    "function_scores",
    "input_size",
    "picture",
    "prepare",
    "shadow",
    "survey",
    "unwrap",
]
