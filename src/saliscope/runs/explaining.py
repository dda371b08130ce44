"""The explain stage: batches of samples become rows of maps, one capture for all methods and layers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saliscope.data import DataSet, Failed, Sample, read_samples
from saliscope.engine import Budget, OwnClasses, Tell, make_budget
from saliscope.errors import SaliscopeError
from saliscope.explainer import explain_batch
from saliscope.explanation import Explanation
from saliscope.frames import Frame
from saliscope.images import Photo
from saliscope.methods import MethodSpec, layers_of
from saliscope.runs.local import cores
from saliscope.runs.selection import Unit
from saliscope.runs.stream import Steps, each_or_all, overlapped, works_beside
from saliscope.runs.subject import Subject
from saliscope.runs.tables import MAPS, frame_of, to_bytes

__all__ = ["Part", "explain_units", "lost_part"]

_BATCH_PIXELS = 100_000_000  # 300 MB of decoded photographs at once


@dataclass(frozen=True)
class Part:
    """The rows of one unit as a file of the table `maps`: its bytes, and what became of the samples."""

    unit: Unit
    data: bytes
    done: int
    failed: tuple[Failed, ...]


@dataclass(frozen=True, eq=False)
class _Ready:
    """A decoded sample with its network input (1, 3, h, w)."""

    place: int
    sample: Sample
    photo: Photo
    inputs: Tensor
    frame: Frame
    own: tuple[int, ...]


@dataclass(frozen=True)
class _Lost:
    place: int
    failed: Failed


def explain_units(
    subject: Subject,
    units: Iterator[Unit],
    *,
    keep: Callable[[Part], object] | None = None,
    threads: int | None = None,
    tell: Tell | None = None,
) -> Generator[Part, None, None]:
    """Explain units as they come and yield each one's part, in their order.

    `keep` writes a part where it has to be, while the network is at the next one. `tell` is told how far methods are that
    ask the network again.

    The network runs in the caller's thread; decoding is ahead of it and encoding behind, as in `overlapped`. A sample
    that cannot be read or explained is a row that says why. Raises what nothing can be done about: a bug, a network that
    fails on everything.
    """
    layers = layers_of(subject.specs)
    subject.model.network(layers)  # made before the first batch
    taken: list[Unit] = []
    budget = make_budget(subject.settings.memory, tell)

    def batches() -> Iterator[Sequence[tuple[Unit, int]]]:
        for unit in units:
            taken.append(unit)
            yield [(unit, place) for place in unit.positions]

    def work(ready: list[_Ready | _Lost]) -> list[tuple[Unit, list[dict[str, Any]]]]:
        return [(taken.pop(0), _rows_of(subject, ready, budget))]

    def finish(done: tuple[Unit, list[dict[str, Any]]]) -> Part:
        part = _part(*done)
        if keep is not None:
            keep(part)
        return part

    steps: Steps[tuple[Unit, int], _Ready | _Lost, tuple[Unit, list[dict[str, Any]]], Part] = Steps(
        read=lambda item: _read(subject, *item),
        work=work,
        finish=finish,
        threads=min(4, cores()) if threads is None else threads,
        beside=works_beside(subject.model.device),
        behind=2,
    )
    return overlapped(steps, batches())


def _read(subject: Subject, unit: Unit, place: int) -> _Ready | _Lost:
    data = subject.data[unit.split]
    ((_, sample),) = read_samples(data, [place])
    if isinstance(sample, Failed):
        return _Lost(place, sample)
    try:
        photo = sample.photo()
        inputs, (frame,) = subject.model.inputs([photo])
    except (SaliscopeError, OSError, MemoryError) as err:
        return _Lost(place, Failed(sample.id, _reason(err)))
    return _Ready(place, sample, photo, inputs, frame, subject.classes.of_sample(sample))


def _rows_of(
    subject: Subject, ready: Sequence[_Ready | _Lost], budget: Budget
) -> list[dict[str, Any]]:
    """The rows of one batch, in the order of its samples."""
    read = [r for r in ready if isinstance(r, _Ready)]
    found: dict[int, list[dict[str, Any]]] = {
        r.place: [_failed_row(r.place, r.failed)] for r in ready if isinstance(r, _Lost)
    }
    for group in _groups(read):
        rows = each_or_all(lambda b: _explained(subject, b, budget), group, _does_not_fit)
        found |= {r.place: own for r, own in zip(group, rows, strict=True)}
    return [row for r in ready for row in found[r.place]]


def _groups(ready: Sequence[_Ready]) -> Iterator[list[_Ready]]:
    """Cut a batch where its photographs would take too much memory together."""
    group: list[_Ready] = []
    pixels = 0
    for each in ready:
        more = each.photo.pixels.shape[0] * each.photo.pixels.shape[1]
        if group and pixels + more > _BATCH_PIXELS:
            yield group
            group, pixels = [], 0
        group.append(each)
        pixels += more
    if group:
        yield group


def _explained(subject: Subject, batch: list[_Ready], budget: Budget) -> list[list[dict[str, Any]]]:
    target = subject.settings.target
    own = tuple(() if target == "predicted" else r.own for r in batch)
    found = explain_batch(
        subject.model,
        [r.photo for r in batch],
        subject.specs,
        target=OwnClasses(own, predicted=target != "truth"),
        space=subject.settings.target_space,
        inputs=(torch.cat([r.inputs for r in batch]), [r.frame for r in batch]),
        budget=budget,
    )
    return [_rows(r, maps, subject) for r, maps in zip(batch, found, strict=True)]


def _rows(
    ready: _Ready, explanations: Sequence[Explanation], subject: Subject
) -> list[dict[str, Any]]:
    rows = {}
    for explanation, (name, spec) in zip(
        explanations, cycle(zip(subject.names, subject.specs, strict=True)), strict=False
    ):
        key = (explanation.target.index, name)
        if key not in rows:  # images with fewer classes than others have their first one again
            own = subject.classes.name_of(explanation.target.index)
            row = _row(ready, explanation, name, spec)
            rows[key] = row | {"label": own or explanation.target.label}
    return list(rows.values())


def _row(ready: _Ready, e: Explanation, name: str, spec: MethodSpec) -> dict[str, Any]:
    grid = np.asarray(e.map, np.float32)
    frame = ready.frame
    return {
        "id": ready.sample.id,
        "index": ready.place,
        "split": ready.sample.split,
        "spec": name,
        "target": e.target.index,
        "rank": e.target.rank,
        "is_truth": e.target.index in ready.own,
        "method": e.method,
        "layer": spec.layer,
        "space": e.target.space,
        "logit": e.target.logit,
        "probability": e.target.probability,
        "truth": ready.own[0] if len(ready.own) == 1 else None,
        "predicted": e.predicted.index,
        "status": e.status,
        "map": grid.ravel(),
        "height": grid.shape[0],
        "width": grid.shape[1],
        "source_height": frame.source[0],
        "source_width": frame.source[1],
        "region": list(frame.region),
        "input_height": frame.size[0],
        "input_width": frame.size[1],
        "seconds": e.seconds,
    }


def _failed_row(place: int, failed: Failed) -> dict[str, Any]:
    return {"id": failed.id, "index": place, "status": "failed", "message": failed.message}


def _does_not_fit(ready: _Ready, err: Exception) -> list[dict[str, Any]]:
    return [_failed_row(ready.place, Failed(ready.sample.id, _reason(err)))]


def _reason(err: Exception) -> str:
    if isinstance(err, SaliscopeError):
        return str(err)
    if isinstance(err, OSError):
        return f"cannot be read: {err.strerror or err}"
    return "does not fit into memory; make it smaller, or choose a smaller --size"


def lost_part(data: DataSet, unit: Unit, reason: str) -> Part:
    """The part of a unit that cannot be worked on at all: each of its samples failed for the same reason."""
    rows = [_failed_row(place, Failed(data.ids[place], reason)) for place in unit.positions]
    return _part(unit, rows)


def _part(unit: Unit, rows: Sequence[dict[str, Any]]) -> Part:
    for row in rows:
        row["split"] = unit.split  # as the run calls it, whatever the sample does
    failed = [Failed(r["id"], r["message"]) for r in rows if r["status"] == "failed"]
    samples = len(unit.positions)
    return Part(unit, to_bytes(frame_of(rows, MAPS)), samples - len(failed), tuple(failed))
