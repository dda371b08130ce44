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
from saliscope.data.catalog import Archive, DataKind, data_kind, data_names
from saliscope.data.opening import cache_folder, data_root, open_data
from saliscope.data.sample import (
    DataSet,
    Failed,
    Listing,
    Region,
    Sample,
    fingerprint,
    read_samples,
)
from saliscope.data.splits import choose_split, held_out

__all__ = [
    "Archive",
    "Corners",
    "DataKind",
    "DataSet",
    "Failed",
    "Listing",
    "Region",
    "Sample",
    "Truth",
    "TruthSource",
    "cache_folder",
    "choose_split",
    "data_kind",
    "data_names",
    "data_root",
    "find_truth",
    "fingerprint",
    "held_out",
    "open_data",
    "read_coco",
    "read_samples",
    "read_voc",
]
