"""Findings as files: tables/ and figures/ beside the report, each file whole or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping

from saliscope.report.chapters.provenance import settings_file
from saliscope.report.figure_process import FigureJob, figures_here
from saliscope.report.sections import Chart, Findings, Table
from saliscope.report.tables import TABLE_FILES, file_name
from saliscope.runs.place import Place, open_place

__all__ = ["FIGURE_FILES", "figure_jobs", "write_figures", "write_files", "write_tables"]

FIGURE_FILES = ("png", "svg", "pdf")


def write_tables(findings: Findings, place: Place | str | os.PathLike[str]) -> list[str]:
    """Write tables/NAME.csv, .parquet, .md and .tex of every table that has rows, with provenance.json and the settings of each run.

    Returns the names of the files, relative to `place`, which is a folder, an address, or one that is open. Raises `DataError` for what cannot be written.
    """
    target, written = _open(place), []
    for name, table in _tables(findings):
        for suffix, content in TABLE_FILES.items():
            path = f"tables/{name}.{suffix}"
            target.write(path, content(table))
            written.append(path)
    for path, text in _provenance(findings):
        target.write(path, text.encode())
        written.append(path)
    return written


def write_figures(
    findings: Findings, place: Place | str | os.PathLike[str], *, dpi: int = 200
) -> list[str]:
    """Write figures/NAME.png, .svg and .pdf of every chart, as `write_tables` does; each names the runs that it is of by their hashes."""
    jobs = figure_jobs(findings, dpi=dpi)
    return write_files(
        place, {job.path: data for job, data in zip(jobs, figures_here(jobs), strict=True)}
    )


def figure_jobs(findings: Findings, *, dpi: int = 200) -> list[FigureJob]:
    """The files that the charts become."""
    hashes = [run["hash"] for run in findings.provenance.get("runs", ())]
    jobs = []
    for name, chart in _charts(findings):
        figure = chart.draw()
        about = f"{chart.title}. {findings.title}. Runs: {', '.join(hashes) or 'unknown'}"
        jobs += [
            FigureJob(f"figures/{name}.{kind}", figure, kind, dpi, about) for kind in FIGURE_FILES
        ]
    return jobs


def write_files(place: Place | str | os.PathLike[str], files: Mapping[str, bytes]) -> list[str]:
    """Write files by their relative names; the names."""
    target = _open(place)
    for name, data in files.items():
        target.write(name, data)
    return list(files)


def _open(place: Place | str | os.PathLike[str]) -> Place:
    return open_place(place) if isinstance(place, str | os.PathLike) else place


def _tables(findings: Findings) -> Iterator[tuple[str, Table]]:
    for section in findings.sections:
        yield from ((file_name(t.name), t) for t in section.tables if t.rows)


def _provenance(findings: Findings) -> Iterator[tuple[str, str]]:
    runs = findings.provenance.get("runs", ())
    for i, run in enumerate(runs):
        yield settings_file(i, len(runs)), run["settings"]
    whole = dict(findings.provenance)
    yield "tables/provenance.json", json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _charts(findings: Findings) -> Iterator[tuple[str, Chart]]:
    for section in findings.sections:
        yield from ((file_name(c.name), c) for c in section.charts)
