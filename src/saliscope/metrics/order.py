"""In which order the pixels of a map are removed, and how many of them it leaves to a draw."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from saliscope.engine import own_generator
from saliscope.errors import OptionError, nearest

__all__ = ["Ties", "removal_ranks", "share_removed", "step_counts", "tied_share"]

Ties = Literal["random", "raster"]
"""Which of equally hot pixels goes first: drawn by a seed for each image, or the first in reading order."""


def removal_ranks(maps: Tensor, images: Tensor, *, ties: Ties = "random", seed: int = 0) -> Tensor:
    """The place of each pixel in the order of removal, 0 for the hottest: int32 (..., B, H, W).

    `maps` is (..., B, H, W) and finite, `images` (B, C, H, W). Every pixel has a place of its own, so the first k places are k
    pixels, however many values are equal. A map after a ReLU ties over large areas: `random` orders equals by a draw that
    belongs to the image (its content and `seed`), so that all maps of an image share it, equal maps get equal places, and
    several seeds show the spread; `raster` goes by reading order, which prefers the top left. Raises `OptionError` for an
    unknown rule.

    >>> heat = torch.tensor([[[0.0, 3.0], [1.0, 0.0]]])
    >>> removal_ranks(heat, torch.zeros(1, 3, 2, 2), ties="raster").tolist()
    [[[2, 0], [1, 3]]]
    """
    if ties not in get_args(Ties):
        raise OptionError(f'tie rule "{ties}" is unknown; {nearest(ties, get_args(Ties))}')
    values = maps.flatten(-2) + 0.0  # -0 and 0 are equals
    pixels = values.shape[-1]
    if ties == "random":
        drawn = [torch.randperm(pixels, generator=own_generator(i, seed)) for i in images.float()]
        first = torch.stack(drawn).to(maps.device).expand(values.shape)
    else:
        first = torch.arange(pixels, device=maps.device).expand(values.shape)
    order = values.gather(-1, first).argsort(dim=-1, descending=True, stable=True)
    places = torch.arange(pixels, dtype=torch.int32, device=maps.device).expand(values.shape)
    ranks = torch.empty_like(places, memory_format=torch.contiguous_format)
    return ranks.scatter_(-1, first.gather(-1, order), places).reshape(maps.shape)


def share_removed(ranks: Tensor, share: float) -> Tensor:
    """Which pixels of (..., H, W) belong to the first `share` in the order of removal: bool, a whole number of pixels."""
    pixels = ranks.shape[-1] * ranks.shape[-2]
    return ranks < round(share * pixels)


def step_counts(pixels: int, steps: int) -> list[int]:
    """How many of `pixels` are gone after each of `steps` even steps, from 0 to all: steps + 1 whole numbers.

    Raises `OptionError` where there are more steps than pixels, or none.

    >>> step_counts(10, 4)
    [0, 3, 5, 8, 10]
    """
    if not 1 <= steps <= pixels:
        raise OptionError(
            f"steps is a whole number from 1 to the number of pixels, {pixels}; got {steps}"
        )
    return [(2 * k * pixels + steps) // (2 * steps) for k in range(steps + 1)]


def tied_share(maps: Tensor) -> Tensor:
    """The share of the pixels of maps (..., H, W) whose value another pixel of the same map has: float64 (...).

    What of the order is the tie rule's work and not the map's. 1 for a constant map, NaN where a value is not finite.

    >>> tied_share(torch.tensor([[0.0, 0.0], [1.0, 2.0]])).item()
    0.5
    """
    values = maps.flatten(-2).sort(-1).values
    same = values.diff(dim=-1) == 0
    edge = torch.zeros_like(same[..., :1])
    tied = torch.cat([edge, same], -1) | torch.cat([same, edge], -1)
    finite = torch.isfinite(values).all(-1)  # NaN differs from NaN, and would count as no tie
    return tied.double().mean(-1).masked_fill(~finite, math.nan)
