"""What is left of the score when a picture keeps only what a map says matters: drop, increase, gain, win, ADCC."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from saliscope.errors import DataError
from saliscope.localization import normalise
from saliscope.localization.normalise import finite_range, is_constant

__all__ = [
    "absolute_drop",
    "adcc",
    "coherency",
    "increase",
    "mean_heat",
    "relative_drop",
    "relative_gain",
    "win",
]


def relative_drop(before: float, after: float) -> float:
    """max(0, before - after) / before: the share of the score that is lost, lower is better (Grad-CAM++, section 4.1).

    `before` is the score of the image, a probability, `after` that of what was kept. Its mean is the Average Drop, here a share,
    in papers percent. A map that is 1 everywhere keeps the image and has 0, so it says nothing alone. NaN where `before` is
    not positive or either is NaN. torchcam adds 1e-7 below the fraction, we nothing.

    >>> relative_drop(0.8, 0.4)
    0.5
    """
    if not before > 0 or math.isnan(after):
        return math.nan
    return max(0.0, before - after) / before


def increase(before: float, after: float) -> float:
    """1 where what was kept scores more than the image, else 0, equal scores too; higher is better (Grad-CAM++, 4.1)."""
    return math.nan if math.isnan(before) or math.isnan(after) else float(before < after)


def relative_gain(before: float, after: float) -> float:
    """max(0, after - before) / (1 - before) of probabilities, higher is better (Zhang et al., *Opti-CAM*, 2024, section 4).

    NaN where `before` leaves nothing to gain, 1 or more, or either is NaN.
    """
    if not before < 1 or math.isnan(after):
        return math.nan
    return max(0.0, after - before) / (1 - before)


def absolute_drop(before: float, after: float) -> float:
    """max(0, before - after), in the unit of the score; lower is better. What pytorch-grad-cam calls a drop of confidence."""
    return math.nan if math.isnan(before) or math.isnan(after) else max(0.0, before - after)


def win(drop: float, other: float) -> float:
    """1 where one method drops less than the other on an image, else 0, equal drops too (Grad-CAM++, section 4.1)."""
    return math.nan if math.isnan(drop) or math.isnan(other) else float(drop < other)


def coherency(heat: NDArray[np.floating], again: NDArray[np.floating]) -> float:
    """(r + 1) / 2 with r Pearson's correlation of a map and of the map of what it kept, in [0, 1]; higher is better.

    Poppi et al., *Revisiting the evaluation of class activation mapping*, CVPRW 2021, equation 3. NaN where either is
    constant or not finite. Raises `DataError` where the two differ in size.
    """
    if heat.shape != again.shape:
        raise DataError(
            f"coherency compares two maps of one size; got {heat.shape} and {again.shape}: bring both to one grid"
        )
    one, other = heat.astype(np.float64).ravel(), again.astype(np.float64).ravel()
    if not (_varies(heat) and _varies(again)):
        return math.nan
    one, other = one - one.mean(), other - other.mean()
    r = float(one @ other / math.sqrt(float(one @ one) * float(other @ other)))
    return (min(1.0, max(-1.0, r)) + 1) / 2


def mean_heat(heat: NDArray[np.floating]) -> float:
    """The mean of a min-max map, in [0, 1], lower is better: the complexity of ADCC (Poppi et al. 2021, equation 4).

    NaN for a map that is constant or not finite. It is no measure of how hard a map is to read: one blurred spot and the
    same heat scattered over the image are equal.
    """
    return float(normalise(heat).astype(np.float64).mean()) if _varies(heat) else math.nan


def adcc(coherent: float, complexity: float, drop: float) -> float:
    """The harmonic mean of coherency, 1 - complexity and 1 - drop, in [0, 1]; higher is better (Poppi et al. 2021, equation 5).

    0 where one of the three is 0, NaN where one is NaN.
    """
    parts = (coherent, 1 - complexity, 1 - drop)
    if any(math.isnan(p) for p in parts):
        return math.nan
    return 0.0 if min(parts) <= 0 else 3 / math.fsum(1 / p for p in parts)


def _varies(heat: NDArray[np.floating]) -> bool:
    return bool(np.isfinite(heat).all()) and not is_constant(*finite_range(heat))
