"""The arguments of a network: a tensor, a tuple of arguments, or a dict of named ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "batch_size",
    "call",
    "device_of",
    "input_size",
    "picture",
    "private_inputs",
    "signal",
    "with_picture",
]


def call(module: nn.Module, inputs: Any) -> Any:
    """Call a module with a tensor, a tuple of arguments, or a dict of named ones."""
    if isinstance(inputs, dict):
        return module(**inputs)
    if isinstance(inputs, list | tuple):
        return module(*inputs)
    return module(inputs)


def private_inputs(
    inputs: Any, *, dtype: torch.dtype | None = None, channels_last: bool = False
) -> Any:
    """Copy the tensors among the inputs, so that a network that changes its input changes the copy."""
    if isinstance(inputs, dict):
        return {
            k: private_inputs(v, dtype=dtype, channels_last=channels_last)
            for k, v in inputs.items()
        }
    if isinstance(inputs, list | tuple):
        return tuple(private_inputs(v, dtype=dtype, channels_last=channels_last) for v in inputs)
    if not isinstance(inputs, Tensor):
        return inputs
    target = dtype if dtype is not None and inputs.is_floating_point() else inputs.dtype
    layout = torch.channels_last if channels_last and inputs.ndim == 4 else torch.preserve_format
    return inputs.detach().to(target, copy=True, memory_format=layout)


def picture(inputs: Any) -> Tensor | None:
    """The first picture-shaped tensor (B, C, H, W) among the inputs."""
    return next((t for t in _tensors(inputs) if t.ndim == 4), None)


def signal(inputs: Any) -> Tensor | None:
    """The picture among the inputs, or, where there is none, the first volume (B, C, D, H, W) or signal (B, C, L)."""
    found = picture(inputs)
    if found is not None:
        return found
    return next((t for t in _tensors(inputs) if t.ndim in (3, 5) and t.is_floating_point()), None)


def with_picture(inputs: Any, pictures: Tensor, rows: Tensor | None = None) -> Any:
    """The inputs with their picture (or volume, or signal) replaced by `pictures` (n, C, H, W).

    `rows` (n,) says of which image of the batch each is a variant; what else the inputs hold for each image goes along.
    """
    place, batch = signal(inputs), batch_size(inputs)
    assert place is not None, "the inputs hold a picture"

    return _replaced(inputs, place, pictures, rows, batch)


def _replaced(
    value: Any, place: Tensor, pictures: Tensor, rows: Tensor | None, batch: int
) -> (
    Any
):  # no closure: one that calls itself would keep the pictures until the garbage collector comes
    if value is place:
        return pictures.to(place.dtype)
    if isinstance(value, dict):
        return {k: _replaced(v, place, pictures, rows, batch) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_replaced(v, place, pictures, rows, batch) for v in value)
    if rows is not None and isinstance(value, Tensor) and value.ndim and len(value) == batch:
        return value[rows.to(value.device)]
    return value


def input_size(inputs: Any) -> tuple[int, int] | None:
    """Height and width of the picture among the inputs; None where there is none."""
    found = picture(inputs)
    return None if found is None else (found.shape[2], found.shape[3])


def batch_size(inputs: Any) -> int:
    """How many images the inputs hold: the length of the first tensor among them."""
    found = next((t for t in _tensors(inputs) if t.ndim), None)
    return 1 if found is None else len(found)


def device_of(inputs: Any) -> torch.device:
    """Where the first tensor among the inputs is."""
    found = next(_tensors(inputs), None)
    return torch.device("cpu") if found is None else found.device


def _tensors(inputs: Any) -> Iterator[Tensor]:
    values: Iterable[Any] = inputs.values() if isinstance(inputs, dict) else inputs
    for value in [inputs] if isinstance(inputs, Tensor) else values:
        if isinstance(value, Tensor):
            yield value
