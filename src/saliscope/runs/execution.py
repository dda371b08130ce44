"""The stages of a run over all of its samples: begun, continued, counted, recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from saliscope.data import DataSet, Sample, read_samples
from saliscope.errors import DataError, OptionError
from saliscope.models import Model
from saliscope.provenance import now
from saliscope.runs.answering import (
    ask_about,
    asks_more,
    check_evidence,
    drop_damaged,
    same_subject,
)
from saliscope.runs.anywhere import from_anywhere, moved
from saliscope.runs.clearing import clear
from saliscope.runs.explain_stage import explaining
from saliscope.runs.giving_out import Done, reached
from saliscope.runs.measure_stage import measuring
from saliscope.runs.measuring import check_wsol
from saliscope.runs.place import Place, open_place
from saliscope.runs.primary import TOP, check_primary
from saliscope.runs.record import RUN, Record, hash_of, open_record, read_record
from saliscope.runs.selection import Unit, first_of, select, units_of
from saliscope.runs.settings import RunSettings
from saliscope.runs.splits import check_splits, open_splits
from saliscope.runs.store import Store
from saliscope.runs.stream import cores
from saliscope.runs.subject import Subject, open_subject
from saliscope.runs.working import Silent, Watch, Working

__all__ = ["Outcome", "Watch", "evaluate", "measure"]

Folder = str | os.PathLike[str]
_ROWS = 2  # grows when the scores of given settings become others, so that those of older versions are told apart
_WORTH_A_PROCESS = 60  # images; fewer are measured before another process has begun
_HOPELESS = 32  # so many samples that failed, and none that did not, are no accident


@dataclass(frozen=True)
class Outcome:
    """What a run holds after a call: images explained and failed in all, and how many of each this call added."""

    address: str
    done: int
    failed: int
    new_done: int
    new_failed: int


def evaluate(
    settings: RunSettings,
    folder: Folder,
    *,
    model: Model | None = None,
    data: Mapping[str, DataSet] | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    watch: Watch | None = None,
) -> Outcome:
    """Explain and measure a data set into a folder; the same call continues what was stopped in whatever way.

    `model` and `data` (by split) take the place of what `settings` names. Samples that fail are rows with their reason;
    `retry_failed` does those again. Raises `OptionError`, naming the differing fields, where the folder holds another run and
    `overwrite` is not given, and, naming the nearest, for a primary score that is not measured and a reference that is none
    of the methods; `DataError` where the folder cannot be written, e.g. because the disk is full: nothing that
    was done is lost.
    """
    place, told = open_place(folder), watch or Silent()
    if overwrite and settings.shard is not None:
        raise OptionError(
            f"--overwrite would also remove what the other shards have done: empty {place.address} first, or name another folder"
        )
    check_primary(settings)
    settings = from_anywhere(settings, model=model is None, data=data is None)
    with reached(settings):
        subject = open_subject(settings, model, data)
        _check(subject)
        named = model is None, data is None
        if not overwrite and not place.exists(RUN):  # where it is refused, no lock is left in it
            open_record(place, subject.settings, subject.resolved)
        with place.alone(f"shard-{settings.slot[0] + 1}"):
            if overwrite:
                clear(place)
            return _every_stage(subject, place, told, retry=retry_failed, named=named)


def _check(subject: Subject) -> None:
    """What only the network and the data can tell is wrong with the settings."""
    settings = subject.settings
    if all(spec.method.reads == "inputs" for spec in subject.specs):
        raise OptionError(
            f"{', '.join(settings.methods)} know no network, and are added to every run anyway: name a method to compare with them, "
            "e.g. --method grad-cam"
        )
    check_wsol(settings, subject.resolved)
    check_evidence(subject)
    check_primary(settings, several=settings.primary.startswith(TOP) and _several(subject))


def _every_stage(
    subject: Subject, place: Place, told: Watch, *, retry: bool, named: tuple[bool, bool]
) -> Outcome:
    settings = subject.settings
    record = open_record(place, settings, subject.resolved)
    record.available = {split: len(part) for split, part in subject.data.items()}
    record.selected = {s: len(select(p, settings.limit)) for s, p in subject.data.items()}
    record.save(place)
    store = Store(place)
    added = _explain(subject, store, record, told, retry=retry, named=named)
    own = _own_parts(subject, store) if settings.shard is not None else ()
    _measure(settings, subject.data, store, record, told, named=named[1], own=own)
    drop_damaged(settings, store, record, told, own)
    ask_about(subject, store, record, told, named=named, own=own)
    return _outcome(store, added)


def measure(
    folder: Folder,
    *,
    model: Model | None = None,
    data: Mapping[str, DataSet] | None = None,
    watch: Watch | None = None,
    **settings: Any,
) -> Outcome:
    """Score the stored maps of a run again, without its network, by other `settings` (protocols, thresholds, ...).

    With `ask` the network is asked about them, which loads it again, or takes `model`; what it was asked before is not asked again.
    Scores by other settings are removed once the new ones are complete. The annotations are read again, from `root` where
    the data lies elsewhere now. Errors as in `evaluate`; `OptionError` where the network or the data is not the one of the maps.
    """
    place, told = open_place(folder), watch or Silent()
    record = read_record(place)
    own = moved(record.settings(**settings))
    check_wsol(own, record.resolved)
    _warn_of_primary(own, told)
    with place.alone("shard-1"):
        store = Store(place)
        parts = dict(data) if data is not None else _opened(own)
        check_splits(own, parts)
        _measure(own, parts, store, record, told, named=data is None)
        drop_damaged(own, store, record, told)
        if asks_more(own, store, record):
            subject = same_subject(own, record, model, parts)
            check_evidence(subject)
            ask_about(subject, store, record, told, named=(model is None, data is None))
        return _outcome(store, Done(0, 0))


def _opened(settings: RunSettings) -> dict[str, DataSet]:
    try:
        return dict(open_splits(settings))
    except DataError as err:
        raise DataError(
            f"{err}; where the data lies elsewhere now, give its folder with --root"
        ) from err


def _warn_of_primary(settings: RunSettings, told: Watch) -> None:
    try:
        check_primary(settings)
    except OptionError as err:
        told.say(f"{err}; the report needs --primary then")


def _several(subject: Subject) -> bool:
    """Whether an image of the reported split has several classes that are explained."""
    part = subject.data[subject.settings.split]
    chosen = select(part, subject.settings.limit)
    unlabelled = [place for place in chosen if part.labels[place] is None]
    found = (sample for _, sample in read_samples(part, unlabelled) if isinstance(sample, Sample))
    explained = subject.settings.target != "predicted"
    return explained and any(len(subject.classes.of_sample(sample)) > 1 for sample in found)


def _explain(
    subject: Subject, store: Store, record: Record, told: Watch, *, retry: bool,
    named: tuple[bool, bool],
) -> Done:  # fmt: skip
    progress, settings = store.progress(), subject.settings
    units: list[Unit] = []
    total = 0
    for split, part in subject.data.items():
        size, slot = subject.batch_size, settings.slot
        chosen = select(part, settings.limit)
        every = units_of(part, split, chosen, (), batch_size=size, slot=slot)
        closed = progress.closed(split, retry=retry)
        units += units_of(part, split, chosen, closed, batch_size=size, slot=slot)
        total += sum(len(unit.positions) for unit in every)
    left = sum(len(unit.positions) for unit in units)
    if left:
        record.ended = None
        store.forget([unit.name for unit in units])
        if retry:
            store.forget_failures(_ids(subject, units))
    told.begin("explain", total, total - left)
    added = Done(0, 0)
    if units:
        workers = settings.workers or 1
        tell = getattr(told, "asking", None)
        work = explaining(subject, store, units, workers=workers, named=named, tell=tell)
        with (
            Working(record, store, "explain", settings, workers) as session,
            closing(work) as done,
        ):
            for each in done:
                added = session.add(each, told)
                if _is_hopeless(added):
                    break
            else:
                if added.done + added.failed < left:
                    added = session.settle(_found(store, _ids(subject, units)), told)
        _write_errors(store)
        if _is_hopeless(added):
            raise DataError(
                f"the first {added.failed} samples all failed, the last because: {each.reason}. When that is mended, the same "
                "command with --retry-failed does them again"
            )
    return added


def _ids(subject: Subject, units: Sequence[Unit]) -> dict[str, set[str]]:
    """The ids of the samples of some units, by split."""
    found: dict[str, set[str]] = {}
    for unit in units:
        ids = subject.data[unit.split].ids
        found.setdefault(unit.split, set()).update(ids[place] for place in unit.positions)
    return found


def _found(store: Store, ids: Mapping[str, set[str]]) -> Done:
    """How many of some samples are explained, and how many failed: what a process did not live to tell is written."""
    progress = store.progress()
    done = sum(len(own & progress.done.get(split, frozenset())) for split, own in ids.items())
    failed = sum(len(own & progress.failed.get(split, frozenset())) for split, own in ids.items())
    return Done(done, failed)


def _own_parts(subject: Subject, store: Store) -> set[str]:
    """The parts of maps whose samples are those of this shard."""
    mine = {
        (split, place)
        for split, part in subject.data.items()
        for unit in units_of(
            part,
            split,
            select(part, subject.settings.limit),
            (),
            batch_size=subject.batch_size,
            slot=subject.settings.slot,
        )
        for place in unit.positions
    }
    return {name for name in store.parts("maps") if first_of(name) in mine}


def _is_hopeless(added: Done) -> bool:
    return added.done == 0 and added.failed >= _HOPELESS


def _measure(
    settings: RunSettings,
    data: Mapping[str, DataSet],
    store: Store,
    record: Record,
    told: Watch,
    *,
    named: bool,
    own: Collection[str] = (),
) -> None:
    key = hash_of(settings.measuring() | {"trivial": settings.trivial, "rows": _ROWS})
    mine = store.unmeasured(key)
    if settings.shard is not None:
        mine = [name for name in mine if name in own]
    images = store.images_in(mine)
    told.begin("measure", images, 0)
    if mine:
        # Data in memory would be copied to each process, where it can be at all: several only if they are asked for.
        workers = settings.workers or min(cores() if named else 1, 1 + images // _WORTH_A_PROCESS)
        work = measuring(settings, data, store, mine, key, workers=workers, named=named)
        with (
            Working(record, store, "measure", settings, workers) as session,
            closing(work) as done,
        ):
            for each in done:
                session.add(each, told)
            session.settle(Done(images, 0), told)
    if not store.unmeasured(key):
        if mine or record.measured != key or record.ended is None:
            record.measure, record.measured = settings.measuring(), key
            record.ended = now()
            record.save(store.place)
        store.forget_other_scores(key)
    elif not record.measured:
        record.measure, record.measured = settings.measuring(), key
        record.save(store.place)


def _write_errors(store: Store) -> None:
    """errors.jsonl: the samples that failed, one a line; the tables hold the same."""
    rows = store.failures()
    lines = [json.dumps(row, ensure_ascii=False) for row in rows.to_dicts()]
    store.place.write("errors.jsonl", "".join(f"{line}\n" for line in lines).encode())


def _outcome(store: Store, added: Done) -> Outcome:
    progress = store.progress()
    done = sum(map(len, progress.done.values()))
    failed = sum(map(len, progress.failed.values()))
    return Outcome(store.place.address, done, failed, added.done, added.failed)
