"""Scores where it is known what makes a class: the one part that tells twins apart, and a planted tag.

For the generated critters, whose masks say both. How much heat lies on all that makes a breed is `heat_share` of the mask
`evidence`, and whether the hottest point does is `mask_pointing`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from saliscope.errors import DataError
from saliscope.metrics.energy import enrichment, heat_share
from saliscope.metrics.pointing import clear_point, mask_hit
from saliscope.metrics.scores import OWN, Metric

__all__ = [
    "EVIDENCE_METRICS",
    "contrast",
    "cue_enrichment",
    "cue_heat",
    "mask_pointing",
    "twin_enrichment",
    "twin_share",
]


def contrast(own: NDArray[np.floating], twin: NDArray[np.floating]) -> NDArray[np.float64]:
    """What speaks for a class more than for its twin: the difference of two signed maps (H, W) of one picture, float64.

    Both maps are of one method and layer and of the logits, never normalised: only then do they share a scale. Raises
    `DataError` where the shapes differ.
    """
    if own.shape != twin.shape or own.ndim != 2:
        raise DataError(
            f"the maps of a class and its twin are (H, W) of one picture; got {own.shape} and {twin.shape}"
        )
    difference: NDArray[np.float64] = own.astype(np.float64) - twin.astype(np.float64)
    return difference


def twin_share(
    own: NDArray[np.floating], twin: NDArray[np.floating], differing: NDArray[np.bool_]
) -> float:
    """The share of the positive `contrast` in the mask of the one part that differs, in [0, 1]; higher is better.

    `own` and `twin` are the maps of the shown breed and of its twin, brought to the picture; `differing`, bool (H, W), is the mask
    `twin` of a critter. NaN where nothing speaks for the breed more than for its twin, as with a method that does
    not look at the class; and for a mask without a pixel, since the part may be hidden.
    """
    found = heat_share(contrast(own, twin), differing)
    return found if differing.any() else math.nan


def twin_enrichment(
    own: NDArray[np.floating], twin: NDArray[np.floating], differing: NDArray[np.bool_]
) -> float:
    """`twin_share` over the part's share of the picture: 1 for a contrast that is even, higher is better. NaN as there.

    A low value does not say whose fault it is: a network may tell the twins apart by something else than the part.
    """
    return enrichment(contrast(own, twin), differing)


def cue_heat(heat: NDArray[np.floating], tag: NDArray[np.bool_]) -> float:
    """The share of the positive heat (H, W) on a planted tag, bool (H, W), in [0, 1].

    `lower` is better for a network that should not look there. For one that does (trained where the tag betrays the breed) a
    true map is hot on the tag: compare with what the network does when the tag is changed, before blaming the map. NaN where
    nothing is positive, or the tag has no pixel.
    """
    found = heat_share(heat, tag)
    return found if tag.any() else math.nan


def cue_enrichment(heat: NDArray[np.floating], tag: NDArray[np.bool_]) -> float:
    """`cue_heat` over the tag's share of the picture: 1 for an even map, above 1 where the map looks at the tag. NaN as there."""
    return enrichment(heat, tag)


def mask_pointing(heat: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """1 where the hottest pixel of a heatmap (H, W) lies in a mask, bool (H, W), else 0; higher is better.

    The pointing game without a tolerance: the mask is exact, as those of critters are. The point is `clear_point`, the first in
    reading order of equals; a constant map has none and misses: 0. NaN for an empty mask, and where no pixel was seen. Raises
    `DataError` where the two differ in size.
    """
    if heat.shape != mask.shape:
        raise DataError(
            f"the heatmap is {heat.shape} and the mask {mask.shape}; bring both to the image, (H, W)"
        )
    return math.nan if np.isnan(heat).all() else mask_hit(clear_point(heat), mask)


def _rows() -> tuple[Metric, ...]:
    share, ratio = (0.0, 1.0), (0.0, math.inf)
    twin = "positive part of own - twin in the mask `twin`"
    tag = "positive heat in the mask `tag`"
    contrasted = Metric(
        "twin-share", twin_share, "higher", share, twin,
        title="Contrast of twins on the part that differs",
        family="evidence",
        formula="twin-share = Σ_{p∈T} C(p) / Σ_p C(p),  C = max(0, M_own − M_twin),  T the part that differs",
        paper=f"{OWN}, of generated critters",
        cannot_show="whose fault a low value is: the network may tell the twins apart by something else than the part",
        undefined="nothing speaks for the breed more than for its twin (a map that does not look at the class), or the part is hidden",
        needs=("map", "mask"),
        picture="twin",
    )  # fmt: skip
    planted = replace(
        contrasted,
        name="cue-heat",
        function=cue_heat,
        direction="lower",
        protocol=tag,
        title="Heat on a planted tag",
        formula="cue-heat = Σ_{p∈tag} H⁺(p) / Σ_p H⁺(p)",
        cannot_show="whether the network looks at the tag: of one that does, a true map is hot there and scores badly",
        undefined="no heat is positive, or the tag has no pixel",
        picture="cue",
    )
    return (
        contrasted,
        replace(
            contrasted,
            name="twin-enrichment",
            function=twin_enrichment,
            bounds=ratio,
            protocol=f"{twin}, over area",
            title="Contrast of twins over the part's area",
            formula="twin-enrichment = twin-share / (|T| / n); 1 for an even contrast",
            cannot_show="whose fault a low value is, map or network; and small parts have the highest values",
        ),
        planted,
        replace(
            planted,
            name="cue-enrichment",
            function=cue_enrichment,
            bounds=ratio,
            protocol=f"{tag}, over area",
            title="Heat on a planted tag over its area",
            formula="cue-enrichment = cue-heat / (|tag| / n); 1 for an even map",
        ),
        replace(
            contrasted,
            name="pointing-mask",
            function=mask_pointing,
            protocol="hottest pixel in the mask, no tolerance",
            title="Pointing at a mask",
            formula="pointing-mask = [argmax H ∈ R],  R the pixels that make the breed; 0 for a constant map",
            paper=f"{OWN}, of generated critters; the pointing game of Zhang et al. 2018 without its disk",
            cannot_show="all but one pixel of the map; a coarse map may point beside a thin part it is about",
            undefined="the mask is empty, or no pixel was seen",
            picture="pointing-mask",
        ),
    )


EVIDENCE_METRICS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _rows()})
"""Scores of one critter, whose masks say what makes its breed."""
