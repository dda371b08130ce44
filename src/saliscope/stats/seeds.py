"""Networks trained several times: what another training and other images would change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saliscope.errors import DataError, OptionError
from saliscope.stats.counts import draw_counts
from saliscope.stats.interval import Floats, Interval, check_settings, read_values
from saliscope.stats.resampling import Resampled

__all__ = ["Seeds", "seeds_interval"]


@dataclass(frozen=True)
class Seeds:
    """A mean over training seeds and images.

    `both`: the two-level bootstrap interval. `images`: these trainings, other images. `trainings`: Student's t over the seed means,
    other trainings, these images. `means`: one a seed; `sd`: their standard deviation (n − 1; NaN for one seed).
    """

    both: Interval
    images: Interval
    trainings: Interval
    means: tuple[float, ...]
    sd: float


def seeds_interval(
    scores: ArrayLike,
    *,
    images: Literal["shared", "own"] = "shared",
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
) -> Seeds:
    """The two-level bootstrap: draw training seeds, then images (Davison and Hinkley 1997, section 3.8).

    `scores` (seeds, images), NaN undefined; of two methods give their differences. The estimate is the mean of the seeds' means. "shared": all
    seeds are scored on the same images, so a replicate draws the images once for all its seeds (Owen 2007, the pigeonhole
    bootstrap); drawing them anew for each seed would treat one hard image as several and give too narrow an interval. "own": each
    seed has images of its own, drawn anew for each. Rows of `own` of different length are filled up with NaN.

    With few seeds `both` is too narrow, as it knows no other trainings than these: drawing S seeds from S understates their
    variance by the factor (S − 1) / S. Read `trainings` beside it; below five seeds neither is precise.
    Raises `DataError` for a seed without any defined score, `OptionError` for an unknown choice of images.
    """
    check_settings(level, replicates)
    if images not in ("shared", "own"):
        raise OptionError(f'images are "shared" by all seeds or each seed\'s "own"; got "{images}"')
    given = read_values(scores, dimensions=(2,))
    defined = ~np.isnan(given)
    if not defined.any(axis=1).all() or not len(given):
        at = int(np.argmin(defined.any(axis=1))) if len(given) else 0
        raise DataError(f"seed {at} has no defined score; leave it out and say so")
    used = np.flatnonzero(defined.any(axis=0))
    given, defined = given[:, used], defined[:, used]
    means = np.array([row[~np.isnan(row)].mean() for row in given])
    draw = np.random.default_rng(seed)
    chosen = np.concatenate(list(draw_counts(draw, np.array([len(means)]), replicates)))
    find = _shared if images == "shared" else _own
    own, drawn = find(given - means[:, None], defined, chosen, draw)
    n, missing = int(defined.sum()), np.asarray(scores).size - int(defined.sum())
    estimate = float(means.mean())
    two = Resampled(estimate, chosen @ means / len(means) + drawn, n, missing)
    one = Resampled(estimate, estimate + own, n, missing)
    sd = float(means.std(ddof=1)) if len(means) > 1 else math.nan
    return Seeds(
        two.interval(level=level),
        one.interval(level=level),
        _t_interval(estimate, sd, len(means), level),
        tuple(map(float, means)),
        sd,
    )


def _shared(
    scores: Floats, defined: NDArray[np.bool_], chosen: Floats, draw: np.random.Generator
) -> tuple[Floats, Floats]:
    """What drawing the images, the same for all seeds, adds to each replicate's mean: over all seeds, and over those `chosen`."""
    values, weights = np.where(defined, scores, 0.0).T, defined.T.astype(np.float64)
    parts = []
    for counts in draw_counts(draw, np.array([scores.shape[1]]), len(chosen)):
        held = counts @ weights
        # A replicate may draw no defined image of a seed; it then adds nothing to that seed's mean.
        parts.append(counts @ values / np.where(held > 0, held, 1.0))
    drawn = np.concatenate(parts)
    return drawn.mean(axis=1), (drawn * chosen).sum(axis=1) / len(scores)


def _own(
    scores: Floats, defined: NDArray[np.bool_], chosen: Floats, draw: np.random.Generator
) -> tuple[Floats, Floats]:
    """The same where each seed has its own images: a seed chosen twice draws them twice, independently."""
    every, some = np.zeros(len(chosen)), np.zeros(len(chosen))
    for row, known, times in zip(scores, defined, chosen.T, strict=True):
        every += _drawn(row[known], len(chosen), draw)
        owner = np.repeat(np.arange(len(chosen)), times.astype(int))
        some += np.bincount(owner, _drawn(row[known], len(owner), draw), minlength=len(chosen))
    return every / len(scores), some / len(scores)


def _drawn(values: Floats, replicates: int, draw: np.random.Generator) -> Floats:
    blocks = draw_counts(draw, np.array([len(values)]), replicates)
    return np.concatenate([counts @ values / len(values) for counts in blocks])


def _t_interval(mean: float, sd: float, n: int, level: float) -> Interval:
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, (1 + level) / 2)) * sd / math.sqrt(n) if n > 1 else math.nan
    return Interval(mean, mean - half, mean + half, n, 0, level, "t")
