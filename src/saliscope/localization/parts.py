"""How large each connected part of a heatmap is, and how far it reaches, at every level."""

from __future__ import annotations

from dataclasses import dataclass
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from saliscope.localization.basins import Hills, Tree

__all__ = ["Parts", "grow_parts"]

_MOSTLY_EMPTY = 8  # a table with more places per pixel costs more than sorting the pixels
_COMBINE: dict[np.ufunc, Callable[[Any, Any], Any]] = {
    np.add: add,
    np.minimum: min,
    np.maximum: max,
}


@dataclass(frozen=True, eq=False)
class Parts:
    """Each connected part each time it grew: what it holds from level `high` down to level `low`.

    A level is the number of thresholds passed, so `high` and `low` are 1 or more. `count` is the number of pixels, `bounds`
    intp (N, 4) the tight box in whole pixels, half-open x0, y0, x1, y1, `peak` float64 the highest value; the others are
    intp (N,). `first()` finds the flat index of each part's first pixel in reading order: only ties need it.
    """

    high: NDArray[np.intp]
    low: NDArray[np.intp]
    count: NDArray[np.intp]
    bounds: NDArray[np.intp]
    peak: NDArray[np.float64]
    first: Callable[[], NDArray[np.intp]]


def grow_parts(
    hills: Hills, tree: Tree, level: NDArray[np.intp], values: NDArray[np.floating]
) -> Parts:
    """Sum up what each node of the tree holds, from the level at which it begins downwards.

    `level` (H, W) counts the thresholds that each pixel of `values` (H, W) passes; at least one pixel passes one.
    """
    growth, high, size = _growth(hills, tree, level)
    width = level.shape[1]
    # A part comes to a row with the highest pixel of a stretch of that row, and to a column likewise: no other pixel can be
    # the first to reach beyond its bounds.
    rows, columns = hills.row_crests, hills.column_crests
    bounds = [
        growth.extreme(np.minimum, columns, columns % width),
        growth.extreme(np.minimum, rows, rows // width),
        growth.extreme(np.maximum, columns, columns % width + 1),
        growth.extreme(np.maximum, rows, rows // width + 1),
    ]
    everything = np.arange(level.size)
    peaks = np.full(len(tree.level), -np.inf)
    peaks[: len(hills.summits)] = values.ravel()[hills.summits]
    return Parts(
        high,
        growth.until(high) + 1,
        growth.running(np.add, size, 0),
        np.stack(bounds, axis=1),
        tree.pass_on(max, peaks)[1][growth.node],
        lambda: growth.extreme(np.minimum, everything, everything),
    )


@dataclass(frozen=True, eq=False)
class _Growth:
    """The steps in which the nodes of a tree grow: those of one node follow each other, level by level downwards.

    `cells` are the combinations of hill and level that pixels have, ascending; `keys` (H * W,) says which one each pixel
    has, `step` to which step each cell belongs. `node` is the node of each step, `starts` the first step of each node that
    has any, `segment` counts these nodes.
    """

    tree: Tree
    keys: NDArray[np.intp]
    cells: NDArray[np.intp]
    step: NDArray[np.intp]
    node: NDArray[np.intp]
    starts: NDArray[np.intp]
    segment: NDArray[np.intp]

    def extreme(
        self, pick: np.ufunc, pixels: NDArray[np.intp], values: NDArray[np.intp]
    ) -> NDArray[np.intp]:
        """The smallest or largest value (`pick`) of the given pixels, flat indices, that each part holds at each step."""
        nothing = int(values.max()) + 1 if pick is np.minimum else -1
        keys = self.keys[pixels]
        cell = np.minimum(np.searchsorted(self.cells, keys), len(self.cells) - 1)
        shown = self.cells[cell] == keys  # the others pass no threshold
        own = np.full(len(self.node), nothing)
        pick.at(own, self.step[cell[shown]], values[shown])
        return self.running(pick, own, nothing)

    def running(self, combine: np.ufunc, own: NDArray[np.intp], nothing: int) -> NDArray[np.intp]:
        """Add up (or minimum, or maximum) what each step brings: all that its part holds by then, intp (steps,)."""
        held = np.full(len(self.tree.level), nothing)
        held[self.node[self.starts]] = combine.reduceat(own, self.starts)
        inherited = self.tree.pass_on(_COMBINE[combine], held)[0][self.node]
        if combine is np.add:
            summed = np.cumsum(own)
            before = (summed - own)[self.starts]
            total: NDArray[np.intp] = summed - before[self.segment] + inherited
            return total
        # Each segment is lifted beyond all before it, so that the running extreme starts anew.
        reach = int(own.max()) + 2
        lift = self.segment * (reach if combine is np.maximum else -reach)
        found: NDArray[np.intp] = combine(combine.accumulate(own + lift) - lift, inherited)
        return found

    def until(self, high: NDArray[np.intp]) -> NDArray[np.intp]:
        """The level at which the part of each step, which begins at level `high`, grows again or joins another."""
        after = np.append(high[1:], 0)
        ends = np.append(self.starts[1:], len(high)) - 1
        after[ends] = self.tree.level[self.tree.parent[self.node[ends]]]
        return after


def _growth(
    hills: Hills, tree: Tree, level: NDArray[np.intp]
) -> tuple[_Growth, NDArray[np.intp], NDArray[np.intp]]:
    """The steps of a tree, with the level at which each is made and the number of pixels that it brings."""
    bits = int(level.max()).bit_length()
    top = (1 << bits) - 1
    keys = (hills.label << bits) | level.ravel()
    cells, counts = _tally(keys, len(hills.summits) << bits)
    shown = cells & top > 0
    cells, counts = cells[shown], counts[shown]
    height = cells & top
    joins = (tree.climb(cells >> bits, height) << bits) | (top - height)
    steps, step = _numbered(joins, len(tree.level) << bits)
    size = np.zeros(len(steps), np.intp)
    np.add.at(size, step, counts)
    node = steps >> bits
    new = np.diff(node, prepend=-1) != 0
    growth = _Growth(tree, keys, cells, step, node, np.flatnonzero(new), np.cumsum(new) - 1)
    return growth, top - (steps & top), size


def _tally(keys: NDArray[np.intp], size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The keys that occur, 0 <= key < size, in ascending order, and how often each does."""
    if size > _MOSTLY_EMPTY * len(keys):  # many small hills, as noise has
        return np.unique(keys, return_counts=True)
    counts = np.bincount(keys, minlength=size)
    present = np.flatnonzero(counts)
    return present, counts[present]


def _numbered(keys: NDArray[np.intp], size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The keys that occur, 0 <= key < size, in ascending order, and which of them each key is."""
    if size > _MOSTLY_EMPTY * len(keys):
        return np.unique(keys, return_inverse=True)
    occurs = np.zeros(size, bool)
    occurs[keys] = True
    present = np.flatnonzero(occurs)
    number = np.empty(size, np.intp)
    number[present] = np.arange(len(present))
    return present, number.take(keys)
