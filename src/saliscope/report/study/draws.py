"""One bootstrap for many means: all of them, and their differences, on the same images of each replicate."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliscope.report.study.scores import Floats
from saliscope.stats import Interval, Resampled, resample

__all__ = ["FEW", "Draws", "bare", "interval_of", "strata_of"]

FEW = 5
"""Images below which nothing is drawn: no interval of theirs says anything, and small classes are drawn together."""


@dataclass(frozen=True, eq=False)
class Draws:
    """How images are drawn again: within `strata`, by `clusters` where images have several rows, seeded."""

    strata: NDArray[Any]
    clusters: NDArray[Any] | None = None
    replicates: int = 10_000
    seed: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """The same as options of the functions in `saliscope.stats`."""
        return {
            "strata": self.strata, "clusters": self.clusters,
            "replicates": self.replicates, "seed": self.seed,
        }  # fmt: skip

    @property
    def words(self) -> str:
        """What a replicate draws, for a sentence."""
        what = "images" if self.clusters is None else "images with all their classes"
        small, other = bool((self.strata == -1).any()), bool((self.strata != -1).any())
        if not other:
            return what
        return f"{what} within their classes" + (", small classes together" if small else "")

    def options_of(self, used: NDArray[np.bool_]) -> dict[str, Any]:
        """The options for some of the rows: classes of which few images are left are drawn together."""
        clusters = None if self.clusters is None else self.clusters[used]
        ids = np.arange(int(used.sum())) if clusters is None else clusters
        strata = self.strata[used] if used.all() else strata_of(self.strata[used], ids)
        return self.options | {"strata": strata, "clusters": clusters}

    def count(self, used: NDArray[np.bool_]) -> int:
        """How many images some of the rows are of."""
        return int(used.sum()) if self.clusters is None else len(set(self.clusters[used].tolist()))

    def few(self, used: NDArray[np.bool_]) -> bool:
        """Whether some of the rows are of fewer than five images."""
        return self.count(used) < FEW

    def means(self, columns: Floats) -> list[Interval]:
        """The mean of each column of (rows, k) with its interval, NaN left out."""
        return self.means_and_gaps(columns, ())[0]

    def means_and_gaps(
        self, columns: Floats, pairs: Sequence[tuple[int, int]], *, paired: bool = True
    ) -> tuple[list[Interval], list[Interval]]:
        """The mean of each column of (rows, k), and for each pair (i, j) the mean of column i − j where both are defined.

        Not `paired`, it is the mean of column i less the mean of column j, of different images.

        A replicate's mean is over the defined rows that it drew. Rows that are undefined in every column are not drawn, so where all
        columns are undefined in the same rows the intervals are those of `saliscope.stats.mean_interval`. Fewer than five images
        have a mean and no interval.
        """
        defined = ~np.isnan(columns)
        apart = [
            (i, j) for i, j in pairs if paired and not np.array_equal(defined[:, i], defined[:, j])
        ]
        more = [columns[:, i] - columns[:, j] for i, j in apart]
        drawn = self._drawn(np.column_stack([columns, *more]) if more else columns)
        at = {pair: columns.shape[1] + n for n, pair in enumerate(apart)}
        gaps = [drawn[at[p]] if p in at else _less(drawn[p[0]], drawn[p[1]]) for p in pairs]
        few = [self.few(column) for column in defined.T]
        both = [few[i] or few[j] or self._share_few(columns, i, j, paired=paired) for i, j in pairs]
        return _stripped(drawn[: columns.shape[1]], few), _stripped(gaps, both)

    def _share_few(self, columns: Floats, i: int, j: int, *, paired: bool) -> bool:
        return paired and self.few(~np.isnan(columns[:, i] - columns[:, j]))

    def _drawn(self, columns: Floats) -> list[Resampled]:
        defined = ~np.isnan(columns)
        used: NDArray[np.bool_] = np.asarray(defined.any(axis=1))
        if not used.any():
            return [_nothing(len(columns))] * columns.shape[1]
        kept, which = _distinct(columns[used])
        found = self._resample(kept, used)
        return [found[place] for place in which]

    def _resample(self, columns: Floats, used: NDArray[np.bool_]) -> list[Resampled]:
        defined = ~np.isnan(columns)
        patterns, which = _distinct(defined.astype(np.float64))
        count = defined.sum(axis=0)
        first = columns[defined.argmax(axis=0), np.arange(columns.shape[1])]
        origin = np.where(count > 0, first, 0.0)  # constant columns stay exactly constant
        values, wide = np.where(defined, columns - origin, 0.0), columns.shape[1]

        def statistic(sums: Floats) -> Floats:
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.asarray(origin + sums[:, :wide] / sums[:, wide:][:, which], np.float64)

        found = resample(
            np.concatenate([values, patterns], axis=1), statistic, **self.options_of(used)
        )
        missing = len(used) - count
        return [
            replace(one, n=int(n), undefined=int(gone)) if n else _nothing(len(used))
            for one, n, gone in zip(found, count, missing, strict=True)
        ]


def interval_of(found: Resampled) -> Interval:
    """The percentile interval at 95 %; replicates that drew no defined row say nothing."""
    drawn = found.replicates
    if np.isnan(drawn).any():
        found = replace(found, replicates=drawn[~np.isnan(drawn)])
    return found.interval()


def bare(interval: Interval) -> Interval:
    """The estimate without its interval, as too few images have it."""
    return replace(interval, low=math.nan, high=math.nan)


def _stripped(found: Sequence[Resampled], few: Sequence[bool]) -> list[Interval]:
    every = [interval_of(one) for one in found]
    return [bare(one) if none else one for one, none in zip(every, few, strict=True)]


def _nothing(undefined: int) -> Resampled:
    return Resampled(math.nan, np.empty(0), 0, undefined)


def _less(one: Resampled, other: Resampled) -> Resampled:
    if not one.n or not other.n:
        return _nothing(one.n + one.undefined)
    return replace(
        one, estimate=one.estimate - other.estimate, replicates=one.replicates - other.replicates
    )


def _distinct(columns: Floats) -> tuple[Floats, list[int]]:
    """The columns without repeats, and for each the place of its own among them."""
    places: dict[bytes, int] = {}
    turned = np.ascontiguousarray(columns.T)
    which = [places.setdefault(row.tobytes(), len(places)) for row in turned]
    first = [which.index(place) for place in range(len(places))]
    return np.ascontiguousarray(turned[first].T), which


def strata_of(classes: NDArray[Any], ids: NDArray[Any]) -> NDArray[np.intp]:
    """The class of each row as a number to draw within; classes of fewer than five images are drawn together.

    A class with one image could not be drawn differently, and its scatter would be missing from every interval.
    """
    _, place = np.unique(classes.astype(str), return_inverse=True)
    _, first = np.unique(ids.astype(str), return_index=True)
    images = Counter(place[first].tolist())
    small = np.array([images[i] < FEW for i in place.tolist()], np.bool_)
    return np.where(small, -1, place).astype(np.intp)
