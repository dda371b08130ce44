"""One pass, many maps: captures, heads, and faster copies of networks."""

from saliscope.engine.attention import AttentionTap
from saliscope.engine.budget import Budget
from saliscope.engine.capture import PIXELS, Capture
from saliscope.engine.grid import Layout, layout_of
from saliscope.engine.heads import Head
from saliscope.engine.inputs import batch_size, input_size, picture, signal, with_picture
from saliscope.engine.network import Network, Rules
from saliscope.engine.prepare import Prepared, prepare
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
    "AttentionTap",
    "BatchTarget",
    "Budget",
    "Capture",
    "Head",
    "LayerFacts",
    "Layout",
    "Network",
    "OwnClasses",
    "Prepared",
    "Rules",
    "Survey",
    "TargetFunction",
    "TargetSpace",
    "TopClasses",
    "batch_size",
    "class_indices",
    "class_scores",
    "function_scores",
    "input_size",
    "layout_of",
    "picture",
    "prepare",
    "shadow",
    "signal",
    "survey",
    "unwrap",
    "with_picture",
]
