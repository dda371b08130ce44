"""The stages of a run over all of its samples: begun, continued, counted, recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing

from saliscope.data import DataSet, Sample, read_samples
from saliscope.errors import DataError, OptionError
from saliscope.models import Model
from saliscope.runs.answering import ask_about, check_evidence, drop_damaged
from saliscope.runs.anywhere import from_anywhere
from saliscope.runs.clearing import clear
from saliscope.runs.explain_stage import explaining
from saliscope.runs.giving_out import Done, reached
from saliscope.runs.measurement import measure_parts
from saliscope.runs.measuring import check_wsol
from saliscope.runs.place import Place, open_place
from saliscope.runs.primary import TOP, check_primary
from saliscope.runs.record import RUN, Record, open_record
from saliscope.runs.selection import Unit, first_of, select, units_of
from saliscope.runs.settings import RunSettings
from saliscope.runs.store import Store
from saliscope.runs.subject import Subject, open_subject
from saliscope.runs.working import Outcome, Silent, Watch, Working, outcome_of

__all__ = ["evaluate"]

_HOPELESS = 32  # so many samples that failed, and none that did not, are no accident


def evaluate(
    settings: RunSettings,
    folder: str | os.PathLike[str],
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
    measure_parts(settings, subject.data, store, record, told, named=named[1], own=own)
    drop_damaged(settings, store, record, told, own)
    ask_about(subject, store, record, told, named=named, own=own)
    return outcome_of(store, added)


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


def _write_errors(store: Store) -> None:
    """errors.jsonl: the samples that failed, one a line; the tables hold the same."""
    rows = store.failures()
    lines = [json.dumps(row, ensure_ascii=False) for row in rows.to_dicts()]
    store.place.write("errors.jsonl", "".join(f"{line}\n" for line in lines).encode())
