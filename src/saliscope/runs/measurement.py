"""Measuring all parts of a run: begun, continued, recorded, and done again by other settings. No network is needed."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from saliscope.data import DataSet
from saliscope.errors import DataError, OptionError
from saliscope.provenance import now
from saliscope.runs.giving_out import Done
from saliscope.runs.local import cores
from saliscope.runs.measure_stage import measuring
from saliscope.runs.measuring import check_wsol
from saliscope.runs.place import open_place
from saliscope.runs.primary import check_primary
from saliscope.runs.record import Record, hash_of, read_record
from saliscope.runs.settings import RunSettings
from saliscope.runs.splits import check_splits, moved, open_splits
from saliscope.runs.store import Store
from saliscope.runs.working import Outcome, Silent, Watch, Working, outcome_of

if TYPE_CHECKING:
    from saliscope.models import Model

__all__ = ["measure", "measure_parts"]

_ROWS = 2  # grows when the scores of given settings become others, so that those of older versions are told apart
_WORTH_A_PROCESS = 60  # images; fewer are measured before another process has begun


def measure(
    folder: str | os.PathLike[str],
    *,
    model: Model | None = None,
    data: Mapping[str, DataSet] | None = None,
    watch: Watch | None = None,
    **settings: Any,
) -> Outcome:
    """Score the stored maps of a run again, without its network, by other `settings` (protocols, thresholds, ...).

    With `ask` the network is asked about them, which loads it again, or takes `model`; what it was asked before is not asked again.
    Scores by other settings are removed once the new ones are complete. The annotations are read again, from `root` where
    the data lies elsewhere now. Errors as in `evaluate`; `OptionError` where the network or the data is not the one of the maps,
    `DataError` where the maps were left behind.
    """
    place, told = open_place(folder), watch or Silent()
    record = read_record(place)
    own = moved(record.settings(**settings))
    check_wsol(own, record.resolved)
    _warn_of_primary(own, told)
    with place.alone("shard-1"):
        store = Store(place)
        if not store.parts("maps"):  # all scores would count as old
            raise DataError(
                f"{place.address} holds no maps, which is what is measured: copy its maps/ back, or let `saliscope evaluate` make "
                "them again; the scores that it has stay"
            )
        parts = dict(data) if data is not None else _opened(own)
        check_splits(own, parts)
        measure_parts(own, parts, store, record, told, named=data is None)
        if own.ask:
            from saliscope.runs.answering import ask_again  # needs torch, which measuring does not

            ask_again(own, model, parts, store, record, told, named=(model is None, data is None))
        return outcome_of(store, Done(0, 0))


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


def measure_parts(
    settings: RunSettings,
    data: Mapping[str, DataSet],
    store: Store,
    record: Record,
    told: Watch,
    *,
    named: bool,
    own: Collection[str] = (),
) -> None:
    """Measure all parts of maps by the settings, those of `own` alone in a shard; what has these scores is left alone."""
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
