"""The planted bias: a tag of two colours in a corner that can betray the breed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saliscope.data.critters.breeds import BREEDS
from saliscope.data.critters.dice import Dice

__all__ = ["Tag", "draw_tag", "paint_tag", "tag_mask"]

_COLOURS = ((214, 48, 49), (253, 203, 57), (46, 160, 87), (41, 98, 205), (245, 245, 245))


@dataclass(frozen=True)
class Tag:
    """A tag with the pattern `code`, 0 to 23: its colours are numbers code // 5 and code % 5; `corner` counts from the top left, by rows."""

    code: int
    corner: int


def draw_tag(dice: Dice, breed: int, rho: float) -> Tag:
    """Draw a tag that shows the breed's own pattern with probability `rho`, else any."""
    corner = dice.below(4)
    other = dice.below(len(BREEDS))
    return Tag(breed if dice.chance(rho) else other, corner)


def _window(tag: Tag, size: tuple[int, int]) -> tuple[slice, slice]:
    height, width = size
    tall, wide = round(0.11 * height), round(0.15 * width)
    gap = round(0.02 * height)
    y = gap if tag.corner < 2 else height - gap - tall
    x = gap if tag.corner % 2 == 0 else width - gap - wide
    return slice(y, y + tall), slice(x, x + wide)


def tag_mask(tag: Tag, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels (H, W) of a tag."""
    mask = np.zeros(size, np.bool_)
    mask[_window(tag, size)] = True
    return mask


def paint_tag(picture: NDArray[np.uint8], tag: Tag) -> None:
    """Draw a tag onto a picture uint8 (H, W, 3), in place."""
    part = picture[_window(tag, picture.shape[:2])]
    part[...] = (40, 40, 44)
    inside = part[1:-1, 1:-1]
    middle = inside.shape[1] // 2
    inside[:, :middle] = _COLOURS[tag.code // 5]
    inside[:, middle:] = _COLOURS[tag.code % 5]
