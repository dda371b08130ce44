"""Right and wrong predictions: the same scores for both, what is taken for what, and maps of the predicted class."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from saliscope.report.chapters.evidence import (
    METHOD,
    Evidence,
    counted,
    first_up,
    method_row,
    put,
    say,
)
from saliscope.report.charts.dots import Series, paired_dots
from saliscope.report.sections import Chart, Column, Section, Table
from saliscope.report.study.parts import read_table
from saliscope.report.study.scores import Floats
from saliscope.report.study.together import Method
from saliscope.runs import Run
from saliscope.stats import Interval

__all__ = ["predictions_section"]

_PAIRS = 20


def predictions_section(evidence: Evidence) -> Section | None:
    """Scores of right and wrong predictions; None where no image has a class that could be predicted."""
    known = [i for i in range(len(evidence.study.runs)) if _knows(evidence, i)]
    if not known:
        return None
    found = _RightWrong(evidence, known)
    tables = [found.table, *_confusions(evidence, known), *_predicted(evidence, known)]
    charts = (found.chart,) if found.rows else ()
    return Section(
        "predictions", "Right and wrong predictions", found.sentence,
        tuple(t for t in tables if t.rows), charts,
    )  # fmt: skip


def _knows(evidence: Evidence, run: int) -> bool:
    return not np.isnan(evidence.study.fact(run, "correct")).all()


class _RightWrong:
    """The primary score on the images that the network gets right, and on those that it gets wrong."""

    def __init__(self, evidence: Evidence, known: list[int]) -> None:
        self.evidence = evidence
        values = evidence.primary.scored.values
        self.methods = [m for m in evidence.study.methods if m.name in values and m.run in known]
        columns: list[Floats] = []
        for method in self.methods:
            correct = evidence.study.fact(method.run, "correct")
            columns += [np.where(correct == c, values[method.name], np.nan) for c in (1, 0)]
        pairs = [(2 * i, 2 * i + 1) for i in range(len(self.methods))]
        draw = evidence.study.draws.means_and_gaps
        means, gaps = draw(np.column_stack(columns), pairs, paired=False) if columns else ([], [])
        self.rows: list[tuple[Method, Interval, Interval, Interval]] = [
            (m, means[2 * i], means[2 * i + 1], gaps[i]) for i, m in enumerate(self.methods)
        ]

    @property
    def table(self) -> Table:
        rows = [
            method_row(self.evidence, method)
            | put("right", right) | {"n_right": right.n} | put("wrong", wrong) | {"n_wrong": wrong.n}
            | put("difference", gap)
            for method, right, wrong, gap in self.rows
        ]  # fmt: skip
        better = self.evidence.primary.endpoint.better
        columns = (
            METHOD, Column("right", "predicted right", "interval", better=better), Column("n_right", "n", "count"),
            Column("wrong", "predicted wrong", "interval", better=better), Column("n_wrong", "n", "count"),
            Column("difference", "right less wrong", "interval"),
        )  # fmt: skip
        note = (
            "Maps of the images' own classes." if self.evidence.study.runs[0].settings.target != "predicted"
            else "Maps of the predicted classes."
        )  # fmt: skip
        note += " Right and wrong are different images: what differs may be the images themselves, see the rows that know no network."
        return Table("right-wrong", f"{self._titled} by prediction", columns, rows, note)

    @property
    def _titled(self) -> str:
        return first_up(self.evidence.primary.endpoint.name)

    @property
    def chart(self) -> Chart:
        series = [Series(m.name, self.evidence.looks[m.name], [r, w]) for m, r, w, _ in self.rows]
        return Chart(
            "right-wrong", f"{self._titled} of right and wrong predictions",
            lambda: paired_dots(
                f"{self._titled} of right and wrong predictions, with 95 % intervals", series,
                names=("predicted right", "predicted wrong"), score=self.evidence.primary.endpoint.name,
            ),
            f"Two values a method. {self.sentence}",
        )  # fmt: skip

    @property
    def sentence(self) -> str:
        row = next((r for r in self.rows if r[0].name == self.evidence.lead.name), None)
        if row is None:
            return ""
        method, right, wrong, gap = row
        head = f"The network of {method.name} is right on {counted(right.n, 'image')} and wrong on {wrong.n:,}"
        if not (right.n and wrong.n):
            return head + "."
        return f"{head}; {self.evidence.primary.endpoint.name} is {right.estimate:.3f} and {wrong.estimate:.3f} there, a difference of {say(gap)}."


def _confusions(evidence: Evidence, known: list[int]) -> list[Table]:
    rows = []
    for i in known:
        run = evidence.study.runs[i]
        units = evidence.study.main[i].units
        wrong = units.unique("id", keep="first", maintain_order=True).filter(~pl.col("correct"))
        names = _class_names(run)
        scores = evidence.primary.scored.values.get(_first_of(evidence, i))
        own = (
            pl.Series(scores[evidence.study.places[i]]) if scores is not None
            else pl.Series(np.full(len(units), np.nan))
        )  # fmt: skip
        scored = units.select("index", score=own).unique("index", keep="first")
        pairs = wrong.join(scored, on="index", how="left").group_by("class", "predicted")
        found = pairs.agg(pl.len().alias("count"), pl.col("score").fill_nan(None).mean())
        sizes = dict(units.group_by("class").agg(pl.col("id").n_unique()).rows())
        for name, predicted, count, score in (
            found.sort(["count", "class", "predicted"], descending=[True, False, False])
            .head(_PAIRS)
            .iter_rows()
        ):
            rows.append(
                {"run": evidence.study.names[i], "class": name, "predicted": names.get(predicted, f"class {predicted}"),
                 "count": count, "of": sizes.get(name), "score": score}
            )  # fmt: skip
    columns = [
        Column("class", "class"), Column("predicted", "taken for"), Column("count", "images", "count"),
        Column("of", "of", "count"), Column("score", evidence.primary.endpoint.name, "number"),
    ]  # fmt: skip
    if len(evidence.study.runs) > 1:
        columns.insert(0, Column("run", "run"))
    note = f"The {_PAIRS} most frequent of each run; the score is that of {_first_of(evidence, known[0])}'s maps of the true class."
    return [Table("confusions", "What is taken for what", tuple(columns), rows, note)]


def _first_of(evidence: Evidence, run: int) -> str:
    if evidence.lead.run == run:
        return evidence.lead.name
    return next((m.name for m in evidence.study.networks if m.run == run), "")


def _class_names(run: Run) -> dict[int, str]:
    """The name of each output of the network, as far as the run knows it."""
    labels = read_table(run, "maps", ("target", "label")).unique().drop_nulls()
    known = run.images.select("truth", "class").unique().drop_nulls()
    return dict(labels.rows()) | dict(known.rows())


def _predicted(evidence: Evidence, known: list[int]) -> list[Table]:
    """Maps of the class that was predicted wrongly beside those of the true one."""
    rows: list[dict[str, Any]] = []
    score = evidence.primary.metric, evidence.primary.protocol
    if score not in evidence.study.combos:
        score = next((c for c in evidence.study.combos if c[0] == "iou"), ("energy", "boxes"))
    combos = dict.fromkeys([score, ("energy", "boxes"), ("enrichment", "boxes")])
    for i in known:
        other = evidence.study.other[i]
        if other is None:
            continue
        places = _same_images(evidence, i)
        for method in evidence.study.methods:
            if method.run != i:
                continue
            row = method_row(evidence, method)
            for metric, protocol in combos:
                row |= _both(evidence, method, (metric, protocol), places)
            if row.get("n"):
                rows.append(row)
    columns = [METHOD, Column("n", "images", "count")]
    for metric, protocol in combos:
        key, name = (
            f"{metric}@{protocol}",
            f"{metric} ({protocol})" if protocol != "boxes" else metric,
        )
        columns += [
            Column(f"{key} truth", f"{name}, true class", "interval"),
            Column(f"{key} predicted", f"{name}, predicted class", "interval"),
            Column(f"{key} difference", "predicted less true", "interval"),
        ]
    note = "Only images that were predicted wrongly: there the two maps are of different classes. Both are judged by the boxes of the image."
    return [Table("predicted-maps", "Maps of the predicted and of the true class", tuple(columns), rows, note)]  # fmt: skip


def _same_images(evidence: Evidence, run: int) -> tuple[Any, Any]:
    """Where the rows of wrong predictions lie: in all rows, and in those of the predicted classes."""
    other = evidence.study.other[run]
    assert other is not None
    own = evidence.study.main[run].units.select("index", a=pl.Series(evidence.study.places[run]))
    own = own.unique("index", keep="first")
    wrong = other.units.with_row_index("b").filter(~pl.col("is_truth"))
    both = wrong.join(own, on="index").sort("b")
    return both["a"].to_numpy(), both["b"].to_numpy()


def _both(
    evidence: Evidence, method: Method, combo: tuple[str, str], places: tuple[Any, Any]
) -> dict[str, Any]:
    study, key = evidence.study, f"{combo[0]}@{combo[1]}"
    other = study.other[method.run]
    truth = study.values(*combo).get(method.name)
    values = None if other is None else other.values.get(combo, {}).get(method.spec)
    if truth is None or values is None or not len(places[0]):
        return {}
    columns = np.full((len(study.units), 2), np.nan)
    columns[places[0], 0], columns[places[0], 1] = truth[places[0]], values[places[1]]
    means, gaps = study.draws.means_and_gaps(columns, [(1, 0)])
    return (
        {"n": gaps[0].n}
        | put(f"{key} truth", means[0])
        | put(f"{key} predicted", means[1])
        | put(f"{key} difference", gaps[0])
    )
