"""Asking about all parts of a run: begun, continued, recorded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import polars as pl

from saliscope.data import DataSet, Sample, read_samples
from saliscope.errors import OptionError
from saliscope.metrics import INQUIRIES
from saliscope.models import Model
from saliscope.runs.ask_stage import asking
from saliscope.runs.forgetting import (
    SanitySample,
    sanity_maps,
    sanity_rows,
    sanity_samples,
    sanity_stages,
)
from saliscope.runs.giving_out import Done
from saliscope.runs.questions import (
    Asked,
    asks_sanity,
    questions_of,
    replaced_by,
    sanity_facts,
    sanity_key,
)
from saliscope.runs.record import Record
from saliscope.runs.settings import RunSettings
from saliscope.runs.store import ASKED, SANITY_TABLE, Store, measured_name
from saliscope.runs.subject import Subject, open_subject
from saliscope.runs.tables import to_bytes
from saliscope.runs.working import Watch, Working
from saliscope.settings import differences, plain

_OF_SANITY = ("id", "index", "split", "status", "target", "rank", "is_truth")

__all__ = ["ask_about", "ask_again", "check_evidence", "drop_damaged"]


def drop_damaged(
    settings: RunSettings, store: Store, record: Record, told: Watch, own: Collection[str] = ()
) -> None:
    """Remove the parts of what is asked that were damaged since, so that they are asked anew; those of `own` in a shard."""
    keys = [question.key for question in questions_of(settings, record.asked)]
    maps = store.parts("maps") if settings.shard is None else own
    names = frozenset(measured_name(name, key) for name in maps for key in keys)
    wanted = {table: names for table in ASKED if keys}
    # Of shards the one that explains the last image does the sanity checks.
    if asks_sanity(settings) and (settings.shard is None or _is_explained(store, record)):
        wanted[SANITY_TABLE] = frozenset(store.parts(SANITY_TABLE))
    found = [
        f"{table}/{name}.parquet"
        for table, own_names in wanted.items()
        for name in store.damaged(table, own_names)
    ]
    if found:
        store.place.remove(found)
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        told.say(
            f"{store.place.address}/{found[0]} is damaged{more}: what was asked there is asked anew"
        )


def ask_again(
    settings: RunSettings, model: Model | None, data: Mapping[str, DataSet], store: Store,
    record: Record, told: Watch, *, named: tuple[bool, bool],
) -> None:  # fmt: skip
    """Ask about stored maps what has no answer yet, or a damaged one; the network is loaded only if there is something, unless given.

    Raises `OptionError`, naming what differs, where the network or the data is not the one of the maps.
    """
    drop_damaged(settings, store, record, told)
    if _asks_more(settings, store, record):
        subject = _same_subject(settings, record, model, data)
        check_evidence(subject)
        ask_about(subject, store, record, told, named=named)


def _asks_more(settings: RunSettings, store: Store, record: Record) -> bool:
    """Whether something is asked that has no answer yet."""
    asked = questions_of(settings, record.asked)
    if asked and store.unasked([question.key for question in asked]):
        return True
    return asks_sanity(settings) and bool(_sanity(settings, store, record).left)


def _same_subject(
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
    asked = questions_of(settings, record.asked)
    mine = store.unasked([question.key for question in asked]) if asked else []
    if settings.shard is not None:
        mine = [name for name in mine if name in own]
    if mine:
        _tell_of_replaced(asked, record, told)
        _ask_parts(subject, store, record, told, mine, asked, named=named)
    new = {question.key: question.facts for question in asked}
    # Shards wait for the last of them: before that, which images come first is not known.
    if asks_sanity(settings) and _is_explained(store, record):
        sanity = _sanity(settings, store, record)
        _randomise(subject, store, record, told, sanity)
        new[sanity.key] = sanity.facts
    if new and not store.unasked([question.key for question in asked]):
        _take(store, record, new, settings)
    _tell_of_unasked(store, record, told)


def _tell_of_replaced(asked: Sequence[Asked], record: Record, told: Watch) -> None:
    """That answers to a question give way to others, say of fewer seeds, is said before it takes its time."""
    for question in asked:
        newer: set[str] = set()  # metrics whose answers under an older key are no longer shown
        for key in replaced_by({question.key: question.facts}, record.asked):
            old = {k: v for k, v in record.asked[key].items() if k != "metrics"}
            shown = [name for name in record.asked[key]["metrics"] if name not in newer]
            newer.update(shown)
            told.say(
                f"{', '.join(shown)}: asked anew in place of what was answered before "
                f"({'; '.join(differences(old, dict(question.how)))})"
            )


def _take(
    store: Store, record: Record, new: Mapping[str, Mapping[str, Any]], settings: RunSettings
) -> None:
    """Note whose answers count, and remove those that newer ones replace."""
    gone = replaced_by(new, record.asked)
    kept = {k: f for k, f in record.asked.items() if k not in new and k not in gone}
    record.asked = {**{k: dict(f) for k, f in new.items()}, **kept}
    record.ask = settings.asking()
    record.save(store.place)
    store.forget_answers(gone)


def _tell_of_unasked(store: Store, record: Record, told: Watch) -> None:
    """Images that came later have no answers to what was asked earlier, unless it is asked again."""
    left = store.without_answers(record.asked)
    if left:
        told.say(
            f"{left} images have no answers to what the network was asked about the others; "
            "the same --ask asks about them too"
        )


def _is_explained(store: Store, record: Record) -> bool:
    progress = store.progress()
    return all(len(progress.closed(s)) >= count for s, count in record.selected.items())


def _ask_parts(
    subject: Subject, store: Store, record: Record, told: Watch, names: list[str],
    asked: Sequence[Asked], *, named: tuple[bool, bool],
) -> None:  # fmt: skip
    settings = subject.settings
    images = store.images_in(names)
    told.begin("ask", images, 0)
    workers = settings.workers or 1
    tell = getattr(told, "asking", None)
    work = asking(subject, store, names, asked, workers=workers, named=named, tell=tell)
    with Working(record, store, "ask", settings, workers) as session, closing(work) as done:
        for each in done:
            session.add(each, told)
        session.settle(Done(images, 0), told)


@dataclass(frozen=True)
class _Sanity:
    """Which images the sanity checks follow, where each method's rows are kept, and the methods that are `left`."""

    samples: Sequence[SanitySample]
    facts: dict[str, Any]
    parts: Mapping[str, str]
    left: Sequence[str]

    @property
    def key(self) -> str:
        return sanity_key(self.facts)


def _sanity(settings: RunSettings, store: Store, record: Record) -> _Sanity:
    maps = store.table("maps", columns=_OF_SANITY).filter(pl.col("split") == settings.split)
    samples = sanity_samples(maps, settings.sanity_images)
    facts = sanity_facts([(s.split, s.id, s.target) for s in samples])
    names = list(record.resolved["methods"])
    parts = {n: measured_name(f"part-{i:03d}", sanity_key(facts)) for i, n in enumerate(names)}
    left = [name for name in names if not store.holds(SANITY_TABLE, parts[name])]
    return _Sanity(samples, facts, parts, left)


def _randomise(
    subject: Subject, store: Store, record: Record, told: Watch, sanity: _Sanity
) -> None:
    """Follow the maps of each method while the network forgets; a method that is written is done."""
    count, settings = len(sanity.samples), subject.settings
    if not sanity.left:
        return
    whole = count * len(sanity.parts)
    specs = dict(zip(subject.names, subject.specs, strict=True))
    stages = sanity_stages(subject.model)
    dear = [name for name in sanity.left if specs[name].method.family == "probes"]
    if dear:
        told.say(
            f"sanity makes {sanity_maps(count, len(stages)):,} maps each of {', '.join(dear)}, and for every one the network is asked "
            f"many times; fewer with --sanity-images (now {count}), none where --ask leaves sanity out or the run these methods"
        )
    told.begin("randomise", whole, whole - count * len(sanity.left))
    with Working(record, store, "randomise", settings, 1) as session:
        for name in sanity.left:
            tell = _telling(told, name, sanity_maps(count, len(stages)))
            rows = sanity_rows(subject, name, specs[name], sanity.samples, stages=stages, tell=tell)
            store.write(SANITY_TABLE, sanity.parts[name], to_bytes(rows))
            session.add(Done(count, 0), told)


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
