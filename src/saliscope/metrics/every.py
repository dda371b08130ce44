"""All metrics by name, wherever they are defined."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from saliscope.errors import OptionError, nearest
from saliscope.metrics.agreement import AGREEMENT_METRICS
from saliscope.metrics.catalog import METRICS
from saliscope.metrics.complexity import COMPLEXITY_METRICS
from saliscope.metrics.faithfulness import FAITHFULNESS
from saliscope.metrics.known_evidence import EVIDENCE_METRICS
from saliscope.metrics.likeness import SIMILARITY_METRICS
from saliscope.metrics.robustness import ROBUSTNESS_METRICS
from saliscope.metrics.sanity import SANITY_METRICS
from saliscope.metrics.scores import Metric
from saliscope.metrics.sets import SET_METRICS

__all__ = ["every_metric", "metric_named"]

_CATALOGS = (
    METRICS,
    SET_METRICS,
    FAITHFULNESS,
    ROBUSTNESS_METRICS,
    COMPLEXITY_METRICS,
    SANITY_METRICS,
    SIMILARITY_METRICS,
    AGREEMENT_METRICS,
    EVIDENCE_METRICS,
)


@cache
def every_metric() -> Mapping[str, Metric]:
    """Every metric by its name, as tables and pages of a run name it: direction, bounds, protocol and facts.

    >>> every_metric()["deletion"].direction
    'lower'
    """
    return MappingProxyType({name: row for rows in _CATALOGS for name, row in rows.items()})


def metric_named(name: str) -> Metric:
    """The metric of a name, or of METRIC@PROTOCOL. Raises `OptionError` with the nearest for an unknown one."""
    known = every_metric()
    name = name.partition("@")[0]
    if name not in known:
        if any(name.lower() == metric.family for metric in known.values()):
            raise OptionError(
                f'"{name}" is a family of metrics; `saliscope metrics --family {name.lower()}` lists its own'
            )
        raise OptionError(
            f'metric "{name}" is unknown; {nearest(name, known)}. `saliscope metrics` lists them all'
        )
    return known[name]
