"""The functions of torch that a network calls, by what they do to values, and how their names are told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

__all__ = [
    "ACTIVATIONS",
    "GATES",
    "MOVES",
    "PRODUCTS",
    "SAME",
    "SUMS",
    "is_in_place",
    "name_of",
    "not_in_place",
    "out_of_place",
]

# Functions that only move values, or choose among them: their gradient already passes on what it is given.
MOVES = frozenset(
    [
        "alias",
        "cat",
        "channel_shuffle",
        "chunk",
        "clone",
        "concat",
        "concatenate",
        "contiguous",
        "copy",
        "detach",
        "dropout",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "expand",
        "expand_as",
        "feature_dropout",
        "flatten",
        "flip",
        "float",
        "double",
        "half",
        "bfloat16",
        "get",
        "getitem",
        "identity",
        "index_select",
        "movedim",
        "narrow",
        "native_channel_shuffle",
        "pad",
        "permute",
        "pixel_shuffle",
        "pixel_unshuffle",
        "requires_grad",
        "reshape",
        "reshape_as",
        "roll",
        "select",
        "setitem",
        "split",
        "split_with_sizes",
        "squeeze",
        "stack",
        "swapaxes",
        "swapdims",
        "tensor_split",
        "to",
        "transpose",
        "t",
        "type",
        "type_as",
        "unbind",
        "unflatten",
        "unsqueeze",
        "view",
        "view_as",
        "amax",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
        "max_pool1d_with_indices",
        "max_pool2d_with_indices",
        "max_pool3d_with_indices",
        "adaptive_max_pool1d",
        "adaptive_max_pool2d",
        "adaptive_max_pool3d",
    ]
)
# Elementwise functions that are 0 at 0 and never turn a sign: a contribution to the result is one to what was read.
ACTIVATIONS = frozenset(
    [
        "relu",
        "relu6",
        "hardtanh",
        "hardswish",
        "silu",
        "gelu",
        "mish",
        "leaky_relu",
        "prelu",
        "elu",
        "selu",
        "celu",
        "tanh",
        "softsign",
        "clamp_min",
    ]
)
SAME = frozenset(
    [
        "alias",
        "clone",
        "contiguous",
        "detach",
        "requires_grad",
        "dropout",
        "dropout2d",
        "identity",
        "to",
        "float",
    ]
)
GATES = frozenset(["sigmoid", "hardsigmoid", "softmax"])
SUMS = {"add": 1.0, "radd": 1.0, "sub": -1.0, "subtract": -1.0, "rsub": -1.0}
PRODUCTS = ("mul", "multiply", "rmul", "div", "divide", "truediv", "true_divide")


def name_of(func: Any) -> str:
    """The name of a function without the marks of operators and of working in place."""
    name = str(getattr(func, "__name__", func))
    if name.startswith("__") and name.endswith("__"):
        name = name.strip("_")
        return name[1:] if name in ("iadd", "isub", "imul", "itruediv") else name
    return name.rstrip("_")


def is_in_place(func: Any, kwargs: dict[str, Any]) -> bool:
    name = str(getattr(func, "__name__", ""))
    operator = name in ("__iadd__", "__isub__", "__imul__", "__itruediv__")
    return (
        operator or (name.endswith("_") and not name.endswith("__")) or bool(kwargs.get("inplace"))
    )


def not_in_place(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {"inplace": False} if "inplace" in kwargs else {}


def out_of_place(func: Any, name: str) -> Any:
    """The same function that leaves what it reads alone."""
    own = str(getattr(func, "__name__", ""))
    if not own.endswith("_"):
        return func
    plain: Iterable[Any] = (getattr(place, name, None) for place in (torch.Tensor, torch))
    found = next((f for f in plain if f is not None), None)
    return func if found is None else found
