"""Both stages on Ray Data: one network an actor, on any number of machines that see the same folder or address."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from saliscope.errors import DependencyError, OptionError
from saliscope.runs.local import Dead, Work
from saliscope.runs.settings import RunSettings

__all__ = ["run_on_ray"]

_TOGETHER = 8
"""Jobs an actor gets at a time, so that reading is ahead of the network; what it had finished of them is not done again."""

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
    `there(job)` says whether the result of a job is written already. An actor that dies is replaced and what it had not
    written is done again; a job that kills its actor even alone is split, and one that cannot be split is yielded as `Dead`.
    Raises `DependencyError` without Ray and `OptionError` for a cluster that cannot be reached.
    """
    with _cluster(settings) as ray:
        died = ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError
        left = list(jobs)
        try:
            yield from _pass(ray, make, left, settings, there=there, gpu=gpu, together=_TOGETHER)
            return
        except died:
            left = [job for job in left if not there(job)]
        while left:  # rare: one by one, until it is known which job it was
            job = left.pop(0)
            try:
                yield from _pass(ray, make, [job], settings, there=there, gpu=gpu, together=1)
            except died as err:
                parts = list(split(job))
                if len(parts) > 1:
                    left = [*parts, *left]
                else:
                    yield Dead(job, f"every actor that worked on it died ({type(err).__name__})")


def _pass(
    ray: Any,
    make: Make,
    jobs: Sequence[Any],
    settings: RunSettings,
    *,
    there: Callable[[Any], bool],
    gpu: bool,
    together: int,
) -> Iterator[Any]:
    """One go over some jobs; results as they come."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.actor_task_retry_on_errors = False
    size = settings.workers or _actors(ray, gpu=gpu)
    blocks = [pickle.dumps(list(jobs[i : i + together])) for i in range(0, len(jobs), together)]
    rows = ray.data.from_items([{"jobs": b} for b in blocks], override_num_blocks=len(blocks))
    found = rows.map_batches(
        _Actor,
        fn_constructor_args=(pickle.dumps(make), pickle.dumps(there), _threads(ray, size, gpu=gpu)),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(size, len(blocks))),
        num_gpus=1 if gpu else None,
        num_cpus=None if gpu else _threads(ray, size, gpu=gpu),
        ray_remote_args_fn=_restarting,
    )
    try:
        for batch in found.iter_batches(batch_size=1):
            for packed in batch["results"]:
                yield from pickle.loads(packed)
    except ray.exceptions.RayTaskError as err:
        if isinstance(err.cause, Exception):
            raise err.cause from None
        raise


def _restarting() -> dict[str, int]:
    """An actor that dies comes back; a job that kills it twice is no accident."""
    return {"max_restarts": -1, "max_task_retries": 2}


class _Actor:
    """Lives in a process of the cluster."""

    def __init__(self, make: bytes, there: bytes, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.work: Work[Any, Any] = pickle.loads(make)(0)
        self.there: Callable[[Any], bool] = pickle.loads(there)

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, list[bytes]]]:
        for packed in batch["jobs"]:
            jobs = [job for job in pickle.loads(packed) if not self.there(job)]
            for result in self.work(iter(jobs)):
                yield {"results": [pickle.dumps([result])]}


def _actors(ray: Any, *, gpu: bool) -> int:
    """As many as there are GPUs; without, one for each two cores, so that reading has some too."""
    own = ray.cluster_resources()
    return max(1, int(own.get("GPU", 0)) if gpu else int(own.get("CPU", 1)) // 2)


def _threads(ray: Any, size: int, *, gpu: bool) -> int:
    return 1 if gpu else max(1, int(ray.cluster_resources().get("CPU", 1)) // size)


@contextmanager
def _cluster(settings: RunSettings) -> Iterator[Any]:
    """Ray, connected; what was started here is stopped again."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what it means is said here
    try:
        import ray
        import ray.data
    except ImportError:
        raise DependencyError(
            '--engine ray needs Ray: pip install "saliscope[cluster]"; --engine local --workers N needs nothing'
        ) from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(
                address=settings.address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace="saliscope",
            )
        except (ConnectionError, ValueError, RuntimeError) as err:
            raise OptionError(
                f"no Ray cluster answers at {settings.address or 'this machine'} ({err}); start one with `ray start --head`, or "
                "leave out --address"
            ) from None
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()
