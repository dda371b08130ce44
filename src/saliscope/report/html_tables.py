"""The tables of a report as cells of a page: how each kind of value is written, sorted and marked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saliscope.report.sections import Column, Table
from saliscope.report.tables import best_rows, cell_text, file_name

__all__ = ["Cell", "Heading", "PageRow", "PageTable", "page_table"]

MOST_ROWS = 500
"""Rows that the page shows of one table; files hold all."""

_WORDS = ("text", "flag")


@dataclass(frozen=True)
class Cell:
    """What a cell says, and by what it is sorted: a number or lower-case text, empty for what is undefined.

    `best`: it is marked as the best of its column.
    """

    text: str
    order: str
    best: bool = False


@dataclass(frozen=True)
class Heading:
    """A heading. `numeric` columns stand right; `better` is "higher", "lower" or empty."""

    text: str
    numeric: bool
    better: str
    note: str


@dataclass(frozen=True)
class PageRow:
    """The cells of a row and what marks it: "reference", "no network"."""

    cells: tuple[Cell, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True)
class PageTable:
    """A table ready for the template; `left_out` rows stand only in the files."""

    name: str
    title: str
    note: str
    headings: tuple[Heading, ...]
    rows: tuple[PageRow, ...]
    left_out: int


def page_table(table: Table) -> PageTable:
    """Write all values of a table."""
    headings = tuple(
        Heading(c.heading, c.kind not in _WORDS, c.better or "", c.note) for c in table.columns
    )
    shown = table.rows[:MOST_ROWS]
    best = [best_rows(column, table.rows) for column in table.columns]
    rows = tuple(
        PageRow(
            tuple(
                _cell(column, row, best=i in own)
                for column, own in zip(table.columns, best, strict=True)
            ),
            _marks(row),
        )
        for i, row in enumerate(shown)
    )
    return PageTable(
        file_name(table.name), table.title, table.note, headings, rows, len(table.rows) - len(shown)
    )


def _marks(row: Mapping[str, Any]) -> tuple[str, ...]:
    named = {"reference": row.get("reference"), "no network": row.get("trivial")}
    return tuple(word for word, holds in named.items() if holds is True)


def _cell(column: Column, row: Mapping[str, Any], *, best: bool) -> Cell:
    """A value as every file writes it; an interval breaks before its bracket only."""
    text, value = cell_text(column, row), row.get(column.key)
    if column.kind in _WORDS or isinstance(value, str):
        return Cell(text, "" if value is None else text.casefold())
    if value is None or math.isnan(value):
        return Cell(text, "")
    return Cell(text.replace(", ", ",\u00a0"), repr(float(value)), best)
