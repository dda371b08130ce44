"""What boxes score at every threshold, reduced to what a report needs: means, chosen thresholds, and the ones that could be best.

A run holds a thousand IoUs for each map. They are read in portions that fit into memory, and never kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saliscope.report.study.parts import read_parts, read_table
from saliscope.report.study.scores import Floats, with_places
from saliscope.runs import Run
from saliscope.runs.primary import swept_rules
from saliscope.runs.run import Role, role_filter

__all__ = ["CENTRE_BOX", "DELTAS", "Aim", "Goal", "Sweep", "read_sweeps"]

DELTAS = (0.3, 0.5, 0.7)
CENTRE_BOX = "centre-box"
Goal = Literal["iou", "max-box-acc", "max-box-acc-v2"]
"""What a threshold is chosen for: the mean IoU, the share of images of IoU .5 or more, MaxBoxAccV2."""

_HELD = 800_000_000  # bytes of curves at a time
_ROWS = 500  # rows that are looked at together, or more
_MOST = 32  # thresholds around the best one that are kept
_SURE = 9.0  # standard errors below the best from which no replicate takes a threshold

Job = tuple[str, str]
Curves = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Aim:
    """One goal: its mean at every threshold (deltas, thresholds), and the scores (units, deltas) at the thresholds it leads to.

    `oracle`: the threshold of each delta that is best on the reported images, the lowest of equals; `chosen`: that which is best on
    the images for tuning, None without them. `near` (units, deltas, k) are the scores at `places` (deltas, k), the thresholds that
    a replicate may choose: at most 32 of each delta, evenly among those that come near the best. NaN where nothing is annotated.
    """

    mean: Floats
    oracle: tuple[int, ...]
    chosen: tuple[int, ...] | None
    at_oracle: Curves
    at_chosen: Curves | None
    places: NDArray[np.intp]
    near: Curves


@dataclass(frozen=True, eq=False)
class Sweep:
    """The curves of one method by one rule over `thresholds`, of `n` images and classes; `parts` is the mean number of boxes."""

    spec: str
    rule: str
    thresholds: Floats
    n: int
    parts: Floats
    aims: Mapping[Goal, Aim]


def read_sweeps(run: Run, units: pl.DataFrame, role: Role) -> Mapping[Job, Sweep]:
    """The sweeps of a run by method and rule, over the rows of `units`; none where the run swept no thresholds."""
    jobs = [(spec, rule) for rule in swept_rules(run.settings) for spec in run.methods]
    wide = max(1, run.settings.thresholds, 1000 if run.settings.wsol else 1)
    at_once = max(1, _HELD // max(1, 2 * 4 * wide * len(units)))
    portions = [[(CENTRE_BOX, "side"), *jobs[:at_once]]]
    portions += [jobs[i : i + at_once] for i in range(at_once, len(jobs), at_once)]
    found: dict[Job, Sweep] = {}
    for portion in portions:
        found |= _read(run, units, role, portion)
    return found


@dataclass(eq=False)
class _Held:
    """The curves of one method while they are read: those of the reported split, and sums over the one for tuning."""

    iou: Curves
    best: Curves
    parts: Floats
    seen: NDArray[np.bool_]
    sums: Floats
    tuned: NDArray[np.bool_]

    def take(self, place: NDArray[np.intp], iou: Curves, best: Curves, parts: Any) -> None:
        new = _new(place, self.seen)
        if len(new) < len(place):
            place, iou, best, parts = place[new], iou[new], best[new], parts[new]
        self.iou[place], self.best[place] = iou, best
        self.parts += parts.sum(axis=0, dtype=np.uint32)

    def tune(self, place: NDArray[np.intp], iou: Curves, best: Curves) -> None:
        new = _new(place, self.tuned)
        if len(new):
            rows = [iou[new], *(_hits(best[new], d) for d in DELTAS), _hits(iou[new], 0.5)]
            self.sums += [row.sum(axis=0, dtype=np.float64) for row in rows]


def _new(place: NDArray[np.intp], seen: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Which rows stand for units that were not seen before; they are then."""
    _, first = np.unique(place, return_index=True)
    new = first[~seen[place[first]]]
    seen[place[new]] = True
    return np.asarray(new, np.intp)


def _read(run: Run, units: pl.DataFrame, role: Role, jobs: Sequence[Job]) -> dict[Job, Sweep]:
    split, tune = run.settings.split, run.settings.tune
    others = _units_of(run, tune, role) if tune else units.clear()
    places = [with_places(units).with_columns(split=pl.lit(split))]
    if tune:
        places.append(with_places(others).with_columns(split=pl.lit(tune)))
    known = pl.concat(places)
    held: dict[Job, _Held] = {}
    for rows in _gathered(run, role, jobs):
        for own in rows.partition_by("rule"):
            _take(held, own, known, split, (len(units), len(others)))
    return {
        job: _sweep(job, run.thresholds(job[1]), held.pop(job))
        for job in jobs
        if job in held and held[job].seen.any()
    }


def _take(
    held: dict[Job, _Held], rows: pl.DataFrame, known: pl.DataFrame, split: str, sizes: tuple[int, int]
) -> None:  # fmt: skip
    """Sort rows of one rule, whose curves are equally long, to their methods."""
    iou, best, parts = (_matrix(rows[name]) for name in ("iou", "best", "parts"))
    keys = rows.select("split", "index", "target", "spec").with_row_index("row")
    placed = keys.join(known, on=["split", "index", "target"])
    for (own, spec), group in placed.partition_by("split", "spec", as_dict=True).items():
        job = (spec, rows["rule"][0])
        if job not in held:
            held[job] = _empty(*sizes, iou.shape[1])
        row, place = group["row"].to_numpy(), group["place"].to_numpy()
        if own == split:
            held[job].take(place, iou[row], best[row], parts[row])
        else:
            held[job].tune(place, iou[row], best[row])


def _gathered(run: Run, role: Role, jobs: Sequence[Job]) -> Iterator[pl.DataFrame]:
    """The rows of some curves, many at a time."""
    columns = ("split", "index", "target", "rank", "is_truth", "spec", "rule", "iou", "best", "parts")  # fmt: skip
    splits = [s for s in (run.settings.split, run.settings.tune) if s]
    wanted = [f"{spec} {rule}" for spec, rule in jobs]
    waiting: list[pl.DataFrame] = []
    for part in read_parts(run, "curves", columns):
        word = pl.concat_str("spec", pl.lit(" "), "rule")
        own = part.select(role_filter(role) & pl.col("split").is_in(splits) & word.is_in(wanted))
        kept = own.to_series()
        waiting.append(part if kept.all() else part.filter(kept))
        if sum(map(len, waiting)) >= _ROWS:
            yield pl.concat(waiting) if len(waiting) > 1 else waiting[0]
            waiting = []
    if waiting:
        yield pl.concat(waiting)


def _units_of(run: Run, split: str, role: Role) -> pl.DataFrame:
    columns = ("index", "target", "rank", "is_truth")
    rows = read_table(run, "curves", columns, split=split)
    return rows.filter(role_filter(role)).unique(["index", "target"]).sort("index", "target")


def _matrix(column: pl.Series) -> Any:
    width = column.list.len()[0]
    return column.list.to_array(width).to_numpy()


def _empty(units: int, others: int, width: int) -> _Held:
    return _Held(
        np.full((units, width), np.nan, np.float32), np.full((units, width), np.nan, np.float32),
        np.zeros(width), np.zeros(units, np.bool_), np.zeros((5, width)), np.zeros(others, np.bool_),
    )  # fmt: skip


def _hits(curves: Curves, delta: float) -> NDArray[np.bool_]:
    return curves >= np.float32(delta)


def _sweep(job: Job, thresholds: Floats, held: _Held) -> Sweep:
    seen, tuned = held.seen, int(held.tuned.sum())
    iou, best = (c if seen.all() else c[seen] for c in (held.iou, held.best))
    means = held.sums / tuned if tuned else None
    tables: dict[Goal, tuple[list[NDArray[Any]], slice]] = {
        "iou": ([iou], slice(0, 1)),
        "max-box-acc": ([_hits(iou, 0.5)], slice(4, 5)),
        "max-box-acc-v2": ([_hits(best, d) for d in DELTAS], slice(1, 4)),
    }
    aims = {
        goal: _aim(table, None if means is None else means[rows], seen)
        for goal, (table, rows) in tables.items()
    }
    return Sweep(*job, thresholds, len(iou), held.parts / len(iou), aims)


def _aim(tables: Sequence[NDArray[Any]], tuned: Floats | None, seen: NDArray[np.bool_]) -> Aim:
    """`tables`: for each delta the scores (rows, thresholds) of the units that are `seen`."""
    mean = np.stack([table.mean(axis=0, dtype=np.float64) for table in tables])
    oracle = mean.argmax(axis=1)
    chosen = None if tuned is None else tuned.argmax(axis=1)
    near = [_near(t, m) for t, m in zip(tables, mean, strict=True)]
    wide = max(map(len, near))
    places = np.stack(
        [np.append(p, np.repeat(b, wide - len(p))) for p, b in zip(near, oracle, strict=True)]
    )

    def at(indices: NDArray[np.intp]) -> Curves:
        rows = np.stack([t[:, i] for t, i in zip(tables, indices, strict=True)], axis=1)
        return _spread(rows, seen)

    return Aim(
        mean, _places(oracle), None if chosen is None else _places(chosen),
        at(oracle), None if chosen is None else at(chosen), places, at(places),
    )  # fmt: skip


def _places(found: NDArray[np.intp]) -> tuple[int, ...]:
    return tuple(int(place) for place in found)


def _spread(rows: NDArray[Any], seen: NDArray[np.bool_]) -> Curves:
    """Rows of the seen units as rows of all units, NaN in between."""
    every = np.full((len(seen), *rows.shape[1:]), np.nan, np.float32)
    every[seen] = rows
    return every


def _near(table: NDArray[Any], mean: Floats) -> NDArray[np.intp]:
    """The thresholds of a table (rows, thresholds) that a replicate may find best, 32 at most, the best among them."""
    best, count = int(mean.argmax()), len(table)
    gap = mean[best] - mean
    places = np.arange(len(mean))
    if count >= 100 and len(mean) > _MOST:
        # Differences lie within 1 of each other, so no standard error is above 1 / sqrt(count).
        places = np.flatnonzero(gap <= _SURE / np.sqrt(count))
        apart = table[:, places].astype(np.float32) - table[:, [best]].astype(np.float32)
        square = np.square(apart, out=apart).sum(axis=0, dtype=np.float64) / count
        error = np.sqrt(np.maximum(square - gap[places] ** 2, 0) / count)
        places = places[gap[places] <= _SURE * error]
    if len(places) > _MOST:
        even = places[np.linspace(0, len(places) - 1, _MOST).round().astype(int)]
        places = np.unique(np.append(even, best))
    return np.unique(np.append(places, best))
