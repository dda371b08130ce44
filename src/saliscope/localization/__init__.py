"""From a heatmap to a box: normalisation, foreground, largest part, rectangle; each step under a name."""

from __future__ import annotations

from saliscope.localization.levels import count_passed, even_grid
from saliscope.localization.normalise import NormaliseRule, normalise
from saliscope.localization.protocols import (
    PROTOCOLS,
    Protocol,
    Region,
    find_box,
    find_region,
    parse_protocol,
)
from saliscope.localization.status import Status, has_no_box, status_of
from saliscope.localization.sweep import Sweep, sweep_boxes

__all__ = [
    "PROTOCOLS",
    "NormaliseRule",
    "Protocol",
    "Region",
    "Status",
    "Sweep",
    "count_passed",
    "even_grid",
    "find_box",
    "find_region",
    "has_no_box",
    "normalise",
    "parse_protocol",
    "status_of",
    "sweep_boxes",
]
