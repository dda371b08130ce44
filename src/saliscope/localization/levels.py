"""How many thresholds each pixel passes: an image of small whole numbers that stands for a thousand masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saliscope.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["count_passed", "even_grid"]

_BUCKETS_PER_THRESHOLD = 4


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
    quick = _by_bucket(values, steps, strict=strict)
    if quick is not None:
        return quick
    return np.searchsorted(steps, values, side="left" if strict else "right")


def _by_bucket(
    values: NDArray[np.floating], steps: NDArray[np.floating], *, strict: bool
) -> NDArray[np.intp] | None:
    """The same without a search, for thresholds about evenly spaced; None where two of them share a bucket.

    The line is cut into equal buckets. Rounding keeps order, so a value is above every threshold of a lower bucket and below
    every one of a higher bucket; against the one of its own bucket, if there is one, it is compared.
    """
    count = _BUCKETS_PER_THRESHOLD * len(steps)
    low = steps[0]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scale = values.dtype.type(count) / (steps[-1] - low)
        if not np.isfinite(scale):
            return None
        homes = np.clip((steps - low) * scale, 0, count - 1).astype(np.intp)
        if (np.diff(homes) == 0).any():
            return None
        own = values - low
        own *= scale
    buckets = np.clip(own, 0, count - 1, out=own).astype(np.intp)
    edges = np.full(count, np.inf, values.dtype)
    edges[homes] = steps
    passed: NDArray[np.intp] = np.searchsorted(homes, np.arange(count)).take(buckets)
    compare = np.greater if strict else np.greater_equal
    passed += compare(values, edges.take(buckets))
    return passed
