"""`write_report`: a run becomes a page, and files of its tables and figures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from saliscope.errors import OptionError
from saliscope.provenance import now
from saliscope.runs.opening import open_run
from saliscope.runs.place import open_place

if TYPE_CHECKING:
    from saliscope.report.html import Album
    from saliscope.report.material import Material
    from saliscope.report.sections import Findings
    from saliscope.runs import Run

__all__ = ["PAGE", "Report", "write_report"]

PAGE = "report.html"
_LARGE = 20_000_000  # bytes: a page that browsers still open, but no longer at once
_FEWEST = 100  # replicates

Say = Callable[[str], None]


@dataclass(frozen=True)
class Report:
    """What was written: the address of the page and its `size` in bytes; its `answer` in words, and what warns of it."""

    page: str
    answer: str
    warnings: tuple[str, ...]
    size: int


def write_report(
    folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    primary: str | None = None,
    root: str | os.PathLike[str] | None = None,
    photos: bool = True,
    figures: bool = True,
    replicates: int = 10_000,
    seed: int = 0,
    say: Say = lambda _: None,
) -> Report:
    """Write report.html, tables/ and figures/ of one run, or of several side by side.

    `folders` are runs, by path or address; `output` is where the files go, by default the first of them. `primary`
    (METRIC@PROTOCOL) takes the place of the score that was declared. Photographs are read from the runs' data, `root` is its
    folder where it has moved; where they cannot be read, or without `photos`, maps lie on grey and the page says so. With
    `figures` False charts stand on the page alone. `say` is told, in a few words, what is done.

    Raises `DataError` where there is no run and for files that cannot be read or written, `OptionError` for a score that was
    not measured. Files appear whole; what is not of the report is left alone.
    """
    from saliscope.report.figure_process import figures_beside
    from saliscope.report.html import render
    from saliscope.report.image_rows import write_rows
    from saliscope.report.write import figure_jobs, write_files, write_tables

    if replicates < _FEWEST:
        raise OptionError(f"an interval needs {_FEWEST} replicates or more; got {replicates}")
    if output is not None and Path(output).is_file():
        raise OptionError(f"-o {output} is a file; name a folder")
    runs = [open_run(folder) for folder in _listed(folders)]
    place = runs[0].place if output is None else open_place(output)
    say(f"reading {', '.join(run.place.address for run in runs)}")
    found, material = _read(runs, primary, replicates, seed)
    found = _drawn_once(found)
    jobs = figure_jobs(found) if figures else []
    drawn = figures_beside(jobs) if jobs else None
    say("reading pictures")
    album = _album(material, root, photos=photos)
    said = _about_photos(album, asked=photos)
    say(f"writing to {place.address}")
    files = [*write_tables(found, place), *write_rows(material, place)]
    files += [job.path for job in jobs]
    page = render(
        found, album, facts=_facts(material), warnings=said, files=files, made=now()
    ).encode()
    if drawn is not None:
        write_files(place, {j.path: data for j, data in zip(jobs, drawn.result(), strict=True)})
    place.write(PAGE, page)
    large = [
        f"the page has {len(page) / 1e6:.0f} MB: it opens slowly; --no-photos makes it smaller"
    ]
    warnings = (*said, *found.warnings, *(large if len(page) > _LARGE else ()))
    return Report(f"{place.address}/{PAGE}", found.answer, warnings, len(page))


def _read(
    runs: Sequence[Run], primary: str | None, replicates: int, seed: int
) -> tuple[Findings, Material]:
    from saliscope.report.chapters.evidence import evidence_of
    from saliscope.report.findings import findings_of
    from saliscope.report.material import Material
    from saliscope.report.study.together import study_of
    from saliscope.stats.counts import counts_kept

    with counts_kept():
        evidence = evidence_of(study_of(runs, replicates=replicates, seed=seed), primary)
        found = findings_of(evidence)
    return found, Material(evidence.study, evidence.primary, evidence.reference)


def _drawn_once(found: Findings) -> Findings:
    """The same with charts that are drawn when they are first asked for: the page and the files show the same figure."""
    sections = [
        replace(s, charts=tuple(replace(c, draw=cache(c.draw)) for c in s.charts))
        for s in found.sections
    ]
    return replace(found, sections=tuple(sections))


def _album(material: Material, root: str | os.PathLike[str] | None, *, photos: bool) -> Album:
    from saliscope.report.gallery import choose
    from saliscope.report.html import Album
    from saliscope.report.image_rows import make_rows
    from saliscope.report.payload import make_payload
    from saliscope.report.thumbnails import Photographs

    photographs = (
        [Photographs(run.settings, root=root) for run in material.runs] if photos else None
    )
    groups = choose(material)
    payload = make_payload(material, groups, photographs)
    pictures = {image["id"]: number for number, image in enumerate(payload.images)}
    return Album(groups, payload, make_rows(material, pictures))


def _about_photos(album: Album, *, asked: bool) -> list[str]:
    """What is to be said of photographs that are not in the page though they were asked for."""
    problem = album.payload.problem
    if not asked or problem is None:
        return []
    wanted = [image for image in album.payload.images if image["status"] == "ok"]
    gone = sum(image["photo"] is None for image in wanted)
    what = (
        "No photograph is"
        if gone == len(wanted)
        else f"{gone} of {len(wanted)} photographs are not"
    )
    return [f"{what} in this page: {problem}"]


def _facts(material: Material) -> dict[str, str]:
    """What stands under the answer: the runs in a few words."""
    runs = material.runs
    words = {
        "Run": [run.place.address for run in runs],
        "Network": [str(run.record.resolved["model"]) for run in runs],
        "Data": [f"{run.settings.data}, {run.settings.split}" for run in runs],
        "Evaluated": [run.record.ended or run.record.started for run in runs],
    }
    named = {name: ", ".join(dict.fromkeys(values)) for name, values in words.items()}
    failed = int((material.images["status"] == "failed").sum())
    counted = f"{len(material.images):,}" + (f", of which {failed:,} failed" if failed else "")
    own = sum(not source.trivial for source in material.sources)
    others = len(material.sources) - own
    return named | {"Images": counted, "Methods": f"{own}, and {others} that know no network"}


def _listed(
    folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> list[str | os.PathLike[str]]:
    listed = [folders] if isinstance(folders, str | os.PathLike) else list(folders)
    if not listed:
        raise OptionError("a report needs the folder of a run: saliscope report runs/dogs")
    return listed
