"""How the parts of a heatmap merge as the threshold falls."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saliscope.localization.basins import Hills

__all__ = ["Tree", "join_hills"]

_MOSTLY_EMPTY = 8  # a table with more places per pixel costs more than a search for each pixel


@dataclass(frozen=True, eq=False)
class Tree:
    """Which hills take in which others: a part goes by one of its hills, down to the level at which another takes that in.

    `since` intp (M,) is the level of each summit, `until` (M,) the level at which another hill takes this one in, and
    `into` (M,) that other hill. So a hill stands for a part at levels from `since` down to `until` + 1. For a hill that
    nothing takes in they are 0 and itself.

    Each part at each level has a slot, a number from 0 to `slots` - 1: those of one hill follow each other, its levels
    descending, so at each of its levels it has the slot `ends` - level.
    """

    since: NDArray[np.intp]
    until: NDArray[np.intp]
    into: NDArray[np.intp]

    @cached_property
    def after(self) -> NDArray[np.intp]:
        """The slot after the last one of each hill: intp (M,)."""
        return np.cumsum(self.since - self.until)

    @cached_property
    def ends(self) -> NDArray[np.intp]:
        """The slot that each hill would have at level 0: intp (M,)."""
        return self.after + self.until

    @property
    def slots(self) -> int:
        return int(self.after[-1])

    @cached_property
    def taken(self) -> NDArray[np.intp]:
        """The hills that others take in."""
        return np.flatnonzero(self.until)

    @cached_property
    def _waves(self) -> list[NDArray[np.intp]]:
        """The same in groups, those first from which the longest chains lead on."""
        depth = np.zeros(len(self.into), np.intp)
        hills = here = self.taken
        while len(hills):
            depth[hills] += 1
            here = self.into[here]
            on = self.until[here] > 0
            hills, here = hills[on], here[on]
        return [np.flatnonzero(depth == at) for at in range(int(depth.max()), 0, -1)]

    def gather(self, combine: np.ufunc, held: NDArray[np.intp]) -> NDArray[np.intp]:
        """What each hill holds together with all that it takes in, by what each holds itself: both intp (M,)."""
        total = held.copy()
        for hills in self._waves:
            combine.at(total, self.into[hills], total[hills])
        return total

    def count(self, levels: int) -> NDArray[np.intp]:
        """The number of parts at each level from 1 to `levels`: hills that have begun, less those taken in."""
        begun = np.bincount(self.since, minlength=levels + 1)
        taken = np.bincount(self.until, minlength=levels + 1)
        return np.cumsum((begun - taken)[::-1])[::-1][1:]

    def place(self, hills: Hills) -> NDArray[np.intp]:
        """The slot of the part that each pixel belongs to at its level: intp (N,), `slots` for those at level 0."""
        starts, ends = self._chains(hills.bits)
        size = len(self.into) << hills.bits
        if size <= _MOSTLY_EMPTY * len(hills.cells):
            table = np.repeat(ends, np.diff(starts, append=size))
            # All cells are in the table; "clip" only saves a check that takes longer than the look-up.
            found = table.take(hills.cells, mode="clip")
        else:  # many small hills, as noise has
            found = ends[np.searchsorted(starts, hills.cells, side="right") - 1]
        found -= hills.level
        return found

    def _chains(self, bits: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """From which cell on another hill stands for a hill, as its levels ascend: those cells, ascending, and its `ends`."""
        hills = here = np.arange(len(self.into))
        starts, ends = [hills << bits], [np.full(len(hills), self.slots)]  # none does at level 0
        while len(hills):
            starts.append((hills << bits) + self.until[here] + 1)
            ends.append(self.ends[here])
            on = self.until[here] > 0
            hills, here = hills[on], self.into[here[on]]
        cells = np.concatenate(starts)
        order = np.argsort(cells)
        return cells[order], np.concatenate(ends)[order]


def join_hills(hills: Hills) -> Tree:
    """Find how the hills join as the threshold falls: union-find (Tarjan 1975) over where they meet, highest first.

    The part with more hills takes in the other, so no hill changes hands more often than the logarithm of their number.
    """
    levels = hills.level[hills.meets[2]]
    order = np.argsort(-levels, kind="stable")
    first, second = hills.meets[:2, order].tolist()
    size = [1] * len(hills.summits)
    until, into = [0] * len(size), list(range(len(size)))
    leader = into.copy()
    for a, b, level in zip(first, second, levels[order].tolist(), strict=True):
        one, other = _leader(leader, a), _leader(leader, b)
        if one == other:
            continue
        if size[one] < size[other]:
            one, other = other, one
        size[one] += size[other]
        leader[other] = into[other] = one
        until[other] = level
    return Tree(hills.level[hills.summits], *_lasting(np.array(until), np.array(into)))


def _leader(leader: list[int], hill: int) -> int:
    while leader[hill] != hill:
        leader[hill] = hill = leader[leader[hill]]
    return hill


def _lasting(
    until: NDArray[np.intp], into: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pass over a hill that takes another in and is taken in itself at the same level: it stands for nothing there."""
    while len(brief := np.flatnonzero((until > 0) & (until[into] == until))):
        into[brief] = into[into[brief]]
    return until, into
