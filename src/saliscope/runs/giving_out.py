"""How work is given out: to this process, to several, or to a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from saliscope.runs.local import Crew, Dead, Work, run_in_processes
from saliscope.runs.place import open_place
from saliscope.runs.settings import RunSettings
from saliscope.runs.store import measured_name

__all__ = ["Done", "give_out", "is_there", "reached"]


@dataclass(frozen=True)
class Done:
    """How many samples a piece of work finished, how many failed, and why the last of these did."""

    done: int
    failed: int
    reason: str = ""


def reached(settings: RunSettings) -> AbstractContextManager[object]:
    """A context in which the cluster that the settings name is connected; raises what `cluster` does where it is not there."""
    if settings.engine != "ray":
        return nullcontext()
    from saliscope.runs.connecting import cluster

    return cluster(settings.address)


def give_out(
    settings: RunSettings,
    here: Work[Any, Done],
    make: Callable[[int], Work[Any, Done]],
    jobs: Sequence[Any],
    *,
    workers: int,
    there: Callable[[Any], bool],
    split: Callable[[Any], Sequence[Any]],
    gpu: bool,
) -> Iterator[Done | Dead[Any]]:
    """Do jobs where the settings say: `here` is the work in this process, `make` that of another one.

    `there(job)` says whether a job is written already, `split` takes one apart that ends its process.
    """
    if settings.engine == "ray":
        from saliscope.runs.cluster import run_on_ray

        return run_on_ray(make, jobs, settings, there=there, split=split, gpu=gpu)
    if workers == 1:
        return here(iter(jobs))
    return run_in_processes(Crew(make, workers, split), jobs)


def is_there(address: str, tables: Sequence[str], key: str, job: Any) -> bool:
    """Whether the parts of a job are written, in each of the tables; by the settings whose hash is `key`, if any."""
    name = job if isinstance(job, str) else job.name
    name = measured_name(name, key) if key else name
    place = open_place(address)
    return all(place.exists(f"{table}/{name}.parquet") for table in tables)
