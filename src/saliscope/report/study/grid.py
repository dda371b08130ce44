"""All scores of all methods at once, with intervals and differences from one bootstrap, and p-values corrected as a search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from saliscope.report.study.derived import as_hits, at_thresholds, top_error
from saliscope.report.study.endpoint import endpoint_of
from saliscope.report.study.scores import Combo, Floats
from saliscope.report.study.together import Method, Study
from saliscope.stats import (
    Interval,
    benjamini_hochberg,
    mcnemar,
    unit_means,
    wilcoxon,
    wilson_interval,
)

__all__ = ["Cell", "Grid", "grid_of"]

_SAME = 1e-6


@dataclass(frozen=True)
class Cell:
    """One score of one method, and its difference to the reference: None for the reference itself.

    `identical`: no image differs by more than 1e-6; it is then not tested. `adjusted` is the p-value among all of the grid.
    """

    metric: str
    protocol: str
    method: Method
    estimate: Interval
    difference: Interval | None = None
    test: str = ""
    pvalue: float = math.nan
    effect: float = math.nan
    adjusted: float = math.nan
    identical: bool = False


@dataclass(frozen=True, eq=False)
class Grid:
    """Cells by metric, protocol and method, in the order of tables."""

    cells: Mapping[tuple[str, str, str], Cell]

    def get(self, metric: str, protocol: str, method: str) -> Cell | None:
        return self.cells.get((metric, protocol, method))

    def protocols(self, metric: str) -> tuple[str, ...]:
        """The protocols that a metric was measured by."""
        return tuple(dict.fromkeys(p for m, p, _ in self.cells if m == metric))


def grid_of(study: Study, reference: Method) -> Grid:
    """Every metric by every protocol, with thresholds chosen for tuning as the protocol "chosen"; tests are exploratory (Benjamini-Hochberg)."""
    columns: list[Floats] = []
    pairs: list[tuple[int, int]] = []
    cells: list[tuple[Cell, int | None, int | None]] = []
    for (metric, protocol), scores in _scores(study).items():
        counted = _is_proportion(metric, protocol, scores) and not study.several
        base = scores.get(reference.name)
        at = len(columns) + list(scores).index(reference.name) if base is not None else -1
        for name, own in scores.items():
            other = base if name != reference.name else None
            cell = Cell(metric, protocol, study.method(name), _none(own))
            if other is not None:
                cell = _tested(cell, own, other, study, counted=counted)
            if counted:
                cells.append((_counted(cell, own), None, None))
                continue
            gap = None if other is None else len(pairs)
            cells.append((cell, len(columns), gap))
            columns.append(own)
            if other is not None:
                pairs.append((len(columns) - 1, at))
    return _filled(study, columns, pairs, cells)


def _filled(
    study: Study, columns: list[Floats], pairs: list[tuple[int, int]],
    waiting: list[tuple[Cell, int | None, int | None]],
) -> Grid:  # fmt: skip
    cells = [cell for cell, _, _ in waiting]
    if columns:
        means, gaps = study.draws.means_and_gaps(np.column_stack(columns), pairs)
        cells = [
            cell if at is None
            else replace(cell, estimate=means[at], difference=None if gap is None else gaps[gap])
            for cell, at, gap in waiting
        ]  # fmt: skip
    adjusted = benjamini_hochberg([c.pvalue for c in cells])
    return Grid(
        {
            (c.metric, c.protocol, c.method.name): replace(c, adjusted=float(p))
            for c, p in zip(cells, adjusted, strict=True)
        }
    )


def _scores(study: Study) -> dict[Combo, dict[str, Floats]]:
    found = {combo: study.values(*combo) for combo in study.combos}
    protocols = [protocol for metric, protocol in study.combos if metric == "gt-known"]
    for protocol in protocols:
        for k in (1, 5):
            found[f"top-{k}", protocol] = top_error(study, protocol, k)
    rules = dict.fromkeys(rule for run in study.runs for rule in run.settings.rules)
    for rule in rules:
        scored = at_thresholds(study, "iou", rule)
        if scored.values and "oracle" not in scored.source.values():
            named = "chosen" if rule == next(iter(rules)) else f"chosen:{rule}"
            found["iou", named] = dict(scored.values)
            found["gt-known", named] = dict(as_hits(scored).values)
    return {combo: scores for combo, scores in found.items() if scores}


def _is_proportion(metric: str, protocol: str, scores: Mapping[str, Floats]) -> bool:
    kind = endpoint_of(metric, protocol).kind
    if kind != "auto":
        return kind == "proportion"
    known = np.concatenate([v[~np.isnan(v)] for v in scores.values()])
    return bool(np.isin(known, (0, 1)).all()) and len(known) > 0


def _none(own: Floats) -> Interval:
    return Interval(math.nan, math.nan, math.nan, 0, len(own))


def _tested(cell: Cell, own: Floats, other: Floats, study: Study, *, counted: bool) -> Cell:
    gap = own - other
    defined = gap[~np.isnan(gap)]
    if counted:
        cell = replace(cell, difference=mcnemar(own, other).difference)
    if not len(defined):
        return replace(cell, test="none: no common image")
    if np.abs(defined).max() <= _SAME:
        return replace(cell, test="none: identical", identical=True)
    if counted:
        binary = mcnemar(own, other)
        return replace(cell, test="McNemar, exact", pvalue=binary.pvalue, effect=binary.effect)
    clusters = study.draws.clusters
    ranked = wilcoxon(gap if clusters is None else unit_means(gap, clusters), tolerance=_SAME)
    name = "Wilcoxon signed-rank, " + ("exact" if ranked.exact else "normal")
    return replace(cell, test=name, pvalue=ranked.pvalue, effect=ranked.effect)


def _counted(cell: Cell, own: Floats) -> Cell:
    """The cell of a proportion, whose interval needs no bootstrap."""
    known = own[~np.isnan(own)]
    share = wilson_interval(int(known.sum()), len(known), undefined=len(own) - len(known))
    return replace(cell, estimate=share)
