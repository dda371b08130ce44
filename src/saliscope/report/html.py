"""The page of a report: findings, pictures and rows put into one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from saliscope.report.html_tables import PageTable, page_table
from saliscope.report.scripts import linked, static_text
from saliscope.report.sections import Chart, Findings, Section
from saliscope.report.tables import file_name

if TYPE_CHECKING:
    from saliscope.report.gallery import Group
    from saliscope.report.payload import Payload

__all__ = ["Album", "render"]

_ORIGIN = "provenance"  # the section that comes last
_TROUBLE = "statuses"  # the section that pictures come before


@dataclass(frozen=True, eq=False)
class Album:
    """The pictures and the rows of a page."""

    groups: Sequence[Group]
    payload: Payload
    rows: Mapping[str, Any] | None = None

    @property
    def has_photos(self) -> bool:
        return any(image["photo"] for image in self.payload.images)


@dataclass(frozen=True)
class _Drawn:
    """A chart with its markup."""

    name: str
    title: str
    note: str
    markup: Markup


@dataclass(frozen=True)
class _PageSection:
    key: str
    title: str
    lead: list[str]
    warnings: Sequence[str]
    tables: list[PageTable]
    charts: list[_Drawn]


@dataclass(frozen=True)
class _PageGroup:
    """A group as the template shows it; groups that share a title are one, the script switches between them."""

    key: str
    title: str
    lead: str
    failed: list[dict[str, Any]] = field(default_factory=list)


def render(
    findings: Findings,
    album: Album | None = None,
    *,
    facts: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
    files: Collection[str] = (),
    made: str = "",
) -> str:
    """Write the page.

    `facts` stand under the answer, in a few words each; `warnings` come before those of the findings. `files` are the paths, from
    the page, of the files that lie beside it: tables and charts name theirs. Every text is escaped.
    """
    from saliscope import __version__

    first = tuple(map(_tight, (*warnings, *findings.warnings)))
    sections = [_section(s, first) for s in findings.sections if s.key != _ORIGIN]
    keys = [section.key for section in sections]
    page = {
        "title": findings.title,
        "answer": _tight(findings.answer),
        "warnings": first,
        "facts": facts or {},
        "sections": sections,
        "pictures_at": keys.index(_TROUBLE) if _TROUBLE in keys else len(keys),
        "groups": _groups(album),
        "pictures_lead": _pictures_lead(album),
        "rows": album is not None and album.rows is not None,
        "rows_lead": _rows_lead(album),
        "origin": _origin(findings),
        "files": _by_name(files),
        "has_photos": album is not None and album.has_photos,
        "data": _data(album),
        "style": Markup(static_text("report.css") + static_text("pictures.css")),
        "script": Markup(linked("main") + "modules.main.start();"),
        "version": __version__,
        "made": made,
    }
    return str(_template().render(page=page))


def _by_name(files: Collection[str]) -> dict[str, list[str]]:
    """The endings of files by their path without it: "tables/main" has ["csv", "parquet"]."""
    found: dict[str, list[str]] = {}
    for path in files:
        name, _, ending = path.rpartition(".")
        found.setdefault(name, []).append(ending)
    return found


def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("saliscope.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("report.html.jinja")


def _tight(text: str) -> str:
    """Text whose percent signs stay with their numbers."""
    return text.replace(" %", "\u00a0%")


def _section(section: Section, said: Sequence[str] = ()) -> _PageSection:
    """A section with everything drawn; warnings that were `said` above are not repeated."""
    return _PageSection(
        section.key,
        section.title,
        [_tight(text) for text in section.lead.split("\n\n") if text.strip()],
        [text for text in map(_tight, section.warnings) if text not in said],
        [page_table(table) for table in section.tables],
        [_drawn(chart) for chart in section.charts],
    )


def _origin(findings: Findings) -> dict[str, Any]:
    """The last section: what the findings say of their provenance, with the facts, commands and settings that make them again."""
    own = next((s for s in findings.sections if s.key == _ORIGIN), None)
    section = _section(own or Section(_ORIGIN, "Provenance", "What these numbers depend on."))
    given = findings.provenance
    runs = [run for run in given.get("runs", ()) if "settings" in run]
    named = ["Settings" + (f" of {run['name']}" if len(runs) > 1 else "") for run in runs]
    return {
        "lead": section.lead,
        "warnings": section.warnings,
        "tables": section.tables,
        "charts": section.charts,
        "facts": {k: v for k, v in given.items() if k not in ("runs", "commands")},
        "commands": given.get("commands", ()),
        "settings": [{"title": t, "text": r["settings"]} for t, r in zip(named, runs, strict=True)],
        "json": json.dumps(given, indent=1, ensure_ascii=False, default=str),
    }


def _drawn(chart: Chart) -> _Drawn:
    from saliscope.report.inline_svg import inline_figure

    name = file_name(chart.name)
    markup = inline_figure(chart.draw(), f"in-{name}", title=chart.title, alt=chart.alt)
    return _Drawn(name, chart.title, chart.note, markup)


def _groups(album: Album | None) -> list[_PageGroup]:
    if album is None:
        return []
    by_id = {image["id"]: image for image in album.payload.images}
    found: dict[str, _PageGroup] = {}
    for group in album.groups:
        failed = [by_id[p.id] for p in group.picks] if group.panes == "none" else []
        found.setdefault(group.title, _PageGroup(group.key, group.title, group.lead, failed))
    return list(found.values())


def _pictures_lead(album: Album | None) -> str:
    if album is None:
        return ""
    count = len(album.payload.images)
    text = (
        f"{count:,} images, chosen as each heading says. Maps are drawn from the stored raw values: choose a method with the keys "
        "1 to 9, open a picture to compare two methods and to move a threshold over it. Red: annotated."
    )
    return (
        text
        if album.has_photos
        else f"{text} The photographs are not in this page: maps lie on grey."
    )


def _rows_lead(album: Album | None) -> str:
    if album is None or album.rows is None:
        return ""
    shown = len(album.payload.images)
    return (
        f"{len(album.rows['ids']):,} rows. Sort by a column, filter, and read the mean of what is left; "
        f"{shown:,} images can be opened as pictures."
    )


def _data(album: Album | None) -> dict[str, Markup]:
    """The blocks of data by their id in the page. Each picture is a block: it is parsed when it is drawn."""
    if album is None:
        return {}
    blocks = {"data-meta": album.payload.meta, "data-grids": album.payload.grids}
    blocks |= {f"data-image-{n}": image for n, image in enumerate(album.payload.images)}
    if album.rows is not None:
        blocks["data-rows"] = album.rows
    return {name: _json(value) for name, value in blocks.items()}


def _json(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)
