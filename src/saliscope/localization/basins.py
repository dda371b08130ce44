"""The hills of a heatmap: which summit each pixel climbs to, and where hills meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Hills", "Relief", "find_hills"]


@dataclass(frozen=True, eq=False)
class Relief:
    """A heatmap laid out flat with -inf all around, so that the eight neighbours of a pixel are a step in memory away.

    `values` (N,) holds the heatmap row by row, one place of -inf before each row and a row of them above and below;
    `width` is a row of the heatmap plus one. Pixels go by their place in `values`, which ascends in reading order.
    """

    values: NDArray[np.floating]
    width: int

    @classmethod
    def of(cls, heat: NDArray[np.floating]) -> Relief:
        """Lay out a heatmap (H, W), in float32 if it is no wider; NaN, which the network never saw, is below everything.

        >>> Relief.of(np.array([[1.0, 2.0]])).values.tolist()
        [-inf, -inf, -inf, -inf, 1.0, 2.0, -inf, -inf, -inf, -inf]
        """
        height, width = heat.shape
        kind = np.float32 if heat.dtype in (np.float16, np.float32) else np.float64
        # The last pixel has a neighbour below and to the right, too: one more place.
        values: NDArray[np.floating] = np.full((height + 2) * (width + 1) + 1, -np.inf, kind)
        inside = values[:-1].reshape(height + 2, width + 1)[1:-1, 1:]
        np.copyto(inside, heat, casting="same_kind")
        if inside.size and np.isnan(inside.min()):
            np.copyto(inside, -np.inf, where=np.isnan(inside))
        return cls(values, width + 1)

    def points(self, places: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The columns and the rows of pixels in the heatmap."""
        row = places // self.width
        return places - row * self.width - 1, row - 1


@dataclass(frozen=True, eq=False)
class Hills:
    """A relief cut into hills.

    `level` intp (N,) is how many thresholds each pixel passes, less than 1 << `bits`; `cells` intp (N,) also tell to which
    hill it belongs: hill << `bits` | level. The pixels of one hill at or above any height are 8-connected, as long as there
    are any; at level 0 the hill means nothing. `summits` intp (M,) are the places of the tops. `meets` intp (3, J) are where
    hills meet: one, another, and the place. `crests` are the places higher than both neighbours in their row, or in their
    column, and those where hills meet: a part has one of them in each row and in each column that it reaches.
    """

    level: NDArray[np.intp]
    bits: int
    cells: NDArray[np.intp]
    summits: NDArray[np.intp]
    meets: NDArray[np.intp]
    crests: NDArray[np.intp]


def find_hills(relief: Relief, level: NDArray[np.intp]) -> Hills:
    """Let each pixel climb until it stands on a summit. `level` (N,) is 1 or more for at least one of them.

    Rows are cut at their lowest points into stretches that rise to one crest and fall again. From a crest the way leads on
    to a higher neighbour in the row above or below, and with it to the crest of that stretch. Of equal values the later one
    in reading order counts as higher, so no climb runs in a circle (a plateau may break into several hills, which meet at
    its own height). Summits at level 0 do not count.
    """
    width, bits = relief.width, int(level.max()).bit_length()
    falls = _falls(relief)
    crests = _crests(falls[1], 1)
    starts = np.flatnonzero(falls[1][:-1] > falls[1][1:]) + 2  # the place before is a lowest point
    onward = _onward(falls, crests, width)
    top = np.searchsorted(starts, onward, side="right")
    while True:  # path doubling: the number of rounds is the logarithm of the longest climb
        further = top.take(top)
        if np.array_equal(further, top):
            break
        top = further
    ends = np.flatnonzero((onward == crests) & (level[crests] > 0))
    number = np.zeros(len(crests), np.intp)
    number[ends] = np.arange(len(ends)) << bits
    hill = np.append(number[top], 0)  # behind the last lowest point there is no crest
    cells = np.repeat(hill, np.diff(np.concatenate([[0], starts, [len(level)]])))
    cells |= level
    meets = _meets(falls, level, cells, bits, width)
    places = np.concatenate([crests, _crests(falls[width], width), meets[2]])
    return Hills(level, bits, cells, crests[ends], meets, places)


def _falls(relief: Relief) -> dict[int, NDArray[np.bool_]]:
    """For each step in memory to a later neighbour, the places from which it leads down."""
    values, width = relief.values, relief.width
    return {step: values[step:] < values[:-step] for step in (1, width - 1, width, width + 1)}


def _crests(falls: NDArray[np.bool_], step: int) -> NDArray[np.intp]:
    """The places to which a step does not lead down, and from which the next one does."""
    return np.flatnonzero(falls[step:] > falls[:-step]) + step


def _onward(
    falls: dict[int, NDArray[np.bool_]], crests: NDArray[np.intp], width: int
) -> NDArray[np.intp]:
    """The higher pixel above or below that each crest leads to, itself where both neighbouring rows are lower."""
    goal = crests.copy()
    for step in (width - 1, width, width + 1):
        np.copyto(goal, crests - step, where=falls[step][crests - step])
        np.copyto(goal, crests + step, where=~falls[step][crests])
    return goal


def _meets(
    falls: dict[int, NDArray[np.bool_]],
    level: NDArray[np.intp],
    cells: NDArray[np.intp],
    bits: int,
    width: int,
) -> NDArray[np.intp]:
    """Where hills meet, going down, as each pixel joins all its higher neighbours: two hills and the place, intp (3, J).

    Most pixels have their higher neighbours side by side: these are connected already. Only at a saddle do lower ones lie
    between them.
    """
    ring = [1, width + 1, width, width - 1, -1, -width - 1, -width, -width + 1]
    margin, inner = width + 1, len(level) - 2 * (width + 1)
    lower = [
        falls[step][margin:][:inner] if step > 0 else ~falls[-step][margin + step :][:inner]
        for step in ring
    ]
    first, second, third, fourth = (gap.view(np.int8) for gap in _gaps(lower))
    saddles = np.flatnonzero(first + second + third + fourth > 1) + margin
    saddles = saddles[level[saddles] > 0]
    lower = [falls[step][saddles] if step > 0 else ~falls[-step][saddles + step] for step in ring]
    found = []
    for side, gap in zip((0, 2, 4, 6), _gaps(lower), strict=True):
        beyond = np.where(lower[side + 1], ring[(side + 2) % 8], ring[side + 1])
        one, other = cells[saddles] >> bits, cells[saddles + beyond] >> bits
        joins = np.flatnonzero(gap & (one != other))
        found.append(np.stack([one[joins], other[joins], saddles[joins]]))
    return np.concatenate(found, axis=1)


def _gaps(lower: list[NDArray[np.bool_]]) -> list[NDArray[np.bool_]]:
    """Which of the four neighbours that share a side are the last lower one before a higher one, going around.

    A lower neighbour at a corner is no gap: the two beside it touch.
    """
    return [lower[side] > (lower[side + 1] & lower[(side + 2) % 8]) for side in (0, 2, 4, 6)]
