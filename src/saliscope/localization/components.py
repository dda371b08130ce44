"""The largest connected part of a mask, and the smallest rectangle around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Component", "largest_component", "largest_contour", "smallest_rectangle"]


@dataclass(frozen=True, eq=False)
class Component:
    """One 8-connected part of a mask.

    `bounds` are whole pixels, half-open: x0, y0, x1, y1. `outline` is int32 (N, 2), x then y: the centres of the pixels
    at the corners of its outer boundary.
    """

    bounds: tuple[int, int, int, int]
    outline: NDArray[np.int32]


def largest_component(mask: NDArray[np.uint8], heat: NDArray[np.floating]) -> Component | None:
    """Find the 8-connected part of a uint8 mask (H, W) with the most pixels; None for an empty mask.

    Ties go to the part with the highest `heat` (H, W), then to the one whose first pixel comes first in reading order.
    """
    import cv2

    left, top, width, height = cv2.boundingRect(mask)  # what is empty around it needs no labels
    if not width:
        return None
    window = slice(top, top + height), slice(left, left + width)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask[window], connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    tied = np.flatnonzero(areas == areas.max()) + 1
    label = int(tied[0]) if len(tied) == 1 else _strongest(tied, labels, heat[window])
    x, y, width, height = (int(v) for v in stats[label, :4])
    part = (labels[y : y + height, x : x + width] == label).astype(np.uint8)
    x, y = x + left, y + top
    outlines, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))
    return Component((x, y, x + width, y + height), outlines[0].reshape(-1, 2))


def largest_contour(mask: NDArray[np.uint8], heat: NDArray[np.floating]) -> Component | None:
    """Find the part of a uint8 mask (H, W) whose outer contour encloses the largest area; None for an empty mask.

    The area is that of the polygon through pixel centres, holes included (`cv2.contourArea`): a line one pixel wide has
    area 0 and a square of 4 x 4 pixels area 9. Ties are broken as in `largest_component`.
    """
    import cv2

    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return None
    areas = np.array([cv2.contourArea(outline) for outline in outlines])
    tied = np.flatnonzero(areas == areas.max())
    chosen = outlines[int(tied[0])]
    if len(tied) > 1:
        _, labels = cv2.connectedComponents(mask, connectivity=8)
        by_label = {int(labels[tuple(outlines[i][0, 0, ::-1])]): outlines[i] for i in tied.tolist()}
        chosen = by_label[_strongest(list(by_label), labels, heat)]
    x, y, width, height = cv2.boundingRect(chosen)
    return Component((x, y, x + width, y + height), chosen.reshape(-1, 2))


def _strongest(
    tied: Sequence[int] | NDArray[np.integer],
    labels: NDArray[np.int32],
    heat: NDArray[np.floating],
) -> int:
    """The label with the highest heat; among equals, the one met first in reading order."""
    count = int(labels.max()) + 1
    peaks = np.full(count, -np.inf)
    flat = labels.ravel()
    np.maximum.at(peaks, flat, np.where(flat > 0, heat.ravel(), -np.inf))
    first = np.full(count, flat.size)
    np.minimum.at(first, flat, np.arange(flat.size))
    return int(min(tied, key=lambda label: (-peaks[label], first[label])))


def smallest_rectangle(points: NDArray[np.integer]) -> NDArray[np.float64]:
    """Find the rectangle of smallest area, at any angle, around integer points (N, 2): its corners, float64 (4, 2).

    One side lies on an edge of the convex hull (Freeman and Shapira 1975), so every edge is tried, in float64. Of
    rectangles with equal areas, which pixel shapes often have, the most elongated is taken, then the one with the
    smallest upright bounds, then the one furthest up, then furthest left: the answer does not depend on where the
    outline starts or on rounding. One point or a line give a rectangle without area.
    """
    import cv2

    hull = cv2.convexHull(np.asarray(points, np.int32)).reshape(-1, 2).astype(np.float64)
    edges = np.roll(hull, -1, axis=0) - hull
    edges = edges[edges.any(axis=1)] if len(hull) > 1 else np.array([[1.0, 0.0]])
    squared = (edges**2).sum(axis=1)
    # Projections on unnormalised edges are whole numbers: exact, so equal rectangles come out equal.
    along = hull @ edges.T
    across = hull @ np.stack([-edges[:, 1], edges[:, 0]])
    low_a, high_a, low_b, high_b = along.min(0), along.max(0), across.min(0), across.max(0)
    a = np.stack([low_a, high_a, high_a, low_a], axis=1)
    b = np.stack([low_b, low_b, high_b, high_b], axis=1)
    x = (a * edges[:, :1] - b * edges[:, 1:]) / squared[:, None]
    y = (a * edges[:, 1:] + b * edges[:, :1]) / squared[:, None]
    length, breadth = high_a - low_a, high_b - low_b
    choices = [
        length * breadth / squared,
        -np.maximum(length, breadth) / np.sqrt(squared),
        np.ptp(x, axis=1) * np.ptp(y, axis=1),
        y.min(axis=1),
        x.min(axis=1),
    ]
    best = _first_of(choices)
    return np.stack([x[best], y[best]], axis=1)


def _first_of(choices: Sequence[NDArray[np.float64]]) -> int:
    """The index that is smallest in the first row, ties (to 1e-9 of the value) broken by the next."""
    kept = np.arange(len(choices[0]))
    for values in choices:
        left = values[kept]
        kept = kept[left <= left.min() + 1e-9 * max(1.0, float(np.abs(left).max()))]
    return int(kept[0])
