"""A run on stderr: a bar for each stage, and what it holds in the end."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING

from saliscope.cli.progress import Progress

if TYPE_CHECKING:
    from saliscope.runs import Outcome

__all__ = ["RunProgress", "finished", "stopped"]


class RunProgress:
    """What `evaluate` and `measure` call `watch`."""

    def __init__(self, *, shown: bool = True, quiet: bool = False) -> None:
        self._shown, self._quiet = shown and not quiet, quiet
        self._bar: Progress | None = None
        self.stage = ""
        self.done = self.failed = 0

    def __enter__(self) -> RunProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def begin(self, stage: str, total: int, done: int) -> None:
        """Begin the bar of a stage."""
        self._close()
        self.stage, self.done, self.failed = stage, 0, 0
        left = total - done
        if left == 0 and stage == "measure":
            return
        earlier = f", {done} done earlier" if done else ""
        self.say(f"{stage}: {total} images{earlier}")
        self._bar = Progress(left, shown=self._shown and left > 0)
        self._bar.__enter__()

    def step(self, done: int, failed: int) -> None:
        """Move the bar."""
        self.done += done
        self.failed += failed
        if self._bar is not None:
            self._bar.step(self.done, self.failed)

    def asking(self, method: str, done: int, total: int) -> None:
        """Show how far a method is that asks the network many times about the images at hand."""
        if self._bar is not None:
            self._bar.asking(method, done, total)

    def say(self, message: str) -> None:
        """Print a line without breaking the bar."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.say(message)
        else:
            print(message, file=sys.stderr)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


def stopped(watch: RunProgress, output: str) -> None:
    """Say what an interrupt leaves behind."""
    watch.say(f"stopped; what is done is in {output}, and the same command continues")


def finished(outcome: Outcome, *, quiet: bool, as_json: bool) -> int:
    """Say what the run holds; the exit code."""
    if as_json:
        print(json.dumps(asdict(outcome), indent=1))
    elif not quiet:
        print(
            f"{outcome.done} explained, {outcome.failed} failed -> {outcome.address}",
            file=sys.stderr,
        )
        if outcome.failed:
            print(
                f"why: {outcome.address}/errors.jsonl; --retry-failed does them again",
                file=sys.stderr,
            )
        if outcome.done:
            print(f"next: saliscope report {outcome.address}", file=sys.stderr)
    return 1 if outcome.failed else 0
