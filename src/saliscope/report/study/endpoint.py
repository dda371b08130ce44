"""METRIC@PROTOCOL: the name of a score, what it is called in sentences, and which way is better."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from saliscope.metrics import every_metric
from saliscope.stats import ENDPOINTS, Endpoint

__all__ = ["BOX_METRICS", "better_of", "bounds_of", "endpoint_of", "heading_of", "is_of_boxes", "marked_better"]  # fmt: skip

BOX_METRICS = ("iou", "union-iou", "gt-known", "no-box")
"""What is counted of a box alone."""

_MAXIMISED = ("max-box-acc", "max-box-acc-v2")
_COUNTED = ("no-box", "top-1", "top-5", "increase", "win", "pointing-mask")
"""Scores that are 0 or 1 by definition, beside those that `ENDPOINTS` knows."""

_HEADINGS = {
    "iou": "mean IoU",
    "union-iou": "mean IoU with the union of boxes",
    "gt-known": "GT-known localisation",
    "no-box": "images without a box",
    "top-1": "top-1 localisation error",
    "top-5": "top-5 localisation error",
    "energy": "heat inside the boxes",
    "enrichment": "enrichment",
    "inside-outside": "inside/outside ratio",
    "box-coverage": "box coverage",
    "pointing": "pointing game",
    "relevance-mass": "heat in the mask",
    "mask-enrichment": "enrichment in the mask",
    "relevance-rank": "hottest pixels in the mask",
    "pixel-ap": "pixel AP of each image",
    "pointing-mask": "pointing in the mask",
    "max-box-acc": "MaxBoxAcc",
    "max-box-acc-v2": "MaxBoxAccV2",
    "deletion-lerf": "deletion from the coldest",
    "average-drop": "average drop",
    "absolute-drop": "absolute drop",
    "mean-heat": "mean heat",
    "adcc": "ADCC",
    "road-morf": "ROAD from the hottest",
    "road-lerf": "ROAD from the coldest",
    "road-combined": "ROAD combined",
    "occlusion-rank": "rank correlation with occlusion",
    "max-sensitivity": "largest sensitivity",
    "average-sensitivity": "average sensitivity",
    "flip-consistency": "consistency under a flip",
    "shift-consistency": "consistency under a shift",
    "jpeg-consistency": "consistency under JPEG",
    "twin-share": "contrast on the differing part",
    "twin-enrichment": "enrichment of the contrast there",
    "gini": "Gini index",
    "normalised-entropy": "normalised entropy",
    "effective-area": "effective area",
    "heat-area-50": "area with half of the heat",
    "heat-area-90": "area with 90 % of the heat",
}
_KNOWN = {
    "iou": ENDPOINTS["iou"],
    "union-iou": ENDPOINTS["iou"],
    "gt-known": ENDPOINTS["localised"],
    "pointing": ENDPOINTS["pointing"],
    "energy": ENDPOINTS["energy"],
    "enrichment": ENDPOINTS["enrichment"],
    "max-box-acc": replace(ENDPOINTS["localised"], kind="mean"),
    "max-box-acc-v2": replace(ENDPOINTS["localised"], kind="mean"),
}


def heading_of(metric: str, protocol: str = "") -> str:
    """What a score is called: "mean IoU (yang2025)"."""
    name = _HEADINGS.get(metric, metric)
    return f"{name} ({protocol})" if protocol else name


def is_of_boxes(metric: str) -> bool:
    """Whether a score is counted of a box, so that boxes without a network have it too."""
    return metric in BOX_METRICS or metric in _MAXIMISED


def better_of(metric: str) -> Literal["higher", "lower"]:
    """Which way a score is better."""
    row = every_metric().get(metric)
    return "higher" if row is None else row.direction


def marked_better(metric: str, protocol: str) -> Literal["higher", "lower"] | None:
    """Which way a score is marked as better; neither for heat on a planted tag, which is right where the network looks there."""
    return None if protocol == "mask:tag" else better_of(metric)


def bounds_of(metric: str) -> tuple[float, float]:
    """The least and the most that a score can be."""
    row = every_metric().get(metric)
    return (0.0, 1.0) if row is None else row.bounds


def _kind_of(metric: str) -> Literal["auto", "mean", "proportion"]:
    """How a score is counted: by its definition, for a share that happens to be 0 on every image is no proportion."""
    if metric in _COUNTED:
        return "proportion"
    return "mean" if metric in every_metric() else "auto"


def endpoint_of(
    metric: str, protocol: str, *, margin: float | None = None, primary: bool = False
) -> Endpoint:
    """The endpoint of a metric by a protocol; `margin` takes the place of the metric's own."""
    known = _KNOWN.get(metric, Endpoint(metric, kind=_kind_of(metric)))
    named = heading_of(metric, "" if protocol == "boxes" else protocol)
    limit = known.margin if margin is None else margin
    return replace(known, name=named, better=better_of(metric), primary=primary, margin=limit)
