"""Scores of heatmaps and boxes: functions of one image, and accumulators over a set; one family a file."""

from __future__ import annotations

from saliscope.metrics.box_accuracy import (
    BestThreshold,
    BoxAccuracy,
    BoxAccuracyScore,
    best_threshold,
)
from saliscope.metrics.catalog import METRICS
from saliscope.metrics.classification import (
    ClsLoc,
    ClsLocScores,
    classification_error,
    localisation_error,
)
from saliscope.metrics.energy import enrichment, heat_share
from saliscope.metrics.localization import (
    box_region,
    gt_known,
    lacks_box,
    pixels_of,
    union_iou,
)
from saliscope.metrics.pixels import (
    PixelAP,
    pixel_average_precision,
    pixel_histogram,
    precision_under,
)
from saliscope.metrics.pointing import (
    PointingGame,
    PointingScores,
    hottest_point,
    is_difficult,
    pointing_hit,
)
from saliscope.metrics.regions import (
    RelevanceRank,
    box_coverage,
    contrastivity,
    energy_in_boxes,
    enrichment_in_boxes,
    inside_outside_ratio,
    rank_accuracy,
    relevance_rank,
)
from saliscope.metrics.scores import Mean, Metric, Score

__all__ = [
    "METRICS",
    "BestThreshold",
    "BoxAccuracy",
    "BoxAccuracyScore",
    "ClsLoc",
    "ClsLocScores",
    "Mean",
    "Metric",
    "PixelAP",
    "PointingGame",
    "PointingScores",
    "RelevanceRank",
    "Score",
    "best_threshold",
    "box_coverage",
    "box_region",
    "classification_error",
    "contrastivity",
    "energy_in_boxes",
    "enrichment",
    "enrichment_in_boxes",
    "gt_known",
    "heat_share",
    "hottest_point",
    "inside_outside_ratio",
    "is_difficult",
    "lacks_box",
    "localisation_error",
    "pixel_average_precision",
    "pixel_histogram",
    "pixels_of",
    "pointing_hit",
    "precision_under",
    "rank_accuracy",
    "relevance_rank",
    "union_iou",
]
