"""How heat is spread over the inside and the outside of a region, beyond its plain share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saliscope.boxes import Box
from saliscope.errors import DataError, OptionError
from saliscope.localization import normalise
from saliscope.metrics.energy import enrichment, heat_share, seen_pixels
from saliscope.metrics.localization import box_region

__all__ = [
    "RelevanceRank",
    "box_coverage",
    "contrastivity",
    "energy_in_boxes",
    "enrichment_in_boxes",
    "inside_outside_ratio",
    "rank_accuracy",
    "relevance_rank",
]


def energy_in_boxes(heat: NDArray[np.floating], truth: Sequence[Box]) -> float:
    """The share of the positive heat (H, W) inside any annotated box: the energy-based pointing game.

    Wang et al. 2020 (Score-CAM), section 4.3; `heat_share` of the pixels whose centres the boxes hold. NaN where nothing is
    annotated or nothing is positive. A large object has a large share under an even map too: read `enrichment_in_boxes`
    beside it.
    """
    return heat_share(heat, box_region(truth, _size(heat))) if truth else math.nan


def enrichment_in_boxes(heat: NDArray[np.floating], truth: Sequence[Box]) -> float:
    """`energy_in_boxes` over the boxes' share of the image: 1 for an even map, higher is better, NaN where undefined."""
    return enrichment(heat, box_region(truth, _size(heat))) if truth else math.nan


def _size(heat: NDArray[np.floating]) -> tuple[int, int]:
    if heat.ndim != 2:
        raise DataError(f"a heatmap has shape (H, W); got {heat.shape}: give one map at a time")
    return heat.shape[0], heat.shape[1]


@dataclass(frozen=True)
class RelevanceRank:
    """Relevance rank accuracy of one image, and the share of the K places that ties left to chance."""

    value: float
    ties: float


def relevance_rank(heat: NDArray[np.floating], mask: NDArray[np.bool_]) -> RelevanceRank:
    """The share of the K hottest pixels that lie in a mask of K pixels, in [0, 1]; higher is better.

    Relevance rank accuracy (Arras et al. 2022, CLEVR-XAI, section 3.3). `heat` is (H, W), signed; `mask` bool (H, W). Where
    pixels tie for the last places the value is what a fair draw among them gives on average, and `ties` says how many of
    the K places it decided: 1 for a constant map, whose value is the mask's share of the image. Pixels that a crop
    never saw (NaN) count for neither. NaN for an empty mask. Raises `DataError` where the sizes differ.
    """
    seen, inside = seen_pixels(heat, mask)
    count = int(inside.sum())
    if not count:
        return RelevanceRank(math.nan, math.nan)
    last = np.partition(seen, len(seen) - count)[len(seen) - count]
    above, level = seen > last, seen == last
    places, tied = count - int(above.sum()), int(level.sum())
    certain = int((above & inside).sum())
    drawn = places * int((level & inside).sum()) / tied
    return RelevanceRank((certain + drawn) / count, places / count if tied > places else 0.0)


def rank_accuracy(heat: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """The value of `relevance_rank` alone."""
    return relevance_rank(heat, mask).value


def inside_outside_ratio(heat: NDArray[np.floating], region: NDArray[np.bool_]) -> float:
    """The mean heat inside a region over the mean outside: 1 for an even map, higher is better.

    Selvaraju et al. 2017 (Grad-CAM), section 8.1, there for the boxes of DenseCap. What is negative counts as none; NaN
    pixels count on neither side. NaN where one side has no pixel or the outside no heat. Raises `DataError` where the sizes differ.
    """
    seen, inside = seen_pixels(heat, region)
    positive = np.clip(seen, 0, None)
    if inside.all() or not inside.any():
        return math.nan
    outside = float(positive[~inside].mean())
    return float(positive[inside].mean()) / outside if outside > 0 else math.nan


def box_coverage(
    heat: NDArray[np.floating], truth: Sequence[Box], *, threshold: float = 0.0
) -> float:
    """How much of the boxes the heat fills, less for heat outside them, in [0, 1]; higher is better.

    `Loc` of Chattopadhyay et al. 2018 (Grad-CAM++), equation 26: of the min-max normalised heatmap the pixels above
    `threshold` (delta) inside the boxes, over the pixels of the boxes plus those above it outside. Strictly above: at delta
    0 a ReLU's zeros do not count. A flat map has no pixel above and scores 0. NaN where the boxes hold no seen pixel. Raises
    `OptionError` for a threshold outside [0, 1).
    """
    if not 0 <= threshold < 1:
        raise OptionError(f"delta is a share of the range, in [0, 1), e.g. 0.25; got {threshold}")
    scaled = normalise(heat)
    seen, inside = seen_pixels(scaled, box_region(truth, _size(heat)))
    area = int(inside.sum())
    above = seen > np.float32(threshold)
    return int((above & inside).sum()) / (area + int((above & ~inside).sum())) if area else math.nan


def contrastivity(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """How different the foregrounds of two classes are: Hamming distance over union, in [0, 1]; higher is better.

    Both are masks, bool (H, W), made by the same protocol on one image. 0 for equal ones, 1 for disjoint ones, NaN where both
    are empty. Raises `DataError` where the sizes differ.
    """
    if one.shape != other.shape:
        raise DataError(f"the masks are {one.shape} and {other.shape}; make both for one image")
    either = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one != other)) / either if either else math.nan
