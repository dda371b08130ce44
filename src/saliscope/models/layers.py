"""Names of layers: native ones, the Keras ones of the papers, or the module itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from saliscope.engine import Survey
from saliscope.errors import LayerError, nearest
from saliscope.models.aliases import keras_aliases

__all__ = ["Layer", "describe_layers", "layer_name", "recommended_layer"]


@dataclass(frozen=True)
class Layer:
    """A layer that a map can be read from.

    `shape` is its grid (C, h, w), `stride` how many input pixels one cell spans (along y, along x), `alias` its Keras
    name or None. `recommended` marks the last feature map, which a method takes where no layer is named; `cam` the
    layers that CAM can be read from.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    stride: tuple[float, float]
    alias: str | None
    recommended: bool
    cam: bool


def describe_layers(module: nn.Module, survey: Survey, size: tuple[int, int]) -> tuple[Layer, ...]:
    """List the layers that returned a grid for an input of `size` (h, w), in the order they finish."""
    keras = {native: alias for alias, native in keras_aliases(module).items()}
    pooled = survey.head.layers if survey.head is not None else ()
    return tuple(
        Layer(
            name=facts.name,
            kind=facts.kind,
            shape=facts.shape,
            stride=(size[0] / facts.shape[1], size[1] / facts.shape[2]),
            alias=keras.get(facts.name),
            recommended=facts.name == survey.recommended,
            cam=facts.name in pooled,
        )
        for facts in survey.layers
        if facts.shape[1] * facts.shape[2] > 1  # a map of one cell points nowhere
    )


def layer_name(module: nn.Module, layer: str | nn.Module) -> str:
    """Resolve a layer (native name, Keras alias, or a module of the network) to its native name.

    Raises `LayerError` for a name the network does not have, with the nearest ones, and for a module of another one.
    """
    if isinstance(layer, nn.Module):
        for name, part in module.named_modules():
            if part is layer and name:
                return str(name)
        raise LayerError(
            f"this {type(layer).__name__} is not a layer inside {type(module).__name__}; pass one of its own modules, "
            "or a name that `saliscope layers` lists"
        )
    names = [name for name, _ in module.named_modules(remove_duplicate=False) if name]
    if layer in names:
        return layer
    aliases = keras_aliases(module)
    if layer in aliases:
        return aliases[layer]
    raise LayerError(
        f'layer "{layer}" is not in {type(module).__name__}; {nearest(layer, [*aliases, *names])}. '
        "`saliscope layers MODEL` lists them all"
    )


def recommended_layer(module: nn.Module, survey: Survey) -> str:
    """The last feature map (see `Survey.recommended`); `LayerError` for a network that has none."""
    if survey.recommended is None:
        raise LayerError(
            f"{type(module).__name__} has no last feature map: its grids have one cell, or its logits depend on none; name a "
            "layer (`saliscope layers` lists those with a grid)"
        )
    return survey.recommended
