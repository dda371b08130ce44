"""What is known of every metric by its name: which way is better, between which bounds, by whose definition."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from saliscope.metrics import (
    AGREEMENT_METRICS,
    COMPLEXITY_METRICS,
    EVIDENCE_METRICS,
    METRICS,
    ROBUSTNESS_METRICS,
    Metric,
)
from saliscope.metrics.faithfulness import FAITHFULNESS

__all__ = ["every_metric", "metric_note"]


@cache
def every_metric() -> Mapping[str, Metric]:
    """The metrics of one image of all families, by name."""
    families = (
        AGREEMENT_METRICS, EVIDENCE_METRICS, ROBUSTNESS_METRICS, COMPLEXITY_METRICS, FAITHFULNESS,
        METRICS,
    )  # fmt: skip
    return MappingProxyType({name: row for family in families for name, row in family.items()})


def metric_note(metric: str, protocol: str) -> str:
    """Whose definition a score is, and by which protocol it was measured, for the notes of a table."""
    row = every_metric().get(metric)
    return f"{row.protocol} ({metric}@{protocol})" if row else f"{metric}@{protocol}"
