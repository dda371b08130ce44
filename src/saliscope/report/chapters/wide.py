"""The table that most chapters have: methods as rows, scores as columns, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from saliscope.report.chapters.evidence import METHOD, Evidence, method_row, put
from saliscope.report.sections import Column, Table
from saliscope.report.study.endpoint import heading_of, marked_better
from saliscope.report.study.grid import Cell
from saliscope.report.study.metric_facts import metric_note
from saliscope.report.study.scores import Combo

__all__ = ["asked_table", "wide_table"]

_RATIOS = ("enrichment", "inside-outside", "mask-enrichment", "twin-enrichment")


def wide_table(
    evidence: Evidence, name: str, title: str, combos: Sequence[Combo], note: str = ""
) -> Table:
    """Methods as rows, scores as columns; columns and rows without any score are left out."""
    rows = _rows(evidence, combos)
    one = len({p for _, p in combos}) == 1
    columns = [METHOD, *(_column(c, named=not one) for c in _shown(combos, rows))]
    return Table(name, title, tuple(columns), rows, note)


def asked_table(
    evidence: Evidence, name: str, title: str, combos: Sequence[Combo], note: str = ""
) -> Table:
    """The same with the best of each column marked, images counted, and where a score comes from in the notes of its column."""
    rows = _rows(evidence, combos)
    shown = _shown(combos, rows)
    rows = [row | _counts(evidence, row["method"], shown) for row in rows]
    columns = [METHOD]
    for combo in shown:
        plain = _column(combo, named=False)
        columns.append(
            Column(
                plain.key, plain.heading, "interval", plain.digits, plain.better,
                metric_note(*combo), best=True,
            )
        )  # fmt: skip
    columns.append(Column("n", "images" if not evidence.study.several else "rows", "count"))
    if any(row["undefined"] for row in rows):
        columns.append(Column("undefined", "undefined"))
    best = "Bold: the best of each column; another whose interval holds it may be as good."
    return Table(name, title, tuple(columns), rows, f"{note} {best}".strip())


def _rows(evidence: Evidence, combos: Sequence[Combo]) -> list[dict[str, Any]]:
    rows = []
    for method in evidence.study.methods:
        cells = [(f"{m}@{p}", evidence.grid.get(m, p, method.name)) for m, p in combos]
        if any(cell is not None for _, cell in cells):
            row = method_row(evidence, method)
            for key, cell in cells:
                row |= put(key, None if cell is None else cell.estimate)
            rows.append(row)
    return rows


def _shown(combos: Sequence[Combo], rows: Sequence[dict[str, Any]]) -> list[Combo]:
    return [(m, p) for m, p in combos if any(row.get(f"{m}@{p}") is not None for row in rows)]


def _column(combo: Combo, *, named: bool) -> Column:
    metric, protocol = combo
    shown = protocol if named and protocol != "boxes" else ""
    return Column(
        f"{metric}@{protocol}", heading_of(metric, shown), "interval",
        2 if metric in _RATIOS else 3, better=marked_better(metric, protocol),
    )  # fmt: skip


def _counts(evidence: Evidence, method: str, combos: Sequence[Combo]) -> dict[str, Any]:
    """How many images a method has scores of, and in words how many are undefined in which."""
    cells: dict[Combo, Cell] = {
        combo: cell for combo in combos if (cell := evidence.grid.get(*combo, method)) is not None
    }
    missing = {m: cell.estimate.undefined for (m, _), cell in cells.items()}
    said = ", ".join(f"{heading_of(m)} {count:,}" for m, count in missing.items() if count)
    found = {f"{m}@{p}_n": cell.estimate.n for (m, p), cell in cells.items()}
    return {"n": max(found.values(), default=0), "undefined": said or None} | found
