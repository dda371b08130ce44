"""Class by class: how much a score varies, and which classes hold their heat outside the boxes."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from saliscope.report.chapters.evidence import (
    METHOD,
    Evidence,
    counted,
    first_up,
    listed,
    method_row,
    put,
)
from saliscope.report.charts.classes import Dot, class_dots, outside_chart
from saliscope.report.sections import Chart, Column, Section, Table
from saliscope.report.study.endpoint import bounds_of
from saliscope.report.study.outside import ClassOutside, outside_by_class, t_interval
from saliscope.stats import Dispersion, by_class

__all__ = ["classes_section"]


def classes_section(evidence: Evidence) -> Section | None:
    """How the primary score spreads over classes, and heat outside every box by class; None below two classes."""
    found = _Classes(evidence)
    if len(found.names) < 2:
        return None
    outside = outside_by_class(evidence.study, evidence.lead)
    tables = [found.dispersion, found.table(outside)]
    charts = [found.chart]
    if outside:
        tables.append(_outside_table(evidence, outside))
        charts.append(_outside_chart(evidence, outside))
    lead = " ".join([found.sentence, *([_outside_sentence(evidence, outside)] if outside else [])])
    return Section("classes", "Class by class", lead, tuple(tables), tuple(charts))


class _Classes:
    """The primary score by class."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.labels = evidence.study.units["label"].fill_null("").to_numpy().astype(str)
        self.names = sorted(set(self.labels.tolist()))
        self.values = evidence.primary.scored.values

    @cached_property
    def found(self) -> dict[str, Dispersion]:
        """The dispersion of each method; its intervals are not used, so the fewest replicates do."""
        return {name: by_class(v, self.labels, replicates=100) for name, v in self.values.items()}

    @property
    def dispersion(self) -> Table:
        columns = [self._weighted(v) for v in self.values.values()]
        macro = self.evidence.study.draws.means(np.column_stack(columns))
        rows = []
        for (name, one), mean in zip(self.found.items(), macro, strict=True):
            worst, best = one.worst(1), one.best(1)
            rows.append(
                method_row(self.evidence, self.evidence.study.method(name))
                | put("macro", mean)
                | {"spread": one.spread, "excess": one.excess}
                | {"worst": f"{worst[0].name} ({worst[0].mean:.3f})" if worst else None}
                | {"best": f"{best[0].name} ({best[0].mean:.3f})" if best else None}
            )
        shown = (
            METHOD, Column("macro", "mean over classes", "interval", better=self.evidence.primary.endpoint.better),
            Column("spread", "spread", "number"), Column("excess", "beyond chance", "number"),
            Column("worst", "lowest class"), Column("best", "highest class"),
        )  # fmt: skip
        note = (
            "Spread is the standard deviation of the class means; beyond chance is what is left of it without the scatter that so few "
            "images a class would show if all classes were equal."
        )
        return Table("dispersion", f"{self._titled} over classes", shown, rows, note)

    def _weighted(self, values: Any) -> Any:
        """Scores times what makes their mean the mean over classes."""
        known = ~np.isnan(values)
        _, place, size = np.unique(self.labels[known], return_inverse=True, return_counts=True)
        out = np.full(len(values), np.nan)
        if known.any():
            out[known] = values[known] * known.sum() / (size[place] * len(size))
        return out

    @property
    def _titled(self) -> str:
        return first_up(self.evidence.primary.endpoint.name)

    def table(self, outside: tuple[ClassOutside, ...]) -> Table:
        """Every class in a row: its images, the accuracy of the network, each method's score."""
        study, lead = self.evidence.study, self.evidence.lead
        correct = study.fact(lead.run, "correct")
        at = {c.name: c for c in outside}
        means = {name: {c.name: c for c in one.classes} for name, one in self.found.items()}
        rows = []
        for name in self.names:
            own = self.labels == name
            right = correct[own][~np.isnan(correct[own])]
            row: dict[str, Any] = {"class": name, "n": int(own.sum())}
            row["accuracy"] = float(right.mean()) if len(right) else None
            row |= {method: means[method][name].mean for method in means}
            row["outside"] = at[name].outside if name in at else None
            rows.append(row)
        shown = [Column("class", "class"), Column("n", "images", "count")]
        shown.append(Column("accuracy", "accuracy of the network", "number", 2))
        shown += [
            Column(m, m, "number", better=self.evidence.primary.endpoint.better) for m in means
        ]
        if outside:
            shown.append(Column("outside", f"heat outside the boxes, {lead.name}", "number"))
        return Table("classes", f"{self._titled} of every class", tuple(shown), rows)

    @property
    def chart(self) -> Chart:
        lead, values = self.evidence.lead, self.values[self.evidence.lead.name]
        bounds, dots = bounds_of(self.evidence.primary.metric), []
        for name in self.names:
            own = values[(self.labels == name) & ~np.isnan(values)]
            mean = float(own.mean()) if len(own) else np.nan
            dots.append(Dot(name, mean, *t_interval(own, bounds)))
        overall = self.found[lead.name].micro.estimate
        colour = self.evidence.looks[lead.name].colour
        return Chart(
            "classes", f"{self._titled} by class, {lead.name}",
            lambda: class_dots(
                f"{self._titled} by class, {lead.name}, with 95 % intervals", dots,
                score=self.evidence.primary.endpoint.name, overall=overall, colour=colour, bounds=bounds,
            ),
            f"One row a class. {self.sentence}",
        )  # fmt: skip

    @property
    def sentence(self) -> str:
        one = self.found[self.evidence.lead.name]
        low, high = one.worst(1), one.best(1)
        if not low:
            return ""
        return (
            f"{self._titled} of {self.evidence.lead.name} goes from {low[0].mean:.3f} ({low[0].name}) to {high[0].mean:.3f} ({high[0].name}) over "
            f"{len([c for c in one.classes if c.n])} classes."
        )


def _outside_table(evidence: Evidence, outside: tuple[ClassOutside, ...]) -> Table:
    correct = evidence.study.fact(evidence.lead.run, "correct")
    labels = evidence.study.units["label"].fill_null("").to_numpy().astype(str)
    rows = []
    for one in outside:
        right = correct[labels == one.name]
        right = right[~np.isnan(right)]
        rows.append(
            {
                "class": one.name, "n": one.n, "accuracy": float(right.mean()) if len(right) else None,
                "outside": one.outside, "outside_low": one.low, "outside_high": one.high, "even": one.even,
                "expected": one.expected, "more": one.more, "p_raw": None if np.isnan(one.pvalue) else one.pvalue,
                "p": None if np.isnan(one.adjusted) else one.adjusted, "stands_out": one.stands_out,
            }
        )  # fmt: skip
    columns = (
        Column("class", "class"), Column("n", "images", "count"), Column("accuracy", "accuracy", "number", 2),
        Column("outside", "heat outside every box", "interval"), Column("even", "even heat", "number"),
        Column("expected", "expected at that size", "number"), Column("more", "more than expected", "number"),
        Column("p", "p (Benjamini-Hochberg)", "p"), Column("stands_out", "stands out", "flag"),
    )  # fmt: skip
    note = (
        "Even heat is the share of the picture outside the boxes. Expected is what images whose boxes leave as much outside have on average. "
        "A class that stands out, and that the network gets right, is recognised by something that is not the object: look at its pictures."
    )
    return Table("heat-outside", f"Heat outside every box by class, {evidence.lead.name}", columns, rows, note)  # fmt: skip


def _outside_chart(evidence: Evidence, outside: tuple[ClassOutside, ...]) -> Chart:
    names = [c.name for c in outside]
    even, heat = (np.array([getattr(c, k) for c in outside]) for k in ("even", "outside"))
    colour = evidence.looks[evidence.lead.name].colour
    return Chart(
        "heat-outside", f"Heat outside every box by class, {evidence.lead.name}",
        lambda: outside_chart(
            f"Heat outside every box by class, {evidence.lead.name}", names, even, heat,
            [c.stands_out for c in outside], colour=colour,
        ),
        f"One dot a class. {_outside_sentence(evidence, outside)}",
    )  # fmt: skip


def _outside_sentence(evidence: Evidence, outside: tuple[ClassOutside, ...]) -> str:
    found = [c for c in outside if c.stands_out]
    if not found:
        return f"No class of {len(outside)} has clearly more heat of {evidence.lead.name} outside its boxes than objects of its size have on average."
    named = listed(f"{c.name} ({c.outside:.2f}, expected {c.expected:.2f})" for c in found[:5])
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return f"{counted(len(found), 'class', 'classes')} with more heat of {evidence.lead.name} outside the boxes than their size explains: {named}{more}."
