"""What a sanity check says of a method: how long its maps last while the network forgets, and whether that passes."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from saliscope.errors import DataError, OptionError

__all__ = ["SanityVerdict", "lasting", "sanity_verdict", "surviving"]

SanityVerdict = Literal["passes", "fails", "undecided", "undefined"]


def surviving(alike: NDArray[np.floating], chance: NDArray[np.floating]) -> NDArray[np.float64]:
    """The share of similarity above chance that a stage left, float64 (n,): 1 for maps that stayed, 0 for unrelated ones.

    `(s_i - c) / (1 - c)`, with s_i the mean over seeds of `alike` (seeds, n), one stage of a curve, and c the mean of `chance`
    (n,). Below 0 where maps became less alike than those of two pictures. Undefined seeds are left out; NaN where all of
    an image are, and everywhere where chance is undefined or 1: then all maps are alike, and nothing can be told. Raises
    `DataError` for other shapes.
    """
    if alike.ndim != 2 or chance.shape != alike.shape[1:]:
        raise DataError(
            f"similarities of one stage are (seeds, n) and those of chance (n,); got {alike.shape} and {chance.shape}"
        )
    level = float(_column_means(chance[:, None])[0])
    if math.isnan(level) or level >= 1:
        return np.full(alike.shape[1], math.nan)
    share: NDArray[np.float64] = (_column_means(alike) - level) / (1 - level)
    return share


def lasting(values: NDArray[np.floating], chance: NDArray[np.floating]) -> NDArray[np.float64]:
    """How long maps last while the network forgets from the top down: float64 (n,), 1 for maps that never change.

    The mean of `surviving` over all stages behind the first, what is below 0 counting as 0. `values` is (stages, seeds, n) of a
    cascading curve, the first stage the unchanged network. A map that loses its likeness evenly from stage to stage has
    about one half. Above it, the map outlives the layers that decide between classes: it is made by the lowest ones, which see
    edges. Noise can only add to it. Undefined stages are left out; NaN where all of an image are. Raises `DataError` for other
    shapes.
    """
    if values.ndim != 3 or len(values) < 2:
        raise DataError(
            f"a curve is (stages, seeds, n) with the unchanged network first; got {values.shape}"
        )
    left = np.stack([surviving(stage, chance) for stage in values[1:]])
    return _column_means(np.maximum(left, 0))  # keeps NaN


def _column_means(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The mean of what is defined in each column, NaN where nothing is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0.0).sum(axis=0)
    means: NDArray[np.float64] = np.full(count.shape, math.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def sanity_verdict(low: float, high: float, *, limit: float = 0.5) -> SanityVerdict:
    """Whether a method passes, by an interval of the mean of `lasting` over images, of the ranks of |M|.

    `passes` where the interval lies below `limit`: maps lose their likeness faster than the network its layers. `fails` where
    it lies at or above, `undecided` where it holds the limit, `undefined` without an interval. The limit is a convention of
    this library (the paper judges by eye): say it, and the stages, beside the verdict. Passing is necessary, not
    sufficient: a map of noise passes. Raises `OptionError` for a limit outside (0, 1) and an interval upside down.
    """
    if not 0 < limit < 1:
        raise OptionError(f"limit is a share of similarity, in (0, 1), e.g. 0.5; got {limit}")
    if math.isnan(low) or math.isnan(high):
        return "undefined"
    if low > high:
        raise OptionError(f"an interval goes from low to high; got {low} to {high}")
    if high < limit:
        return "passes"
    return "fails" if low >= limit else "undecided"
