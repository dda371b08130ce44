"""Scores of heatmaps: pure functions, one family a file."""

from __future__ import annotations

from saliscope.metrics.energy import enrichment, heat_share

__all__ = ["enrichment", "heat_share"]
