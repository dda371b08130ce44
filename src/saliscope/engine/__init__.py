"""One pass, many maps: captures, heads, and faster copies of networks."""

from saliscope.engine.budget import Budget
from saliscope.engine.capture import PIXELS, Capture
from saliscope.engine.heads import Head
from saliscope.engine.inputs import batch_size, input_size, picture, with_picture
from saliscope.engine.network import Network, Rules
from saliscope.engine.prepare import Prepared, prepare
from saliscope.engine.seeding import own_generator
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
    "LayerFacts",
    "Network",
    "OwnClasses",
    "Prepared",
    "Rules",
    "Survey",
    "Tally",
    "TargetFunction",
    "TargetSpace",
    "TopClasses",
    "batch_size",
    "class_indices",
    "class_scores",
    "function_scores",
    "input_size",
    "own_generator",
    "picture",
    "prepare",
    "shadow",
    "survey",
    "tallied",
    "unwrap",
    "with_picture",
]
