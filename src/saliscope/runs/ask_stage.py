"""The ask stage, given out: parts of maps and what is asked about them; each process has its own copy of the network."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial

from saliscope.data import DataSet
from saliscope.engine import Tell, make_budget
from saliscope.errors import DataError
from saliscope.models import Model
from saliscope.runs.asking import Asker, ask_part
from saliscope.runs.explain_stage import own_share
from saliscope.runs.giving_out import Done, give_out
from saliscope.runs.local import Dead, Work
from saliscope.runs.place import open_place
from saliscope.runs.questions import Asked
from saliscope.runs.settings import RunSettings
from saliscope.runs.store import Store
from saliscope.runs.subject import Subject, open_subject

__all__ = ["asking"]


def asking(
    subject: Subject, store: Store, names: Sequence[str], asked: Sequence[Asked], *,
    workers: int | None, named: tuple[bool, bool], tell: Tell | None = None,
) -> Generator[Done, None, None]:  # fmt: skip
    """Ask about parts of maps and write what was answered, inquiry by inquiry; what is written is not asked again.

    The arguments are those of `explaining`. Raises `DataError` for a part that ends each process that asks about it.
    """
    settings, address = subject.settings, store.place.address
    model = None if named[0] else subject.model
    data = None if named[1] else subject.data
    found = give_out(
        settings,
        _asks(subject, store, asked, tell),
        partial(_asker, settings, model, data, address, asked, workers or 1),
        names,
        workers=workers or 1,
        there=partial(_is_there, address, asked),
        split=lambda name: [name],
        gpu=subject.model.device.type == "cuda",
    )
    for each in found:
        if isinstance(each, Dead):
            raise DataError(
                f"the network cannot be asked about the maps {each.job}: {each.reason}; with a smaller --memory less is asked at once"
            )
        yield each


def _asks(
    subject: Subject, store: Store, asked: Sequence[Asked], tell: Tell | None = None
) -> Work[str, Done]:
    settings = subject.settings
    budget = make_budget(settings.memory, tell)

    def work(names: Iterator[str]) -> Iterator[Done]:
        network = subject.model.in_precision(settings.ask_precision).network()
        asker = Asker(subject, network, budget, settings.ask_seeds)
        for name in names:
            maps = store.read("maps", name)
            for question in asked:
                if not store.is_asked(name, question.key):
                    tables = ask_part(asker, maps, question.inquiry, question.wanted)
                    store.write_asked(name, question.key, tables)
            yield Done(maps["index"].n_unique(), 0)

    return work


def _asker(
    settings: RunSettings, model: Model | None, data: Mapping[str, DataSet] | None,
    address: str, asked: Sequence[Asked], workers: int, number: int,
) -> Work[str, Done]:  # fmt: skip
    """What a process of several does: its own copy of the network."""
    own = own_share(settings, workers, number)
    return _asks(open_subject(own, model, data), Store(open_place(address)), asked)


def _is_there(address: str, asked: Sequence[Asked], name: str) -> bool:
    store = Store(open_place(address))
    return all(store.is_asked(name, question.key) for question in asked)
