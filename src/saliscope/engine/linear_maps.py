"""The linear maps a network is made of, taken apart into what they weigh and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["LinearMap", "linear_map"]

_WEIGHTED = ("conv1d", "conv2d", "conv3d", "linear")
_EVEN = (
    *(f"{kind}_pool{d}d" for kind in ("avg", "adaptive_avg") for d in (1, 2, 3)),
    *("mean", "sum", "interpolate", "upsample"),
)
_INTERPOLATIONS = ("nearest", "nearest-exact", "linear", "bilinear", "trilinear", "area")


@dataclass(eq=False)
class LinearMap:
    """One call of a linear function: `run(values, weight, bias)` computes it with other values, weight and bias.

    `weight` and `bias` are None for a map whose own weights are fixed and not negative (pooling, mean, sum). `norm` is the
    scale and the shift (C,) of a batch norm that alone reads the result: together they are one linear map. `readers` counts
    what reads the result; `first` marks convolutions that read what the first one reads.
    """

    name: str
    run: Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
    weight: Tensor | None = None
    bias: Tensor | None = None
    first: bool = False
    readers: int = 0
    norm: tuple[Tensor, Tensor] | None = None

    @property
    def dense(self) -> bool:
        """Whether every output reads every input of its row."""
        return self.name in ("linear", "matmul")

    @property
    def folded(self) -> bool:
        """Whether a batch norm is the only reader of the result."""
        return self.norm is not None and self.readers == 1

    def weights(self, dtype: torch.dtype) -> Tensor | None:
        """The weight in `dtype`, with that of the batch norm behind it."""
        if self.weight is None:
            return None
        weight = self.weight.to(dtype)
        if not self.folded:
            return weight
        assert self.norm is not None
        return weight * self.norm[0].to(dtype).view(-1, *[1] * (weight.ndim - 1))

    def offset(self, dtype: torch.dtype) -> Tensor | None:
        """The bias in `dtype`, with that of the batch norm behind it; None where there is none."""
        bias = None if self.bias is None else self.bias.to(dtype)
        if not self.folded:
            return bias
        assert self.norm is not None
        scale, shift = (v.to(dtype) for v in self.norm)
        return shift if bias is None else bias * scale + shift


def linear_map(
    name: str, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Tensor, LinearMap] | None:
    """The values a call reads and the linear map it applies to them; None where it is no linear map we know."""
    if name in _WEIGHTED:
        return _weighted(name, func, args, kwargs)
    if name == "matmul" and len(args) == 2 and not args[1].requires_grad:
        return args[0], LinearMap(name, lambda x, w, b: _plus(torch.matmul(x, w), b), args[1])  # type: ignore[arg-type] # a map with a weight is run with one
    if name in _EVEN:
        mode = kwargs.get("mode", args[3] if len(args) > 3 else "nearest")
        if name in ("interpolate", "upsample") and mode not in _INTERPOLATIONS:
            return None
        values, rest = _first(args, kwargs)
        return values, LinearMap(name, lambda x, w, b: func(x, *args[1:], **rest))  # noqa: ARG005 - it has neither
    return None


def _weighted(
    name: str, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Tensor, LinearMap] | None:
    given = dict(zip(("input", "weight", "bias"), args, strict=False)) | dict(kwargs)
    rest = {k: v for k, v in given.items() if k not in ("input", "weight", "bias")}
    if given["weight"].requires_grad:  # weights that the network computes are no linear map
        return None

    def run(values: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return func(values, weight, bias, *args[3:], **rest)  # type: ignore[no-any-return] # torch's own function

    return given["input"], LinearMap(name, run, given["weight"], given.get("bias"))


def _first(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The tensor a function reads, by place or by the name `input`, and its other named arguments."""
    rest = {k: v for k, v in kwargs.items() if k != "input"}
    return (args[0] if args else kwargs["input"]), rest


def _plus(values: Tensor, bias: Tensor | None) -> Tensor:
    return values if bias is None else values + bias
