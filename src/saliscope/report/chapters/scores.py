"""All scores by all protocols: what was not declared, and is exploratory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from saliscope.metrics import COMPLEXITY_METRICS
from saliscope.report.chapters.evidence import METHOD, Evidence, method_row, put
from saliscope.report.chapters.wide import wide_table
from saliscope.report.sections import Column, Section, Table
from saliscope.report.study.grid import Cell
from saliscope.report.study.together import Study
from saliscope.report.tables import file_name
from saliscope.stats import wilson_interval

__all__ = ["scores_section"]

_BOXES = ("iou", "union-iou", "gt-known", "top-1", "top-5", "no-box")
_MASKED = ("relevance-mass", "mask-enrichment", "pointing-mask", "relevance-rank", "pixel-ap")
_TWINS = ("twin-share", "twin-enrichment")
_TWIN_NOTE = (
    "What speaks for the breed more than for its twin, and how much of it lies on the one part that differs. Undefined for maps that are "
    "the same for both: those of a method that does not look at the class."
)


def scores_section(evidence: Evidence) -> Section:
    """One table for each box protocol, one for heat, one for each mask, twins, complexity, the errors of the networks, and all of it with tests."""
    grid = evidence.grid
    named = dict.fromkeys([*grid.protocols("iou"), *grid.protocols("gt-known")])
    tables = [_boxes(evidence, protocol) for protocol in named]
    heat = [("energy", "boxes"), ("enrichment", "boxes"), ("inside-outside", "boxes")]
    heat += [("box-coverage", p) for p in grid.protocols("box-coverage")]
    heat += [("pointing", p) for p in grid.protocols("pointing")]
    tables.append(wide_table(evidence, "heat-in-boxes", "Heat and boxes", heat))
    for mask in grid.protocols("relevance-mass"):
        combos = [(metric, mask) for metric in _MASKED]
        tables.append(wide_table(evidence, file_name(mask), f"Heat and {mask}", combos))
    twins = [(metric, "contrast") for metric in _TWINS]
    tables.append(wide_table(evidence, "twins", "A breed against its twin", twins, _TWIN_NOTE))
    tables.append(_spread(evidence, "image", "How much of the picture the heat claims"))
    tables.append(_spread(evidence, "map", "The same on each map's own grid"))
    tables.append(_classification(evidence.study))
    tables.append(_long(evidence))
    return Section("scores", "All scores", _lead(evidence), tuple(t for t in tables if t.rows))


_BOX_NOTES = (
    (("gt-known",), "GT-known: the box of the image's own class reaches an IoU of .5 with any of the annotated ones."),
    (("top-1", "top-5"), "Top-1 and top-5 localisation error are ILSVRC's: right only where the class is also among the first 1 or 5."),
)  # fmt: skip


def _lead(evidence: Evidence) -> str:
    tested = [c for c in evidence.grid.cells.values() if not math.isnan(c.pvalue)]
    left = sum(c.adjusted <= 0.05 for c in tested)
    return (
        f"Everything that was measured, by every protocol. These {len(tested):,} comparisons with {evidence.reference.name} were not declared "
        f"beforehand: they are exploratory, corrected together by Benjamini-Hochberg, and {left:,} of them hold at .05, of which one in twenty "
        "is expected to be false."
    )


def _boxes(evidence: Evidence, protocol: str) -> Table:
    chosen = protocol == "chosen"
    named = "Boxes at thresholds chosen by tuning" if chosen else f"Boxes by {protocol}"
    combos = [(m, protocol) for m in _BOXES]
    table = wide_table(evidence, f"boxes-{file_name(protocol)}", named, combos)
    return replace(table, note=_box_note(table.columns))


def _spread(evidence: Evidence, protocol: str, named: str) -> Table:
    """How much of the picture the heat claims, on one grid."""
    combos = [(metric, protocol) for metric in COMPLEXITY_METRICS]
    note = "Arrows are those of the papers: heat in few places is easier to read. It may be the wrong place, and shuffling a map changes nothing here."  # fmt: skip
    return wide_table(evidence, f"complexity-{protocol}", named, combos, note)


def _box_note(columns: Sequence[Column]) -> str:
    """What the columns that are there mean."""
    metrics = {column.key.partition("@")[0] for column in columns}
    notes = [note for named, note in _BOX_NOTES if metrics & set(named)]
    return " ".join(notes)


def _classification(study: Study) -> Table:
    """The errors of the networks themselves, which no explanation can undo."""
    rows = []
    for i, run in enumerate(study.runs):
        rank = study.fact(i, "rank")
        truth = study.fact(i, "is_truth") == 1
        known = truth | (study.fact(i, "correct") >= 0)
        count = int(known.sum())
        if study.several or not count:
            continue
        row = {"run": study.names[i], "network": run.record.resolved["model"], "n": count}
        for k in (1, 5):
            if k == 5 and not truth[known].all():
                continue  # the rank of the right class is not known
            wrong = int((known & ~(truth & (rank < k))).sum())
            row |= put(f"top-{k}", wilson_interval(wrong, count))
        rows.append(row)
    columns = (
        Column("network", "network"), Column("n", "images", "count"),
        Column("top-1", "top-1 error", "interval", better="lower"), Column("top-5", "top-5 error", "interval", better="lower"),
    )  # fmt: skip
    named = (Column("run", "run"),) if len(study.runs) > 1 else ()
    return Table("classification", "Classification errors of the network", named + columns, rows)


def _long(evidence: Evidence) -> Table:
    """Every score in a row of its own, with its difference to the reference and its test."""
    rows = [_row(evidence, cell) for cell in evidence.grid.cells.values()]
    columns = (
        Column("metric", "score"), Column("protocol", "protocol"), METHOD, Column("value", "mean", "interval"),
        Column("n", "n", "count"), Column("undefined", "undefined", "count"),
        Column("difference", f"difference to {evidence.reference.name}", "interval"), Column("effect", "effect", "number", 2),
        Column("p", "p (Benjamini-Hochberg)", "p"), Column("test", "test"),
    )  # fmt: skip
    return Table(
        "all-scores", "Every score with its test (exploratory)", columns, rows,
        "p-values are corrected over all rows of this table.",
    )  # fmt: skip


def _row(evidence: Evidence, cell: Cell) -> dict[str, object]:
    def known(value: float) -> float | None:
        return None if math.isnan(value) else value  # it was not tested

    return (
        method_row(evidence, cell.method)
        | {"metric": cell.metric, "protocol": cell.protocol}
        | put("value", cell.estimate)
        | {"n": cell.estimate.n, "undefined": cell.estimate.undefined}
        | put("difference", cell.difference)
        | {
            "effect": known(cell.effect), "p_raw": known(cell.pvalue), "p": known(cell.adjusted),
            "test": cell.test or None, "identical": cell.identical,
        }
    )  # fmt: skip
