"""Tables as files: CSV and Parquet hold every value, Markdown and LaTeX what a reader sees."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from saliscope.report.sections import Column, Table
from saliscope.stats.wording import say_p

__all__ = ["TABLE_FILES", "best_rows", "cell_text", "file_name", "table_csv", "table_latex", "table_markdown", "table_parquet"]  # fmt: skip

NOTHING, UNDEFINED = "–", "undefined"
_WORDS = ("text", "flag")
_LONG = 45  # rows from which a LaTeX table goes over several pages

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$",
    "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "≥": r"$\geq$", "≤": r"$\leq$",
    "–": "--", "—": "---", "…": r"\ldots{}", "“": "``", "”": "''", "’": "'", '"': "''", "\n": " ", "\u00a0": "~",
}  # fmt: skip


def file_name(text: str) -> str:
    """A name that every file system takes: letters, digits, dots and hyphens."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "unnamed"


def cell_text(column: Column, row: Mapping[str, Any]) -> str:
    """A value as a reader sees it: "0.554 [0.531, 0.577]"; None is "–", NaN "undefined"."""
    value, ends = cell_parts(column, row)
    return f"{value} {ends}" if ends else value


def best_rows(column: Column, rows: Sequence[Mapping[str, Any]]) -> frozenset[int]:
    """The places of the rows that share the best value of a column that marks it; none where fewer than two are defined."""
    if not column.best or column.better is None:
        return frozenset()
    known = {
        i: float(value)
        for i, row in enumerate(rows)
        if isinstance(value := row.get(column.key), int | float) and not math.isnan(value)
    }
    if len(known) < 2:
        return frozenset()
    best = (max if column.better == "higher" else min)(known.values())
    return frozenset(i for i, value in known.items() if value == best)


def cell_parts(column: Column, row: Mapping[str, Any]) -> tuple[str, str]:
    """The value and, of an interval, its ends."""
    value = row.get(column.key)
    if value is None or column.kind in _WORDS or isinstance(value, str):
        return _word(column, value), ""
    if math.isnan(value):
        return UNDEFINED, ""
    if column.kind in ("count", "p"):
        count = column.kind == "count"
        return (f"{int(value):,}" if count else say_p(value).removeprefix("= ")), ""
    ends = [row.get(f"{column.key}_{side}") for side in ("low", "high")]
    known = [_signed(e, column.digits) for e in ends if e is not None and not math.isnan(e)]
    wide = column.kind == "interval" and len(known) == 2
    return _signed(value, column.digits), f"[{', '.join(known)}]" if wide else ""


def _word(column: Column, value: Any) -> str:
    if value is None:
        return NOTHING
    return ("yes" if value else "no") if column.kind == "flag" else str(value)


def _signed(value: float, digits: int) -> str:
    """A number with a real minus sign; what rounds to zero has none."""
    text = f"{value:.{digits}f}"
    if text.startswith("-"):
        text = f"−{text[1:]}" if text.strip("-0.") else text[1:]
    return text


def table_csv(table: Table) -> bytes:
    """All values in full precision, those of the shown columns first; undefined is NaN, nothing is empty."""
    return _frame(table).write_csv().encode()


def table_parquet(table: Table) -> bytes:
    """All values, typed."""
    buffer = io.BytesIO()
    _frame(table).write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()


def _frame(table: Table) -> pl.DataFrame:
    keys: dict[str, None] = {}
    for column in table.columns:
        keys[column.key] = None
        if column.kind == "interval":
            keys |= {f"{column.key}_low": None, f"{column.key}_high": None}
    for row in table.rows:
        keys |= dict.fromkeys(row)
    return pl.DataFrame([_series(key, [row.get(key) for row in table.rows]) for key in keys])


def _series(name: str, values: list[Any]) -> pl.Series:
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {bool}:
        return pl.Series(name, values, pl.Boolean if kinds else pl.String)
    if kinds <= {int}:
        return pl.Series(name, values, pl.Int64)
    if kinds <= {int, float}:
        return pl.Series(name, [None if v is None else float(v) for v in values], pl.Float64)
    return pl.Series(name, [None if v is None else str(v) for v in values], pl.String)


def table_markdown(table: Table) -> bytes:
    """A pipe table under its title, the note below; rows that know no network are in italics."""
    head = [_plain(column.heading) for column in table.columns]
    rule = ["---" if column.kind in _WORDS else "---:" for column in table.columns]
    lines = [f"**{_plain(table.title)}**", "", _piped(head), _piped(rule)]
    best = [best_rows(column, table.rows) for column in table.columns]
    for i, row in enumerate(table.rows):
        cells = [_plain(cell_text(column, row)) for column in table.columns]
        cells = [f"**{c}**" if i in own else c for c, own in zip(cells, best, strict=True)]
        lines.append(_piped([_marked(cells[0], row), *cells[1:]]))
    if table.note:
        lines += ["", _plain(table.note)]
    return ("\n".join(lines) + "\n").encode()


def _marked(text: str, row: Mapping[str, Any]) -> str:
    if row.get("trivial"):
        return f"*{text}*"
    return f"{text} (reference)" if row.get("reference") else text


def _piped(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return re.sub(r"([\\`*_|<])", r"\\\1", text).replace("\n", " ")


def table_latex(table: Table) -> bytes:
    """A table for LaTeX's booktabs; an interval has two columns, its estimate and its ends.

    Tables of more than 45 rows go over several pages, with the package longtable.
    """
    long = len(table.rows) > _LONG
    align = "".join("l" if c.kind in _WORDS else "r@{ }l" if c.kind == "interval" else "r" for c in table.columns)  # fmt: skip
    head = " & ".join(
        rf"\multicolumn{{2}}{{c}}{{{_tex(c.heading)}}}" if c.kind == "interval" else _tex(c.heading)
        for c in table.columns
    )
    caption = rf"\caption{{{_tex(table.title)}. {_tex(table.note)}}}".replace(". }", ".}")
    label = rf"\label{{tab:{table.name}}}"
    top, bottom = (
        ([rf"\begin{{longtable}}{{{align}}}", caption, label + r"\\"], [r"\end{longtable}"])
        if long
        else (
            [r"\begin{table}", r"\centering", caption, label, rf"\begin{{tabular}}{{{align}}}"],
            [r"\end{tabular}", r"\end{table}"],
        )
    )
    lines = ["% needs \\usepackage{booktabs}" + (" and \\usepackage{longtable}" if long else "")]
    lines += [*top, r"\toprule", head + r" \\", r"\midrule", *([r"\endhead"] if long else [])]
    known = False
    best = [best_rows(column, table.rows) for column in table.columns]
    for i, row in enumerate(table.rows):
        if row.get("trivial") and known:
            lines.append(r"\midrule")
        known = not row.get("trivial")
        cells = [
            _tex_cell(column, row, best=i in own)
            for column, own in zip(table.columns, best, strict=True)
        ]
        lines.append(" & ".join(cells) + r" \\")
    return ("\n".join([*lines, r"\bottomrule", *bottom]) + "\n").encode()


def _tex_cell(column: Column, row: Mapping[str, Any], *, best: bool) -> str:
    value, ends = (_tex(part) for part in cell_parts(column, row))
    value = rf"\textbf{{{value}}}" if best else value
    if column.kind != "interval":
        return value
    return f"{value} & {ends}" if ends else f"{value} &"


def _tex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)


TABLE_FILES: Mapping[str, Callable[[Table], bytes]] = {
    "csv": table_csv,
    "parquet": table_parquet,
    "md": table_markdown,
    "tex": table_latex,
}
"""How a table becomes a file, by suffix."""
