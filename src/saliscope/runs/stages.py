"""How each stage's work is given out: to this process, to several, or to a cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from saliscope.data import DataSet
from saliscope.errors import DataError
from saliscope.models import Model
from saliscope.runs.explaining import Part, explain_units, lost_part
from saliscope.runs.local import Crew, Dead, Work, run_in_processes
from saliscope.runs.measuring import measure_part, measures_of
from saliscope.runs.place import open_place
from saliscope.runs.selection import Unit, split_unit
from saliscope.runs.settings import RunSettings
from saliscope.runs.store import MEASURED, Store, measured_name
from saliscope.runs.stream import cores
from saliscope.runs.subject import Subject, open_splits, open_subject

__all__ = ["Done", "explaining", "measuring"]

Data = Mapping[str, DataSet]


@dataclass(frozen=True)
class Done:
    """How many samples a piece of work finished, how many failed, and why the last of these did."""

    done: int
    failed: int
    reason: str = ""


def explaining(
    subject: Subject, store: Store, units: Sequence[Unit], *, workers: int | None,
    named: tuple[bool, bool],
) -> Generator[Done, None, None]:  # fmt: skip
    """Explain units and write their parts; `named`: whether network and data can be opened by their names elsewhere."""
    settings, address = subject.settings, store.place.address
    model = None if named[0] else subject.model
    data = None if named[1] else subject.data
    found = _give_out(
        settings,
        _explains(subject, store),
        partial(_explainer, settings, model, data, address, workers or 1),
        units,
        workers=workers or 1,
        there=partial(_is_there, address, ("maps",), ""),
        split=lambda unit: split_unit(unit, subject.data[unit.split]),
        gpu=subject.model.device.type == "cuda",
    )
    for each in found:
        if isinstance(each, Dead):
            part = lost_part(subject.data[each.job.split], each.job, each.reason)
            yield _kept(store, part)
        else:
            yield each


def measuring(
    settings: RunSettings, data: Data, store: Store, names: Sequence[str], key: str,
    *, workers: int, named: bool,
) -> Generator[Done, None, None]:  # fmt: skip
    """Measure parts of maps and write their scores under the hash `key` of the settings."""
    address = store.place.address
    found = _give_out(
        settings,
        _measures(settings, data, store, key),
        partial(_measurer, settings, None if named else data, address, key),
        names,
        workers=workers,
        there=partial(_is_there, address, MEASURED, key),
        split=lambda name: [name],
        gpu=False,
    )
    for each in found:
        if isinstance(each, Dead):
            raise DataError(
                f"the maps {each.job} cannot be measured: {each.reason}; with --workers 1 less memory is needed"
            )
        yield each


def _give_out(
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
    if settings.engine == "ray":
        from saliscope.runs.cluster import run_on_ray

        return run_on_ray(make, jobs, settings, there=there, split=split, gpu=gpu)
    if workers == 1:
        return here(iter(jobs))
    return run_in_processes(Crew(make, workers, split), jobs)


def _explains(subject: Subject, store: Store) -> Work[Unit, Done]:
    def work(units: Iterator[Unit]) -> Iterator[Done]:
        parts = explain_units(subject, units, keep=partial(_kept, store))
        return (_done(part) for part in parts)

    return work


def _explainer(
    settings: RunSettings, model: Model | None, data: Data | None,
    address: str, workers: int, number: int,
) -> Work[Unit, Done]:  # fmt: skip
    """What a process of several does: its own copy of the network, its share of the cores, the next GPU."""
    if settings.engine == "local":  # a cluster deals out cores and GPUs itself
        torch.set_num_threads(max(1, cores() // workers))
        if settings.device is None and torch.cuda.device_count() > 1:
            device = f"cuda:{number % torch.cuda.device_count()}"
            settings = settings.model_copy(update={"device": device})
    return _explains(open_subject(settings, model, data), Store(open_place(address)))


def _kept(store: Store, part: Part) -> Done:
    store.write("maps", part.unit.name, part.data)
    return _done(part)


def _done(part: Part) -> Done:
    return Done(part.done, len(part.failed), part.failed[-1].message if part.failed else "")


def _is_there(address: str, tables: Sequence[str], key: str, job: Unit | str) -> bool:
    name = job if isinstance(job, str) else job.name
    name = measured_name(name, key) if key else name
    place = open_place(address)
    return all(place.exists(f"{table}/{name}.parquet") for table in tables)


def _measures(settings: RunSettings, data: Data, store: Store, key: str) -> Work[str, Done]:
    import cv2

    measures = measures_of(settings)

    def work(names: Iterator[str]) -> Iterator[Done]:
        cv2.setNumThreads(1)
        for name in names:
            maps = store.read("maps", name)
            tables = measure_part(maps, data, measures, trivial=settings.trivial)
            store.write_measured(name, key, tables)
            yield Done(maps["index"].n_unique(), 0)

    return work


def _measurer(
    settings: RunSettings, data: Data | None, address: str, key: str, number: int
) -> Work[str, Done]:
    del number  # every process does the same
    torch.set_num_threads(1)
    parts = open_splits(settings) if data is None else data
    return _measures(settings, parts, Store(open_place(address)), key)
