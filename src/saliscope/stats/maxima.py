"""The maxima of many thresholds' means, in the data and in every replicate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saliscope.errors import DataError
from saliscope.stats.contenders import Contenders, Scores, find_contenders
from saliscope.stats.counts import counts_by
from saliscope.stats.interval import Floats, Labels, label_array, read_values
from saliscope.stats.resampling import (
    Resampled,
    Units,
    acceleration,
    check_rule,
    leave_one_out,
    read_units,
)

__all__ = ["Maxima", "read_scores", "resample_maxima"]

_SMALL = 127  # the largest number of int8


@dataclass(frozen=True, eq=False)
class Maxima:
    """A method's maxima over the thresholds: the mean over deltas, then the threshold of each delta.

    `estimate` (1 + deltas,): of the data. `replicates` (replicates, 1 + deltas). `without` (units, 1 + deltas): those of the data without
    each unit, for BCa; no rows where it was not asked for. `sizes`: the units of each stratum.
    """

    estimate: Floats
    replicates: Floats
    without: Floats
    sizes: NDArray[np.intp]
    n: int
    undefined: int

    def mean(self) -> Resampled:
        """The mean of the maxima over deltas."""
        return self._resampled(self.estimate, self.replicates, self.without)

    def less(self, other: Maxima) -> Resampled:
        """The difference of the two mean maxima, which were found on the same resamples."""
        return self._resampled(
            self.estimate - other.estimate,
            self.replicates - other.replicates,
            self.without - other.without,
        )

    def _resampled(self, estimate: Floats, replicates: Floats, without: Floats) -> Resampled:
        lean = float(acceleration(without[:, :1], self.sizes)[0]) if len(without) else math.nan
        drawn = np.ascontiguousarray(replicates[:, 0])
        return Resampled(float(estimate[0]), drawn, self.n, self.undefined, lean)


def resample_maxima(
    cubes: Sequence[Scores],
    defined: NDArray[np.bool_],
    *,
    strata: Labels | None,
    clusters: Labels | None,
    by: str,
    replicates: int,
    seed: int,
) -> list[Maxima]:
    """The maxima of each cube over the `defined` images, all on the same resamples."""
    check_rule(by)
    n = int(defined.sum())
    units = read_units(n, _of(strata, defined, "strata"), _of(clusters, defined, "clusters"))
    if not n:
        none = np.full((0, 1 + cubes[0].shape[1]), math.nan)
        return [
            Maxima(np.full(none.shape[1], math.nan), none, none, units.sizes, 0, len(defined))
        ] * len(cubes)
    size = units.sums(np.ones((n, 1)))[:, 0]
    contenders = [
        find_contenders(cube if n == len(cube) else cube[defined], units, replicates=replicates)
        for cube in cubes
    ]
    every, total = np.ones((len(size), 1), np.float32), size.sum(keepdims=True)
    drawn = _draw(contenders, units, size, replicates, seed)
    return [
        Maxima(
            one.replicate(every, total)[0], maxima,
            _without(one, size, units.sizes) if by == "bca" else np.empty((0, maxima.shape[1])),
            units.sizes, n, len(defined) - n,
        )
        for one, maxima in zip(contenders, drawn, strict=True)
    ]  # fmt: skip


def read_scores(values: ArrayLike) -> tuple[Scores, NDArray[np.bool_]]:
    """The scores as (images, deltas, thresholds), int8 where they are small whole numbers, and which images are defined."""
    given = np.asarray(values)
    if given.ndim not in (2, 3) or 0 in given.shape[1:]:
        raise DataError(
            f"scores have images and thresholds, or images, deltas and thresholds; got shape {given.shape}"
        )
    cube = given[:, None, :] if given.ndim == 2 else given
    if cube.dtype.kind in "biu":
        return _lean(cube), np.ones(len(cube), np.bool_)
    cube = read_values(cube, dimensions=(3,))
    missing = np.isnan(cube).reshape(len(cube), cube.shape[1] * cube.shape[2])
    every = missing.all(axis=1)
    if (part := np.flatnonzero(missing.any(axis=1) & ~every)).size:
        raise DataError(
            f"image {part[0]} is NaN at some thresholds only; an image is undefined at all of them or at none"
        )
    return _lean(cube), np.asarray(~every, np.bool_)


def _draw(
    contenders: Sequence[Contenders], units: Units, size: Floats, replicates: int, seed: int
) -> list[Floats]:
    """The maxima of every replicate; units are `size` rows each."""
    found = [np.empty((replicates, 1 + len(one.places))) for one in contenders]
    widest, at = max(len(one.scores) for one in contenders), 0
    for counts in counts_by(seed, units.sizes, replicates, width=widest):
        rows = np.full(len(counts), size.sum()) if units.starts is None else counts @ size
        across = np.ascontiguousarray(counts.T)
        for one, out in zip(contenders, found, strict=True):
            out[at : at + len(counts)] = one.replicate(across, rows)
        at += len(counts)
    return found


def _without(one: Contenders, size: Floats, sizes: NDArray[np.intp]) -> Floats:
    parts = np.column_stack([one.scores.T, size])
    return leave_one_out(parts, sizes, lambda sums: one.maxima(sums[:, :-1].T, sums[:, -1]))


def _lean(cube: NDArray[Any]) -> Scores:
    """Small whole numbers as int8, where undefined images are 0; others as float64."""
    if cube.dtype == np.bool_ or (cube.dtype == np.uint8 and cube.max(initial=0) <= _SMALL):
        return cube.view(np.int8)
    known = np.nan_to_num(cube)
    if known.min(initial=0) < 0 or known.max(initial=0) > _SMALL:
        return cube.astype(np.float64, copy=False)
    small = known.astype(np.int8)
    return small if (small == known).all() else cube.astype(np.float64, copy=False)


def _of(labels: Labels | None, defined: NDArray[np.bool_], what: str) -> Labels | None:
    return None if labels is None else label_array(labels, len(defined), what=what)[defined]
