"""One map of what each colour channel of a picture was given."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

__all__ = ["Channels", "combine_channels"]

Channels = Literal["sum", "absmax", "keep"]


def combine_channels(maps: Tensor, how: Channels) -> Tensor:
    """Bring maps (..., C, H, W) to (..., H, W): their "sum", or at each pixel the largest absolute value ("absmax"); "keep" them."""
    if how == "sum":
        return maps.sum(-3)
    return maps.abs().amax(-3) if how == "absmax" else maps
