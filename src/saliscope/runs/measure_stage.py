"""The measure stage, given out. No network is asked."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial

from saliscope.data import DataSet
from saliscope.errors import DataError
from saliscope.runs.giving_out import Done, give_out, is_there
from saliscope.runs.local import Dead, Work
from saliscope.runs.measuring import measure_part, measures_of
from saliscope.runs.place import open_place
from saliscope.runs.settings import RunSettings
from saliscope.runs.splits import open_splits
from saliscope.runs.store import MEASURED, Store

__all__ = ["measuring"]

Data = Mapping[str, DataSet]


def measuring(
    settings: RunSettings, data: Data, store: Store, names: Sequence[str], key: str,
    *, workers: int, named: bool,
) -> Generator[Done, None, None]:  # fmt: skip
    """Measure parts of maps and write their scores under the hash `key` of the settings."""
    address = store.place.address
    found = give_out(
        settings,
        _measures(settings, data, store, key),
        partial(_measurer, settings, None if named else data, address, key),
        names,
        workers=workers,
        there=partial(is_there, address, MEASURED, key),
        split=lambda name: [name],
        gpu=False,
    )
    for each in found:
        if isinstance(each, Dead):
            raise DataError(
                f"the maps {each.job} cannot be measured: {each.reason}; with --workers 1 less memory is needed"
            )
        yield each


def _measures(settings: RunSettings, data: Data, store: Store, key: str) -> Work[str, Done]:
    import cv2

    measures = measures_of(settings)

    def work(names: Iterator[str]) -> Iterator[Done]:
        cv2.setNumThreads(1)
        for name in names:
            maps = store.read("maps", name)
            tables = measure_part(
                maps, data, measures, trivial=settings.trivial, reference=settings.reference
            )
            store.write_measured(name, key, tables)
            yield Done(maps["index"].n_unique(), 0)

    return work


def _measurer(
    settings: RunSettings, data: Data | None, address: str, key: str, number: int
) -> Work[str, Done]:
    del number  # every process does the same
    parts = open_splits(settings) if data is None else data
    return _measures(settings, parts, Store(open_place(address)), key)
