"""The ask stage: what the network answers about the stored maps of one part becomes scores, curves and costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from saliscope.data import Failed, Sample
from saliscope.engine import BatchTarget, Budget, Network, Question, tallied
from saliscope.errors import DataError, SaliscopeError
from saliscope.frames import Frame
from saliscope.methods import MethodSpec, layers_of, map_batch
from saliscope.metrics import Answered, Inquiry, Panel, Twin, to_size
from saliscope.runs.measuring import SHUFFLED, grid_of, sample_of, shuffled_map
from saliscope.runs.subject import Subject
from saliscope.runs.tables import ANSWERS, COSTS, KEY, REMOVAL, frame_of, to_bytes

__all__ = ["Asker", "ask_part"]


@dataclass(frozen=True, eq=False)
class Asker:
    """Who asks: the run's subject, the `network` that is asked (perhaps in another precision), and how many `seeds`."""

    subject: Subject
    network: Network
    budget: Budget
    seeds: int = 1


@dataclass(frozen=True, eq=False)
class _Cell:
    """One class of one picture: its rows of maps by method, and what the network receives; no `inputs` where it is lost."""

    rows: Mapping[str, dict[str, Any]]
    sample: Sample | None
    inputs: Tensor | None
    frame: Frame | None

    @property
    def first(self) -> dict[str, Any]:
        return next(iter(self.rows.values()))


def ask_part(
    asker: Asker, maps: pl.DataFrame, inquiry: Inquiry, wanted: frozenset[str]
) -> dict[str, bytes]:
    """Ask one inquiry about all maps of a part: the files of the tables `answers`, `removal` and `costs`.

    Pictures whose photograph cannot be read any more have undefined scores. Seeds that change nothing are not asked twice.
    Raises `DataError` where none of the photographs can be read.
    """
    cells = list(_cells(asker.subject, maps))
    tables: dict[str, list[dict[str, Any]]] = {"answers": [], "removal": [], "costs": []}
    size = asker.subject.batch_size
    for group in _alike(cells):
        for start in range(0, len(group), size):
            _ask_group(asker, group[start : start + size], inquiry, wanted, tables)
    lost = [cell for cell in cells if cell.inputs is None]
    if lost and len(lost) == len(cells):
        raise DataError(
            f'"{lost[0].first["id"]}" and the {len(lost) - 1} photographs beside it cannot be read any more; give the folder of the '
            "data with --root"
        )
    tables["costs"] = _summed(tables["costs"])
    tables["answers"] += list(_undefined(asker.subject, lost, tables["answers"]))
    schemas = {"answers": ANSWERS, "removal": REMOVAL, "costs": COSTS}
    return {name: to_bytes(frame_of(rows, schemas[name])) for name, rows in tables.items()}


def _summed(costs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for the part."""
    sums = {k: sum(row[k] for row in costs) for k in ("images", "maps", "pictures", "seconds")}
    return [{**costs[0], **sums}] if costs else []


def _cells(subject: Subject, maps: pl.DataFrame) -> Iterator[_Cell]:
    well = maps.filter(pl.col("status") != "failed")
    for group in well.partition_by("split", "index", maintain_order=True):
        rows = group.to_dicts()
        sample, inputs, frame = _read(subject, rows[0])
        by_target: dict[int | None, dict[str, dict[str, Any]]] = {}
        for row in rows:
            by_target.setdefault(row["target"], {})[row["spec"]] = row
        for own in by_target.values():
            yield _Cell(own, sample, inputs, frame)


def _read(
    subject: Subject, row: Mapping[str, Any]
) -> tuple[Sample | None, Tensor | None, Frame | None]:
    found = sample_of(subject.data[row["split"]], row)
    if isinstance(found, Failed):
        return None, None, None
    try:
        inputs, (frame,) = subject.model.inputs([found.photo()])
    except (SaliscopeError, OSError):
        return found, None, None
    return found, inputs, frame


def _alike(cells: Sequence[_Cell]) -> list[list[_Cell]]:
    """Cells that can be asked about together: read, and with the same methods."""
    groups: dict[tuple[str, ...], list[_Cell]] = {}
    for cell in cells:
        if cell.inputs is not None:
            groups.setdefault(tuple(cell.rows), []).append(cell)
    return list(groups.values())


def _ask_group(
    asker: Asker, cells: Sequence[_Cell], inquiry: Inquiry, wanted: frozenset[str],
    tables: dict[str, list[dict[str, Any]]],
) -> None:  # fmt: skip
    specs = _specs_of(asker.subject, cells[0])
    names = _names(asker.subject, specs)
    panel = _panel(asker, cells, specs, names, inquiry)
    found = []
    start = time.perf_counter()
    with tallied() as tally:
        for seed in range(asker.seeds if inquiry.seeded else 1):
            with torch.inference_mode(mode=False), torch.no_grad():
                found.append(inquiry.ask(panel, wanted, seed))
    panel.forget()
    first = cells[0].first
    tables["costs"].append({
        "split": first["split"], "index": first["index"], "question": inquiry.name,
        "metrics": sorted(wanted), "images": len(cells), "maps": len(cells) * len(names),
        "pictures": tally.forward, "seconds": time.perf_counter() - start,
    })  # fmt: skip
    for b, cell in enumerate(cells):
        for m, name in enumerate(names):
            key = _key(cell, name)
            tables["answers"] += list(_values(key, found, m, b))
            tables["removal"] += list(_curves(key, found, m, b))


def _specs_of(subject: Subject, cell: _Cell) -> dict[str, MethodSpec]:
    return {
        name: spec
        for name, spec in zip(subject.names, subject.specs, strict=True)
        if name in cell.rows
    }


def _names(subject: Subject, specs: Mapping[str, MethodSpec]) -> list[str]:
    """The methods, and at the end the shuffled map, where a run has trivial rows."""
    shuffled = subject.settings.trivial and SHUFFLED not in specs
    return [*specs, *([SHUFFLED] if shuffled else [])]


def _key(cell: _Cell, name: str) -> dict[str, Any]:
    row = cell.rows.get(name, cell.first)
    return {k: row[k] for k in KEY} | {"spec": name}


def _undefined(
    subject: Subject, lost: Sequence[_Cell], asked: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Rows without a value, by whatever the others of the part were asked."""
    kinds = dict.fromkeys((r["metric"], r["protocol"], r["seed"]) for r in asked)
    for cell in lost:
        for name in _names(subject, _specs_of(subject, cell)):
            for metric, protocol, seed in kinds:
                row = {"metric": metric, "protocol": protocol, "seed": seed, "value": np.nan}
                yield _key(cell, name) | row


def _panel(
    asker: Asker, cells: Sequence[_Cell], specs: Mapping[str, MethodSpec], names: Sequence[str],
    inquiry: Inquiry,
) -> Panel:  # fmt: skip
    subject = asker.subject
    images = torch.cat([cell.inputs for cell in cells if cell.inputs is not None])
    classes = torch.tensor([cell.first["target"] for cell in cells], device=images.device)
    maps = torch.stack([torch.stack([_heat(subject, c, n, images) for c in cells]) for n in names])
    targets = [BatchTarget(classes, "probability"), BatchTarget(classes, "logit")]
    question = Question(
        asker.network, images, images, (), {}, targets, asker.budget, method=inquiry.name
    )
    chosen = list(specs.values())

    def explain(pictures: Tensor, which: Sequence[int], own: Tensor | None = None) -> list[Tensor]:
        some = [chosen[i] for i in which]
        found = map_batch(
            subject.model.network(layers_of(some)),
            pictures,
            some,
            target=classes if own is None else own.to(classes.device),
            space=subject.settings.target_space,
            budget=asker.budget,
        )
        return [s.method.finish(m)[:, 0] for s, m in zip(some, found.signed, strict=True)]

    own = subject.model.preprocessing
    return Panel(
        question, images, maps, explain, tuple(range(len(chosen))), reference=_reference(subject, names),
        mean=own.mean, std=own.std, twin=_twin(subject, cells),
    )  # fmt: skip


def _reference(subject: Subject, names: Sequence[str]) -> int:
    wanted = subject.reference
    return names.index(wanted) if wanted in names else 0


def _heat(subject: Subject, cell: _Cell, name: str, images: Tensor) -> Tensor:
    """A stored map at the size of the input; the shuffled one has the cells of the reference."""
    row = cell.rows.get(name)
    if row is None:
        row = cell.rows.get(subject.reference, cell.first)
        grid = shuffled_map(grid_of(row), row["id"])
    else:
        grid = grid_of(row)
    return to_size(torch.from_numpy(grid).to(images.device), images)


def _twin(subject: Subject, cells: Sequence[_Cell]) -> Twin | None:
    """The other breed of each critter and where the two differ; None where the data knows no twins."""
    classes, masks, frames = [], [], []
    for cell in cells:
        sample = cell.sample
        name = sample.details.get("twin") if sample is not None else None
        index = subject.classes.output_of(name) if isinstance(name, str) else None
        if index is None or sample is None or cell.frame is None:
            return None
        classes.append(index)
        masks.append(np.asarray(sample.masks()["twin"], bool))
        frames.append(cell.frame)
    return Twin(torch.tensor(classes), masks, frames)


def _values(
    key: Mapping[str, Any], found: Sequence[Answered], m: int, b: int
) -> Iterator[dict[str, Any]]:
    for seed, answered in enumerate(found):
        for (metric, protocol), values in answered.values.items():
            row = {"metric": metric, "protocol": protocol, "seed": seed}
            yield {**key, **row, "value": float(values[m, b])}


def _curves(
    key: Mapping[str, Any], found: Sequence[Answered], m: int, b: int
) -> Iterator[dict[str, Any]]:
    for kind, (fractions, _) in found[0].curves.items():
        scores = torch.stack([answered.curves[kind][1][m, b] for answered in found]).mean(0)
        yield {**key, "kind": kind, "fractions": fractions.numpy(), "scores": scores.numpy()}
