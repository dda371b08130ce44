"""Scores that take the best threshold, for all methods of a rule: intervals that choose it again, and what tuning elsewhere gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from saliscope.report.study.derived import at_thresholds
from saliscope.report.study.draws import bare
from saliscope.report.study.scores import Floats
from saliscope.report.study.sweeps import Goal
from saliscope.report.study.together import Study
from saliscope.stats import Interval, maximised_table

__all__ = ["Maximum", "maxima_of"]


@dataclass(frozen=True, eq=False)
class Maximum:
    """A goal of one method: the oracle's score, its difference to the reference, and the thresholds, one a delta.

    `tuned`: the score at the thresholds that are best on the images for tuning, None without them; `values` its scores (units,).
    """

    oracle: Interval
    difference: Interval | None
    at: tuple[float, ...]
    places: tuple[int, ...]
    tuned: Interval | None = None
    tuned_at: tuple[float, ...] = ()
    values: Floats | None = None


def maxima_of(study: Study, goal: Goal, rule: str, reference: str) -> Mapping[str, Maximum]:
    """The maxima of every method that has curves by a rule; the centred box with them, its side being the threshold."""
    oracle = at_thresholds(study, goal, rule, oracle=True)
    if not oracle.near:
        return {}
    first = reference if reference in oracle.near else next(iter(oracle.near))
    table = maximised_table(oracle.near, reference=first, **study.draws.options)
    tuned = at_thresholds(study, goal, rule)
    names = [n for n, source in tuned.source.items() if source == "chosen"]
    means = dict(zip(names, _means(study, [tuned.values[n] for n in names]), strict=True))
    found = {}
    for name, (own, gap) in table.items():
        sweep = study.sweep(study.method(name), rule)
        assert sweep is not None
        aim = sweep.aims[goal]
        chosen = tuple(float(sweep.thresholds[p]) for p in aim.chosen or ())
        found[name] = Maximum(
            _enough(study, own.interval, oracle.values[name]),
            None if gap is None or first != reference
            else _enough(study, gap.difference, oracle.values[name] - oracle.values[first]),
            tuple(float(sweep.thresholds[p]) for p in aim.oracle), aim.oracle,
            means.get(name), chosen if name in means else (), tuned.values.get(name),
        )  # fmt: skip
    return found


def _enough(study: Study, interval: Interval, values: Floats) -> Interval:
    """The interval of some scores, which fewer than five images do not have."""
    return bare(interval) if study.draws.few(~np.isnan(values)) else interval


def _means(study: Study, columns: list[Floats]) -> list[Interval]:
    return study.draws.means(np.column_stack(columns)) if columns else []
