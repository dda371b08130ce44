"""Intervals of metrics that take the best of many thresholds.

MaxBoxAcc (Choe et al., *Evaluating Weakly Supervised Object Localization Methods Right*, CVPR 2020, section 4.1) is the highest accuracy over
all thresholds of the heatmap. Its best threshold was chosen on the same images, so each replicate chooses its own again:
with the threshold held fixed, the interval would be too narrow and would not know of the choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saliscope.errors import DataError
from saliscope.stats.interval import (
    Floats,
    Interval,
    Labels,
    check_settings,
    label_array,
    read_values,
)
from saliscope.stats.resampling import Resampled, resample

Scores = NDArray[np.float32] | NDArray[np.float64]

__all__ = ["Maximised", "MaximisedDifference", "maximised_difference", "maximised_interval"]


@dataclass(frozen=True)
class Maximised:
    """A maximised metric: its interval, and where its maximum lies.

    `best` holds one index of a threshold for each delta (the first of equals), `between` the lowest and highest index that
    replicates chose, `level` of them in between: a wide range says that the data do not determine the threshold.
    """

    interval: Interval
    best: tuple[int, ...]
    between: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class MaximisedDifference:
    """`difference` = first − second, each maximised for itself on the same resamples, and the two on those images."""

    difference: Interval
    first: Maximised
    second: Maximised


def maximised_interval(
    values: ArrayLike,
    *,
    strata: Labels | None = None,
    clusters: Labels | None = None,
    by: Literal["percentile", "bca"] = "percentile",
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
) -> Maximised:
    """The highest mean over thresholds, with the threshold chosen again inside each replicate.

    `values` (images, thresholds): 0/1 (as bool or uint8 in a quarter of the memory) or any scores; MaxBoxAcc = max over t of mean over images. `values` (images,
    deltas, thresholds): the mean over deltas of each one's own maximum (MaxBoxAccV2). An undefined image is NaN throughout: it
    is left out and counted. `strata`, `clusters`, `by` and the errors as in `mean_interval`; also `DataError` for an
    image that is NaN at some thresholds only, and where there are no thresholds.

    The maximum over a sample lies above that over the population, and the maxima of replicates above that of the sample, so
    intervals lie too high where many thresholds are about equally good and images are few: in a simulation with 12 such
    thresholds, 95 % intervals of 120 images covered 88 % ("bca" 89 %), those of 1,000 images 94 %.
    """
    check_settings(level, replicates)
    cube, defined = _cube(values)
    shape = cube.shape[1:]
    found = resample(
        _parts(cube, defined=defined), lambda sums: _maxima(sums[:, :-1] / sums[:, -1:], shape),
        strata=_of(strata, defined, "strata"), clusters=_of(clusters, defined, "clusters"),
        undefined=int((~defined).sum()), replicates=replicates, seed=seed, by=by,
    )  # fmt: skip
    return _maximised(found, level, by)


def maximised_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    strata: Labels | None = None,
    clusters: Labels | None = None,
    by: Literal["percentile", "bca"] = "percentile",
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
) -> MaximisedDifference:
    """The difference of two maximised metrics, paired: both are maximised on the same resamples.

    `first` and `second` as in `maximised_interval`, of the same images in the same order and with as many deltas; their thresholds
    may differ. Images that are undefined in either are left out of all three intervals.
    """
    check_settings(level, replicates)
    (one, here), (two, there) = _cube(first), _cube(second)
    if len(one) != len(two) or one.shape[1] != two.shape[1]:
        raise DataError(
            f"paired scores have the same images and deltas; got shapes {one.shape} and {two.shape}"
        )
    defined, cut = here & there, one.shape[1] * one.shape[2]

    def statistic(sums: Floats) -> Floats:
        means = sums[:, :-1] / sums[:, -1:]
        left, right = (
            _maxima(means[:, :cut], one.shape[1:]),
            _maxima(means[:, cut:], two.shape[1:]),
        )
        return np.column_stack([left[:, 0] - right[:, 0], left, right])

    found = resample(
        _parts(one, two, defined=defined), statistic,
        strata=_of(strata, defined, "strata"), clusters=_of(clusters, defined, "clusters"),
        undefined=int((~defined).sum()), replicates=replicates, seed=seed, by=by,
    )  # fmt: skip
    split = 2 + one.shape[1]
    return MaximisedDifference(
        found[0].interval(level=level, by=by),
        _maximised(found[1:split], level, by),
        _maximised(found[split:], level, by),
    )


def _cube(values: ArrayLike) -> tuple[Scores, NDArray[np.bool_]]:
    """The scores as (images, deltas, thresholds), and which images are defined."""
    given: Scores = np.asarray(values)
    if given.dtype.kind in "bu" or (given.dtype.kind == "i" and given.itemsize < 4):
        given = given.astype(np.float32)  # small whole numbers: exact, and half the memory
    else:
        given = read_values(values, dimensions=(2, 3))
    if given.ndim not in (2, 3) or 0 in given.shape[1:]:
        raise DataError(
            f"scores have images and thresholds, or images, deltas and thresholds; got shape {given.shape}"
        )
    cube = given[:, None, :] if given.ndim == 2 else given
    missing = np.isnan(cube).reshape(len(cube), cube.shape[1] * cube.shape[2])
    every = missing.all(axis=1)
    if (part := np.flatnonzero(missing.any(axis=1) & ~every)).size:
        raise DataError(
            f"image {part[0]} is NaN at some thresholds only; an image is undefined at all of them or at none"
        )
    return cube, np.asarray(~every, np.bool_)


def _parts(*cubes: Scores, defined: NDArray[np.bool_]) -> Scores:
    """One row a defined image: all of its scores, and a one."""
    kept = [cube if defined.all() else cube[defined] for cube in cubes]
    flat = [k.reshape(len(k), k.shape[1] * k.shape[2]) for k in kept]
    return np.column_stack([*flat, np.ones(len(flat[0]), flat[0].dtype)])


def _of(labels: Labels | None, defined: NDArray[np.bool_], what: str) -> Labels | None:
    return None if labels is None else label_array(labels, len(defined), what=what)[defined]


def _maxima(means: Floats, shape: tuple[int, ...]) -> Floats:
    """(r, deltas * thresholds) -> (r, 1 + deltas): the mean of the maxima, then where each lies."""
    cube = means.reshape(len(means), *shape)
    places = cube.argmax(axis=2)
    best = np.take_along_axis(cube, places[:, :, None], axis=2)[:, :, 0]
    return np.column_stack([best.mean(axis=1), places])


def _maximised(
    found: tuple[Resampled, ...], level: float, by: Literal["percentile", "bca"]
) -> Maximised:
    if not found[0].n:
        return Maximised(found[0].interval(level=level, by=by), (), ())
    tails = [(1 - level) / 2, (1 + level) / 2]
    between = [np.quantile(f.replicates, tails, method="nearest").astype(int) for f in found[1:]]
    return Maximised(
        found[0].interval(level=level, by=by),
        tuple(int(f.estimate) for f in found[1:]),
        tuple((int(low), int(high)) for low, high in between),
    )
