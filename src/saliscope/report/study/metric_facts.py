"""Whose definition a score is, for the notes of tables."""

from __future__ import annotations

from saliscope.metrics import every_metric

__all__ = ["metric_note"]


def metric_note(metric: str, protocol: str) -> str:
    """Whose definition a score is, and by which protocol it was measured, for the notes of a table."""
    row = every_metric().get(metric)
    return f"{row.protocol} ({metric}@{protocol})" if row else f"{metric}@{protocol}"
