"""See what an image classifier looked at, and measure whether the picture is right.

import saliscope as sc

model = sc.load_model("resnet50")
sc.compare(model, "dog.jpg", ["cam", "grad-cam@conv4_block3_out"], truth=sc.Box(29, 5, 433, 374))
"""

from typing import TYPE_CHECKING

from saliscope.lazy import lazy_names

__version__ = "0.1.0"

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Box",
    "Comparison",
    "DataError",
    "DependencyError",
    "Explanation",
    "Frame",
    "ImageError",
    "LayerError",
    "MethodError",
    "Model",
    "ModelError",
    "OptionError",
    "SaliscopeError",
    "TargetError",
    "attribute",
    "compare",
    "explain",
    "iou",
    "load_image",
    "load_model",
    "open_data",
    "open_run",
]

_HOMES = {
    "saliscope.api": ("Comparison", "attribute", "compare", "explain"),
    "saliscope.boxes": ("Box", "iou"),
    "saliscope.data": ("open_data",),
    "saliscope.explanation": ("Explanation",),
    "saliscope.frames": ("Frame",),
    "saliscope.images": ("load_image",),
    "saliscope.models": ("IMAGENET_MEAN", "IMAGENET_STD", "Model", "load_model"),
    "saliscope.runs": ("open_run",),
    "saliscope.errors": (
        "DataError",
        "DependencyError",
        "ImageError",
        "LayerError",
        "MethodError",
        "ModelError",
        "OptionError",
        "SaliscopeError",
        "TargetError",
    ),
}

if TYPE_CHECKING:
    from saliscope.api import Comparison, attribute, compare, explain
    from saliscope.boxes import Box, iou
    from saliscope.data import open_data
    from saliscope.errors import (
        DataError,
        DependencyError,
        ImageError,
        LayerError,
        MethodError,
        ModelError,
        OptionError,
        SaliscopeError,
        TargetError,
    )
    from saliscope.explanation import Explanation
    from saliscope.frames import Frame
    from saliscope.images import load_image
    from saliscope.models import IMAGENET_MEAN, IMAGENET_STD, Model, load_model
    from saliscope.runs import open_run

# `import saliscope` stays quick.
__getattr__, __dir__ = lazy_names(__name__, _HOMES, "__version__")
