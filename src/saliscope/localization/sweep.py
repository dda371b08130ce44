"""Boxes at every threshold, in one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saliscope.boxes import Box
from saliscope.errors import OptionError
from saliscope.localization.basins import Relief, find_hills
from saliscope.localization.levels import count_passed
from saliscope.localization.normalise import finite_range, is_constant
from saliscope.localization.parts import Parts
from saliscope.localization.tree import join_hills

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
    join at the saddles between them in descending order (union-find). How large a part is and how far it reaches is summed
    up hill by hill and level by level. The work grows with the number of pixels and hills, not with that of thresholds.

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
    if thresholds is None and not len(grid):
        return _nothing(grid, truth)
    relief = Relief.of(heat)
    level = count_passed(relief.values, grid, strict=strict)
    if _is_flat(heat) or not level.max():
        return _nothing(grid, truth)
    hills = find_hills(relief, level)
    return _report(Parts(relief, hills, join_hills(hills)), grid, truth)


def _is_flat(heat: NDArray[np.floating]) -> bool:
    """Whether it is a heatmap that has no parts."""
    return is_constant(*finite_range(heat)) or bool(np.isinf(heat).any())


def _nothing(grid: NDArray[np.floating], truth: Sequence[Box]) -> Sweep:
    count = len(grid)
    blank = np.full(count, 0.0 if truth else math.nan)
    none = np.zeros(count, np.intp)
    return Sweep(grid, np.zeros((count, 4), np.intp), none, none.copy(), blank, blank.copy())


def _report(parts: Parts, grid: NDArray[np.floating], truth: Sequence[Box]) -> Sweep:
    count = len(grid)
    levels = np.arange(1, count + 1)
    extents, bounds = parts.extents()
    node, pixels = _largest(parts, count)
    found = pixels > 0
    chosen = extents.find(node, levels)
    largest = np.where(found[:, None], bounds[chosen], 0)
    components = parts.tree.count(count)
    if not truth:
        unknown = np.full(count, math.nan)
        return Sweep(grid, largest, pixels, components, unknown, unknown.copy())
    overlap = _overlaps(bounds, truth)
    of_largest = np.where(found, overlap[chosen], 0.0)
    of_any = _highest(overlap, extents.low, extents.high, count)
    return Sweep(grid, largest, pixels, components, of_largest, of_any)


def _largest(parts: Parts, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The hill that stands for the largest part at each of `count` levels, and the pixels of that part; 0 where none is."""
    steps, size = parts.sizes()
    most = _highest(size, steps.low, steps.high, count)
    # The largest part only grows from level to level: a part that is ever the largest is so at its own `high` already.
    ever = np.flatnonzero(size == most[steps.high - 1])
    node, high = steps.node[ever], steps.high[ever]
    keys = [size[ever]]
    order = np.argsort(keys[0])
    for next_best in (parts.peaks, parts.firsts):  # they cost time, and ties are rare
        if not np.logical_and.reduce([np.diff(key[order]) == 0 for key in keys]).any():
            break
        ranked, rank = next_best()
        keys.insert(0, rank[ranked.find(node, high)])
        order = np.lexsort(keys)
    winners = ever[order]
    place = np.arange(len(winners)) + 1
    best = _highest(place, steps.low[winners], steps.high[winners], count)
    return steps.node[winners[best - 1]], most


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
    values: NDArray[Any], low: NDArray[np.intp], high: NDArray[np.intp], count: int
) -> NDArray[Any]:
    """The highest of the `values` at each level from 1 to `count`, each valid from `low` to `high`; 0 where there is none.

    Each such range is covered by two ranges whose length is a power of two, which may overlap; then those of each length hand
    their maximum down to their two halves.
    """
    power = np.frexp(high - low + 1)[1] - 1
    table = np.zeros((int(power.max()) + 1, count), values.dtype)
    flat, row = table.reshape(-1), power * count  # with one index `at` is several times faster
    np.maximum.at(flat, row + low - 1, values)
    np.maximum.at(flat, row + high - (1 << power), values)
    for upper in range(len(table) - 1, 0, -1):
        half = 1 << (upper - 1)
        lower = table[upper - 1]
        np.maximum(lower, table[upper], out=lower)
        np.maximum(lower[half:], table[upper, :-half], out=lower[half:])
    found: NDArray[Any] = table[0]
    return found
