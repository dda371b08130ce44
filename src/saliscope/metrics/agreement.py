"""Do methods agree on a picture, and metrics on methods?

Agreement is not truth: methods that share an error agree on it. It says how many opinions there really are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saliscope.errors import DataError, OptionError, nearest
from saliscope.metrics.arrays import numbers
from saliscope.metrics.likeness import Likeness, similarity
from saliscope.metrics.ranks import average_ranks
from saliscope.metrics.scores import OWN, Direction, Metric

__all__ = [
    "AGREEMENT_METRICS",
    "AlphaLevel",
    "Separation",
    "TopOverlap",
    "krippendorff_alpha",
    "linkage_of",
    "pairwise",
    "rank_methods",
    "seed_noise",
    "separation",
    "top_overlap",
]

AlphaLevel = Literal["nominal", "ordinal", "interval"]
"""What differences between ratings mean: none but equal or not; those of their ranks; those of their values."""


def pairwise(
    maps: Sequence[NDArray[np.floating]],
    likeness: Likeness | Literal["top"] = "spearman",
    *,
    share: float = 0.1,
) -> NDArray[np.float64]:
    """How alike the maps (h, w) of several methods are, each with each: float64 (m, m), symmetric.

    `likeness` is one of `similarity`, or `top`: `top_overlap` of a `share`. All maps are of one picture and one class, on one
    grid. NaN in the row and column of a map that is constant or not finite, its own cell included.
    """
    count = len(maps)
    table = np.full((count, count), math.nan)
    for i in range(count):
        for j in range(i, count):
            table[i, j] = table[j, i] = (
                top_overlap(maps[i], maps[j], share=share).value
                if likeness == "top"
                else similarity(maps[i], maps[j], likeness)
            )
    return table


@dataclass(frozen=True)
class TopOverlap:
    """Intersection over union of the hottest places of two maps, and the share of these places that ties left open.

    Of the two maps, `ties` is that of the one with more of them.
    """

    value: float
    ties: float


def top_overlap(
    one: NDArray[np.floating], other: NDArray[np.floating], *, share: float = 0.1
) -> TopOverlap:
    """Intersection over union of the hottest `share` of the cells of two signed maps (h, w), in [0, 1], 1 for equal ones.

    Cells that tie for the last places share them evenly, each counting as a part: with w the weights of the cells, which add up to
    `share * n`, the overlap is `sum min(w, w') / sum max(w, w')`. Two maps without a common order overlap by about
    share / (2 - share): read it beside that. NaN where either is constant or not finite.

    Raises `DataError` where the shapes differ and `OptionError` for a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise OptionError(f"share is a share of the cells, in (0, 1), e.g. 0.1; got {share}")
    one, other = numbers(one), numbers(other)
    if one.shape != other.shape or one.ndim != 2:
        raise DataError(
            f"two maps of one shape (H, W) are compared; got {one.shape} and {other.shape}: bring both to one grid"
        )
    found = [_top(m.ravel(), share) for m in (one, other)]
    if found[0] is None or found[1] is None:
        return TopOverlap(math.nan, math.nan)
    (a, ties_a), (b, ties_b) = found[0], found[1]
    return TopOverlap(float(np.minimum(a, b).sum() / np.maximum(a, b).sum()), max(ties_a, ties_b))


def _top(values: NDArray[np.float64], share: float) -> tuple[NDArray[np.float64], float] | None:
    """How much each cell belongs to the hottest, and the share of the places that ties fill; None for a map that says nothing."""
    if not values.size or not np.isfinite(values).all() or values.min() == values.max():
        return None
    places = share * len(values)
    last = np.sort(values)[::-1][math.ceil(places) - 1]
    above, level = values > last, values == last
    left, tied = places - int(above.sum()), int(level.sum())
    weights = above + level * (left / tied)
    return weights, left / places if tied > 1 and left < tied else 0.0


def krippendorff_alpha(ratings: ArrayLike, level: AlphaLevel = "ordinal") -> float:
    """Krippendorff's alpha of raters (rows) over units (columns): 1 for agreement, 0 for chance, below for systematic disagreement.

    `alpha = 1 - D_observed / D_expected`, with the squared differences of `level` over all pairs of ratings of one unit, and over
    all pairs of ratings (Krippendorff 2011, *Computing Krippendorff's Alpha-Reliability*). `ratings` is (raters, units), NaN where
    one is missing; units with fewer than two ratings do not count. For metrics as raters of methods, give `rank_methods`.

    NaN where fewer than two ratings can be paired, or all are equal: then nothing could have been disagreed on. Raises
    `OptionError` for an unknown level and `DataError` for another shape.

    >>> krippendorff_alpha([[1, 2, 3, 4], [1, 2, 3, 4]])
    1.0
    """
    if level not in get_args(AlphaLevel):
        raise OptionError(
            f'level "{level}" of alpha is unknown; {nearest(str(level), get_args(AlphaLevel))}'
        )
    table = np.asarray(ratings, np.float64)
    if table.ndim != 2:
        raise DataError(f"ratings are (raters, units), NaN where missing; got {table.shape}")
    given = ~np.isnan(table)
    table = table[:, given.sum(axis=0) > 1]
    values, place = np.unique(table[~np.isnan(table)], return_inverse=True)
    if len(values) < 2:
        return math.nan
    counts = np.zeros((table.shape[1], len(values)))  # how often each value was given to each unit
    np.add.at(counts, (np.nonzero(~np.isnan(table))[1], place), 1)
    # Equal values are no distance apart, so pairs of a rating with itself do not have to be taken out.
    pairs = (counts / (counts.sum(axis=1, keepdims=True) - 1)).T @ counts
    totals = counts.sum(axis=0)
    apart = _differences(values, totals, level)
    chance = np.outer(totals, totals) / (totals.sum() - 1)
    return float(1 - (pairs * apart).sum() / (chance * apart).sum())


def _differences(
    values: NDArray[np.float64], totals: NDArray[np.float64], level: AlphaLevel
) -> NDArray[np.float64]:
    """Squared differences of any two values, (v, v); those of ranks count the ratings in between."""
    if level == "nominal":
        unequal: NDArray[np.float64] = (values[:, None] != values).astype(np.float64)
        return unequal
    places = values if level == "interval" else np.cumsum(totals) - totals / 2
    squared: NDArray[np.float64] = (places[:, None] - places) ** 2
    return squared


def rank_methods(scores: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.float64]:
    """Rank methods (columns) by each metric (row), 1 for the best; equals share their mean rank, NaN stays NaN.

    `scores` is (metrics, methods), `directions` says for each metric which way is better. float64, the same shape: ratings for
    `krippendorff_alpha`. Raises `DataError` for another shape, `OptionError` for an unknown direction.
    """
    table = np.asarray(scores, np.float64)
    if table.ndim != 2 or len(directions) != len(table):
        raise DataError(
            f"scores are (metrics, methods) with a direction for each metric; got {table.shape} and {len(directions)} directions"
        )
    ranks = np.full(table.shape, math.nan)
    for row, (values, direction) in enumerate(zip(table, directions, strict=True)):
        defined = ~np.isnan(values)
        ranks[row, defined] = average_ranks(_lower_is_better(values[defined], direction)[None])[0]
    return ranks


def _lower_is_better(values: NDArray[np.float64], direction: Direction) -> NDArray[np.float64]:
    if direction not in get_args(Direction):
        raise OptionError(
            f'direction "{direction}" is unknown; {nearest(str(direction), get_args(Direction))}'
        )
    return -values if direction == "higher" else values


def linkage_of(correlations: NDArray[np.floating]) -> NDArray[np.float64]:
    """The tree of methods by how alike their maps are: scipy's linkage (m - 1, 4), average linkage of 1 - correlation.

    `correlations` is (m, m), symmetric, the mean of `pairwise` over images. Drawn by `scipy.cluster.hierarchy.dendrogram`;
    heights are 1 - correlation, 0 for equal maps. Raises `DataError` where there are fewer than two methods, or a
    correlation is missing (NaN): leave out methods without a map.
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    table = np.asarray(correlations, np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or len(table) < 2:
        raise DataError(f"correlations of methods are (m, m), m at least 2; got {table.shape}")
    if not np.isfinite(table).all() or not np.allclose(table, table.T):
        raise DataError(
            "correlations of methods are finite and symmetric; leave out the methods that have none, e.g. constant maps"
        )
    apart = 1 - (table + table.T) / 2
    np.fill_diagonal(apart, 0)
    tree: NDArray[np.float64] = linkage(squareform(np.clip(apart, 0, None)), method="average")
    return tree


@dataclass(frozen=True)
class Separation:
    """Whether a metric tells good maps from bad ones: 1 always, .5 no better than a coin, 0 always the wrong way.

    `wins` is the share of images whose good map scores better than its bad one, equals counting half; `auroc` the same over
    all pairs of a good and a bad map, of whichever images. `n` images count; of `undefined` either score is NaN.
    """

    wins: float
    auroc: float
    n: int
    undefined: int


def separation(good: ArrayLike, bad: ArrayLike, direction: Direction) -> Separation:
    """Whether a metric prefers the maps of a method to the same maps shuffled.

    `good` and `bad` are the scores of both on the same images, (n,) each, `direction` that of the metric. Shuffled maps hold the
    same values, so whatever reads values alone (sparseness, entropy) is at .5 here: that is an answer. Images with a NaN on
    either side count for neither, and are counted; NaN where none is left. Raises `DataError` for other shapes.
    """
    one, other = np.asarray(good, np.float64), np.asarray(bad, np.float64)
    if one.shape != other.shape or one.ndim != 1:
        raise DataError(
            f"scores of good and bad maps are of the same images, (n,) each; got {one.shape} and {other.shape}"
        )
    one, other = (_lower_is_better(values, direction) for values in (one, other))
    defined = ~(np.isnan(one) | np.isnan(other))
    one, other = one[defined], other[defined]
    n = len(one)
    if not n:
        return Separation(math.nan, math.nan, 0, len(defined))
    wins = float(((one < other) + 0.5 * (one == other)).mean())
    # The sum of the ranks of one side counts the pairs it wins (Mann and Whitney 1947).
    ranks = average_ranks(np.concatenate([other, one])[None])[0]
    auroc = (ranks[:n].sum() - n * (n + 1) / 2) / n**2
    return Separation(wins, float(auroc), n, len(defined) - n)


def seed_noise(scores: ArrayLike) -> float:
    """How much seeds blur the differences between methods: 0 where seeds do not matter, 1 where they matter as much as methods.

    `scores` is (seeds, methods), means over images: the root of the mean variance over seeds, over the standard deviation of
    the methods' means (both with n - 1). Methods with a NaN are left out. NaN with fewer than two seeds or methods, or where
    all methods score the same. Raises `DataError` for another shape.
    """
    table = np.asarray(scores, np.float64)
    if table.ndim != 2:
        raise DataError(f"scores are (seeds, methods); got {table.shape}")
    table = table[:, ~np.isnan(table).any(axis=0)]
    if min(table.shape) < 2:
        return math.nan
    between = float(table.mean(axis=0).std(ddof=1))
    return math.sqrt(float(table.var(axis=0, ddof=1).mean())) / between if between > 0 else math.nan


def _rows() -> tuple[Metric, ...]:
    def overlap(
        one: NDArray[np.floating], other: NDArray[np.floating], *, share: float = 0.1
    ) -> float:
        return top_overlap(one, other, share=share).value

    def won(good: ArrayLike, bad: ArrayLike, direction: Direction) -> float:
        return separation(good, bad, direction).wins

    def auroc(good: ArrayLike, bad: ArrayLike, direction: Direction) -> float:
        return separation(good, bad, direction).auroc

    share = (0.0, 1.0)
    preferred = Metric(
        "separation", won, "higher", share, "share of images won against shuffled maps, equals half",
        title="Separation from shuffled maps",
        family="agreement",
        formula="separation = Σ_i ([s_i better than s̃_i] + ½ [s_i = s̃_i]) / n,  s̃_i the score of the map shuffled",
        paper=OWN,
        cannot_show="whether the metric prefers the better of two maps; scores that read values alone are at .5, since a shuffled map has the same",
        undefined="no image has both scores",
        needs=("scores",),
        picture="separation",
        of="set",
    )  # fmt: skip
    return (
        Metric(
            "top-overlap", overlap, "higher", share, "IoU of the hottest share, ties share their places",
            title="Overlap of the hottest places",
            family="agreement",
            formula="top-overlap = Σ min(w, w′) / Σ max(w, w′),  w the hottest 10 % of the cells",
            paper=f"{OWN}, the Jaccard index of the hottest cells",
            cannot_show="the rest of the map, nor whether alike is good; unrelated maps overlap by about .05 at 10 %",
            undefined="either map is constant or not finite",
            needs=("map",),
            picture="top-overlap",
        ),
        Metric(
            "alpha", krippendorff_alpha, "higher", (-1.0, 1.0), "Krippendorff 2011",
            title="Krippendorff's alpha",
            family="agreement",
            formula="alpha = 1 − D_observed / D_expected,  of the ranks that metrics give to methods",
            paper="Krippendorff 2011, Computing Krippendorff's Alpha-Reliability",
            cannot_show="who is right: metrics that share an error agree on it, and a metric counted twice agrees with itself",
            undefined="fewer than two ratings can be paired, or all are equal",
            needs=("scores",),
            picture="alpha",
            of="set",
        ),
        preferred,
        replace(
            preferred,
            name="separation-auroc",
            function=auroc,
            protocol="Mann and Whitney 1947, over pairs of images",
            title="Separation over all pairs",
            formula="separation-auroc = P(s_i better than s̃_j) + ½ P(s_i = s̃_j) over all pairs of images i, j",
            paper="Mann and Whitney 1947, On a Test of Whether One of Two Random Variables Is Stochastically Larger",
            cannot_show="whether the metric prefers the better of two maps; and where pictures differ more than maps it is near .5 for that reason",
        ),
        Metric(
            "seed-noise", seed_noise, "lower", (0.0, math.inf), "SD over seeds / SD between methods",
            title="Noise of the seeds",
            family="agreement",
            formula="seed-noise = √(mean over methods of Var_seeds) / SD_methods(mean over seeds)",
            paper=OWN,
            cannot_show="an error that all seeds share; and among methods that hardly differ any noise is large",
            undefined="there are fewer than two seeds or methods, or all methods score the same",
            needs=("scores",),
            picture="seed-noise",
            of="set",
        ),
    )  # fmt: skip


AGREEMENT_METRICS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _rows()})
"""Scores of pairs of maps, and of metrics themselves."""
