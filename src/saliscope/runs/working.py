"""A stage at work: who is told how far it is, the note of it in run.json, and what the run holds afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from saliscope.provenance import machine, now
from saliscope.runs.giving_out import Done
from saliscope.runs.record import Record, Session
from saliscope.runs.settings import RunSettings
from saliscope.runs.store import Store

__all__ = ["Outcome", "Silent", "Watch", "Working", "outcome_of"]


class Watch(Protocol):
    """What is told how far a run is; `saliscope evaluate` draws a bar of it.

    One that has a method `asking(method, done, total)` is also told how far a method is that asks the network again.
    """

    def begin(self, stage: str, total: int, done: int) -> None:
        """A stage begins: `total` images, of which `done` were finished earlier."""
        ...

    def step(self, done: int, failed: int) -> None:
        """So many more are done, and so many more have failed."""
        ...

    def say(self, message: str) -> None:
        """Something worth a line."""
        ...


class Silent:
    """A watch that says nothing."""

    def begin(self, stage: str, total: int, done: int) -> None: ...

    def step(self, done: int, failed: int) -> None: ...

    def say(self, message: str) -> None: ...


class Working:
    """Notes in run.json that a stage works, and what it did, also where it is interrupted."""

    def __init__(
        self, record: Record, store: Store, stage: str, settings: RunSettings, workers: int
    ) -> None:
        self.record, self.store = record, store
        self.added = Done(0, 0)
        self.session = Session(
            stage, now(), machine(), settings.engine, workers, settings.shard or "1/1"
        )

    def __enter__(self) -> Working:
        self.record.begin(self.session)
        self.record.save(self.store.place)
        return self

    def add(self, each: Done, told: Watch) -> Done:
        self.added = Done(self.added.done + each.done, self.added.failed + each.failed)
        told.step(each.done, each.failed)
        return self.added

    def settle(self, whole: Done, told: Watch) -> Done:
        """Count what is there where that is more than was told."""
        more = Done(whole.done - self.added.done, whole.failed - self.added.failed)
        return self.add(more, told) if (more.done, more.failed) != (0, 0) else self.added

    def __exit__(self, *_: object) -> None:
        self.session.ended = now()
        self.session.done, self.session.failed = self.added.done, self.added.failed
        self.record.save(self.store.place)


@dataclass(frozen=True)
class Outcome:
    """What a run holds after a call: images explained and failed in all, and how many of each this call added."""

    address: str
    done: int
    failed: int
    new_done: int
    new_failed: int


def outcome_of(store: Store, added: Done) -> Outcome:
    """What a run holds now that a call has added so much."""
    progress = store.progress()
    done = sum(map(len, progress.done.values()))
    failed = sum(map(len, progress.failed.values()))
    return Outcome(store.place.address, done, failed, added.done, added.failed)
