"""A training on stderr: one bar, one line an epoch; plain lines where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saliscope.training.callbacks import Epoch, Step

__all__ = ["TrainProgress"]

_EVERY = 10.0  # seconds between plain lines


class TrainProgress:
    """What `train` calls `watch`, with `say` beside it; `finished` counts epochs that nothing can take away."""

    def __init__(self, *, shown: bool = True, quiet: bool = False) -> None:
        self._terminal = shown and not quiet and sys.stderr.isatty()
        self._plain = shown and not quiet and not self._terminal
        self._quiet = quiet
        self._said = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        self._what = ""
        self.finished = 0
        self.began = False

    def __enter__(self) -> TrainProgress:
        if self._terminal:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[more]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, message: str) -> None:
        """Print a line without breaking the bar."""
        if self._bar is not None:
            self._bar.console.print(message, highlight=False, markup=False)
        elif not self._quiet:
            print(message, file=sys.stderr, flush=True)

    def reading(self, split: str, done: int, failed: int, total: int, /) -> None:
        """Show how many images of a split were read."""
        more = f"{failed} failed" if failed else ""
        self._show(f"reading {split}", done + failed, total, more)

    def step(self, step: Step, /) -> None:
        """Show where the epoch stands."""
        self.began, self.finished = True, step.epoch - 1
        more = f"{step.images_per_second:.1f} images/s, train loss {step.train_loss:.4f}"
        self._show(f"epoch {step.epoch}/{step.epochs}", step.step, step.steps, more)

    def epoch(self, epoch: Epoch, epochs: int, /) -> None:
        """Count an epoch; its line comes from `say`."""
        del epochs
        self.finished = epoch.epoch

    def _show(self, what: str, done: int, total: int, more: str) -> None:
        if self._bar is not None:
            if what != self._what:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._what, self._task = what, self._bar.add_task(what, total=total, more="")
            self._bar.update(self._task, completed=done, more=more)
        elif self._plain and time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            print(
                f"{what}, {done}/{total}{', ' if more else ''}{more}", file=sys.stderr, flush=True
            )
