"""`saliscope demo`: something real to look at, with nothing to prepare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

__all__ = ["demo"]

_CLASS = 652  # "military uniform" in ImageNet


def demo(
    *,
    output: Annotated[
        Path, Parameter(name=["--output", "-o"], help="folder for the pictures")
    ] = Path("saliscope-demo"),
    model: Annotated[
        str,
        Parameter(name=["--model", "-m"], help="a torchvision or timm network of ImageNet classes"),
    ] = "resnet50",
    weights: Annotated[str, Parameter(help="pretrained, untrained or a file")] = "pretrained",
) -> int:
    """Compare the methods on a photograph that comes with matplotlib (Grace Hopper, public domain).

    Uses real weights where they can be had, and says so where it must use untrained ones.
    """
    import matplotlib.cbook

    from saliscope.api import compare
    from saliscope.cli.compare import default_methods, finish
    from saliscope.errors import ModelError
    from saliscope.models import load_model

    photo = Path(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    try:
        network = load_model(model, weights)
    except ModelError as err:
        if weights != "pretrained":
            raise
        print(f"saliscope: {err}", file=sys.stderr)
        print(
            "saliscope: going on with UNTRAINED weights: the maps below show how the tool works and mean nothing else",
            file=sys.stderr,
        )
        network = load_model(model, "untrained")
    layers = [f"grad-cam@layer{stage}" for stage in (1, 2, 3)] if model.startswith("resnet") else []
    methods = [*default_methods(network)[:2], *layers, *default_methods(network)[2:]]
    found = compare(network, photo, methods, target=_CLASS)
    figure = output / "comparison.png"
    code = finish(found, "comparison", [figure], as_json=False)
    for explanation in found.explanations:
        explanation.save(output, "grace_hopper")
    print(f"look at {figure}; single pictures and raw maps are beside it", file=sys.stderr)
    return code
