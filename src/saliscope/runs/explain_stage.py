"""The explain stage, given out: each process has its own copy of the network."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial

import torch

from saliscope.data import DataSet
from saliscope.engine import Tell
from saliscope.models import Model
from saliscope.runs.explaining import Part, explain_units, lost_part
from saliscope.runs.giving_out import Done, give_out, is_there
from saliscope.runs.local import Dead, Work, cores
from saliscope.runs.place import open_place
from saliscope.runs.selection import Unit, split_unit
from saliscope.runs.settings import RunSettings
from saliscope.runs.store import Store
from saliscope.runs.subject import Subject, open_subject

__all__ = ["explaining", "own_share"]


def explaining(
    subject: Subject, store: Store, units: Sequence[Unit], *, workers: int | None,
    named: tuple[bool, bool], tell: Tell | None = None,
) -> Generator[Done, None, None]:  # fmt: skip
    """Explain units and write their parts; `named`: whether network and data can be opened by their names elsewhere.

    `tell` is told how far methods are that ask the network again, where this process does the work itself.
    """
    settings, address = subject.settings, store.place.address
    model = None if named[0] else subject.model
    data = None if named[1] else subject.data
    found = give_out(
        settings,
        _explains(subject, store, tell),
        partial(_explainer, settings, model, data, address, workers or 1),
        units,
        workers=workers or 1,
        there=partial(is_there, address, ("maps",), ""),
        split=lambda unit: split_unit(unit, subject.data[unit.split]),
        gpu=subject.model.device.type == "cuda",
    )
    for each in found:
        if isinstance(each, Dead):
            part = lost_part(subject.data[each.job.split], each.job, each.reason)
            yield _kept(store, part)
        else:
            yield each


def _explains(subject: Subject, store: Store, tell: Tell | None = None) -> Work[Unit, Done]:
    def work(units: Iterator[Unit]) -> Iterator[Done]:
        parts = explain_units(subject, units, keep=partial(_kept, store), tell=tell)
        return (_done(part) for part in parts)

    return work


def _explainer(
    settings: RunSettings, model: Model | None, data: Mapping[str, DataSet] | None,
    address: str, workers: int, number: int,
) -> Work[Unit, Done]:  # fmt: skip
    """What a process of several does: its own copy of the network."""
    own = own_share(settings, workers, number)
    return _explains(open_subject(own, model, data), Store(open_place(address)))


def own_share(settings: RunSettings, workers: int, number: int) -> RunSettings:
    """Give this process, one of several, its share of the cores, and the next GPU."""
    if settings.engine == "local":  # a cluster deals out cores and GPUs itself
        torch.set_num_threads(max(1, cores() // workers))
        if settings.device is None and torch.cuda.device_count() > 1:
            device = f"cuda:{number % torch.cuda.device_count()}"
            return settings.model_copy(update={"device": device})
    return settings


def _kept(store: Store, part: Part) -> Done:
    store.write("maps", part.unit.name, part.data)
    return _done(part)


def _done(part: Part) -> Done:
    return Done(part.done, len(part.failed), part.failed[-1].message if part.failed else "")
