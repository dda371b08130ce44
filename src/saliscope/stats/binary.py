"""Right or wrong, image by image: proportions, their differences, and McNemar's test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from saliscope.errors import DataError
from saliscope.stats.interval import Interval, check_settings, read_pair

__all__ = ["McNemar", "mcnemar", "mcnemar_exact", "newcombe_interval", "wilson_interval"]


@dataclass(frozen=True)
class McNemar:
    """Pairs of right (1) and wrong (0): `both`, only the first (`b`), only the second (`c`), `neither`.

    `pvalue` is exact and two-sided; `difference` is that of the proportions, first − second, with Newcombe's interval.
    """

    both: int
    b: int
    c: int
    neither: int
    pvalue: float
    difference: Interval

    @property
    def effect(self) -> float:
        """(b − c) / (b + c): the rank-biserial correlation of 0/1 pairs; NaN where no pair differs."""
        return (self.b - self.c) / (self.b + self.c) if self.b + self.c else math.nan


def mcnemar(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> McNemar:
    """Compare two methods that are right or wrong on the same images (McNemar 1947, exact).

    Both arrays hold 0, 1 or NaN (undefined: the pair is left out and counted); other values raise `DataError`. Rows are taken
    as independent: one an image.

    >>> mcnemar([1, 1, 1, 0], [1, 0, 0, 0]).pvalue
    0.5
    """
    one, two = read_pair(first, second)
    defined = ~np.isnan(one) & ~np.isnan(two)
    x, y = one[defined], two[defined]
    if not np.isin(np.concatenate([x, y]), (0, 1)).all():
        raise DataError("McNemar's test compares right and wrong: scores are 0, 1 or NaN")
    both, b = int((x * y).sum()), int((x * (1 - y)).sum())
    c, neither = int(((1 - x) * y).sum()), int(((1 - x) * (1 - y)).sum())
    interval = newcombe_interval(both, b, c, neither, undefined=int((~defined).sum()), level=level)
    pvalue = mcnemar_exact(b, c) if len(x) else math.nan
    return McNemar(both, b, c, neither, pvalue, interval)


def mcnemar_exact(b: int, c: int) -> float:
    """The two-sided exact p-value of McNemar's test: twice P(X <= min(b, c)), X ~ Binomial(b + c, 1/2), at most 1.

    `b` and `c` count the pairs in which only the first and only the second is right. Without such pairs: 1.

    >>> round(mcnemar_exact(10, 2), 5)
    0.03857
    """
    from scipy.special import bdtr

    if b < 0 or c < 0:
        raise DataError(f"counts of pairs are 0 or more; got b={b}, c={c}")
    return min(1.0, 2 * float(bdtr(min(b, c), b + c, 0.5))) if b + c else 1.0


def wilson_interval(successes: int, n: int, *, undefined: int = 0, level: float = 0.95) -> Interval:
    """A proportion with its score interval (Wilson 1927; Newcombe 1998a, method 3, without continuity correction).

    NaN for n = 0. Raises `DataError` for more successes than n, `OptionError` for a level outside (0, 1).

    >>> print(wilson_interval(496, 810))
    0.612 [0.578, 0.645]
    """
    check_settings(level)
    if not 0 <= successes <= n:
        raise DataError(f"successes lie between 0 and n; got {successes} of {n}")
    if not n:
        return Interval(math.nan, math.nan, math.nan, 0, undefined, level, "wilson")
    z, p = _quantile(level), successes / n
    half = z * math.sqrt(z * z + 4 * n * p * (1 - p))
    low, high = (2 * n * p + z * z - half, 2 * n * p + z * z + half)
    scale = 2 * (n + z * z)
    # At the ends the formula gives exactly 0 and 1; rounding need not.
    bounds = (
        0.0 if successes == 0 else low / scale,
        1.0 if successes == n else high / scale,
    )
    return Interval(p, *bounds, n, undefined, level, "wilson")


def newcombe_interval(
    both: int, b: int, c: int, neither: int, *, undefined: int = 0, level: float = 0.95
) -> Interval:
    """The difference of two paired proportions (b − c) / n with its interval (Newcombe 1998b, method 10).

    Wilson's intervals of both proportions are combined by squaring and adding, less twice their product times the correlation
    phi; phi has its numerator both*neither − b*c lowered by n/2 (to no less than 0) where it is positive, and is 0 where a
    margin is empty. NaN without pairs.

    R. G. Newcombe, *Improved confidence intervals for the difference between binomial proportions based on paired data*,
    Statistics in Medicine 17 (1998b) 2635-2650.
    """
    check_settings(level)
    if min(both, b, c, neither) < 0:
        raise DataError(f"counts of pairs are 0 or more; got {both}, {b}, {c}, {neither}")
    n = both + b + c + neither
    if not n:
        return Interval(math.nan, math.nan, math.nan, 0, undefined, level, "newcombe")
    one = wilson_interval(both + b, n, level=level)
    two = wilson_interval(both + c, n, level=level)
    phi, d = _phi(both, b, c, neither), (b - c) / n
    down = _combined(one.estimate - one.low, two.high - two.estimate, phi)
    up = _combined(one.high - one.estimate, two.estimate - two.low, phi)
    return Interval(d, max(-1.0, d - down), min(1.0, d + up), n, undefined, level, "newcombe")


def _phi(both: int, b: int, c: int, neither: int) -> float:
    margins = (both + b) * (c + neither) * (both + c) * (b + neither)
    if not margins:
        return 0.0
    top: float = both * neither - b * c
    if top > 0:
        top = max(top - (both + b + c + neither) / 2, 0.0)
    return top / math.sqrt(margins)


def _combined(one: float, two: float, phi: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * phi * one * two + two * two))


def _quantile(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))
