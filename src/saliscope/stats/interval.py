"""An estimate with its interval, and the checks that every statistic makes of what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saliscope.errors import DataError, OptionError

__all__ = ["Floats", "Interval", "Labels", "Rule"]

Floats = NDArray[np.float64]
Labels = Sequence[Any] | NDArray[Any]
Rule = Literal["percentile", "bca", "wilson", "newcombe", "t"]


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval [low, high] at `level`, from `n` defined values of `n + undefined`.

    `by` is the rule that made it. Without any defined value all three numbers are NaN and `n` is 0.
    """

    estimate: float
    low: float
    high: float
    n: int
    undefined: int = 0
    level: float = 0.95
    by: Rule = "percentile"

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


def check_settings(level: float, replicates: int = 10_000) -> None:
    """Raise `OptionError` for a level outside (0, 1) or fewer than 100 replicates."""
    if not 0 < level < 1 or replicates < 100:
        raise OptionError(
            f"the level lies between 0 and 1 and replicates number 100 or more; got {level} and {replicates}"
        )


def read_values(values: ArrayLike, *, dimensions: tuple[int, ...] = (1,)) -> Floats:
    """`values` as float64 with NaN for undefined; raises `DataError` for infinities and other numbers of axes."""
    array = np.asarray(values, np.float64)
    if array.ndim not in dimensions:
        allowed = " or ".join(map(str, dimensions))
        raise DataError(f"scores have {allowed} axes, images first; got an array of {array.shape}")
    if np.isinf(array).any():
        at = int(np.argwhere(np.isinf(array))[0][0])
        raise DataError(f"row {at} is infinite; a score that is undefined must be NaN")
    return array


def read_pair(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    """Two one-dimensional arrays of scores of the same images in the same order."""
    one, two = read_values(first), read_values(second)
    if len(one) != len(two):
        raise DataError(
            f"paired scores belong to the same images; got {len(one)} and {len(two)} of them"
        )
    return one, two


def label_array(labels: Labels, count: int, *, what: str) -> NDArray[Any]:
    """`labels` as an array of `count`, mixed kinds as text; raises `DataError` for another number of them."""
    array = np.asarray(labels)
    if array.shape != (count,):
        raise DataError(f"{what} need one label a row: {count} rows, labels of shape {array.shape}")
    return array.astype(str) if array.dtype == object else array


def read_labels(labels: Labels, count: int, *, what: str) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The distinct labels in order, and for each row the place of its own among them."""
    names, places = np.unique(label_array(labels, count, what=what), return_inverse=True)
    return names, places
