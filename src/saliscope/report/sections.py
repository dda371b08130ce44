"""What a report consists of, before it becomes a page or files: sections with tables and charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Chart", "Column", "Findings", "Section", "Table"]

Kind = Literal["text", "number", "interval", "count", "p", "flag"]


@dataclass(frozen=True)
class Column:
    """A column of a table: the key of its values in the rows, its heading, and how it is written.

    An "interval" is written "0.554 [0.531, 0.577]" from `key`, `key`_low and `key`_high; a "p" as stats.wording does; NaN and None
    as "undefined" and "–". `digits` after the point. `better` says which way is better, None where neither is; with `best` the best
    value is marked.
    """

    key: str
    heading: str
    kind: Kind = "text"
    digits: int = 3
    better: Literal["higher", "lower"] | None = None
    note: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under columns; `name` is its file name, `note` what has to be read beside it.

    Rows may hold more than the columns show: files get all of it. A row with `trivial` true knows no network, one with
    `reference` true is what the others are compared with.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Mapping[str, Any]]
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """A figure that is drawn when it is asked for; `alt` says in words what it shows."""

    name: str
    title: str
    draw: Callable[[], Figure]
    alt: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, one or two sentences of what was found, and what shows it."""

    key: str
    title: str
    lead: str
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Findings:
    """All that a report says: the answer in a sentence, warnings that must not be missed, and the sections in order."""

    title: str
    answer: str
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
