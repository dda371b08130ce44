"""Agreement: do methods show the same, and do metrics rank them alike? It says how many opinions there are, not who is right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from saliscope.metrics import rank_methods
from saliscope.report.chapters.evidence import METHOD, MOST, Evidence, counted, listed, method_row
from saliscope.report.charts.matrix import likeness_matrix
from saliscope.report.sections import Chart, Column, Section, Table
from saliscope.report.study.alike import Alike, alike_of
from saliscope.report.study.judged import Judged, agreement_of, judged_metrics, mean_scores
from saliscope.report.study.scores import Floats

__all__ = ["agreement_section"]

_CHANCE = 0.1 / 1.9  # the overlap of two hottest tenths in no common order


def agreement_section(evidence: Evidence) -> Section | None:
    """How alike the stored maps are, and how alike metrics rank methods; None where neither can be said."""
    tables, charts, said = [], [], []
    for run, name in enumerate(evidence.study.names):
        found = alike_of(evidence.study, run)
        if found is None:
            continue
        head = f"{name}: " if name else ""
        tables.append(_pairs(evidence, found, run))
        charts += [_chart(evidence, found, kind, run) for kind in _KINDS]
        said.append(head + _opinions(evidence, found))
    ranks = _Ranks(evidence)
    if ranks.known:
        tables += [ranks.alphas, ranks.table]
        said.append(ranks.sentence)
    if not tables:
        return None
    return Section("agreement", "Agreement", " ".join(said), tuple(tables), tuple(charts))


_KINDS = {
    "correlation": ("Rank correlation of maps", "Mean rank correlation of the maps of two methods"),
    "overlap": ("Overlap of the hottest tenth", "Mean overlap of the hottest tenth of two maps"),
}


def _suffix(evidence: Evidence, run: int) -> str:
    return f"-{run + 1}" if len(evidence.study.runs) > 1 else ""


def _where(found: Alike) -> str:
    height, width = found.grid
    images = counted(found.images, "image")
    return f"{images}, all maps on the smallest grid, {height} × {width}"


def _pairs(evidence: Evidence, found: Alike, run: int) -> Table:
    """Each two methods once, the most alike first."""
    rows = []
    for i, j in combinations(range(len(found.names)), 2):
        pair = sorted((found.names[i], found.names[j]), key=lambda n: not _trivial(evidence, n))
        rows.append(
            method_row(evidence, evidence.study.method(pair[0]))
            | {"other": pair[1], "reference": False}
            | {kind: float(getattr(found, kind)[i, j]) for kind in _KINDS}
        )
    rows.sort(key=lambda row: (math.isnan(row["correlation"]), -row["correlation"]))
    columns = (
        METHOD, Column("other", "and"), Column("correlation", "rank correlation", "number", 2),
        Column("overlap", "overlap of the hottest tenth", "number", 2),
    )  # fmt: skip
    note = (
        f"Mean over {_where(found)}. Grey: the first knows no network. The overlap is intersection over union; maps without a "
        f"common order have about {_CHANCE:.2f}. Ties left {100 * found.ties:.0f} % of the hottest places open, which equals share."
    )
    return Table(
        f"alike{_suffix(evidence, run)}", "Which methods show the same?", columns, rows, note
    )


def _trivial(evidence: Evidence, name: str) -> bool:
    return evidence.study.method(name).trivial


def _chart(evidence: Evidence, found: Alike, kind: str, run: int) -> Chart:
    order = list(found.order)
    names = [found.names[i] for i in order]
    trivial = [_trivial(evidence, name) for name in names]
    values: Floats = getattr(found, kind)[np.ix_(order, order)]
    tree = found.tree if kind == "correlation" else None
    title, heading = _KINDS[kind]
    return Chart(
        f"alike-{kind}{_suffix(evidence, run)}", title,
        lambda: likeness_matrix(heading, names, trivial, values, tree=tree, note=_where(found)),
        f"Matrix of {counted(len(names), 'method')}. {_opinions(evidence, found)}",
        "All numbers stand in the table.",
    )  # fmt: skip


def _opinions(evidence: Evidence, found: Alike) -> str:
    """How many opinions there are among the networks' methods, who shares one, and who differs most."""
    own = {m.name for m in evidence.study.networks}
    groups = [[n for n in group if n in own] for group in found.groups]
    groups = [group for group in groups if group]
    if not groups:
        return "No two methods have maps that can be compared."
    methods = sum(map(len, groups))
    shared = [group for group in groups if len(group) > 1]
    text = f"By a mean rank correlation above .7, the maps of {counted(methods, 'method')} are {counted(len(groups), 'opinion')}"
    if shared:
        text += ": " + "; ".join(f"{listed(group, MOST)} share one" for group in shared)
    return f"{text}. Methods that share an error agree on it: this is not truth."


class _Ranks:
    """How metrics rank the networks' methods."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        primary = evidence.primary
        every = judged_metrics(evidence.study, (primary.metric, primary.protocol))
        self.names = [m.name for m in evidence.study.networks]
        scores = mean_scores(evidence.grid, every, self.names)
        kept = [i for i, row in enumerate(scores) if (~np.isnan(row)).sum() > 1]
        self.metrics = [every[i] for i in kept]
        self.scores = scores[kept]
        self.known = len(self.names) > 2 and len(self.metrics) > 1 and any(m.asked for m in every)

    def _alpha(self, families: Sequence[str]) -> tuple[list[Judged], float]:
        rows = [i for i, one in enumerate(self.metrics) if one.family in families]
        own = [self.metrics[i] for i in rows]
        return own, agreement_of(self.scores[rows], own)

    @property
    def _groups(self) -> list[tuple[str, list[Judged], float]]:
        families = list(dict.fromkeys(one.family for one in self.metrics))
        wanted: list[tuple[str, tuple[str, ...]]] = [(name, (name,)) for name in families]
        if {"faithfulness", "place"} <= set(families):
            wanted.append(("faithfulness and place", ("faithfulness", "place")))
        wanted.append(("all", tuple(families)))
        found = [(name, *self._alpha(own)) for name, own in wanted]
        return [(name, own, alpha) for name, own, alpha in found if len(own) > 1]

    @property
    def alphas(self) -> Table:
        families = {one.family for one in self.metrics}
        rows = [
            {
                "group": name, "n": len(own), "alpha": alpha,
                "metrics": ", ".join(one.name for one in own) if name in families else None,
            }
            for name, own, alpha in self._groups
        ]  # fmt: skip
        columns = (
            Column("group", "metrics of"), Column("alpha", "alpha", "number", 2, "higher"),
            Column("n", "metrics", "count"), Column("metrics", "which"),
        )  # fmt: skip
        note = (
            f"Krippendorff's alpha (ordinal) of metrics as raters of {counted(len(self.names), 'method')} of the network: 1 where all rank "
            "them alike, 0 for chance, below for systematic disagreement."
        )
        return Table("alpha", "Do metrics rank methods alike?", columns, rows, note)

    @property
    def table(self) -> Table:
        ranks = rank_methods(self.scores, [one.better for one in self.metrics])
        rows = [
            {"score": one.name, "metric": one.metric, "protocol": one.protocol, "family": one.family}
            | {n: None if math.isnan(r) else float(r) for n, r in zip(self.names, own, strict=True)}
            for one, own in zip(self.metrics, ranks, strict=True)
        ]  # fmt: skip
        digits = 0 if (ranks[~np.isnan(ranks)] % 1 == 0).all() else 1
        columns = [Column("score", "by"), Column("family", "family")]
        columns += [Column(n, n, "number", digits) for n in self.names]
        return Table("ranks", "Ranks of the methods by each metric", tuple(columns), rows, "1 is best; equals share their mean rank.")  # fmt: skip

    @property
    def sentence(self) -> str:
        """Alpha of the metrics that are read most, in words."""
        found = {name: alpha for name, _, alpha in self._groups if not math.isnan(alpha)}
        said = [f"{found[name]:.2f} among metrics of {name}" for name in ("faithfulness", "place", "faithfulness and place") if name in found]  # fmt: skip
        if not said:
            return ""
        return (
            f"Metrics rank the methods with an agreement (Krippendorff's alpha) of {listed(said)}."
        )
