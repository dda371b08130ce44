"""The named rules that bring a map to [0, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from saliscope.errors import OptionError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NormaliseRule", "normalise"]

NormaliseRule = Literal["min-max", "max", "percentile", "none"]
"""How a heatmap is brought to [0, 1]; each is defined in `normalise`."""


def normalise(heat: NDArray[np.floating], rule: NormaliseRule = "min-max") -> NDArray[np.float32]:
    """Bring an array of any shape to [0, 1] by a named rule; float32, a copy.

    `min-max` is `(h - min) / (max - min)`, zeros where all values are equal (`is_constant`). `max` cuts negative values to 0 and divides by
    the maximum, zeros where nothing is positive. `percentile` does the same with the 99th percentile of the positive values and
    cuts what is above it to 1: for maps of single pixels, whose few largest would leave the rest dark. `none` keeps the values. Minimum and maximum are those of the finite
    values; NaN (a pixel the network never saw) stays NaN. No epsilon: a positive factor changes nothing, from 1e-45 to 3e38.
    Raises `OptionError` for an unknown rule.

    >>> normalise(np.array([-1.0, 0.0, 3.0])).tolist()
    [0.0, 0.25, 1.0]
    >>> normalise(np.array([-1.0, 0.0, 3.0]), "max").tolist()
    [0.0, 0.0, 1.0]
    >>> normalise(np.array([-1.0, 0.0, 3.0, 3.0]), "percentile").tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    if rule not in get_args(NormaliseRule):
        raise OptionError(
            f'normalisation "{rule}" is unknown; {nearest(str(rule), get_args(NormaliseRule))}'
        )
    if rule == "none":
        return np.array(heat, np.float32)
    # In float64 no float32 difference overflows and no quotient of subnormal numbers loses digits.
    wide = np.array(heat, np.float64)
    low, high = finite_range(wide)
    if rule in ("max", "percentile"):
        low = 0.0
        np.maximum(wide, 0.0, out=wide)  # keeps NaN
    if not high > low or (rule == "min-max" and is_constant(low, high)):
        return np.where(np.isnan(wide), np.nan, 0.0).astype(np.float32)
    if rule == "percentile":
        high = float(np.percentile(wide[(wide > 0) & np.isfinite(wide)], 99))
        np.minimum(wide, high, out=wide)
    if low != 0.0:
        wide -= low
    wide /= high - low
    return wide.astype(np.float32)


def finite_range(values: NDArray[np.floating]) -> tuple[float, float]:
    """Smallest and largest finite value; (0, 0) where there is none."""
    if values.size == 0:
        return 0.0, 0.0
    low, high = float(values.min()), float(values.max())
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def is_constant(low: float, high: float) -> bool:
    """Whether values from `low` to `high` are equal but for float32 rounding: within 8 units of the last place.

    Upsampling a constant map leaves differences of that size, and stretching them to [0, 1] would draw a picture of them.
    """
    return high - low <= 8 * float(np.finfo(np.float32).eps) * max(abs(low), abs(high))
