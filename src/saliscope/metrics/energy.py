"""How much of the heat lies where it should."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from saliscope.errors import DataError

__all__ = ["enrichment", "heat_share", "seen_pixels"]


def heat_share(heat: NDArray[np.floating], region: NDArray[np.bool_]) -> float:
    """The share of the positive heat that lies in a region, in [0, 1]; higher is better.

    `heat` is (H, W) in the frame of the image, signed or not: what is negative counts as none, and NaN, which a crop never
    saw, is left out on both sides. `region` is bool (H, W). Of a box it is the energy-based pointing game (Wang et al.
    2020, Score-CAM, section 4.3), of a mask the relevance mass accuracy (Arras et al. 2022, CLEVR-XAI). NaN where there is
    no positive heat at all: that is undefined, not 0. Raises `DataError` where the two differ in size.
    """
    seen, inside = seen_pixels(heat, region)
    positive = np.clip(seen, 0, None)
    total = positive.sum()
    return float(positive[inside].sum() / total) if total > 0 else math.nan


def enrichment(heat: NDArray[np.floating], region: NDArray[np.bool_]) -> float:
    """The share of heat in a region over the region's share of the image: 1 for an even map, higher is better.

    NaN where `heat_share` is, and for a region without a pixel. Pixels that a crop never saw (NaN) count for neither.
    """
    share = heat_share(heat, region)
    if math.isnan(share):
        return math.nan
    area = float(seen_pixels(heat, region)[1].mean())
    return share / area if area > 0 else math.nan


def seen_pixels(
    heat: NDArray[np.floating], region: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The values of the pixels that were seen, float64, and which of them lie in the region, bool, both flat.

    Raises `DataError` where heat and region are not both (H, W).
    """
    if heat.shape != region.shape or heat.ndim != 2:
        raise DataError(
            f"the heatmap is {heat.shape} and the region {region.shape}; bring both to the image, (H, W)"
        )
    seen = ~np.isnan(heat)
    return heat[seen].astype(np.float64), region[seen].astype(bool)
