"""Figures as files, made in a process of their own while the page is put together: fonts and pixels take a core for a while."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FigureJob", "figures_beside", "figures_here"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FigureJob:
    """A figure and the file that it becomes: its `kind` is "png", "svg" or "pdf", `about` is kept in it."""

    path: str
    figure: Figure
    kind: str
    dpi: int
    about: str


def figures_here(jobs: Sequence[FigureJob]) -> list[bytes]:
    """The files of some figures, in their order."""
    from saliscope.report.page import figure_bytes

    return [figure_bytes(j.figure, j.kind, dpi=j.dpi, about=j.about) for j in jobs]


def figures_beside(jobs: Sequence[FigureJob]) -> Future[list[bytes]]:
    """Begin making the files of some figures, and go on; the result is that of `figures_here`."""
    pool = ThreadPoolExecutor(1, "figures")
    begun = pool.submit(_made, pickle.dumps(list(jobs)), jobs)
    pool.shutdown(wait=False)
    return begun


def _made(packed: bytes, jobs: Sequence[FigureJob]) -> list[bytes]:
    # Not multiprocessing: that would run the user's own script again where it has no guard.
    command = [sys.executable, "-c", "from saliscope.report.figure_process import main; main()"]
    try:
        done = subprocess.run(
            command, input=packed, stdout=subprocess.PIPE, check=True, env=dict(os.environ)
        )
        found: list[bytes] = pickle.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, pickle.UnpicklingError, EOFError) as err:
        log.info("figures are drawn in this process: %s", err)
        return figures_here(jobs)
    return found


def main() -> None:
    """Read jobs from stdin, write their files to stdout."""
    jobs = pickle.load(sys.stdin.buffer)
    sys.stdout.buffer.write(pickle.dumps(figures_here(jobs)))
