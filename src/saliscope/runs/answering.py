"""Asking about all parts of a run: begun, continued, recorded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import closing

import polars as pl

from saliscope.data import DataSet, Sample, read_samples
from saliscope.errors import OptionError
from saliscope.metrics import INQUIRIES
from saliscope.models import Model
from saliscope.runs.ask_stage import asking
from saliscope.runs.forgetting import sanity_maps, sanity_rows, sanity_samples, sanity_stages
from saliscope.runs.giving_out import Done
from saliscope.runs.questions import asks_sanity, questions_of, sanity_key
from saliscope.runs.record import Record
from saliscope.runs.settings import RunSettings
from saliscope.runs.store import SANITY_TABLE, Store, measured_name
from saliscope.runs.subject import Subject, open_subject
from saliscope.runs.tables import to_bytes
from saliscope.runs.working import Watch, Working
from saliscope.settings import differences, plain

_OF_SANITY = ("id", "index", "split", "status", "target", "rank", "is_truth")

__all__ = ["ask_about", "asks_more", "check_evidence", "same_subject"]


def asks_more(settings: RunSettings, store: Store) -> bool:
    """Whether something is asked that has no answer yet."""
    return bool(settings.ask) and bool(
        store.unasked([question.key for question in questions_of(settings)])
        or asks_sanity(settings)
    )


def same_subject(
    settings: RunSettings, record: Record, model: Model | None, data: Mapping[str, DataSet]
) -> Subject:
    """The subject that the maps of a run are of; raises `OptionError`, naming what differs, where it is another."""
    subject = open_subject(settings, model, data)
    changed = differences(record.resolved, plain(subject.resolved))
    if changed:
        raise OptionError(
            f"what would be asked is not what made the maps: {'; '.join(changed)}. Give the network and the data of the run, or "
            "evaluate into another folder"
        )
    return subject


def check_evidence(subject: Subject) -> None:
    """Raise `OptionError` where twins are asked for by name and the data knows none."""
    own = {m for row in INQUIRIES.values() if row.family == "evidence" for m in row.metrics}
    wanted = [word for word in subject.settings.ask if word == "evidence" or word in own]
    if not wanted:
        return
    part = subject.data[subject.settings.split]
    found = (sample for _, sample in read_samples(part, range(min(8, len(part)))))
    if not any(isinstance(sample, Sample) and "twin" in sample.details for sample in found):
        raise OptionError(
            f"{wanted[0]} compares a class with its twin, and {part.name} knows no twins; leave it out, or use data that does: "
            "critters"
        )


def ask_about(
    subject: Subject, store: Store, record: Record, told: Watch, *, named: tuple[bool, bool],
    own: Collection[str] = (),
) -> None:  # fmt: skip
    """Ask what the settings say about all parts of maps, those of `own` alone in a shard; what has answers is left alone."""
    settings = subject.settings
    keys = [question.key for question in questions_of(settings)]
    mine = store.unasked(keys) if keys else []
    if settings.shard is not None:
        mine = [name for name in mine if name in own]
    if mine:
        _ask_parts(subject, store, record, told, mine, named=named)
    if asks_sanity(settings) and settings.slot[0] == 0:
        keys.append(sanity_key(settings))
        _randomise(subject, store, record, told)
    if keys and not set(keys) <= set(record.asked):
        record.take_answers(keys, settings.asking())
        record.save(store.place)
    if keys and not store.unasked([question.key for question in questions_of(settings)]):
        store.forget_other_answers(record.asked)


def _ask_parts(
    subject: Subject, store: Store, record: Record, told: Watch, names: list[str],
    *, named: tuple[bool, bool],
) -> None:  # fmt: skip
    settings = subject.settings
    images = store.images_in(names)
    told.begin("ask", images, 0)
    workers = settings.workers or 1
    tell = getattr(told, "asking", None)
    work = asking(subject, store, names, workers=workers, named=named, tell=tell)
    with Working(record, store, "ask", settings, workers) as session, closing(work) as done:
        for each in done:
            session.add(each, told)
        session.settle(Done(images, 0), told)


def _randomise(subject: Subject, store: Store, record: Record, told: Watch) -> None:
    """Follow the maps of each method while the network forgets; a method that is written is done."""
    settings, key = subject.settings, sanity_key(subject.settings)
    parts = {
        name: measured_name(f"part-{place:03d}", key) for place, name in enumerate(subject.names)
    }
    left = [name for name in subject.names if not store.holds(SANITY_TABLE, parts[name])]
    if not left:
        return
    maps = store.table("maps", columns=_OF_SANITY).filter(pl.col("split") == settings.split)
    samples = sanity_samples(maps, settings.sanity_images)
    told.begin("randomise", len(samples) * len(parts), len(samples) * (len(parts) - len(left)))
    specs = dict(zip(subject.names, subject.specs, strict=True))
    stages = sanity_stages(subject.model)
    with Working(record, store, "randomise", settings, 1) as session:
        for name in left:
            tell = _telling(told, name, sanity_maps(len(samples), len(stages)))
            rows = sanity_rows(subject, name, specs[name], samples, stages=stages, tell=tell)
            store.write(SANITY_TABLE, parts[name], to_bytes(rows))
            session.add(Done(len(samples), 0), told)


def _telling(told: Watch, name: str, total: int) -> Callable[[int], object]:
    """Says how many of a method's maps are made, where someone wants to know."""
    asking = getattr(told, "asking", None)
    made = 0

    def tell(more: int) -> None:
        nonlocal made
        made += more
        if asking is not None:
            asking(name, made, total)

    return tell
