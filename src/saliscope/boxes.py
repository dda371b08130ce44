"""Boxes in image pixels, and how much two of them overlap."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from saliscope.errors import OptionError

__all__ = ["Box", "BoxConvention", "best_iou", "iou"]

BoxConvention = Literal["half-open", "inclusive"]


@dataclass(frozen=True)
class Box:
    """A rectangle in image pixels, half-open `xyxy`: pixel column i spans [i, i + 1), so the width is `x1 - x0`.

    Coordinates are floats with x to the right and y down; the whole H x W image is `Box(0, 0, W, H)`. A box unpacks to
    `x0, y0, x1, y1`. Raises `OptionError` for coordinates that are not finite or run backwards; a box of zero width or
    height is allowed and has area 0.

    >>> box = Box(2, 1, 6, 4)
    >>> x0, y0, x1, y1 = box
    >>> box.width, box.height, box.area
    (4.0, 3.0, 12.0)
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        for name in ("x0", "y0", "x1", "y1"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if not all(map(math.isfinite, self)) or self.x1 < self.x0 or self.y1 < self.y0:
            raise OptionError(
                f"a box is x0, y0, x1, y1 with x0 <= x1 and y0 <= y1, in pixels; got {tuple(self)}. "
                "Corner-and-size boxes go through Box.from_xywh."
            )

    def __iter__(self) -> Iterator[float]:
        return iter((self.x0, self.y0, self.x1, self.y1))

    @classmethod
    def from_xywh(cls, x: float, y: float, width: float, height: float) -> Box:
        """Make a box from its top-left corner and size, as COCO and CUB store it."""
        return cls(x, y, x + width, y + height)

    @classmethod
    def from_inclusive(cls, x0: float, y0: float, x1: float, y1: float, *, first: int = 0) -> Box:
        """Make a box from corners that are both inside it; `first` is the index of the first pixel (1 in VOC XML)."""
        return cls(x0 - first, y0 - first, x1 - first + 1, y1 - first + 1)

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        return self.width * self.height

    def clip(self, size: tuple[int, int]) -> Box:
        """Cut the box to an image of `size` (H, W); a box wholly outside becomes empty on the nearest border."""
        height, width = size
        return Box(
            min(max(self.x0, 0.0), width),
            min(max(self.y0, 0.0), height),
            min(max(self.x1, 0.0), width),
            min(max(self.y1, 0.0), height),
        )


def iou(a: Box, b: Box, *, convention: BoxConvention = "half-open") -> float:
    """Intersection over union of two boxes, in [0, 1].

    `half-open` (default) takes the coordinates as edges. `inclusive` is the +1 convention of the PASCAL and ILSVRC
    development kits: the four numbers of each box are read as first and last pixel, so areas are
    `(x1 - x0 + 1)(y1 - y0 + 1)`. Two boxes of area 0 overlap by 0.

    >>> round(iou(Box(0, 0, 9, 9), Box(3, 0, 12, 9), convention="inclusive"), 6)
    0.538462
    >>> iou(Box(0, 0, 10, 10), Box(0, 0, 10, 5))
    0.5
    """
    if convention not in ("half-open", "inclusive"):
        raise OptionError(
            f'box convention "{convention}" is unknown; use "half-open" or "inclusive"'
        )
    extra = 1.0 if convention == "inclusive" else 0.0
    width = min(a.x1, b.x1) - max(a.x0, b.x0) + extra
    height = min(a.y1, b.y1) - max(a.y0, b.y0) + extra
    both = max(width, 0.0) * max(height, 0.0)
    area_a = (a.width + extra) * (a.height + extra)
    area_b = (b.width + extra) * (b.height + extra)
    either = area_a + area_b - both
    return both / either if either > 0 else 0.0


def best_iou(
    box: Box | None, truth: Sequence[Box], *, convention: BoxConvention = "half-open"
) -> float:
    """IoU of `box` with the instance it fits best (the ILSVRC rule for images with several objects).

    No predicted box scores 0: the method had its chance. No annotated box is undefined: NaN.
    """
    if not truth:
        return math.nan
    if box is None:
        return 0.0
    return max(iou(box, instance, convention=convention) for instance in truth)
