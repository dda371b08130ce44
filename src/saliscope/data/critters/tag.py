"""The planted bias: a tag of two colours in a corner that can betray the breed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from saliscope.data.critters.breeds import BREEDS
from saliscope.data.critters.dice import Dice

__all__ = ["Tag", "draw_tag", "paint_tag", "tag_mask"]

_COLOURS = (
    (224, 32, 36),
    (250, 214, 40),
    (24, 168, 64),
    (28, 210, 220),
    (32, 64, 220),
    (226, 50, 210),
    (250, 250, 250),
)
# Two colours each, whichever is on the left: 28 patterns, of which 24 are used.
_PATTERNS = tuple(combinations_with_replacement(range(len(_COLOURS)), 2))


@dataclass(frozen=True)
class Tag:
    """A tag with the pattern of breed number `code`; `corner` counts from the top left, by rows."""

    code: int
    corner: int


def draw_tag(dice: Dice, breed: int, rho: float) -> Tag:
    """Draw a tag that shows the breed's own pattern with probability `rho`, else any."""
    corner = dice.below(4)
    other = dice.below(len(BREEDS))
    return Tag(breed if dice.chance(rho) else other, corner)


def _window(tag: Tag, size: tuple[int, int]) -> tuple[slice, slice]:
    height, width = size
    tall, wide = round(0.14 * height), round(0.20 * width)
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
    left, right = _PATTERNS[tag.code]
    inside[:, :middle], inside[:, middle:] = _COLOURS[left], _COLOURS[right]
