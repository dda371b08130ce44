"""Rank correlation: do two maps put the same places first?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saliscope.errors import DataError

__all__ = ["average_ranks", "spearman", "spearman_rows"]


def average_ranks(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """The rank of each value in its row, 1 for the lowest, equals sharing their mean rank: (R, n), float64.

    >>> average_ranks(np.array([[10.0, 30.0, 30.0, 20.0]]))
    array([[1. , 3.5, 3.5, 2. ]])
    """
    from scipy.stats import rankdata

    ranks: NDArray[np.float64] = rankdata(rows, method="average", axis=-1)
    return ranks


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rank correlation of two arrays of one shape, in [-1, 1]; equals share their mean rank.

    Any shape: a map is read flat. Places where either is NaN, which a crop never saw, are left out of both. NaN where either
    is constant, or fewer than two places remain: there is no order to compare. Raises `DataError` where the shapes differ.

    >>> spearman([1, 2, 3], [1, 10, 100])
    1.0
    """
    one, other = _pair(a, b)
    return float(spearman_rows(one.reshape(1, -1), other.reshape(1, -1))[0])


def spearman_rows(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """`spearman` of each pair of rows: arrays (R, n) or maps (R, H, W), one shape, to float64 (R,)."""
    one, other = _pair(a, b)
    if one.ndim < 2:
        raise DataError(
            f"rows to correlate have shape (R, n) or (R, H, W); got {one.shape}: use spearman for one pair"
        )
    flat = (len(one), math.prod(one.shape[1:]))
    one, other = one.reshape(flat), other.reshape(flat)
    found = np.full(len(one), math.nan)
    seen = ~(np.isnan(one) | np.isnan(other))
    whole = seen.all(axis=1)
    found[whole] = _pearson(*(average_ranks(rows[whole]) for rows in (one, other)))
    for row in np.flatnonzero(~whole):
        kept = (average_ranks(rows[row, seen[row]][None]) for rows in (one, other))
        found[row] = _pearson(*kept)[0]
    return found


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The correlation of rows of ranks; NaN where a row is constant. Sums of ranks are exact, so equal orders give 1."""
    if not a.size:
        return np.full(len(a), math.nan)
    middle = (a.shape[1] + 1) / 2
    a, b = a - middle, b - middle
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    together = (a * b).sum(axis=1)
    found = np.divide(together, spread, out=np.full(len(a), math.nan), where=spread > 0)
    clipped: NDArray[np.float64] = np.clip(found, -1, 1)
    return clipped


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    one, other = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if one.shape != other.shape:
        raise DataError(
            f"rank correlation compares arrays of one shape; got {one.shape} and {other.shape}: bring both to one grid"
        )
    return one, other
