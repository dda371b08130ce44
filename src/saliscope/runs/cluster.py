"""Both stages on Ray Data: one network an actor, on any number of machines that see the same folder or address."""

from __future__ import annotations

import pickle
import sys
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from saliscope.errors import DataError
from saliscope.runs.connecting import cluster
from saliscope.runs.local import TRIES, Dead, Work, portable, unsendable
from saliscope.runs.settings import RunSettings

__all__ = ["run_on_ray"]

_TOGETHER = 8
"""Jobs an actor gets at a time, so that reading is ahead of the network; what it had finished of them is not done again."""

_BIRTH = "birth"

Make = Callable[[int], Work[Any, Any]]


def run_on_ray(
    make: Make,
    jobs: Sequence[Any],
    settings: RunSettings,
    *,
    there: Callable[[Any], bool],
    split: Callable[[Any], Sequence[Any]],
    gpu: bool,
) -> Generator[Any | Dead[Any], None, None]:
    """Do all jobs on a Ray cluster and yield their results, as they come.

    `make(0)` runs once in each actor and returns its `Work`; what that yields has to be small, for it comes back here.
    `there(job)` says whether the result of a job is written already: it is not yielded where the actor that wrote it died
    before it could say so. An actor that dies is replaced and what it had not written is done again; a job that kills its
    actor even alone is split, and one that cannot be split is yielded as `Dead`. An exception in an actor is raised here.
    Raises `DependencyError` without Ray, `OptionError` for a cluster that cannot be reached and for work that cannot be sent
    to it, `DataError` where actors end before they begin.
    """
    sent = _pickled(make), _pickled(there)
    with cluster(settings.address) as ray:
        size = settings.workers or _actors(ray, gpu=gpu)
        left = list(jobs)
        together = max(1, min(_TOGETHER, len(left) // (2 * size)))
        while left:
            dead: list[Dead[Any]] = []
            for found in _pass(ray, sent, left, size, gpu=gpu, together=together):
                if isinstance(found, Dead):
                    dead.append(found)
                else:
                    yield found
            left, together = [], 1
            for each in dead:
                parts = list(split(each.job))
                if len(parts) > 1:
                    left += parts
                else:
                    yield each


def _pickled(work: Any) -> bytes:
    try:
        return pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as err:
        raise unsendable(err) from err


def _pass(
    ray: Any,
    sent: tuple[bytes, bytes],
    jobs: Sequence[Any],
    size: int,
    *,
    gpu: bool,
    together: int,
) -> Iterator[Any]:
    """One go over some jobs; results as they come."""
    lists = [pickle.dumps(list(jobs[i : i + together])) for i in range(0, len(jobs), together)]
    threads = _threads(ray, size, gpu=gpu)
    # Of the two ways to say how often an actor may come back none is left in Ray 2.64: it always does, so it counts itself.
    tries = ray.remote(num_cpus=0)(_Tries).remote()
    with _quiet(ray):
        rows = ray.data.from_items([{"jobs": b} for b in lists], override_num_blocks=len(lists))
        found = rows.map_batches(
            _Actor,
            fn_constructor_args=(*sent, tries, size + TRIES, threads),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(size, len(lists))),
            num_gpus=1 if gpu else None,
            num_cpus=None if gpu else threads,
        )
    try:
        for batch in found.iter_batches(batch_size=1):
            for packed in batch["results"]:
                yield from _unpacked(packed)
    except ray.exceptions.RayError as err:
        raise DataError(
            f"the cluster cannot go on ({_first_line(err)}). Nothing that was done is lost: the same command continues"
        ) from err


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Data sets that are made in here draw no progress bars."""
    context = ray.data.DataContext.get_current()
    before = context.enable_progress_bars
    context.enable_progress_bars = False
    try:
        yield
    finally:
        context.enable_progress_bars = before


def _unpacked(packed: bytes) -> Iterator[Any]:
    for found in pickle.loads(packed):
        if isinstance(found, Exception):
            raise found
        yield found


def _first_line(err: Exception) -> str:
    return str(err).strip().partition("\n")[0]


class _Tries:
    """Counts how often something was begun, beside the actors, which may die of it."""

    def __init__(self) -> None:
        self.begun: Counter[Hashable] = Counter()

    def begin(self, what: Hashable) -> int:
        self.begun[what] += 1
        return self.begun[what]

    def succeed(self, what: Hashable) -> None:
        del self.begun[what]


class _Actor:
    """Lives in a process of the cluster; Ray starts it again where it dies, and gives it the list again that it had."""

    def __init__(self, make: bytes, there: bytes, tries: Any, most: int, threads: int) -> None:
        self.tries = tries
        self.there: Callable[[Any], bool]
        self.work: Work[Any, Any]
        try:
            self.there, self.work = pickle.loads(there), self._born(make, most)
        except Exception as err:
            # Raised here it would look like the death of this actor.
            self.there, self.work = _never, _failing(portable(err))
        torch = sys.modules.get("torch")  # the measure stage does without
        if torch is not None:
            torch.set_num_threads(threads)

    def _born(self, make: bytes, most: int) -> Work[Any, Any]:
        """The work; raises `DataError` where more than `most` actors in a row have died of making it: Ray would go on for ever."""
        if self._begin(_BIRTH) > most:
            raise DataError(
                "the processes of the cluster end before they begin, often because memory ran out; with fewer --workers each has "
                "more. Nothing that was done is lost: the same command continues"
            )
        made: Work[Any, Any] = pickle.loads(make)(0)
        self._succeed(_BIRTH)
        return made

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        found: list[Any] = []
        try:
            found.extend(self._results(pickle.loads(batch["jobs"][0])))
        except Exception as err:
            found.append(portable(err))
        return {"results": [pickle.dumps(found)]}

    def _results(self, jobs: list[Any]) -> Iterator[Any]:
        if len(jobs) > 1 and self._begin(tuple(jobs)) == 1:
            yield from self.work(iter(jobs))
            return
        for job in jobs:  # one of them may have killed an actor
            if self.there(job):
                continue
            if self._begin(job) > TRIES:
                yield Dead(job, "every process of the cluster that worked on it ended")
            else:
                yield from self.work(iter([job]))

    def _begin(self, what: Hashable) -> int:
        import ray

        count: int = ray.get(self.tries.begin.remote(what))
        return count

    def _succeed(self, what: Hashable) -> None:
        import ray

        ray.get(self.tries.succeed.remote(what))


def _never(_: Any) -> bool:
    return False


def _failing(err: Exception) -> Work[Any, Any]:
    def work(_: Iterator[Any]) -> Iterator[Any]:
        raise err

    return work


def _actors(ray: Any, *, gpu: bool) -> int:
    """As many as there are GPUs; without, one for each two cores, so that reading has some too."""
    own = ray.cluster_resources()
    return max(1, int(own.get("GPU", 0)) if gpu else int(own.get("CPU", 1)) // 2)


def _threads(ray: Any, size: int, *, gpu: bool) -> int:
    return 1 if gpu else max(1, int(ray.cluster_resources().get("CPU", 1)) // size)
