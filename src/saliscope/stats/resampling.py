"""Draw the images again, many times, and recompute any statistic that depends on sums over them.

A replicate is how often each image was drawn: a row of counts. All that a statistic needs of the images is summed by one
matrix product of counts and the images' parts, so a thousand columns cost little more than one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saliscope.errors import DataError, OptionError
from saliscope.stats.counts import CELLS, counts_by
from saliscope.stats.interval import Floats, Interval, Labels, check_settings, read_labels

__all__ = ["Resampled", "Statistic", "resample"]

Statistic = Callable[[Floats], Floats]
_NARROW, _PIECE = 32, 64  # columns; units


@dataclass(frozen=True, eq=False)
class Resampled:
    """A statistic of the data (`estimate`) and of each bootstrap replicate (`replicates`, float64, one number each).

    `acceleration` is what BCa needs and NaN where it was not asked for; `n` rows were defined, `undefined` were not.
    """

    estimate: float
    replicates: Floats
    n: int
    undefined: int = 0
    acceleration: float = math.nan

    def interval(
        self, *, level: float = 0.95, by: Literal["percentile", "bca"] = "percentile"
    ) -> Interval:
        """The interval at `level` by a named rule.

        "percentile": quantiles of the replicates (Efron and Tibshirani 1993, section 13.3). "bca": bias-corrected and accelerated
        (Efron 1987; Efron and Tibshirani 1993, section 14.3); ties count half in the bias; NaN where
        all replicates lie on one side of the estimate, which then says that the bootstrap does not fit the statistic.
        """
        tails = np.array([(1 - level) / 2, (1 + level) / 2])
        low = high = math.nan
        if len(self.replicates):
            if by == "bca" and np.ptp(self.replicates) > 0:
                tails = _bca(tails, self)
            if not np.isnan(tails).any():
                low, high = (float(v) for v in np.quantile(self.replicates, tails))
        return Interval(self.estimate, low, high, self.n, self.undefined, level, by)


def resample(
    parts: ArrayLike,
    statistic: Statistic,
    *,
    strata: Labels | None = None,
    clusters: Labels | None = None,
    undefined: int = 0,
    replicates: int = 10_000,
    seed: int = 0,
    by: Literal["percentile", "bca"] = "percentile",
) -> tuple[Resampled, ...]:
    """Bootstrap any statistic that is a function of sums over the rows.

    `parts` (rows, k) is what each row adds, without NaN: for a mean its value and a one; for a precision-recall curve its
    histograms. Float32 stays float32 until it is summed. `statistic` turns sums (r, k) into numbers (r, m); one `Resampled` comes back for each of the m. `strata`: rows
    are drawn within each label, so that its size never changes. `clusters`: rows of one label (the rows of one image)
    are drawn together; a cluster lies in one stratum. The same seed, labels and number of rows draw the same images.

    Raises `DataError` for NaN or infinite parts, labels that do not fit and a cluster in two strata; `OptionError` for
    fewer than 100 replicates or an unknown rule.
    """
    check_settings(0.5, replicates)
    check_rule(by)
    rows = np.asarray(parts)
    rows = rows if rows.dtype == np.float32 else rows.astype(np.float64, copy=False)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise DataError(
            f"parts are finite, of shape (rows, k); got {rows.shape}: leave NaN rows out"
        )
    units = read_units(len(rows), strata, clusters)
    sums = units.sums(rows)
    total = sums.sum(axis=0, keepdims=True, dtype=np.float64)
    if not len(sums):  # only the number of statistics is asked of it; of no rows it may divide by 0
        with np.errstate(all="ignore"):
            width = int(statistic(total).shape[1])
        return (Resampled(math.nan, np.empty(0), 0, undefined),) * width
    estimates = statistic(total)[0]
    drawn = np.concatenate([statistic(s) for s in _sums(sums, units.sizes, replicates, seed)])
    lean = np.full(len(estimates), math.nan)
    if by == "bca":
        lean = acceleration(leave_one_out(sums, units.sizes, statistic), units.sizes)
    return tuple(
        Resampled(float(e), np.ascontiguousarray(drawn[:, i]), len(rows), undefined, float(lean[i]))
        for i, e in enumerate(estimates)
    )


def check_rule(by: str) -> None:
    """Raise `OptionError` for a rule that is neither "percentile" nor "bca"."""
    if by not in ("percentile", "bca"):
        raise OptionError(f'bootstrap intervals are made by "percentile" or "bca"; got "{by}"')


@dataclass(frozen=True, eq=False)
class Units:
    """What is drawn: rows or clusters of rows, stratum after stratum, `sizes` units in each.

    `order`: the rows, cluster by cluster in the order of units; None where rows stand in order already. `starts`: where in it
    each cluster begins; None where each row is a unit.
    """

    sizes: NDArray[np.intp]
    order: NDArray[np.intp] | None = None
    starts: NDArray[np.intp] | None = None

    def sums(self, rows: NDArray[Any]) -> NDArray[Any]:
        """(rows, k) -> (units, k): what each unit adds, float64 where clusters are summed."""
        ordered = rows if self.order is None else rows[self.order]
        if self.starts is None or not len(rows):
            return ordered
        return np.add.reduceat(ordered, self.starts, axis=0, dtype=np.float64)


def read_units(count: int, strata: Labels | None, clusters: Labels | None) -> Units:
    """The units of `count` rows; raises `DataError` for labels that do not fit and a cluster in two strata."""
    if strata is None and clusters is None:
        return Units(np.array([count], np.intp))
    stratum = np.zeros(count, np.intp)
    if strata is not None:
        _, stratum = read_labels(strata, count, what="strata")
    if clusters is None:
        order = np.argsort(stratum, kind="stable")
        return Units(np.bincount(stratum), None if _rising(order) else order)
    names, cluster = read_labels(clusters, count, what="clusters")
    owner = np.empty(len(names), np.intp)
    owner[cluster] = stratum
    if (torn := np.flatnonzero(owner[cluster] != stratum)).size:
        name = names[cluster[torn[0]]]
        raise DataError(f'cluster "{name}" has rows in two strata; a cluster is drawn as a whole')
    order = np.lexsort([cluster, stratum])
    starts = np.flatnonzero(np.diff(cluster[order], prepend=-1))
    sizes = np.bincount(owner) if strata is not None else np.array([len(names)], np.intp)
    return Units(sizes, None if _rising(order) else order, starts)


def _rising(order: NDArray[np.intp]) -> bool:
    return bool((order[1:] > order[:-1]).all())


def _sums(parts: Floats, sizes: NDArray[np.intp], replicates: int, seed: int) -> Iterator[Floats]:
    # Whole numbers whose sums stay below 2^24 are exact in single precision, which multiplies twice as fast.
    whole = len(parts) * np.abs(parts).max(initial=0) < 2**24 and (parts == np.rint(parts)).all()
    factor: NDArray[Any] = parts.astype(np.float32 if whole else np.float64, copy=False)
    for counts in counts_by(seed, sizes, replicates, width=parts.shape[1]):
        yield _product(counts, factor)


def _product(counts: NDArray[np.float32], factor: NDArray[Any]) -> Floats:
    """`counts @ factor`, a narrow `factor` in pieces so small that OpenBLAS takes one thread.

    After a product its other threads wait busily for the next, on the core that draws the next block meanwhile.
    """
    step = _PIECE if factor.shape[1] <= _NARROW else len(factor)
    found = np.zeros((len(counts), factor.shape[1]))
    for start in range(0, len(factor), step):
        piece = counts[:, start : start + step].astype(factor.dtype, copy=False)
        found += piece @ factor[start : start + step]
    return found


def leave_one_out(parts: NDArray[Any], sizes: NDArray[np.intp], statistic: Statistic) -> Floats:
    """The statistic without each unit (units, m); NaN for the only unit of a stratum, which is drawn always.

    A unit is left out of its stratum and the rest of that stratum raised to its old size, so that a stratum keeps its weight.
    """
    total = parts.sum(axis=0, dtype=np.float64)
    block = max(1, CELLS // parts.shape[1])
    found, at = np.full((len(parts), statistic(total[None]).shape[1]), math.nan), 0
    for size in map(int, sizes):
        own, here = parts[at : at + size], found[at : at + size]
        at += size
        if size < 2:
            continue
        mine = own.sum(axis=0, dtype=np.float64)
        raised, rest = size / (size - 1), total - mine
        for i in range(0, size, block):
            here[i : i + block] = statistic(rest + (mine - own[i : i + block]) * raised)
    return found


def acceleration(without: Floats, sizes: NDArray[np.intp]) -> Floats:
    """Efron and Tibshirani 1993, eq. 14.15, by the jackknife; over strata as over samples in Davison and Hinkley 1997, section 5.3."""
    cubes, squares, at = np.zeros(without.shape[1]), np.zeros(without.shape[1]), 0
    for size in map(int, sizes):
        own, at = without[at : at + size], at + size
        if size < 2:
            continue
        lean = (own.mean(axis=0) - own) * (size - 1) / size
        cubes, squares = cubes + (lean**3).sum(axis=0), squares + (lean**2).sum(axis=0)
    flat = squares <= 0
    return np.where(flat, 0.0, cubes / (6 * np.where(flat, 1.0, squares) ** 1.5))


def _bca(tails: Floats, found: Resampled) -> Floats:
    from scipy.special import ndtr, ndtri

    below = np.mean(found.replicates < found.estimate)
    bias = ndtri(below + np.mean(found.replicates == found.estimate) / 2)
    if not np.isfinite(bias):
        return np.full(2, np.nan)
    moved = bias + ndtri(tails)
    return np.asarray(ndtr(bias + moved / (1 - found.acceleration * moved)), np.float64)
