"""How large each connected part of a heatmap is, and how far it reaches, at every level."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saliscope.localization.basins import Hills, Relief
    from saliscope.localization.tree import Tree

__all__ = ["Parts", "Steps"]

_MOSTLY_EMPTY = 8  # a table with more places per pixel costs more than sorting the pixels


@dataclass(frozen=True, eq=False)
class Steps:
    """The steps in which parts change as the threshold falls: those of one part follow each other, level by level down.

    `slots` intp (S,), ascending, are those of `tree` at which a part changes; they include all at which parts merge.
    """

    tree: Tree
    slots: NDArray[np.intp]

    @cached_property
    def _lengths(self) -> NDArray[np.intp]:
        """How many steps each hill has: intp (M,)."""
        return np.diff(np.searchsorted(self.slots, self.tree.after), prepend=0)

    @cached_property
    def _hills(self) -> NDArray[np.intp]:
        """The hills that have a step."""
        return np.flatnonzero(self._lengths)

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        """The first step of each of these."""
        return (np.cumsum(self._lengths) - self._lengths)[self._hills]

    @cached_property
    def _merges(self) -> NDArray[np.intp]:
        """The step at which each hill that is taken in is so."""
        taken = self.tree.taken
        return self.find(self.tree.into[taken], self.tree.until[taken])

    @cached_property
    def node(self) -> NDArray[np.intp]:
        """The hill that stands for the part of each step: intp (S,)."""
        return np.repeat(np.arange(len(self._lengths)), self._lengths)

    @cached_property
    def high(self) -> NDArray[np.intp]:
        """The level of each step: intp (S,)."""
        return np.repeat(self.tree.ends, self._lengths) - self.slots

    @cached_property
    def low(self) -> NDArray[np.intp]:
        """The level down to which each step lasts: at the next the part changes again, or another takes it in."""
        low = np.append(self.high[1:], 0)
        low[self._starts + self._lengths[self._hills] - 1] = self.tree.until[self._hills]
        low += 1
        return low

    def find(self, node: NDArray[np.intp], level: NDArray[np.intp]) -> NDArray[np.intp]:
        """The step in which a part, by the hill that stands for it, is at a level."""
        return np.searchsorted(self.slots, self.tree.ends[node] - level, side="right") - 1

    def sums(self, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """The sum of all that each part holds by each step, by what each step brings: both intp (S,)."""
        total = np.cumsum(self._with_taken(np.add, own))
        before = np.append(0, total)[self._starts]
        total -= np.repeat(before, self._lengths[self._hills])
        return total

    def maxima(self, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """The highest of all that each part holds by each step, by what each step brings, at least 0: both intp (C, S)."""
        highest = np.stack([self._with_taken(np.maximum, row) for row in own])
        # Each part is lifted beyond all before it, so that the running maximum starts anew.
        lift = np.arange(len(self._lengths)) * (int(highest.max()) + 1)
        highest += (lifts := np.repeat(lift, self._lengths))
        np.maximum.accumulate(highest, axis=1, out=highest)
        highest -= lifts
        return highest

    def _with_taken(self, combine: np.ufunc, own: NDArray[np.intp]) -> NDArray[np.intp]:
        """What each step brings, with all that the hills hold which are taken in at it."""
        held = np.zeros(len(self._lengths), np.intp)
        held[self._hills] = combine.reduceat(own, self._starts)
        held = self.tree.gather(combine, held)
        brought = own.copy()
        combine.at(brought, self._merges, held[self.tree.taken])
        return brought


@dataclass(frozen=True, eq=False)
class Parts:
    """The connected parts of a relief at all levels."""

    relief: Relief
    hills: Hills
    tree: Tree

    @cached_property
    def _slots(self) -> NDArray[np.intp]:
        return self.tree.place(self.hills)

    def sizes(self) -> tuple[Steps, NDArray[np.intp]]:
        """The steps in which parts gain pixels, and how many each has by then: intp (S,)."""
        slots, count = self._slots, self.tree.slots
        if count <= _MOSTLY_EMPTY * len(slots):
            gained = np.bincount(slots)[:count]
            present = np.flatnonzero(gained > 0)
            gained = gained[present]
        else:  # many small hills, as noise has
            present, gained = np.unique(slots[slots < count], return_counts=True)
        steps = Steps(self.tree, present)
        return steps, steps.sums(gained)

    def extents(self) -> tuple[Steps, NDArray[np.intp]]:
        """The steps in which parts may reach further, and their tight boxes by then.

        The boxes are intp (S, 4), whole pixels, half-open x0, y0, x1, y1.
        """
        # A part comes to a row with a crest of that row, and to a column likewise: no other pixel can be the first to
        # reach beyond its bounds.
        crests = self.hills.crests
        x, y = self.relief.points(crests)
        across, down = int(x.max()) + 1, int(y.max()) + 1
        steps, reach = self._reaching(crests, np.stack([across - x, down - y, x + 1, y + 1]))
        left, top, right, bottom = reach
        return steps, np.stack([across - left, down - top, right, bottom], axis=1)

    def peaks(self) -> tuple[Steps, NDArray[np.intp]]:
        """The steps in which parts may get a higher summit, and the rank of the highest by then: intp (S,)."""
        summits, meets = self.hills.summits, self.hills.meets[2]
        rank = np.unique(self.relief.values[summits], return_inverse=True)[1] + 1
        rank = np.append(rank, np.zeros(len(meets), np.intp))
        steps, highest = self._reaching(np.append(summits, meets), rank[None])
        return steps, highest[0]

    def firsts(self) -> tuple[Steps, NDArray[np.intp]]:
        """The steps in which parts gain pixels, and a number (S,) that is higher the earlier the first of them is read."""
        places = np.arange(len(self._slots))
        steps, early = self._reaching(places, len(places) - places[None])
        return steps, early[0]

    def _reaching(
        self, places: NDArray[np.intp], values: NDArray[np.intp]
    ) -> tuple[Steps, NDArray[np.intp]]:
        """The steps in which parts come to `places`, and the highest of the `values` (C, places) that they have by then."""
        present, step = np.unique(self._slots[places], return_inverse=True)
        own = np.zeros((len(values), len(present)), np.intp)
        for row, brought in zip(own, values, strict=True):
            np.maximum.at(row, step, brought)
        steps = Steps(self.tree, present[present < self.tree.slots])
        return steps, steps.maxima(own[:, : len(steps.slots)])
