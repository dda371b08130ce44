"""The scores of one image, by name, each with what belongs beside its number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from saliscope.boxes import best_iou
from saliscope.metrics.energy import enrichment, heat_share
from saliscope.metrics.localization import gt_known, lacks_box, union_iou
from saliscope.metrics.pixels import pixel_average_precision
from saliscope.metrics.regions import (
    box_coverage,
    contrastivity,
    energy_in_boxes,
    enrichment_in_boxes,
    inside_outside_ratio,
    rank_accuracy,
)
from saliscope.metrics.scores import Metric

__all__ = ["METRICS"]

_SHARE = (0.0, 1.0)
_RATIO = (0.0, math.inf)


def _rows() -> tuple[Metric, ...]:
    any_instance = "half-open boxes, the instance that fits best"
    score_cam = "Wang et al. 2020, section 4.3, positive heat"
    clevr = "Arras et al. 2022, section 3.3"
    return (
        Metric("iou", best_iou, "higher", _SHARE, any_instance),
        Metric("union-iou", union_iou, "higher", _SHARE, "half-open boxes, all instances as one"),
        Metric("gt-known", gt_known, "higher", _SHARE, f"IoU >= .5, {any_instance}"),
        Metric("no-box", lacks_box, "lower", _SHARE, "share of images without a box"),
        Metric("energy", energy_in_boxes, "higher", _SHARE, f"{score_cam}, in boxes"),
        Metric("enrichment", enrichment_in_boxes, "higher", _RATIO, f"{score_cam}, over area"),
        Metric("relevance-mass", heat_share, "higher", _SHARE, f"{clevr}, positive heat in a mask"),
        Metric("mask-enrichment", enrichment, "higher", _RATIO, f"{clevr}, mass over area"),
        Metric("relevance-rank", rank_accuracy, "higher", _SHARE, f"{clevr}, expected under ties"),
        Metric("pixel-ap", pixel_average_precision, "higher", _SHARE, "PxAP of one image"),
        Metric(
            "inside-outside", inside_outside_ratio, "higher", _RATIO, "Grad-CAM 2017, section 8.1"
        ),
        Metric("box-coverage", box_coverage, "higher", _SHARE, "Grad-CAM++ 2018, equation 26"),
        Metric(
            "contrastivity", contrastivity, "higher", _SHARE, "Hamming distance over union of masks"
        ),
    )


METRICS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _rows()})
"""Scores of one image by name; `Mean` takes the mean of one. Scores of a whole set have classes of their own."""
