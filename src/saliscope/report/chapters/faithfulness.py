"""Faithfulness: what the network says when the picture is changed where a map says that it matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from saliscope.report.chapters.evidence import Evidence, counted, first_up, say
from saliscope.report.chapters.wide import asked_table
from saliscope.report.charts.bands import Band, Panel, band_panels
from saliscope.report.sections import Chart, Section, Table
from saliscope.report.study.asked import Removal, asked_combos, removal_of
from saliscope.report.study.endpoint import better_of, heading_of
from saliscope.report.study.scores import Combo
from saliscope.stats import Interval

__all__ = ["faithfulness_section", "robustness_section"]

_GROUPS = (
    (
        "removal", "Pixels go and come back",
        ("deletion", "insertion", "deletion-lerf", "road-morf", "road-lerf", "road-combined"),
        "Areas and means of the curves below, of the probability of a fixed class.",
    ),
    (
        "kept", "Only what is hot is kept",
        ("average-drop", "increase", "gain", "win", "absolute-drop", "coherency", "mean-heat", "adcc"),
        "The network sees the picture weighted by the map. A map that is hot everywhere keeps the picture, and drops nothing: read "
        "them beside the mean heat.",
    ),
    (
        "linear", "The map as a model of the network",
        ("infidelity", "occlusion-rank"),
        "How wrong the map is as a linear model nearby, and whether it ranks places as a patch does that covers them.",
    ),
)  # fmt: skip
_ROBUST = ("max-sensitivity", "average-sensitivity", "flip-consistency", "shift-consistency", "jpeg-consistency")  # fmt: skip

_KINDS: Mapping[str, tuple[str, str]] = {
    "deletion": ("Deletion: the hottest pixels go first", "share of the pixels removed"),
    "insertion": ("Insertion: the hottest pixels come first", "share of the pixels put in"),
    "deletion-lerf": ("Deletion: the coldest pixels go first", "share of the pixels removed"),
    "road-morf": ("ROAD: the hottest pixels are filled in", "share of the pixels filled in"),
    "road-lerf": ("ROAD: the coldest pixels are filled in", "share of the pixels filled in"),
}


def faithfulness_section(evidence: Evidence) -> Section | None:
    """Every faithfulness score that was asked for, and the curves of removal; None where nothing was asked."""
    asked = asked_combos(evidence.study)
    tables = [
        table
        for name, title, metrics, note in _GROUPS
        if (table := _table(evidence, asked, f"faithfulness-{name}", title, metrics, note)).rows
    ]
    charts = _charts(evidence)
    if not tables and not charts:
        return None
    return Section(
        "faithfulness", "Faithfulness", _lead(evidence, asked), tuple(tables), tuple(charts)
    )


def robustness_section(evidence: Evidence) -> Section | None:
    """How maps move when the picture hardly does; None where it was not asked."""
    note = (
        "A map that never moves is perfect here, one that does not know the network too: `centre` is. The network may rightly see "
        "something else in a changed picture."
    )
    asked = asked_combos(evidence.study)
    table = _table(evidence, asked, "robustness", "Maps of changed pictures", _ROBUST, note)
    if not table.rows:
        return None
    lead = "How far maps move under noise that nobody sees, and whether the map of a flipped, shifted or re-encoded picture is the same, brought back."
    return Section("robustness", "Robustness", lead, (table,))


def _table(
    evidence: Evidence, asked: frozenset[Combo], name: str, title: str, metrics: Sequence[str], note: str
) -> Table:  # fmt: skip
    combos = [combo for metric in metrics for combo in sorted(asked) if combo[0] == metric]
    return asked_table(evidence, name, title, combos, note)


def _lead(evidence: Evidence, asked: frozenset[Combo]) -> str:
    """What was asked, and who is best by the measures that are read first."""
    said = []
    for metric in ("deletion", "insertion", "road-combined"):
        for combo in sorted(c for c in asked if c[0] == metric):
            best = _best(evidence, combo)
            if best is not None:
                said.append(f"{heading_of(metric)} is best for {best}")
    start = (
        "The network is asked about pictures that are changed where a map says that it matters: a map that tells the truth makes "
        "the class fall fast, or come back fast."
    )
    more = f" {first_up('; '.join(said))}." if said else ""
    return start + more + " No single one of them is the truth: what each is worth on these images stands under “Which metric should I believe?”."  # fmt: skip


def _best(evidence: Evidence, combo: Combo) -> str | None:
    """The best of all rows by a score, with what it has; None where none is defined."""
    sign = 1 if better_of(combo[0]) == "higher" else -1
    cells = [evidence.grid.get(*combo, m.name) for m in evidence.study.methods]
    known = [c for c in cells if c is not None and c.estimate.n]
    if not known:
        return None
    best = max(known, key=lambda c: sign * c.estimate.estimate)
    what = f"{best.method.name} ({say(best.estimate)})"
    return f"{what}, which knows no network" if best.method.trivial else what


def _charts(evidence: Evidence) -> list[Chart]:
    curves = {one.kind: one for one in removal_of(evidence.study)}
    found = []
    for name, title, kinds in (
        ("removal", "Deletion and insertion", ("deletion", "insertion", "deletion-lerf")),
        ("road", "ROAD", ("road-morf", "road-lerf")),
    ):
        own = [curves[kind] for kind in kinds if kind in curves]
        if own:
            found.append(_chart(evidence, f"curves-{name}", title, own))
    return found


def _chart(evidence: Evidence, name: str, title: str, curves: Sequence[Removal]) -> Chart:
    bands = {one.kind: _bands(evidence, one) for one in curves}
    panels = [Panel(*_KINDS[kind], own) for kind, own in bands.items()]
    heading = f"{title}: mean score of the class, with 95 % bands"
    return Chart(
        name, f"{title}, step by step", lambda: band_panels(heading, panels),
        f"Curves of {counted(len(curves[0].scores), 'method')}. " + " ".join(map(_said, curves)),
        "Bands are intervals at each step by itself.",
    )  # fmt: skip


def _bands(evidence: Evidence, removal: Removal) -> list[Band]:
    names = [m.name for m in evidence.study.methods if m.name in removal.scores]
    steps = len(removal.fractions)
    columns = np.column_stack([removal.scores[name] for name in names])
    found: Sequence[Interval] = evidence.study.draws.means(columns)
    return [
        Band(name, evidence.looks[name], removal.fractions, found[i * steps : (i + 1) * steps])
        for i, name in enumerate(names)
    ]


def _said(removal: Removal) -> str:
    """One curve in words: what is left half way, by method."""
    middle = len(removal.fractions) // 2
    share = f"{100 * removal.fractions[middle]:.0f} %"
    halves = [
        f"{name} {np.nanmean(scores[:, middle]):.3f}"
        for name, scores in removal.scores.items()
        if not np.isnan(scores[:, middle]).all()
    ]
    return f"{_KINDS[removal.kind][0]}; at {share}: {', '.join(halves)}."
