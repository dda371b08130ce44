"""How each stage's work is given out: to this process, to several, or to a cluster."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

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
from saliscope.runs.store import Store
from saliscope.runs.stream import cores
from saliscope.runs.subject import Subject, open_splits, open_subject

__all__ = ["Done", "explaining", "measuring"]


@dataclass(frozen=True)
class Done:
    """How many samples a piece of work finished, how many failed, and why the last of these did."""

    done: int
    failed: int
    reason: str = ""


def explaining(
    subject: Subject, store: Store, units: Sequence[Unit], *, workers: int, named: bool
) -> Generator[Done, None, None]:
    """Explain units and write their parts; `named`: network and data can be opened by their names elsewhere."""
    if subject.settings.engine == "ray":
        from saliscope.runs.cluster import explain_on_ray

        yield from explain_on_ray(subject, store, units, workers=workers, named=named)
        return
    if workers == 1:
        for part in explain_units(subject, iter(units), keep=partial(_keep, store)):
            yield _done(part)
        return
    settings, model, data = subject.settings, subject.model, subject.data
    make = partial(_explainer, settings, None if named else model, None if named else data, workers)
    crew: Crew[Unit, Part] = Crew(make, workers, lambda unit: split_unit(unit, data[unit.split]))
    for found in run_in_processes(crew, units):
        part = _lost(subject, found) if isinstance(found, Dead) else found
        _keep(store, part)
        yield _done(part)


def _keep(store: Store, part: Part) -> None:
    store.write("maps", part.unit.name, part.data)


def _done(part: Part) -> Done:
    return Done(part.done, len(part.failed), part.failed[-1].message if part.failed else "")


def _lost(subject: Subject, dead: Dead[Unit]) -> Part:
    return lost_part(subject.data[dead.job.split], dead.job, dead.reason)


def _explainer(
    settings: RunSettings,
    model: Model | None,
    data: Mapping[str, DataSet] | None,
    workers: int,
    number: int,
) -> Work[Unit, Part]:
    """What a process of several does: its own copy of the network, its share of the cores, the next GPU."""
    torch.set_num_threads(max(1, cores() // workers))
    if settings.device is None and torch.cuda.device_count() > 1:
        settings = settings.model_copy(
            update={"device": f"cuda:{number % torch.cuda.device_count()}"}
        )
    return partial(explain_units, open_subject(settings, model, data))


def measuring(
    settings: RunSettings,
    data: Mapping[str, DataSet],
    store: Store,
    names: Sequence[str],
    key: str,
    *,
    workers: int,
    named: bool,
) -> Generator[Done, None, None]:
    """Measure parts of maps and write their scores under the hash `key` of the settings."""
    if settings.engine == "ray":
        from saliscope.runs.cluster import measure_on_ray

        yield from measure_on_ray(settings, data, store, names, key, workers=workers, named=named)
        return
    make = partial(_measurer, settings, None if named else data, store.place.address)
    if workers == 1:
        work = _measures(settings, data, store)
        results: Iterator[tuple[str, int, dict[str, bytes]] | Dead[str]] = work(iter(names))
    else:
        results = run_in_processes(Crew(make, workers), names)
    for found in results:
        if isinstance(found, Dead):
            raise DataError(
                f"the maps {found.job} cannot be measured: {found.reason}; with --workers 1 less memory is needed"
            )
        name, images, tables = found
        store.write_measured(name, key, tables)
        yield Done(images, 0)


def _measurer(
    settings: RunSettings, data: Mapping[str, DataSet] | None, address: str, number: int
) -> Work[str, tuple[str, int, dict[str, bytes]]]:
    del number
    torch.set_num_threads(1)
    parts = open_splits(settings) if data is None else data
    return _measures(settings, parts, Store(open_place(address)))


def _measures(
    settings: RunSettings, data: Mapping[str, DataSet], store: Store
) -> Work[str, tuple[str, int, dict[str, bytes]]]:
    import cv2

    measures = measures_of(settings)

    def work(names: Iterator[str]) -> Iterator[tuple[str, int, dict[str, bytes]]]:
        cv2.setNumThreads(1)
        for name in names:
            maps = store.read("maps", name)
            tables = measure_part(maps, data, measures, trivial=settings.trivial)
            yield name, maps["index"].n_unique(), tables

    return work
