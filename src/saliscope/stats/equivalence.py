"""Are two methods as good as equal? A difference that is found may still be too small to matter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from saliscope.errors import OptionError
from saliscope.stats.bootstrap import resample_means
from saliscope.stats.interval import Interval, Labels, check_settings, read_values

__all__ = ["Equivalence", "bootstrap_equivalence", "equivalence_of", "tost"]


@dataclass(frozen=True)
class Equivalence:
    """Does the mean difference lie within ± `margin`?

    `verdict` "within": the interval at level 1 − 2 alpha lies inside (−margin, margin); "beyond": it lies outside altogether;
    "open": neither was shown; "undefined": nothing to judge by. `pvalue` is that of the two one-sided tests, NaN where
    the verdict rests on an interval alone.
    """

    margin: float
    alpha: float
    interval: Interval
    pvalue: float
    verdict: Literal["within", "beyond", "open", "undefined"]


def equivalence_of(interval: Interval, *, margin: float, pvalue: float = math.nan) -> Equivalence:
    """Judge equivalence by inclusion of an interval made at level 1 − 2 alpha (0.90 for alpha 0.05).

    Raises `OptionError` for a margin that is not positive.
    """
    if not (margin > 0 and math.isfinite(margin)):
        raise OptionError(
            f"the margin is the largest difference that does not matter, above 0; got {margin}"
        )
    verdict: Literal["within", "beyond", "open", "undefined"] = "open"
    if math.isnan(interval.low) or math.isnan(interval.high):
        verdict = "undefined"
    elif -margin < interval.low and interval.high < margin:
        verdict = "within"
    elif interval.low >= margin or interval.high <= -margin:
        verdict = "beyond"
    return Equivalence(margin, round((1 - interval.level) / 2, 12), interval, pvalue, verdict)


def tost(differences: ArrayLike, *, margin: float, alpha: float = 0.05) -> Equivalence:
    """Two one-sided paired t tests (Schuirmann 1987): is |mean difference| < margin?

    t = (mean ± margin) / (s / sqrt(n)) with n − 1 degrees; the p-value is the larger of the two; "within" is the same as
    p < alpha. Fewer than two differences: undefined. Differences that are all equal: p 0 inside the margin, else 1. NaN is left
    out and counted. Raises `OptionError` for a margin that is not positive or alpha outside (0, 0.5).
    """
    from scipy.special import stdtr, stdtrit

    _check_alpha(alpha)
    given = read_values(differences)
    values = given[~np.isnan(given)]
    n, missing, level = len(values), int(np.isnan(given).sum()), 1 - 2 * alpha
    mean = float(values.mean()) if n else math.nan
    if n < 2:
        empty = Interval(mean, math.nan, math.nan, n, missing, level, "t")
        return equivalence_of(empty, margin=margin)
    error = 0.0 if np.ptp(values) == 0 else float(values.std(ddof=1)) / math.sqrt(n)
    half = float(stdtrit(n - 1, 1 - alpha)) * error
    interval = Interval(mean, mean - half, mean + half, n, missing, level, "t")
    if error:
        above = float(stdtr(n - 1, -(mean + margin) / error))
        below = float(stdtr(n - 1, (mean - margin) / error))
        pvalue = max(above, below)
    else:
        pvalue = 0.0 if abs(mean) < margin else 1.0
    return equivalence_of(interval, margin=margin, pvalue=pvalue)


def bootstrap_equivalence(
    differences: ArrayLike,
    *,
    margin: float,
    alpha: float = 0.05,
    strata: Labels | None = None,
    clusters: Labels | None = None,
    by: Literal["percentile", "bca"] = "percentile",
    replicates: int = 10_000,
    seed: int = 0,
) -> Equivalence:
    """Equivalence by inclusion of the bootstrap interval at level 1 − 2 alpha: no normal distribution is assumed.

    Its p-value is the larger share of replicates at or beyond one margin, (count + 1) / (replicates + 1). Options and errors as in
    `mean_interval` and `tost`.
    """
    _check_alpha(alpha)
    check_settings(1 - 2 * alpha, replicates)
    column = read_values(differences)[:, None]
    (found,) = resample_means(
        column, strata=strata, clusters=clusters, by=by, replicates=replicates, seed=seed
    )
    beyond = max((found.replicates >= margin).sum(), (found.replicates <= -margin).sum())
    pvalue = (float(beyond) + 1) / (replicates + 1) if found.n else math.nan
    return equivalence_of(found.interval(level=1 - 2 * alpha, by=by), margin=margin, pvalue=pvalue)


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 0.5:
        raise OptionError(f"alpha lies between 0 and 0.5; got {alpha}")
