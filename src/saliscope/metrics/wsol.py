"""Boxes, masks and overlaps exactly as the wsolevaluation program counts them, quirks included.

Only for numbers that stand beside published ones (Choe et al. 2020): a box found there is one pixel too wide and too high,
because an exclusive corner is read as an inclusive one; a perfect blob of 10 x 6 pixels scores 60/77.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saliscope.boxes import Box
from saliscope.errors import DataError

__all__ = [
    "WSOL_SIZE",
    "wsol_boxes",
    "wsol_curve",
    "wsol_grid",
    "wsol_iou",
    "wsol_mask",
    "wsol_resize_box",
    "wsol_scoremap",
]

WSOL_SIZE = 224
"""Side of the square frame in which everything is compared; the aspect ratio is given up."""

Corners = tuple[int, int, int, int]


def wsol_grid(step: float = 0.001) -> NDArray[np.float64]:
    """The thresholds 0, step, ... below 1, with the rounding of `numpy.arange`, on which the answer depends."""
    return np.arange(0, 1, step)


def wsol_scoremap(
    signed_map: NDArray[np.floating], *, size: int = WSOL_SIZE
) -> NDArray[np.float32]:
    """Bring a map (h, w) to (size, size) by cubic interpolation, then to [0, 1] by min-max.

    Zeros where all values are equal by then, or one is NaN. A constant map other than 0 may keep rounding errors of the
    interpolation, which min-max stretches to a pattern: the program does that too.
    """
    import cv2

    wide = cv2.resize(
        np.asarray(signed_map, np.float32), (size, size), interpolation=cv2.INTER_CUBIC
    )
    if np.isnan(wide).any() or wide.min() == wide.max():
        return np.zeros_like(wide)
    wide -= wide.min()
    wide /= wide.max()
    scaled: NDArray[np.float32] = wide
    return scaled


def wsol_mask(mask: NDArray[np.bool_], *, size: int = WSOL_SIZE) -> NDArray[np.bool_]:
    """Bring a mask (H, W) to (size, size) by nearest neighbour: bool."""
    import cv2

    resized = cv2.resize(mask.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST)
    return np.asarray(resized > 0)


def wsol_resize_box(
    box: Box, size: tuple[int, int], *, to: tuple[int, int] = (WSOL_SIZE, WSOL_SIZE)
) -> Corners:
    """Bring annotated corners from an image of `size` (H, W) to a frame `to` (H, W), cut to whole numbers.

    The corners are taken as the annotation gives them.

    >>> wsol_resize_box(Box(1, 2, 4, 3), (20, 10), to=(10, 35))
    (3, 1, 14, 1)
    """
    height, width = size
    return (
        int(box.x0 * to[1] / width),
        int(box.y0 * to[0] / height),
        int(box.x1 * to[1] / width),
        int(box.y1 * to[0] / height),
    )


def wsol_iou(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.float64]:
    """IoU of each of the corners `a` (N, 4) with each of `b` (M, 4), both corners inside their box: float64 (N, M)."""
    one = np.asarray(a, np.float64).reshape(-1, 1, 4)
    other = np.asarray(b, np.float64).reshape(1, -1, 4)
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2]) + 1
    both = np.maximum(sides, 0).prod(axis=-1)
    areas = [(box[..., 2:] - box[..., :2] + 1).prod(axis=-1) for box in (one, other)]
    overlap: NDArray[np.float64] = both / (areas[0] + areas[1] - both)
    return overlap


def wsol_boxes(
    scoremap: NDArray[np.floating],
    thresholds: Sequence[float] | NDArray[np.floating],
    *,
    every: bool = False,
) -> list[list[Corners]]:
    """The boxes at each threshold: of the contour with the largest area, or of `every` contour, holes included.

    `scoremap` (H, W) lies in [0, 1]. It is cut to 8 bits and compared, strictly, with the threshold times its maximum, cut to
    a whole number. The far corner is the exclusive one, kept within the image. [(0, 0, 0, 0)] where nothing passes. Raises
    `DataError` for a map that is not (H, W) or leaves [0, 1], NaN included.
    """
    if scoremap.ndim != 2 or not (scoremap.min() >= 0 and scoremap.max() <= 1):
        raise DataError(
            f"a score map is (H, W) with values in [0, 1], none of them NaN; got {scoremap.shape} from {scoremap.min()} "
            f"to {scoremap.max()}. wsol_scoremap makes one"
        )
    grey = (scoremap * 255).astype(np.uint8)
    cuts = [int(threshold * grey.max()) for threshold in thresholds]
    found = {cut: _boxes_above(grey, cut, every=every) for cut in set(cuts)}
    return [found[cut] for cut in cuts]


def _boxes_above(grey: NDArray[np.uint8], cut: int, *, every: bool) -> list[Corners]:
    import cv2

    height, width = grey.shape
    mask = (grey > cut).view(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return [(0, 0, 0, 0)]
    chosen = outlines if every else [max(outlines, key=cv2.contourArea)]
    boxes = []
    for outline in chosen:
        x, y, w, h = cv2.boundingRect(outline)
        boxes.append((x, y, min(x + w, width - 1), min(y + h, height - 1)))
    return boxes


def wsol_curve(
    scoremap: NDArray[np.floating],
    truth: Sequence[Corners],
    thresholds: Sequence[float] | NDArray[np.floating],
    *,
    every: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The best IoU of a found with an annotated box at each threshold, float64 (K,), and the number of boxes, intp (K,).

    `truth` are corners in the frame of the map (`wsol_resize_box`), at least one. Raises `DataError` as `wsol_boxes` does.
    """
    boxes = wsol_boxes(scoremap, thresholds, every=every)
    known: dict[int, float] = {}
    for at in boxes:
        if id(at) not in known:
            known[id(at)] = float(wsol_iou(np.array(at), np.array(truth)).max())
    best = np.array([known[id(at)] for at in boxes])
    return best, np.array([len(at) for at in boxes], np.intp)
