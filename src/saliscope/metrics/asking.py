"""What a faithfulness score asks of a network: the scores of variants of a batch of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from saliscope.errors import DataError

__all__ = ["Answers", "ask", "check_maps", "defined", "undefined_as_nan"]


class Answers(Protocol):
    """Whatever answers questions about variants of a batch of B images, for K targets of each."""

    def answers(
        self, count: int, make: Callable[[range, slice], Tensor]
    ) -> Iterator[tuple[range, Tensor]]:
        """Yield ranges of the `count` variants with their scores (v, B, K), in order.

        `make` draws the pictures (v, b, C, H, W) of some variants of some images.
        """


def ask(question: Answers, count: int, make: Callable[[range, slice], Tensor]) -> Tensor:
    """The scores of `count` variants of each image: float64 (count, B, K), on the CPU."""
    # Brought over at the end: each time before it, a GPU would wait for the next pictures to be drawn.
    return torch.cat([scores.double() for _, scores in question.answers(count, make)]).cpu()


def check_maps(maps: Tensor, images: Tensor) -> None:
    """Raise `DataError` unless `maps` is (M, B, H, W) and `images` (B, C, H, W), of one size."""
    fits = maps.ndim == images.ndim == 4 and maps.shape[1] == len(images)
    if not fits or maps.shape[2:] != images.shape[2:]:
        raise DataError(
            f"maps (M, B, H, W) go with images (B, C, H, W) of one size; got {tuple(maps.shape)} and "
            f"{tuple(images.shape)}: bring the maps to the network's input"
        )


def defined(maps: Tensor) -> Tensor:
    """Which maps (..., H, W) have a value everywhere: bool (...). Of others no score is defined."""
    return torch.isfinite(maps).flatten(-2).all(-1)


def undefined_as_nan(values: Tensor, valid: Tensor) -> Tensor:
    """Values (M, B, ...) with NaN where `valid` (M, B) is False."""
    shape = (*valid.shape, *[1] * (values.ndim - 2))
    return torch.where(valid.cpu().reshape(shape), values, math.nan)
