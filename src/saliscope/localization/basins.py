"""The hills of a heatmap: which summit each pixel climbs to, where hills touch, and in which order they join."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Hills", "Tree", "find_hills", "join_hills"]


@dataclass(frozen=True, eq=False)
class Hills:
    """A heatmap cut into hills: `label` intp (H * W,) numbers them, `summits` (M,) are the flat indices of their tops.

    The pixels of one hill at or above any height are 8-connected, as long as there are any. Below the lowest threshold a
    label means nothing. `row_crests` are the flat indices of the pixels between which the rows only fall and rise once,
    `column_crests` those of the columns: a part that has pixels in a row has one of its crests.
    """

    label: NDArray[np.intp]
    summits: NDArray[np.intp]
    row_crests: NDArray[np.intp]
    column_crests: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Tree:
    """How connected parts merge as the threshold falls.

    Nodes 0 to M - 1 are the hills, the following ones the merges in descending order, the last a common end below
    everything, at level 0 and its own parent. A node is a part of the mask at the levels above its parent's, up to its own
    `level`. `parent` and `level` are intp (nodes,); `pairs` lists the two nodes that each merge joins.
    """

    parent: NDArray[np.intp]
    level: NDArray[np.intp]
    pairs: list[tuple[int, int]]

    def climb(self, nodes: NDArray[np.intp], levels: NDArray[np.intp]) -> NDArray[np.intp]:
        """The part that holds each node at each level (both intp (C,)): its last ancestor not below that level."""
        nodes = nodes.copy()
        moving = np.flatnonzero(self.level[self.parent[nodes]] >= levels)
        jumps = [self.parent]
        while (jumps[-1] < len(self.parent) - 1).any():
            jumps.append(jumps[-1][jumps[-1]])
        here, until = nodes[moving], levels[moving]
        for jump in reversed(jumps):
            further = jump[here]
            here = np.where(self.level[further] >= until, further, here)
        nodes[moving] = here
        return nodes

    def pass_on(
        self, combine: Callable[[Any, Any], Any], held: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """What each node has when it begins, and in the end: a merge begins with all that its two parts had in the end.

        `held` (nodes,) is what each node comes by itself; a hill begins with the last entry, which stands for nothing.
        """
        end = held.tolist()
        begin = [end[-1]] * len(end)
        hills = len(end) - 1 - len(self.pairs)
        for node, (a, b) in enumerate(self.pairs, start=hills):
            begin[node] = both = combine(end[a], end[b])
            end[node] = combine(both, end[node])
        return np.array(begin), np.array(end)

    def count_at(self, levels: int) -> NDArray[np.intp]:
        """The number of parts at each level from 1 to `levels`: hills that have begun, less the merges."""
        merges = len(self.pairs)
        hills, joined = np.split(self.level[:-1], [len(self.level) - 1 - merges])
        begun = np.bincount(hills, minlength=levels + 1) - np.bincount(joined, minlength=levels + 1)
        return np.cumsum(begun[::-1])[::-1][1:]


def find_hills(values: NDArray[np.floating], level: NDArray[np.intp]) -> Hills:
    """Let each pixel of `values` (H, W), without NaN, climb until it stands on a summit.

    A row is cut at its lowest points into stretches that rise to one crest and fall again. From a crest the way leads on to a
    higher neighbour in the row above or below, and with it to the crest of that stretch. Of equal values the later one in
    reading order counts as higher, so no climb runs in a circle (a plateau may break into several hills, which touch at
    its own height). Summits where `level` (H, W) is 0 do not count.
    """
    stretch, crests = _stretches(values)
    upward = _onward(values, stretch, crests)
    top = upward
    while True:  # path doubling: the number of rounds is the logarithm of the longest climb
        further = top.take(top)
        if np.array_equal(further, top):
            break
        top = further
    ends = np.flatnonzero((upward == np.arange(len(crests))) & (level.ravel()[crests] > 0))
    number = np.zeros(len(crests), np.intp)
    number[ends] = np.arange(len(ends))
    return Hills(number.take(top).take(stretch), crests[ends], crests, _column_crests(values))


def _stretches(values: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Number the stretches of all rows, intp (H * W,), and find the flat index of the crest of each."""
    height, width = values.shape
    rises = np.empty((height, width + 1), bool)
    rises[:, 0], rises[:, -1] = True, False
    np.greater_equal(values[:, 1:], values[:, :-1], out=rises[:, 1:-1])
    before, after = rises[:, :-1], rises[:, 1:]
    begins = np.empty((height, width), bool)
    begins[:, 0] = True
    np.less(before[:, :-1], after[:, :-1], out=begins[:, 1:])  # the pixel before is a lowest point
    stretch = np.cumsum(begins, dtype=np.intp)
    stretch -= 1
    return stretch, np.flatnonzero(before > after)


def _column_crests(values: NDArray[np.floating]) -> NDArray[np.intp]:
    height, width = values.shape
    rises = np.empty((height + 1, width), bool)
    rises[0], rises[-1] = True, False
    np.greater_equal(values[1:], values[:-1], out=rises[1:-1])
    return np.flatnonzero(rises[:-1] > rises[1:])


def _onward(
    values: NDArray[np.floating], stretch: NDArray[np.intp], crests: NDArray[np.intp]
) -> NDArray[np.intp]:
    """The stretch above or below that each crest leads to, itself where both neighbouring rows are lower."""
    height, width = values.shape
    flat = values.ravel()
    row, column = np.divmod(crests, width)
    best, goal = flat[crests], crests.copy()
    for down in (-1, 1):
        for across in (-1, 0, 1):
            there = (row + down >= 0) & (row + down < height)
            there &= (column + across >= 0) & (column + across < width)
            other = np.where(there, crests + (down * width + across), crests)
            found = flat[other]
            better = there & ((found > best) if down < 0 else (found >= best))
            best, goal = np.where(better, found, best), np.where(better, other, goal)
    return stretch[goal]


def join_hills(hills: Hills, level: NDArray[np.intp]) -> Tree:
    """Find the order in which the hills of `level` (H, W) join as the threshold falls, with union-find (Tarjan 1975)."""
    first, second, height = _passes(hills, level)
    return _tree(level.ravel()[hills.summits].tolist(), first, second, height)


def _passes(hills: Hills, level: NDArray[np.intp]) -> tuple[list[int], list[int], list[int]]:
    """The highest pass between each two hills that touch, highest first: two hills and the level of the pass."""
    width = level.shape[1]
    label, flat = hills.label, level.ravel()
    count, bits = len(hills.summits), int(level.max()).bit_length()
    keys = []
    for down, across in ((0, 1), (1, -1), (1, 0), (1, 1)):
        shift = down * width + across
        near = np.flatnonzero(label[: max(len(label) - shift, 0)] != label[shift:])
        if across:  # not around the edge of the image
            near = near[near % width != (width - 1 if across > 0 else 0)]
        a, b = label[near], label[near + shift]
        low = np.minimum(flat[near], flat[near + shift])
        key = ((np.minimum(a, b) * count + np.maximum(a, b)) << bits) | low
        keys.append(key[low > 0])
    key = np.sort(np.concatenate(keys))
    highest = np.append(np.diff(key >> bits) != 0, True)[: len(key)]
    pair, low = key[highest] >> bits, key[highest] & ((1 << bits) - 1)
    order = np.argsort(-low, kind="stable")
    first, second = np.divmod(pair[order], count)
    return first.tolist(), second.tolist(), low[order].tolist()


def _tree(tops: list[int], first: list[int], second: list[int], height: list[int]) -> Tree:
    leader = list(range(len(tops)))  # union-find over the hills
    node = list(range(len(tops)))  # the part that a leader stands for
    level, pairs = list(tops), []
    parent = [-1] * len(tops)
    for a, b, at in zip(first, second, height, strict=True):
        one, other = _leader(leader, a), _leader(leader, b)
        if one == other:
            continue
        parent[node[one]] = parent[node[other]] = len(level)
        pairs.append((node[one], node[other]))
        leader[other], node[one] = one, len(level)
        parent.append(-1)
        level.append(at)
    end = len(level)
    parent = [end if above < 0 else above for above in parent] + [end]
    return Tree(np.array(parent, np.intp), np.array([*level, 0], np.intp), pairs)


def _leader(leader: list[int], hill: int) -> int:
    while leader[hill] != hill:
        leader[hill] = hill = leader[leader[hill]]
    return hill
