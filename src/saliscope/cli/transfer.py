"""A bar that counts bytes; a plain line every few seconds where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saliscope.data.download import Step

__all__ = ["Transfer"]

_EVERY = 5.0  # seconds between plain lines


class Transfer:
    """Shows one file after another: what is done to it, how much of it is here, how fast it comes."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._now: tuple[str, str] | None = None
        self._said = 0.0

    def __enter__(self) -> Transfer:
        if self._terminal:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._terminal:
            self._bar.stop()

    def step(self, step: Step) -> None:
        """Show where things stand."""
        begins = self._now != (step.doing, step.file)
        self._now = (step.doing, step.file)
        if self._terminal:
            if begins:
                self._task = self._bar.add_task(f"{step.doing} {step.file}", total=step.total)
            self._bar.update(self._task, completed=step.done, total=step.total)
            return
        now = time.monotonic()
        if begins or now - self._said >= _EVERY or step.done == step.total:
            self._said = now
            of = "" if step.total is None else f" of {step.total / 1e6:,.1f}"
            print(f"{step.doing} {step.file}: {step.done / 1e6:,.1f}{of} MB", file=sys.stderr)
