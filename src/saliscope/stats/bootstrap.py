"""Intervals of means by drawing the images again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from saliscope.stats.interval import (
    Floats,
    Interval,
    Labels,
    check_settings,
    label_array,
    read_labels,
    read_values,
)
from saliscope.stats.resampling import Resampled, resample

__all__ = ["Interval", "mean_interval", "resample_means", "unit_means"]


def mean_interval(
    values: ArrayLike,
    *,
    strata: Labels | None = None,
    clusters: Labels | None = None,
    by: Literal["percentile", "bca"] = "percentile",
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
) -> Interval:
    """The mean over images with its bootstrap interval (Efron and Tibshirani 1993, chapters 13 and 14).

    The image is the unit: each replicate draws as many images as there are, with replacement. `strata` (one label a value: its
    class) draws within each class, so that the mix of classes stays what it is. `clusters` (one label a value: its image)
    draws all rows of an image together; the mean is still that of rows. `by`: "percentile" or "bca".
    NaN values are undefined: they are left out and counted. Without any defined value all three numbers are NaN; of one
    value the interval is that value. Raises `OptionError` for a level outside (0, 1), fewer than 100 replicates or an
    unknown rule; `DataError` for infinite values and labels that do not fit.

    >>> print(mean_interval([0.2, 0.4, 0.6, 0.8]))
    0.500 [0.300, 0.700]
    """
    check_settings(level, replicates)
    column = read_values(values)[:, None]
    (found,) = resample_means(
        column, strata=strata, clusters=clusters, by=by, replicates=replicates, seed=seed
    )
    return found.interval(level=level, by=by)


def resample_means(
    columns: ArrayLike,
    *,
    strata: Labels | None = None,
    clusters: Labels | None = None,
    by: Literal["percentile", "bca"] = "percentile",
    replicates: int = 10_000,
    seed: int = 0,
) -> tuple[Resampled, ...]:
    """The bootstrap of the mean of each column of `columns` (rows, k), NaN undefined.

    Columns that are undefined in the same rows share their resamples, so differences between them are paired, and k
    columns cost little more than one. Each column gives exactly what `mean_interval` gives for it alone.
    """
    given = read_values(columns, dimensions=(2,))
    labels = [
        None if each is None else label_array(each, len(given), what=what)
        for each, what in ((strata, "strata"), (clusters, "clusters"))
    ]
    patterns, which = np.unique(~np.isnan(given), axis=1, return_inverse=True)
    found: dict[int, Resampled] = {}
    for i, defined in enumerate(patterns.T):
        places = np.flatnonzero(which == i)
        own = [None if label is None else label[defined] for label in labels]
        means = _means(given[np.ix_(defined, places)], own[0], own[1], by, replicates, seed)
        missing = int((~defined).sum())
        for place, one in zip(places, means, strict=True):
            found[int(place)] = Resampled(
                one.estimate, one.replicates, one.n, missing, one.acceleration
            )
    return tuple(found[i] for i in range(given.shape[1]))


def unit_means(values: ArrayLike, clusters: Labels) -> Floats:
    """The mean of the defined rows of each cluster, clusters in order of their labels; NaN where none is defined."""
    rows = read_values(values)
    names, place = read_labels(clusters, len(rows), what="clusters")
    defined = ~np.isnan(rows)
    count = np.bincount(place[defined], minlength=len(names))
    total = np.bincount(place[defined], rows[defined], minlength=len(names))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _means(
    values: Floats,
    strata: Labels | None,
    clusters: Labels | None,
    by: Literal["percentile", "bca"],
    replicates: int,
    seed: int,
) -> Iterable[Resampled]:
    if not len(values):
        return [Resampled(np.nan, np.empty(0), 0)] * values.shape[1]
    # Measured from the first value: constant columns stay exactly constant, and large ones lose no digits.
    origin = values[0]
    parts = np.column_stack([values - origin, np.ones(len(values))])
    return resample(
        parts, lambda sums: origin + sums[:, :-1] / sums[:, -1:],
        strata=strata, clusters=clusters, replicates=replicates, seed=seed, by=by,
    )  # fmt: skip
