"""One progress bar on stderr; a plain line every few seconds where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType

__all__ = ["Progress"]

_EVERY = 5.0  # seconds between plain lines


class Progress:
    """Counts done and failed items against a total, with rate and remaining time."""

    def __init__(self, total: int, *, shown: bool = True) -> None:
        self.total = total
        self._terminal = shown and sys.stderr.isatty()
        self._plain = shown and not self._terminal
        self._start = self._said = time.monotonic()

    def __enter__(self) -> Progress:
        if self._terminal:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                TextColumn,
                TimeRemainingColumn,
            )
            from rich.progress import Progress as Bar

            self._bar = Bar(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]:.1f}/s"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[failed]} failed"),
                TextColumn("{task.fields[asking]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=self.total, rate=0.0, failed=0, asking="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._terminal:
            self._bar.stop()

    def step(self, done: int, failed: int) -> None:
        """Show where things stand."""
        now = time.monotonic()
        rate = (done + failed) / max(now - self._start, 1e-9)
        if self._terminal:
            self._bar.update(self._task, completed=done + failed, rate=rate, failed=failed)
        elif self._plain and now - self._said >= _EVERY:
            self._said = now
            left = (self.total - done - failed) / rate
            print(
                f"{done + failed}/{self.total}, {rate:.1f}/s, {left:.0f} s left, {failed} failed",
                file=sys.stderr,
            )

    def asking(self, method: str, done: int, total: int) -> None:
        """Show how far a method is that asks the network many times about the images at hand."""
        now = time.monotonic()
        if self._terminal:
            text = f"{method} {done}/{total}" if done < total else ""
            self._bar.update(self._task, asking=text)
        elif self._plain and done < total and now - self._said >= _EVERY:
            self._said = now
            print(f"{method}: asked {done} of {total}", file=sys.stderr)

    def say(self, message: str) -> None:
        """Print a line without breaking the bar."""
        if self._terminal:
            self._bar.console.print(message, style="red", highlight=False, markup=False)
        else:
            print(message, file=sys.stderr)
