"""The thresholds that can be the best of a replicate, and the maxima of every replicate over them.

Of a thousand thresholds most are never chosen, and neighbours differ in few images. Both are used here; neither changes a number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliscope.stats.interval import Floats
from saliscope.stats.resampling import Units

__all__ = ["Contenders", "Scores", "find_contenders"]

Scores = NDArray[np.int8 | np.float64]  # int8 holds 0 to 127

_ODDS = 1e-9  # that any threshold which was left out would have been chosen by any replicate
_FEW = 50  # units below which no threshold is left out: there is nothing to gain
_SPARSE = 16  # a product with changes pays where fewer than one number in so many changes
_ROWS = 256  # units read at a time: they stay in the cache, and 256 * 127 in int16


@dataclass(frozen=True, eq=False)
class Contenders:
    """The thresholds of one method that can win.

    `places`: for each delta, which thresholds they are, rising. `scores` (columns, units): theirs, delta after delta, the rows of
    each unit summed. `factor` (columns, units): what counts are multiplied with; where `changes`, a sparse matrix of each column
    less the one before it, so that the sums are those of the products.
    """

    places: tuple[NDArray[np.intp], ...]
    scores: Scores
    factor: Any
    changes: bool

    def replicate(self, counts: NDArray[np.float32], rows: Floats) -> Floats:
        """`counts` (units, r), `rows` drawn by each replicate (r,) -> `maxima` (r, 1 + deltas)."""
        if self.factor.dtype == np.float64:
            return self.maxima(self.factor @ counts.astype(np.float64), rows)
        sums = self.factor @ counts
        return self.maxima(np.cumsum(sums, axis=0, out=sums) if self.changes else sums, rows)

    def maxima(self, sums: NDArray[Any], rows: Floats) -> Floats:
        """Sums (columns, r) over `rows` (r,) -> (r, 1 + deltas): the mean of the maxima, then the threshold of each."""
        best = np.empty((len(rows), len(self.places)))
        chosen, at = np.empty_like(best), 0
        for delta, places in enumerate(self.places):
            own, at = sums[at : at + len(places)], at + len(places)
            best[:, delta] = own.max(axis=0)
            chosen[:, delta] = places[own.argmax(axis=0)]
        return np.column_stack([(best / rows[:, None]).mean(axis=1), chosen])


def find_contenders(scores: Scores, units: Units, *, replicates: int) -> Contenders:
    """The contenders of `scores` (rows, deltas, thresholds): no column that cannot win, and of equal columns the first."""
    limit = math.log(scores.shape[1] * scores.shape[2] * replicates / _ODDS)
    places: list[NDArray[np.intp]] = []
    kept: list[Scores] = []
    for delta in range(scores.shape[1]):
        table: Scores = units.sums(scores[:, delta])
        possible = np.arange(table.shape[1]) if len(table) < _FEW else _possible(table, limit)
        columns = _columns(table, possible)
        first: dict[bytes, int] = {}
        for i, column in enumerate(columns):
            first.setdefault(column.tobytes(), i)
        distinct = np.fromiter(first.values(), np.intp)
        places.append(possible[distinct])
        kept.append(columns if len(distinct) == len(columns) else columns[distinct])
    every = np.concatenate(kept)
    return Contenders(tuple(places), every, *_factor(every))


def _possible(table: Scores, limit: float) -> NDArray[np.intp]:
    """The columns of `table` (units, columns) that a replicate can choose, but for odds of exp(−`limit`) for each other one.

    Let d_i be a column less the best one at unit i, divided by the largest |d|; `more` the sum of its positive values and `less` that
    of its negative ones. A replicate chooses the column only if its d add up to 0 or more. For any t > 0 the chance of that is at most
    E exp(t sum) (Chernoff), a product over strata of (1 + sum_i (exp(t d_i) − 1) / n)^n, so at most exp(sum_i (exp(t d_i) − 1)). As exp is
    convex, that sum is at most more (exp(t) − 1) + less (exp(−t) − 1), and with exp(t) = sqrt(less / more) the chance is at most
    exp(−(sqrt(less) − sqrt(more))²). No distribution is assumed; strata, and clusters as units, obey the same bound.

    For right and wrong, `less` and `more` count the images that only one of the two gets right, and an exponent of 38 is a mean about
    8.7 standard errors below the best. Without one unit such a column does not win either: if it did, the sum above would be −1.4
    or more, whichever t. So the jackknife of BCa does not choose it.
    """
    wide = np.int16 if table.dtype == np.int8 else np.float64
    blocks = [table[i : i + _ROWS] for i in range(0, len(table), _ROWS)]
    total, apart, largest = np.zeros((3, table.shape[1]))
    for block in blocks:
        total += block.sum(axis=0, dtype=wide)
    best = int(total.argmax())
    for block in blocks:
        distance = np.abs(block - block[:, [best]])
        apart += distance.sum(axis=0, dtype=wide)
        np.maximum(largest, distance.max(axis=0), out=largest)
    gap, scale = total[best] - total, 2 * np.where(largest > 0, largest, 1.0)
    less, more = (apart + gap) / scale, np.maximum(apart - gap, 0.0) / scale
    return np.flatnonzero((np.sqrt(less) - np.sqrt(more)) ** 2 < limit)


def _columns(table: Scores, places: NDArray[np.intp]) -> Scores:
    """`table[:, places].T` in the order of its own rows, a few units at a time: five times as fast."""
    out = np.empty((len(places), len(table)), table.dtype)
    for start in range(0, len(table), _ROWS):
        out[:, start : start + _ROWS] = table[start : start + _ROWS, places].T
    return out


def _factor(columns: Scores) -> tuple[Any, bool]:
    """What counts are multiplied with, and whether it holds changes from column to column.

    Counts and whole numbers give whole sums, which single precision holds exactly below 2^24, in whatever order they are added.
    Other numbers are multiplied as they are, in double precision.
    """
    largest = max(float(columns.max(initial=0)), -float(columns.min(initial=0)))
    whole = columns.dtype == np.int8 or bool((columns == np.rint(columns)).all())
    if not whole or 2 * largest * columns.shape[1] >= 2**24:
        return columns.astype(np.float64), False
    changes = np.diff(columns, axis=0, prepend=columns.dtype.type(0))
    if np.count_nonzero(changes) * _SPARSE > changes.size:
        return columns.astype(np.float32), False
    from scipy.sparse import csr_array

    where = np.flatnonzero(changes != 0)
    column, unit = np.divmod(where, changes.shape[1])
    ends = np.searchsorted(column, np.arange(len(changes) + 1)).astype(np.int32)
    values = changes.ravel()[where].astype(np.float32)
    return csr_array((values, unit.astype(np.int32), ends), shape=changes.shape), True
