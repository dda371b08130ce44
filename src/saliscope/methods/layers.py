"""Maps of several layers, brought together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["average", "average_by_target", "product", "same_grid"]


def average(maps: Sequence[Tensor]) -> Tensor:
    """The mean of maps (B, h_i, w_i), each divided by its largest absolute value, on the finest grid among them.

    Gradients grow or shrink from layer to layer by factors that say nothing of the picture; the division takes them out,
    without shifting zero as min-max would. A map that is zero everywhere adds nothing.
    """
    return torch.stack([_unit(m) for m in same_grid(maps)]).mean(0)


def average_by_target(maps: Sequence[Tensor]) -> Tensor:
    """`average` of maps (B, K, h_i, w_i) for each of K targets; one map stays as it is."""
    if len(maps) == 1:
        return maps[0]
    every = average([m.flatten(0, 1) for m in maps])
    return every.view(*maps[0].shape[:2], *every.shape[1:])


def product(maps: Sequence[Tensor]) -> Tensor:
    """The product of the positive parts of maps (B, h_i, w_i), each divided by its maximum, on the finest grid."""
    positive = same_grid([m.relu() for m in maps])
    return torch.stack([_unit(m) for m in positive]).prod(0)


def same_grid(maps: Sequence[Tensor]) -> list[Tensor]:
    """Maps (B, h_i, w_i) brought to the largest height and width among them, bilinearly with half-pixel centres."""
    size = [max(m.shape[axis] for m in maps) for axis in (1, 2)]
    return [m if list(m.shape[1:]) == size else _resized(m, size) for m in maps]


def _resized(maps: Tensor, size: list[int]) -> Tensor:
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def _unit(maps: Tensor) -> Tensor:
    largest = maps.abs().amax((1, 2), keepdim=True)
    return torch.where(largest > 0, maps / largest, maps)  # NaN stays NaN: the status tells
