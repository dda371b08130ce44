"""More than two methods, more than one test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saliscope.errors import DataError, OptionError
from saliscope.stats.interval import Floats, read_values

__all__ = ["Corrected", "Friedman", "benjamini_hochberg", "correct", "friedman", "holm"]


@dataclass(frozen=True)
class Friedman:
    """Do `k` methods differ at all? `statistic` (chi-squared, k − 1 degrees), `pvalue`, `ranks` (mean rank of each; the highest score has rank k).

    `concordance` is Kendall's W in [0, 1]: 1 where all images order the methods alike.
    """

    statistic: float
    pvalue: float
    ranks: tuple[float, ...]
    concordance: float
    n: int
    undefined: int = 0


@dataclass(frozen=True)
class Corrected:
    """P-values of several tests, `raw` and `adjusted` by name, and the names `rejected` at `alpha`.

    `label` "family": tests declared beforehand, Holm, no false claim among all of them with probability 1 − alpha. "exploratory":
    a grid that was searched, Benjamini-Hochberg, a share alpha of the claims is expected to be false.
    """

    label: Literal["family", "exploratory"]
    rule: Literal["Holm", "Benjamini-Hochberg"]
    raw: Mapping[str, float]
    adjusted: Mapping[str, float]
    alpha: float = 0.05

    @property
    def rejected(self) -> tuple[str, ...]:
        return tuple(name for name, p in self.adjusted.items() if p <= self.alpha)


def friedman(scores: ArrayLike) -> Friedman:
    """Friedman's test (1937) with the correction for ties (Conover 1999, section 5.8), image by image.

    `scores` (images, k methods), k at least 3 (`DataError`); images with an undefined score are left out and counted. NaN without
    images, or where every image ties all methods. The chi-squared distribution is approximate below about 10 images.
    """
    given = read_values(scores, dimensions=(2,))
    if given.shape[1] < 3:
        raise DataError(
            f"Friedman's test compares three methods or more; got {given.shape[1]}: use the paired test"
        )
    defined = ~np.isnan(given).any(axis=1)
    rows, missing = given[defined], int((~defined).sum())
    n, k = rows.shape
    if not n:
        return Friedman(math.nan, math.nan, (math.nan,) * k, math.nan, 0, missing)
    ranks = _row_ranks(rows)
    means = ranks.mean(axis=0)
    between = n * ((means - (k + 1) / 2) ** 2).sum()
    within = ((ranks - (k + 1) / 2) ** 2).sum() / (n * (k - 1))
    if not within:
        return Friedman(math.nan, math.nan, tuple(map(float, means)), math.nan, n, missing)
    from scipy.special import chdtrc

    statistic = float(between / within)
    pvalue, concordance = float(chdtrc(k - 1, statistic)), statistic / (n * (k - 1))
    return Friedman(statistic, pvalue, tuple(map(float, means)), concordance, n, missing)


def holm(pvalues: ArrayLike) -> Floats:
    """Adjusted p-values that bound the chance of any false claim (Holm 1979): max over j <= i of min(1, (m − j + 1) p(j)).

    NaN (not tested) stays NaN and does not count towards m. Raises `DataError` for values outside [0, 1].
    """
    values, order = _ordered(pvalues)
    m = len(order)
    stepped = np.maximum.accumulate(values[order] * np.arange(m, 0, -1))
    values[order] = np.minimum(stepped, 1.0)
    return values


def benjamini_hochberg(pvalues: ArrayLike) -> Floats:
    """Adjusted p-values that bound the expected share of false claims (Benjamini and Hochberg 1995): min over j >= i of m p(j) / j.

    It holds for independent and positively dependent tests. NaN (not tested) stays NaN and does not count towards m.
    Raises `DataError` for values outside [0, 1].
    """
    values, order = _ordered(pvalues)
    m = len(order)
    raised = values[order] * m / np.arange(1, m + 1)
    values[order] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0)
    return values


def correct(
    pvalues: Mapping[str, float],
    *,
    label: Literal["family", "exploratory"] = "family",
    alpha: float = 0.05,
) -> Corrected:
    """Correct the p-values of several tests, by name: a declared "family" with Holm, an "exploratory" grid with Benjamini-Hochberg.

    >>> correct({"edges": 0.01, "centre": 0.04}).adjusted
    {'edges': 0.02, 'centre': 0.04}
    """
    if label not in ("family", "exploratory"):
        raise OptionError(f'tests are a "family" or "exploratory"; got "{label}"')
    if not 0 < alpha < 1:
        raise OptionError(f"alpha lies between 0 and 1; got {alpha}")
    raw = list(pvalues.values())
    adjusted = holm(raw) if label == "family" else benjamini_hochberg(raw)
    by_name = {name: float(p) for name, p in zip(pvalues, adjusted, strict=True)}
    rule: Literal["Holm", "Benjamini-Hochberg"] = (
        "Holm" if label == "family" else "Benjamini-Hochberg"
    )
    return Corrected(label, rule, dict(pvalues), by_name, alpha)


def _ordered(pvalues: ArrayLike) -> tuple[Floats, NDArray[np.intp]]:
    """A copy of the p-values, and the places of those that are not NaN, smallest first."""
    values = np.array(pvalues, np.float64)
    tested = np.flatnonzero(~np.isnan(values))
    if ((values[tested] < 0) | (values[tested] > 1)).any():
        raise DataError("p-values lie between 0 and 1, or are NaN where nothing was tested")
    return values, tested[np.argsort(values[tested], kind="stable")]


def _row_ranks(rows: Floats) -> Floats:
    """Ranks within each row from 1, equals sharing the mean of theirs."""
    ranks = np.empty(rows.shape)
    for j in range(rows.shape[1]):
        own = rows[:, j : j + 1]
        ranks[:, j] = (rows < own).sum(axis=1) + ((rows == own).sum(axis=1) + 1) / 2
    return ranks
