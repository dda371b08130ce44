"""Metrics put to the test: does each tell good maps from shuffled ones, is it steady over seeds, what does it cost, is it right?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from saliscope.metrics import Separation, seed_noise, separation
from saliscope.report.study.asked import Cost, costs_of, seed_scores
from saliscope.report.study.draws import Draws
from saliscope.report.study.grid import Grid
from saliscope.report.study.judged import Judged, judged_metrics, truth_of
from saliscope.report.study.scores import Combo, Floats
from saliscope.report.study.together import Method, Study, kind_of
from saliscope.runs.measuring import SHUFFLED
from saliscope.stats import Interval

__all__ = ["Belief", "beliefs", "shuffled_of"]


@dataclass(frozen=True, eq=False)
class Belief:
    """What speaks for a metric.

    `wins`: the share of images whose map beats its own shuffled map, with its interval; `separation` the same and over all pairs.
    `noise`: the spread over seeds beside that between methods, NaN where it cannot be said, None where nothing was drawn again.
    `cost` None for what asks no network. `truth`: agreement with the known truth over `methods`, NaN where it is not known.
    """

    metric: Judged
    wins: Interval
    separation: Separation
    noise: float | None
    cost: Cost | None
    truth: float
    methods: int


def shuffled_of(study: Study, reference: Method) -> Method | None:
    """The row of the reference's shuffled maps; None where it was not measured."""
    rows = (m for m in study.trivial if kind_of(m.spec) == SHUFFLED and reference.run in m.runs)
    return next(rows, None)


def beliefs(study: Study, grid: Grid, reference: Method, primary: Combo) -> list[Belief]:
    """Every judged metric, the one that separates best first; empty where no shuffled map was measured."""
    shuffled = shuffled_of(study, reference)
    if shuffled is None or shuffled.name == reference.name:
        return []
    costs = costs_of(study)
    # Of one run: in several the same method may stand twice, and what a network's evidence is differs from network to network.
    names = [m.name for m in study.networks if m.run == reference.run]
    metrics, pairs = [], []
    for one in judged_metrics(study, primary):
        values = study.values(*one.combo)
        if reference.name in values and shuffled.name in values:
            metrics.append(one)
            pairs.append((values[reference.name], values[shuffled.name]))
    found = []
    for one, pair, wins in zip(metrics, pairs, _wins(study.draws, metrics, pairs), strict=True):
        seeds = seed_scores(study, one.combo)
        truth, methods = truth_of(grid, one, names)
        cost = costs.get(one.metric) if one.asked else None
        noise = None if seeds is None else seed_noise(seeds)
        found.append(Belief(one, wins, separation(*pair, one.better), noise, cost, truth, methods))
    return sorted(found, key=_worth, reverse=True)


def _worth(one: Belief) -> tuple[float, ...]:
    """By separation, then by the known truth, then by separation over all pairs; what is undefined comes last."""
    values = (one.wins.estimate, one.truth, one.separation.auroc)
    return tuple(-math.inf if math.isnan(value) else value for value in values)


def _wins(
    draws: Draws, metrics: Sequence[Judged], pairs: Sequence[tuple[Floats, Floats]]
) -> list[Interval]:
    """The share of images won, equals counting half, with intervals over images."""
    if not metrics:
        return []
    columns = []
    for one, (good, bad) in zip(metrics, pairs, strict=True):
        gap = (good - bad) if one.better == "higher" else (bad - good)
        columns.append(np.where(np.isnan(gap), np.nan, (np.sign(gap) + 1) / 2))
    return draws.means(np.column_stack(columns))
