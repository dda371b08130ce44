"""Annotations and data sets."""

from __future__ import annotations

from saliscope.data.annotations import (
    Corners,
    Truth,
    TruthSource,
    find_truth,
    read_coco,
    read_voc,
)

__all__ = ["Corners", "Truth", "TruthSource", "find_truth", "read_coco", "read_voc"]
