"""Two methods on the same images: the mean difference, a rank test and its effect size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from saliscope.stats.bootstrap import mean_interval, unit_means
from saliscope.stats.interval import Floats, Interval, Labels, read_pair, read_values

__all__ = ["PairedDifference", "Wilcoxon", "midranks", "paired_difference", "wilcoxon"]

_EXACT = 50  # non-zero differences up to which all 2^m signs are counted
_DIGITS = 12  # differences that agree to so many digits of the largest are ties: they are rounding


@dataclass(frozen=True)
class Wilcoxon:
    """A signed-rank test: `positive` and `negative` rank sums, `zeros` of `n` differences, two-sided `pvalue`.

    `effect` is the matched-pairs rank-biserial correlation in [-1, 1]; `exact` says how the p-value was found.
    """

    positive: float
    negative: float
    zeros: int
    n: int
    pvalue: float
    effect: float
    exact: bool
    undefined: int = 0


@dataclass(frozen=True)
class PairedDifference:
    """first − second: the mean with its interval, and the signed-rank test of the same differences."""

    interval: Interval
    wilcoxon: Wilcoxon


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    strata: Labels | None = None,
    clusters: Labels | None = None,
    by: Literal["percentile", "bca"] = "percentile",
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Compare two methods' scores of the same images in the same order.

    A pair with an undefined side is left out and counted. With `clusters` (several rows of an image), the interval draws images,
    and the test ranks one number an image: the mean of its differences. Options and errors as in `mean_interval`.

    >>> found = paired_difference([0.5, 0.7, 0.9], [0.4, 0.4, 0.4])
    >>> print(found.interval, found.wilcoxon.pvalue)
    0.300 [0.100, 0.500] 0.25
    """
    one, two = read_pair(first, second)
    differences = one - two
    interval = mean_interval(
        differences, strata=strata, clusters=clusters, by=by,
        level=level, replicates=replicates, seed=seed,
    )  # fmt: skip
    units = differences if clusters is None else unit_means(differences, clusters)
    return PairedDifference(interval, wilcoxon(units))


def wilcoxon(differences: ArrayLike, *, tolerance: float = 0.0) -> Wilcoxon:
    """The Wilcoxon signed-rank test (Wilcoxon 1945) that the differences lie evenly around 0, zeros by Pratt (1959).

    |d| is ranked together with the zeros, equals share their mean rank, and then the zeros drop out. Up to 50 non-zero differences the
    p-value is exact: all 2^m signs of the ranks as they are, ties and zeros included. Beyond, W+ is taken as normal with mean
    sum(r)/2 and variance sum(r²)/4, which contains the correction for ties and zeros (Pratt 1959; Cureton 1967), without one for
    continuity. The effect is (R+ − R−) / (R+ + R−) (Kerby 2014). NaN is left out and counted; only zeros: p 1, effect
    NaN; nothing: p NaN. Differences up to `tolerance` are zeros.
    """
    given = read_values(differences)
    values = given[~np.isnan(given)]
    n, missing = len(values), int(np.isnan(given).sum())
    if not n:
        return Wilcoxon(0.0, 0.0, 0, 0, math.nan, math.nan, True, missing)
    size = np.where(np.abs(values) <= tolerance, 0.0, np.abs(values))
    if scale := size.max():
        size = np.round(size / scale, _DIGITS)
    ranks, some = midranks(size), size > 0
    positive = float(ranks[some & (values > 0)].sum())
    negative = float(ranks[some & (values < 0)].sum())
    zeros, total = int(n - some.sum()), positive + negative
    exact = n - zeros <= _EXACT
    find = _exact if exact else _normal
    pvalue = find(ranks[some], zeros, min(positive, negative))
    effect = (positive - negative) / total if total else math.nan
    return Wilcoxon(positive, negative, zeros, n, pvalue, effect, exact, missing)


def midranks(values: Floats) -> Floats:
    """Ranks from 1, equals sharing the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[place], np.float64)


def _exact(ranks: Floats, zeros: int, smaller: float) -> float:
    """Twice the share of all signs whose positive ranks sum to `smaller` or less.

    A rank is `zeros` plus the rank among the non-zero, so the table counts how many are positive and what those add: its size
    does not grow with the zeros. Doubled, ranks are whole.
    """
    own = np.rint(2 * (ranks - zeros)).astype(int)
    chance = np.zeros((len(own) + 1, int(own.sum()) + 1))
    chance[0, 0] = 1.0
    for rank in own:
        chance /= 2
        # What was, with this one added; the right side is copied before anything is written.
        chance[1:, rank:] += chance[:-1, : chance.shape[1] - rank].copy()
    many, added = np.ogrid[: chance.shape[0], : chance.shape[1]]
    below = 2 * zeros * many + added <= round(2 * smaller)
    return min(1.0, 2 * float(chance[below].sum()))


def _normal(ranks: Floats, _zeros: int, smaller: float) -> float:
    from scipy.special import ndtr

    return min(1.0, 2 * float(ndtr((smaller - ranks.sum() / 2) / math.sqrt((ranks**2).sum() / 4))))
