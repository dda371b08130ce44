"""Work in this process, or in several of this machine; a process that dies costs what it had in hand, and that is done again."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from saliscope.errors import DataError

__all__ = ["Crew", "Dead", "run_here", "run_in_processes"]

J = TypeVar("J", bound=Hashable)
V = TypeVar("V")
Work = Callable[[Iterator[J]], Iterator[V]]
"""Takes jobs as they come and yields a result for each, in their order; it may look some jobs ahead."""

AHEAD = 4
"""Jobs a process holds at a time: three that are being read, one that is worked on."""

_TRIES = 2


@dataclass(frozen=True)
class Dead(Generic[J]):
    """A job that ended the process working on it, more than once."""

    job: J
    reason: str


def run_here(work: Work[J, V], jobs: Sequence[J]) -> Iterator[V]:
    """Do all jobs in this process."""
    yield from work(iter(jobs))


@dataclass(eq=False)
class Crew(Generic[J, V]):
    """How processes are started: `make(number)` runs inside each and returns its `Work`; it must pickle.

    `weigh` splits a job that ended a process twice into smaller ones, or returns it alone where it cannot be split.
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
    closed: bool = False


def run_in_processes(crew: Crew[J, V], jobs: Sequence[J]) -> Generator[V | Dead[J], None, None]:
    """Do all jobs in `crew.size` processes and yield results as they come.

    A process that dies is replaced. What it had in hand is done again, by itself; a job that ends its process twice is
    split, and one that cannot be split is yielded as `Dead`. An exception in a process is raised here. Ending the
    generator ends the processes.
    """
    left: deque[J] = deque(jobs)
    tries: dict[J | None, int] = {}
    members = [_start(crew, number) for number in range(min(crew.size, max(len(left), 1)))]
    try:
        while left or any(m.held for m in members):
            for member in members:
                _feed(member, left)
            ready = wait([m.pipe for m in members] + [m.process.sentinel for m in members])
            for member in list(members):
                if member.pipe not in ready and member.process.sentinel not in ready:
                    continue
                found = _receive(member)
                if found is not None:
                    member.held.popleft()
                    yield found[0]
                    continue
                if not member.process.is_alive() or member.pipe.closed:
                    yield from _bury(crew, member, left, tries)
                    members[members.index(member)] = _start(crew, member.number)
    finally:
        for member in members:
            _end(member)


def _start(crew: Crew[J, V], number: int) -> _Member[J]:
    context = multiprocessing.get_context(
        "spawn"
    )  # forking a process that runs threads is not safe
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, crew.make, number), daemon=True)
    process.start()
    theirs.close()
    return _Member(number, process, ours)


def _feed(member: _Member[J], left: deque[J]) -> None:
    """Give a process what it may hold, or say that nothing more comes."""
    try:
        while left and len(member.held) < AHEAD and not member.closed:
            member.pipe.send((left[0],))
            member.held.append(left.popleft())
        if not left and not member.closed and member.held:
            member.pipe.send(None)
            member.closed = True
    except (BrokenPipeError, ConnectionError):
        return  # it died: its sentinel says so


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
    return (value,)


def _bury(
    crew: Crew[J, V], member: _Member[J], left: deque[J], tries: dict[J | None, int]
) -> Iterator[Dead[J]]:
    """Put back what a dead process held. The first of it may be what killed it."""
    member.process.join()
    member.pipe.close()
    held = list(member.held)
    if not held:
        tries[None] = tries.get(None, 0) + 1
        if tries[None] > 3:
            raise DataError(
                f"a process that explains ends before it begins ({_how(member.process.exitcode)}); with --workers 1 it says why"
            )
        return
    first, rest = held[0], held[1:]
    left.extendleft(reversed(rest))
    count = tries[first] = tries.get(first, 0) + 1
    if count < _TRIES:
        left.appendleft(first)
        return
    parts = crew.split(first)
    if len(parts) > 1:
        left.extendleft(reversed(list(parts)))
    else:
        yield Dead(
            first, f"the process that worked on it ended twice ({_how(member.process.exitcode)})"
        )


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}, often because memory ran out" if name == "SIGKILL" else name
    return f"exit code {code}"


def _end(member: _Member[J]) -> None:
    member.pipe.close()
    member.process.join(0.2)
    if member.process.is_alive():
        member.process.kill()
        member.process.join()


def _serve(pipe: Connection, make: Callable[[int], Work[Any, Any]], number: int) -> None:
    """The life of a process: jobs from the pipe, results into it, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides
    try:
        for result in make(number)(_jobs(pipe)):
            pipe.send(("result", result))
    except (EOFError, BrokenPipeError, ConnectionError):
        return  # nobody is there any more
    except Exception as err:
        pipe.send(("error", _portable(err)))
    # What is waited for now is that the other side takes the last result and closes.
    try:
        pipe.recv()
    except (EOFError, OSError):
        return


def _jobs(pipe: Connection) -> Iterator[Any]:
    while (sent := pipe.recv()) is not None:
        yield sent[0]


def _portable(err: Exception) -> Exception:
    """The exception with its traceback as a note; what does not pickle goes as its words."""
    import pickle
    import traceback

    err.add_note("".join(traceback.format_exception(err)))
    try:
        pickle.loads(pickle.dumps(err))
    except Exception:
        return RuntimeError(f"{type(err).__name__}: {err}\n{err.__notes__[-1]}")
    return err
