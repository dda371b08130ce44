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
from saliscope.stats.interval import Floats, Interval, Labels, check_settings, read_labels

__all__ = ["Resampled", "Statistic", "resample"]

Statistic = Callable[[Floats], Floats]
_CELLS = 1_000_000  # numbers held at a time in each array: 8 MB


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
    if by not in ("percentile", "bca"):
        raise OptionError(f'bootstrap intervals are made by "percentile" or "bca"; got "{by}"')
    rows = np.asarray(parts)
    rows = rows if rows.dtype == np.float32 else rows.astype(np.float64, copy=False)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise DataError(
            f"parts are finite, of shape (rows, k); got {rows.shape}: leave NaN rows out"
        )
    sums, sizes = _units(rows, strata, clusters)
    total = sums.sum(axis=0, keepdims=True, dtype=np.float64)
    if not len(sums):  # only the number of statistics is asked of it; of no rows it may divide by 0
        with np.errstate(all="ignore"):
            width = int(statistic(total).shape[1])
        return (Resampled(math.nan, np.empty(0), 0, undefined),) * width
    estimates = statistic(total)[0]
    drawn = np.concatenate([statistic(s) for s in _sums(sums, sizes, replicates, seed)])
    lean = np.full(len(estimates), math.nan)
    if by == "bca":
        lean = _accelerations(sums, sizes, statistic)
    return tuple(
        Resampled(float(e), np.ascontiguousarray(drawn[:, i]), len(rows), undefined, float(lean[i]))
        for i, e in enumerate(estimates)
    )


def _units(
    rows: Floats, strata: Labels | None, clusters: Labels | None
) -> tuple[Floats, NDArray[np.intp]]:
    """What each unit that is drawn adds, stratum after stratum, and how many units each stratum has."""
    stratum = np.zeros(len(rows), np.intp)
    if strata is not None:
        _, stratum = read_labels(strata, len(rows), what="strata")
    if clusters is not None:
        names, cluster = read_labels(clusters, len(rows), what="clusters")
        owner = np.empty(len(names), np.intp)
        owner[cluster] = stratum
        if (torn := np.flatnonzero(owner[cluster] != stratum)).size:
            name = names[cluster[torn[0]]]
            raise DataError(
                f'cluster "{name}" has rows in two strata; a cluster is drawn as a whole'
            )
        sums = np.zeros((len(names), rows.shape[1]))
        np.add.at(sums, cluster, rows)
        rows, stratum = sums, owner
    if strata is None:
        return rows, np.array([len(rows)], np.intp)
    return rows[np.argsort(stratum, kind="stable")], np.bincount(stratum)


def draw_counts(
    draw: np.random.Generator, sizes: NDArray[np.intp], replicates: int, *, width: int = 1
) -> Iterator[Floats]:
    """How often each unit is drawn, a row for each replicate: blocks (r, units) that hold about 8 MB.

    Each row of a stratum of size n is multinomial(n, 1/n ...). `width`: the columns that will be multiplied with them.
    """
    count = int(sizes.sum())
    at_once = max(1, _CELLS // max(count, width))
    for start in range(0, replicates, at_once):
        rows = min(at_once, replicates - start)
        picked = np.empty((rows, count), np.int64)
        at = 0
        for size in sizes:
            picked[:, at : at + size] = draw.integers(at, at + size, (rows, size))
            at += int(size)
        yield _tally(picked, count)


def _tally(picked: NDArray[np.int64], count: int) -> Floats:
    out = np.empty(picked.shape)
    if (
        count < 500
    ):  # few units: one call for all replicates; many: one call each, which stays in the cache
        shifted = picked + np.arange(len(picked))[:, None] * count
        out[:] = np.bincount(shifted.ravel(), minlength=picked.size).reshape(picked.shape)
    else:
        for row, drawn in zip(out, picked, strict=True):
            row[:] = np.bincount(drawn, minlength=count)
    return out


def _sums(parts: Floats, sizes: NDArray[np.intp], replicates: int, seed: int) -> Iterator[Floats]:
    draw = np.random.default_rng(seed)
    # Whole numbers whose sums stay below 2^24 are exact in single precision, which multiplies twice as fast.
    whole = len(parts) * np.abs(parts).max(initial=0) < 2**24 and (parts == np.rint(parts)).all()
    factor: NDArray[Any] = parts.astype(np.float32 if whole else np.float64, copy=False)
    for counts in draw_counts(draw, sizes, replicates, width=parts.shape[1]):
        weights: NDArray[Any] = counts.astype(np.float32) if whole else counts
        yield np.asarray(weights @ factor, np.float64)


def _accelerations(parts: Floats, sizes: NDArray[np.intp], statistic: Statistic) -> Floats:
    """Efron and Tibshirani 1993, eq. 14.15, by the jackknife; over strata as over samples in Davison and Hinkley 1997, section 5.3.

    A unit is left out of its stratum and the rest of that stratum raised to its old size, so that a stratum keeps its weight.
    """
    total = parts.sum(axis=0, dtype=np.float64)
    block = max(1, _CELLS // parts.shape[1])
    cubes, squares, at = np.zeros(1), np.zeros(1), 0
    for size in sizes:
        own, at = parts[at : at + size], at + int(size)
        if size < 2:  # it is drawn always
            continue
        mine = own.sum(axis=0, dtype=np.float64)
        raised, rest = size / (size - 1), total - mine
        blocks = (own[i : i + block] for i in range(0, int(size), block))
        without = np.concatenate([statistic(rest + (mine - b) * raised) for b in blocks])
        lean = (without.mean(axis=0) - without) / raised
        cubes, squares = cubes + (lean**3).sum(axis=0), squares + (lean**2).sum(axis=0)
    flat = squares <= 0
    found = np.where(flat, 0.0, cubes / (6 * np.where(flat, 1.0, squares) ** 1.5))
    return np.broadcast_to(found, statistic(total[None])[0].shape)


def _bca(tails: Floats, found: Resampled) -> Floats:
    from scipy.special import ndtr, ndtri

    below = np.mean(found.replicates < found.estimate)
    bias = ndtri(below + np.mean(found.replicates == found.estimate) / 2)
    if not np.isfinite(bias):
        return np.full(2, np.nan)
    moved = bias + ndtri(tails)
    return np.asarray(ndtr(bias + moved / (1 - found.acceleration * moved)), np.float64)
