"""`saliscope report`: a page, tables and figures of one evaluation, or of several side by side."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from saliscope.errors import OptionError

if TYPE_CHECKING:
    from saliscope.report.command import Report

__all__ = ["app", "report"]

app = App(
    name="report",
    usage="Usage: saliscope report RUNS... [OPTIONS]",
    suppress_keyboard_interrupt=False,
    help_epilogue=(
        "Written: report.html (one file that needs nothing else and asks no network for anything), tables/ (CSV, Parquet, "
        "Markdown, LaTeX), figures/ (PNG, SVG, PDF). The answer goes to stdout.\n\n"
        "saliscope report runs/dogs\n\n"
        "saliscope report runs/dogs runs/dogs-seed1 --primary iou@chosen -o runs/both"
    ),
)


@app.default
def report(
    *runs: Annotated[str, Parameter(help="folders of runs, or their addresses; one at least")],
    output: Annotated[
        str | None,
        Parameter(
            name=["--output", "-o"], help="where the report goes; default: into the first run"
        ),
    ] = None,
    primary: Annotated[
        str | None,
        Parameter(
            help="the score that decides, METRIC@PROTOCOL, in place of the declared one; the report says that it came afterwards"
        ),
    ] = None,
    root: Annotated[
        str | None, Parameter(help="folder of the unpacked data, where it has moved")
    ] = None,
    photos: Annotated[
        bool, Parameter(help="show photographs; without them maps lie on grey")
    ] = True,
    figures: Annotated[
        bool, Parameter(help="write figures/; charts stand on the page anyway")
    ] = True,
    replicates: Annotated[
        int, Parameter(help="bootstrap replicates behind the intervals")
    ] = 10_000,
    seed: Annotated[int, Parameter(help="seed of the bootstrap")] = 0,
    quiet: Annotated[
        bool, Parameter(name=["--quiet", "-q"], negative=(), help="only warnings on stderr")
    ] = False,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="print answer, page and warnings as JSON")
    ] = False,
) -> int:
    """Say which method is better, with the page, tables and figures that show it."""
    from saliscope.report.command import write_report

    if not runs:
        raise OptionError("report needs the folder of a run: saliscope report runs/dogs")

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr)

    done = write_report(
        runs, output, primary=primary, root=root, photos=photos, figures=figures,
        replicates=replicates, seed=seed, say=say,
    )  # fmt: skip
    _tell(done, quiet=quiet, as_json=as_json)
    return 0


def _tell(done: Report, *, quiet: bool, as_json: bool) -> None:
    print(json.dumps(asdict(done), indent=1, ensure_ascii=False) if as_json else done.answer)
    for warning in done.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if not quiet:
        print(f"the report is in {done.page} ({done.size / 1e6:.1f} MB)", file=sys.stderr)
