"""Boxes at every threshold, in one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saliscope.boxes import Box
from saliscope.errors import OptionError
from saliscope.localization.basins import find_hills, join_hills
from saliscope.localization.levels import count_passed
from saliscope.localization.normalise import finite_range, is_constant
from saliscope.localization.parts import Parts, grow_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Sweep", "sweep_boxes"]


@dataclass(frozen=True, eq=False)
class Sweep:
    """What is foreground at each of K ascending `thresholds`.

    `bounds` intp (K, 4) is the tight box of the largest 8-connected part, whole pixels, half-open x0, y0, x1, y1, and
    `pixels` intp (K,) the number of its pixels; both are 0 where nothing passes. `components` intp (K,) counts the parts.
    `iou` float64 (K,) is how much the largest part's box overlaps with the annotated box it fits best, and `best_iou` the
    same for the best of all parts: 0 where there is none, NaN where nothing is annotated.
    """

    thresholds: NDArray[np.floating]
    bounds: NDArray[np.intp]
    pixels: NDArray[np.intp]
    components: NDArray[np.intp]
    iou: NDArray[np.float64]
    best_iou: NDArray[np.float64]

    def box(self, index: int) -> Box | None:
        """The box of the largest part at one threshold; None where nothing passes."""
        return Box(*self.bounds[index].tolist()) if self.pixels[index] else None


def sweep_boxes(
    heat: NDArray[np.floating],
    thresholds: Sequence[float] | NDArray[np.floating] | None = None,
    *,
    truth: Sequence[Box] = (),
    strict: bool = False,
) -> Sweep:
    """Find the largest part, and the box that fits best, at every threshold at once.

    `heat` (H, W) is normalised already where thresholds are shares; NaN marks pixels the network never saw, which are no
    foreground. `thresholds` ascend, e.g. `even_grid()`; None takes every value that occurs. A pixel is foreground at or above
    the threshold, or with `strict` above it, compared as in `count_passed`. Of parts with equally many pixels the one with
    the highest value is the largest, then the one whose first pixel comes first in reading order: what `find_box` does for
    protocols that count pixels. `truth` are the annotated boxes, half-open, in the pixels of `heat`.

    As in `find_box`, a constant map (`is_constant`), one with an infinite value and one without a seen pixel have no part at
    any threshold. Raises `OptionError` for a heatmap that is not two-dimensional and for thresholds that do not ascend.

    How: each pixel belongs to the hill it climbs; a hill stays connected at every height, so parts are sets of hills, which
    join at their passes in descending order (union-find). How large a part is and how far it reaches is summed up hill by
    hill and level by level. The work grows with the number of pixels and hills, not with the number of thresholds.

    >>> heat = np.zeros((6, 8)); heat[1:3, 1:5] = 0.4; heat[4, 6] = 1.0
    >>> found = sweep_boxes(heat, [0.2, 0.5], truth=[Box(0, 1, 4, 3)])
    >>> found.bounds.tolist(), found.pixels.tolist(), found.components.tolist()
    ([[1, 1, 5, 3], [6, 4, 7, 5]], [8, 1], [2, 1])
    >>> found.best_iou.tolist()
    [0.6, 0.0]
    """
    heat = np.asarray(heat)
    if heat.ndim != 2:
        raise OptionError(f"a heatmap has shape (H, W); got {heat.shape}: give one map at a time")
    grid = np.asarray(np.unique(heat[np.isfinite(heat)]) if thresholds is None else thresholds)
    values, flat = _seen_values(heat)
    if thresholds is None and not len(grid):
        return _nothing(grid, truth)
    level = count_passed(values, grid, strict=strict)
    if flat or not level.any():
        return _nothing(grid, truth)
    hills = find_hills(values, level)
    tree = join_hills(hills, level)
    components = tree.count_at(len(grid))
    return _report(grow_parts(hills, tree, level, values), components, grid, truth)


def _seen_values(heat: NDArray[np.floating]) -> tuple[NDArray[np.floating], bool]:
    """The heatmap with -inf for NaN, and whether it is one that has no parts."""
    narrow = heat.dtype in (np.float16, np.float32)
    values: NDArray[np.floating] = np.ascontiguousarray(heat, np.float32 if narrow else np.float64)
    low, high = finite_range(values)
    flat = is_constant(low, high)
    if values.size and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        flat |= bool(np.isinf(values).any())
        values = np.where(np.isnan(values), -np.inf, values)
    return values, flat


def _nothing(grid: NDArray[np.floating], truth: Sequence[Box]) -> Sweep:
    count = len(grid)
    blank = np.full(count, 0.0 if truth else math.nan)
    none = np.zeros(count, np.intp)
    return Sweep(grid, np.zeros((count, 4), np.intp), none, none.copy(), blank, blank.copy())


def _report(
    parts: Parts, components: NDArray[np.intp], grid: NDArray[np.floating], truth: Sequence[Box]
) -> Sweep:
    chosen = _largest(parts, len(grid))
    found = chosen >= 0
    largest = np.where(found[:, None], parts.bounds[chosen], 0)
    count = np.where(found, parts.count[chosen], 0)
    if not truth:
        unknown = np.full(len(grid), math.nan)
        return Sweep(grid, largest, count, components, unknown, unknown.copy())
    overlap = _overlaps(parts.bounds, truth)
    of_largest = np.where(found, overlap[chosen], 0.0)
    of_any = _highest(overlap, parts.low, parts.high, np.zeros(len(grid)))
    return Sweep(grid, largest, count, components, of_largest, of_any)


def _largest(parts: Parts, count: int) -> NDArray[np.intp]:
    """Which row of `parts` is the largest part at each of `count` levels; -1 where there is none."""
    most = _highest(parts.count, parts.low, parts.high, np.zeros(count, np.intp))
    # The largest part only grows from level to level: a part that is ever the largest is so at its own `high` already.
    ever = np.flatnonzero(parts.count == most[parts.high - 1])
    keys = [parts.peak[ever], parts.count[ever]]
    order = np.lexsort(keys)
    if np.logical_and(*(np.diff(key[order]) == 0 for key in keys)).any():
        order = np.lexsort([-parts.first()[ever], *keys])
    winners = ever[order]
    place = np.arange(len(winners))
    best = _highest(place, parts.low[winners], parts.high[winners], np.full(count, -1))
    return np.where(best >= 0, winners[best], -1)


def _overlaps(bounds: NDArray[np.intp], truth: Sequence[Box]) -> NDArray[np.float64]:
    """IoU of each box (N, 4) with the annotated box it fits best, as `boxes.iou` counts it: float64 (N,)."""
    x0, y0, x1, y1 = (column.astype(np.float64) for column in bounds.T)
    area = (x1 - x0) * (y1 - y0)
    best = np.zeros(len(bounds))
    for box in truth:
        width = np.maximum(np.minimum(x1, box.x1) - np.maximum(x0, box.x0), 0.0)
        both = width * np.maximum(np.minimum(y1, box.y1) - np.maximum(y0, box.y0), 0.0)
        np.maximum(best, both / (area + box.area - both), out=best)
    return best


def _highest(
    values: NDArray[Any], low: NDArray[np.intp], high: NDArray[np.intp], nothing: NDArray[Any]
) -> NDArray[Any]:
    """The highest of the `values` at each level from 1 on, each valid from `low` to `high`; `nothing` where there is none.

    Each such range is covered by two ranges whose length is a power of two, which may overlap; then those of each length hand
    their maximum down to their two halves.
    """
    power = np.frexp(high - low + 1)[1] - 1
    table = np.tile(nothing, (int(power.max()) + 1, 1))
    np.maximum.at(table, (power, low - 1), values)
    np.maximum.at(table, (power, high - (1 << power)), values)
    for upper in range(len(table) - 1, 0, -1):
        half = 1 << (upper - 1)
        lower = table[upper - 1]
        np.maximum(lower, table[upper], out=lower)
        np.maximum(lower[half:], table[upper, :-half], out=lower[half:])
    found: NDArray[Any] = table[0]
    return found
