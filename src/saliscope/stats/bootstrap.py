"""Intervals by drawing the images again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saliscope.errors import OptionError

__all__ = ["Interval", "mean_interval"]

_CELLS = 4_000_000  # numbers drawn at a time: 32 MB


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval [low, high] at `level`, from `n` defined values of `n + undefined`."""

    estimate: float
    low: float
    high: float
    n: int
    undefined: int = 0
    level: float = 0.95

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_interval(
    values: Sequence[float] | NDArray[np.floating],
    *,
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
) -> Interval:
    """The mean over images with its percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13).

    The image is the unit: each replicate draws as many images as there are, with replacement. NaN values are undefined:
    they are left out and counted. Without any defined value all three numbers are NaN; of one value the interval is that
    value. Raises `OptionError` for a level outside (0, 1) or fewer than 100 replicates.
    """
    if not 0 < level < 1 or replicates < 100:
        raise OptionError(
            f"the level lies between 0 and 1 and replicates number 100 or more; got {level} and {replicates}"
        )
    given = np.asarray(values, np.float64)
    defined = given[~np.isnan(given)]
    missing = len(given) - len(defined)
    if not len(defined):
        return Interval(math.nan, math.nan, math.nan, 0, missing, level)
    low, high = np.quantile(_means(defined, replicates, seed), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(defined.mean()), float(low), float(high), len(defined), missing, level)


def _means(values: NDArray[np.float64], replicates: int, seed: int) -> NDArray[np.float64]:
    draw = np.random.default_rng(seed)
    at_once = max(1, _CELLS // len(values))
    parts = []
    for start in range(0, replicates, at_once):
        rows = min(at_once, replicates - start)
        parts.append(values[draw.integers(0, len(values), (rows, len(values)))].mean(axis=1))
    return np.concatenate(parts)
