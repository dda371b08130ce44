"""`saliscope layers`: what a map can be read from."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from typing import Annotated

from cyclopts import Parameter

from saliscope.cli.options import ModelOptions
from saliscope.cli.tables import print_table

__all__ = ["layers"]


def layers(
    model: Annotated[str | None, Parameter(help="the network, as --model takes it")] = None,
    /,
    *,
    network: Annotated[ModelOptions | None, Parameter(name="*")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help="print as JSON")] = False,
) -> int:
    """List the layers of a network that a map can be read from, with grid, stride and Keras name.

    `*` marks the layer a method takes when none is named, `cam` those that CAM can be read from. Weights do not matter
    here: an untrained network of the same make is looked at unless --weights is given.

    Example: saliscope layers resnet50
    """
    options = network or ModelOptions()
    if model is not None:
        options = replace(options, model=model)
    if options.weights == "pretrained" and not options.model.startswith("hf:"):
        options = replace(options, weights="untrained")
    loaded = options.load()
    found = loaded.layers
    if as_json:
        print(json.dumps([asdict(layer) for layer in found], indent=1))
        return 0
    rows = [
        (
            "*" if layer.recommended else "",
            layer.name,
            layer.kind,
            "x".join(map(str, layer.shape)),
            _stride(layer.stride),
            layer.alias or "",
            "cam" if layer.cam else "",
        )
        for layer in found
    ]
    print_table(("", "layer", "kind", "C x h x w", "stride", "Keras name", ""), rows)
    survey = loaded.survey
    if survey.head is None:
        print(f"CAM does not apply: {survey.no_head}", file=sys.stderr)
    if survey.recommended is None:
        print(
            "no layer is recommended: its grids have one cell, or its logits depend on none",
            file=sys.stderr,
        )
    return 0


def _stride(stride: tuple[float, float]) -> str:
    y, x = (f"{s:.4g}" for s in stride)
    return y if y == x else f"{y}x{x}"
