"""Work in three steps that overlap: read the next batches, run the network on one, finish what is behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from saliscope.engine import out_of_memory
from saliscope.runs.local import cores

__all__ = ["Steps", "each_or_all", "overlapped", "works_beside"]

I = TypeVar("I")  # noqa: E741 - what is read
R = TypeVar("R")
D = TypeVar("D")
V = TypeVar("V")


@dataclass(frozen=True, eq=False)
class Steps(Generic[I, R, D, V]):
    """What is done with a batch: `read` each item, `work` on all of them at once, `finish` each thing that came of it.

    `read` and `finish` run in `threads` threads each and must not raise for what is the matter of one item. `beside`: they
    run while the network does; else between two batches, since a core taken from a network that uses all of them halts the
    others too. At most `behind` results wait to be taken.
    """

    read: Callable[[I], R]
    work: Callable[[list[R]], Iterable[D]]
    finish: Callable[[D], V]
    threads: int
    beside: bool
    behind: int


def overlapped(
    steps: Steps[I, R, D, V], batches: Iterator[Sequence[I]]
) -> Generator[V, None, None]:
    """Yield what `finish` returns, in the order of the items.

    `work` runs in the caller's thread; reading is up to two batches ahead of it. What any step raises ends the stream, as
    closing it does: what is being finished then is finished, the rest is dropped.
    """
    reader = ThreadPoolExecutor(steps.threads, "read")
    finisher = ThreadPoolExecutor(steps.threads, "finish")
    ahead: deque[list[Future[R]]] = deque()
    behind: deque[Future[V]] = deque()
    with reader, finisher:
        try:
            while True:
                while len(ahead) < (3 if steps.beside else 1) and (batch := next(batches, None)):
                    ahead.append([reader.submit(steps.read, item) for item in batch])
                if not ahead:
                    break
                ready = [future.result() for future in ahead.popleft()]
                while behind and not steps.beside:
                    yield behind.popleft().result()
                behind.extend(finisher.submit(steps.finish, done) for done in steps.work(ready))
                del ready
                while len(behind) > steps.behind or (behind and behind[0].done()):
                    yield behind.popleft().result()
            while behind:
                yield behind.popleft().result()
        finally:
            reader.shutdown(wait=False, cancel_futures=True)
            finisher.shutdown(wait=False, cancel_futures=True)


def each_or_all(
    work: Callable[[list[R]], list[D]], batch: list[R], alone: Callable[[R, Exception], D]
) -> list[D]:
    """Work on a batch; where memory runs out on its images one by one, and where one does not fit alone, ask `alone`."""
    if not batch:
        return []
    try:
        return work(batch)
    except (MemoryError, RuntimeError) as err:
        if not out_of_memory(err):
            raise
        if len(batch) == 1:
            return [alone(batch[0], err)]
    return [done for item in batch for done in each_or_all(work, [item], alone)]


def works_beside(device: torch.device) -> bool:
    """Whether a network on this device leaves cores free for reading and finishing."""
    return device.type != "cpu" or torch.get_num_threads() < cores()
