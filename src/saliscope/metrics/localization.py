"""How well one predicted box fits what is annotated."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saliscope.boxes import Box, best_iou
from saliscope.errors import OptionError

__all__ = ["box_region", "gt_known", "lacks_box", "pixels_of", "union_iou"]


def union_iou(box: Box | None, truth: Sequence[Box]) -> float:
    """IoU of a box with all annotated boxes taken together as one region, in [0, 1]; higher is better.

    The areas are exact, also where boxes overlap or are fractional. What `best_iou` does not show: on a picture of two dogs
    a box around both fits neither. No predicted box scores 0, no annotated box is undefined: NaN.

    >>> union_iou(Box(0, 0, 10, 10), [Box(0, 0, 10, 6), Box(0, 4, 10, 10)])
    1.0
    """
    if not truth:
        return math.nan
    if box is None:
        return 0.0
    xs = np.unique([edge for b in (box, *truth) for edge in (b.x0, b.x1)])
    ys = np.unique([edge for b in (box, *truth) for edge in (b.y0, b.y1)])
    area = np.outer(np.diff(ys), np.diff(xs))
    inside = _tiles(box, xs, ys)
    covered = np.logical_or.reduce([_tiles(b, xs, ys) for b in truth])
    either = float(area[inside | covered].sum())
    return float(area[inside & covered].sum()) / either if either > 0 else 0.0


def _tiles(box: Box, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which tiles of the grid that all edges draw lie in the box."""
    across = (xs[:-1] >= box.x0) & (xs[1:] <= box.x1)
    down = (ys[:-1] >= box.y0) & (ys[1:] <= box.y1)
    return np.logical_and.outer(down, across)


def gt_known(box: Box | None, truth: Sequence[Box], *, threshold: float = 0.5) -> float:
    """Whether the box found for the true class fits an instance: 1 for an IoU of `threshold` or more, else 0.

    The localisation accuracy called GT-known: no classification term (Choe et al. 2020, section 3). NaN where nothing is
    annotated. Raises `OptionError` for a threshold outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise OptionError(f"an IoU threshold lies in (0, 1], e.g. 0.5; got {threshold}")
    overlap = best_iou(box, truth)
    return overlap if math.isnan(overlap) else float(overlap >= threshold)


def lacks_box(box: Box | None) -> float:
    """1 for an image without a box, else 0; the mean is the share of images that a method leaves without one."""
    return float(box is None)


def box_region(boxes: Sequence[Box], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of an image of `size` (H, W) whose centres lie in any of the boxes: bool (H, W).

    Boxes are half-open, so a whole-numbered one covers exactly its pixels; what lies outside the image is cut.
    """
    region = np.zeros(size, bool)
    for box in boxes:
        region[pixels_of(box, size)] = True
    return region


def pixels_of(box: Box, size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of an image of `size` (H, W) whose pixel centres lie in a box, as slices within it."""
    height, width = size
    x0, x1 = (min(max(math.ceil(edge - 0.5), 0), width) for edge in (box.x0, box.x1))
    y0, y1 = (min(max(math.ceil(edge - 0.5), 0), height) for edge in (box.y0, box.y1))
    return slice(y0, y1), slice(x0, x1)
