"""Work in several processes of this machine; one that dies costs what it had in hand, and that is done again."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from saliscope.errors import DataError, OptionError

__all__ = ["TRIES", "Crew", "Dead", "Work", "cores", "portable", "run_in_processes", "unsendable"]

J = TypeVar("J", bound=Hashable)
V = TypeVar("V")
Work = Callable[[Iterator[J]], Iterator[V]]
"""Takes jobs as they come and yields a result for each, in their order; it may look some jobs ahead."""

_MOST = 16  # jobs in one list: reading looks ahead within a list only
TRIES = 2
"""So often a job that ended a process is tried alone."""


@dataclass(frozen=True)
class Dead(Generic[J]):
    """A job that ended the process working on it, each time it was tried."""

    job: J
    reason: str


@dataclass(frozen=True, eq=False)
class Crew(Generic[J, V]):
    """How processes are made: `make(number)` runs inside each and returns its `Work`; it must pickle.

    `split` takes a job apart that ends its process; one that cannot be split is returned alone.
    """

    make: Callable[[int], Work[J, V]]
    size: int
    split: Callable[[J], Sequence[J]] = field(default=lambda job: [job])


@dataclass(eq=False)
class _Member(Generic[J]):
    number: int
    process: Any
    pipe: Connection
    held: deque[J] = field(default_factory=deque)
    ready: bool = False
    """It has begun; before that it gets no job, which could not be what ended it."""
    alone: bool = False
    """It has one job that may be what killed another process, and gets no second one beside it."""


@dataclass(eq=False)
class _Jobs(Generic[J]):
    """What is still to do: the jobs nobody has begun, and those that were in the hands of a process that died."""

    left: deque[J]
    suspects: deque[J] = field(default_factory=deque)
    deaths: Counter[J] = field(default_factory=Counter)
    stillborn: int = 0

    def deal(self, member: _Member[J], crew: int, idle: int) -> list[J]:
        """The next list for a process, empty where it gets nothing now; `idle` of the crew have nothing in hand.

        A process that has something gets more, so as never to wait, unless that would leave one without anything.
        """
        if self.suspects and not member.held:
            member.alone = True
            return [self.suspects.popleft()]
        if (member.alone and member.held) or len(member.held) > 1 or not self.left:
            return []
        if member.held and len(self.left) <= idle:
            return []
        member.alone = False
        count = max(1, min(_MOST, len(self.left) // (2 * crew)))
        return [self.left.popleft() for _ in range(min(count, len(self.left)))]

    def __bool__(self) -> bool:
        return bool(self.left or self.suspects)


def run_in_processes(crew: Crew[J, V], jobs: Sequence[J]) -> Generator[V | Dead[J], None, None]:
    """Do all jobs in `crew.size` processes and yield results as they come.

    A process that dies is replaced, and what it had in hand is done again, job by job, each alone: so it is known which
    one kills. Such a job is split, and one that cannot be split is yielded as `Dead`. An exception in a process is raised
    here. Ending the generator ends the processes. Raises `DataError` where processes end before they begin, `OptionError`
    where what they need cannot be sent to them.
    """
    todo = _Jobs(deque(jobs))
    members = [_start(crew, number) for number in range(min(crew.size, len(jobs)))]
    try:
        while todo or any(m.held for m in members):
            for member in members:
                if member.ready:
                    _feed(member, todo, len(members), sum(not m.held for m in members))
            wait([m.pipe for m in members] + [m.process.sentinel for m in members])
            for place, member in enumerate(members):
                found = _receive(member)
                if found is not None:
                    member.held.popleft()
                    yield found[0]
                elif not member.process.is_alive():
                    yield from _bury(crew, member, todo)
                    members[place] = _start(crew, member.number)
    finally:
        for member in members:
            _end(member)


def _start(crew: Crew[J, V], number: int) -> _Member[J]:
    # Forking a process that runs threads is not safe.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, crew.make, number), daemon=True)
    try:
        with _deaf():
            process.start()
    except (pickle.PicklingError, AttributeError, TypeError) as err:
        raise unsendable(err) from err
    theirs.close()
    return _Member(number, process, ours)


def unsendable(err: Exception) -> OptionError:
    """What is raised where the work itself does not pickle."""
    return OptionError(
        f"a network or data set given in memory cannot be sent to other processes ({err}); give it by its name, or leave "
        "workers at 1"
    )


@contextmanager
def _deaf() -> Iterator[None]:
    """Start processes that ^C does not end while they begin, with a traceback each: the one that starts them decides."""
    if threading.current_thread() is not threading.main_thread():  # no other may arrange it
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


def _feed(member: _Member[J], todo: _Jobs[J], crew: int, idle: int) -> None:
    listed = todo.deal(member, crew, idle)
    if not listed:
        return
    member.held.extend(listed)
    try:
        member.pipe.send(listed)
    except (BrokenPipeError, ConnectionError):
        return  # it died: its sentinel says so, and what it holds is done again


def _receive(member: _Member[J]) -> tuple[Any] | None:
    """A result, if there is one; raises what the process raised."""
    try:
        if not member.pipe.poll():
            return None
        kind, value = member.pipe.recv()
    except (EOFError, ConnectionError):
        member.process.join()
        return None
    if kind == "error":
        raise value
    if kind == "result":
        return (value,)
    member.ready = True
    return None


def _bury(crew: Crew[J, V], member: _Member[J], todo: _Jobs[J]) -> Iterator[Dead[J]]:
    """Put back what a dead process held, under suspicion."""
    member.process.join()
    member.pipe.close()
    how = _how(member.process.exitcode)
    todo.stillborn = 0 if member.ready else todo.stillborn + 1
    if todo.stillborn > crew.size + 1:
        raise DataError(
            f'processes end before they begin ({how}): a script that evaluates needs `if __name__ == "__main__":` before '
            "what it does, or workers=1"
        )
    if not member.alone or not member.held:
        todo.suspects.extend(member.held)
        return
    job = member.held[0]
    todo.deaths[job] += 1
    if todo.deaths[job] < TRIES:
        todo.suspects.appendleft(job)
        return
    parts = list(crew.split(job))
    if len(parts) > 1:
        todo.suspects.extendleft(reversed(parts))
    else:
        yield Dead(job, f"the process that worked on it ended each time ({how})")


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}, often because memory ran out" if name == "SIGKILL" else name


def _end(member: _Member[J]) -> None:
    member.pipe.close()
    member.process.join(0.2)
    if member.process.is_alive():
        member.process.kill()
        member.process.join()


class _GoneError(Exception):
    """The process on the other side of the pipe is not there any more."""


def _serve(pipe: Connection, make: Callable[[int], Work[Any, Any]], number: int) -> None:
    """The life of a process: lists of jobs from the pipe, results into it, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides
    try:
        try:
            work = make(number)
            _tell(pipe, "ready", None)
            while True:
                for result in work(iter(_ask(pipe))):
                    _tell(pipe, "result", result)
        except _GoneError:
            return
        except Exception as err:
            _tell(pipe, "error", portable(err))
    except _GoneError:
        return


def _tell(pipe: Connection, kind: str, value: Any) -> None:
    try:
        pipe.send((kind, value))
    except OSError:
        raise _GoneError from None


def _ask(pipe: Connection) -> list[Any]:
    try:
        jobs: list[Any] = pipe.recv()
    except (EOFError, OSError):
        raise _GoneError from None
    return jobs


def portable(err: Exception) -> Exception:
    """The exception with its traceback as a note; one that does not pickle goes as its words."""
    err.add_note("".join(traceback.format_exception(err)))
    try:
        pickle.loads(pickle.dumps(err))
    except Exception:
        return RuntimeError(f"{type(err).__name__}: {err}\n{err.__notes__[-1]}")
    return err


def cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
