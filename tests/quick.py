"""Methods as users write them, with options that make them quick."""

from saliscope.methods import METHODS

QUICK = {
    "ss-cam": "samples=2",
    "is-cam": "samples=2",
    "occlusion": "patch=8:stride=8",
    "rise": "masks=20:cells=3",
    "lime": "samples=20:segments=6",
    "kernel-shap": "samples=20:segments=6",
    "gradient-shap": "samples=3",
    "extremal-perturbation": "iterations=4:cells=5:rate=0.001:weight=20",
}


def at(name, layer="bn1"):
    """A method with a layer, where it has one, and few passes."""
    layer = "act2" if name == "cam" else layer
    options = f":{QUICK[name]}" if name in QUICK else ""
    return f"{name}@{layer}{options}" if METHODS[name]().on_layer else f"{name}{options}"
