"""How many thresholds each pixel passes: an image of small whole numbers that stands for a thousand masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saliscope.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["count_passed", "even_grid"]

_NEAR = (
    0.01  # of the distance between two thresholds: many times the rounding errors, but few values
)
_OUTLIERS = 2  # thresholds behind an even grid that are worth a look at every value each


def even_grid(count: int = 1000) -> NDArray[np.float64]:
    """Thresholds 0, 1/count, ... up to but not including 1: float64 (count,), the grid that sweeps use.

    Raises `OptionError` for a count below 1.

    >>> even_grid(4).tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    if count < 1:
        raise OptionError(f"a grid has at least 1 threshold; got {count}")
    return np.arange(count) / count


def count_passed(
    values: NDArray[np.floating],
    thresholds: Sequence[float] | NDArray[np.floating],
    *,
    strict: bool = False,
) -> NDArray[np.intp]:
    """Count how many of the ascending `thresholds` (K,) each value is at or above, or strictly above: intp, 0 to K.

    The answer has the shape of `values`. Both are compared in float32 where `values` is float32 or narrower, as protocols
    do, else in float64. NaN passes none. Equal thresholds count each. Raises `OptionError` for thresholds that are none,
    not finite or not ascending.
    """
    given = np.asarray(values)
    narrow = given.dtype in (np.float16, np.float32)
    values = given.astype(np.float32 if narrow else np.float64, copy=False)
    steps: NDArray[np.floating] = np.asarray(thresholds, values.dtype)
    if (
        steps.ndim != 1
        or not len(steps)
        or not np.isfinite(steps).all()
        or (np.diff(steps) < 0).any()
    ):
        raise OptionError(
            f"thresholds are a list of finite numbers in ascending order; got {np.asarray(thresholds)!r}"
        )
    if values.size and np.isnan(values.min()):
        values = np.where(np.isnan(values), -np.inf, values)
    for outliers in range(min(_OUTLIERS + 1, len(steps))):
        even = steps[: len(steps) - outliers]
        passed = _by_rounding(values, even, strict=strict)
        if passed is not None:
            for step in steps[len(even) :]:
                passed += values > step if strict else values >= step
            return passed
    return np.searchsorted(steps, values, side="left" if strict else "right")


def _by_rounding(
    values: NDArray[np.floating], steps: NDArray[np.floating], *, strict: bool
) -> NDArray[np.intp] | None:
    """The same without a search, for about evenly spaced thresholds; None where rounding does not tell them apart.

    Each value is rounded to the number of the threshold nearest to it. Rounding keeps order: where each threshold comes to
    its own number, a value is above all with lower numbers and below all with higher ones, and is compared with one only.
    """
    count = len(steps)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scale = values.dtype.type(count - 1) / (steps[-1] - steps[0])
        shift = values.dtype.type(0.5) - steps[0] * scale
        if not np.isfinite(scale) or not np.isfinite(shift):
            return None
        if not np.array_equal(_numbers(steps, scale, shift, count), np.arange(count)):
            return None
        passed = _numbers(values, scale, shift, count)
    # The numbers are in range; "clip" only saves a check that takes longer than the look-up.
    nearest = steps.take(passed, mode="clip")
    passed += values > nearest if strict else values >= nearest
    return passed


def _numbers(
    values: NDArray[np.floating], scale: np.floating, shift: np.floating, count: int
) -> NDArray[np.intp]:
    own = values * scale
    own += shift
    numbers: NDArray[np.intp] = np.clip(own, 0, count - 0.5, out=own).astype(np.intp)
    return numbers
