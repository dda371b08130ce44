"""The metrics that are themselves judged: every one that was asked, and one protocol of each that reads the map alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from saliscope.metrics import (
    COMPLEXITY_METRICS,
    EVIDENCE_METRICS,
    ROBUSTNESS_METRICS,
    krippendorff_alpha,
    rank_methods,
    spearman,
)
from saliscope.metrics.faithfulness import FAITHFULNESS
from saliscope.metrics.scores import Direction
from saliscope.report.study.asked import asked_combos
from saliscope.report.study.endpoint import better_of, heading_of
from saliscope.report.study.grid import Grid
from saliscope.report.study.scores import Combo, Floats
from saliscope.report.study.together import Study

__all__ = ["TRUTH", "Judged", "agreement_of", "judged_metrics", "mean_scores", "truth_of"]

Family = Literal["faithfulness", "robustness", "known evidence", "place", "complexity"]

TRUTH: Combo = ("relevance-mass", "mask:evidence")
"""The known truth of generated critters: how much of the heat lies on what makes the breed."""

_FAMILIES: tuple[tuple[Family, frozenset[str]], ...] = (
    ("faithfulness", frozenset(FAITHFULNESS) - {"mean-heat"}),
    ("robustness", frozenset(ROBUSTNESS_METRICS)),
    ("known evidence", frozenset(EVIDENCE_METRICS)),
    ("complexity", frozenset({*COMPLEXITY_METRICS, "mean-heat"})),
)
_PLACE = ("iou", "enrichment", "energy", "pointing")
_MASKED = ("relevance-mass", "pointing-mask", "relevance-rank", "pixel-ap")
_MASKS = ("mask:evidence", "mask:object", "mask:body", "mask:class")  # of several, the first
_FEWEST = 4  # methods below which a rank correlation over methods says nothing
_RANKED = 3  # methods below which rankings can hardly disagree


@dataclass(frozen=True)
class Judged:
    """A metric by its protocol; `asked`: it asked the network."""

    metric: str
    protocol: str
    family: Family
    asked: bool

    @property
    def combo(self) -> Combo:
        return self.metric, self.protocol

    @property
    def better(self) -> Direction:
        return better_of(self.metric)

    @property
    def name(self) -> str:
        """What it is called where protocols do not say more: with the mask or the box protocol, else alone."""
        if self.asked or self.family == "complexity" or self.protocol == "boxes":
            return heading_of(self.metric)
        return heading_of(self.metric, self.protocol.removeprefix("mask:"))


def judged_metrics(study: Study, primary: Combo) -> list[Judged]:
    """The asked metrics, the primary score, and of those that read the map alone one protocol each, in the order of families."""
    asked = asked_combos(study)
    known = study.combos
    chosen: dict[Combo, None] = dict.fromkeys(sorted(asked & set(known)))
    if primary in known:
        chosen[primary] = None
    for metric in _PLACE:
        own = [c for c in known if c[0] == metric]
        if not any(c[0] == metric for c in chosen):
            chosen |= dict.fromkeys(own[:1])
    mask = next((m for m in _MASKS if (TRUTH[0], m) in known), None)
    chosen |= {c: None for m in _MASKED if (c := (m, str(mask))) in known}
    chosen |= {c: None for m in COMPLEXITY_METRICS if (c := (m, "map")) in known}
    found = [Judged(m, p, _family(m), (m, p) in asked) for m, p in chosen]
    order = [name for name, _ in _FAMILIES]
    return sorted(found, key=lambda j: order.index(j.family) if j.family in order else 2)


def _family(metric: str) -> Family:
    return next((name for name, own in _FAMILIES if metric in own), "place")


def mean_scores(grid: Grid, metrics: Sequence[Judged], methods: Sequence[str]) -> Floats:
    """The mean scores (metrics, methods), NaN where a method has none."""
    cells = [[grid.get(*one.combo, name) for name in methods] for one in metrics]
    means = [[math.nan if c is None else c.estimate.estimate for c in row] for row in cells]
    return np.array(means, np.float64).reshape(len(metrics), len(methods))


def agreement_of(scores: Floats, metrics: Sequence[Judged]) -> float:
    """Krippendorff's alpha (ordinal) of metrics as raters of methods; NaN for fewer than two metrics or three methods."""
    if len(metrics) < 2 or scores.shape[1] < _RANKED:
        return math.nan
    return krippendorff_alpha(rank_methods(scores, [one.better for one in metrics]), "ordinal")


def truth_of(grid: Grid, one: Judged, methods: Sequence[str]) -> tuple[float, int]:
    """How well a metric's ranking of methods agrees with the known truth, in [-1, 1], and over how many methods.

    The rank correlation over methods of the mean scores, signed so that 1 is full agreement. NaN for fewer than four methods,
    without a known truth, and for the truth itself.
    """
    known = Judged(*TRUTH, "place", asked=False)
    own, truth = mean_scores(grid, [one, known], methods)
    both = ~(np.isnan(own) | np.isnan(truth))
    count = int(both.sum())
    if count < _FEWEST or one.combo == TRUTH:
        return math.nan, count
    sign = 1 if one.better == "higher" else -1
    return spearman(sign * own[both], truth[both]), count
