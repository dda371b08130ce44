"""How long maps last while the network forgets: the curves of the sanity check, method by method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from saliscope.metrics import SanityVerdict, lasting, sanity_verdict
from saliscope.report.study.draws import Draws, strata_of
from saliscope.report.study.scores import Floats
from saliscope.report.study.together import Method, Study
from saliscope.runs import Run
from saliscope.stats import Interval

__all__ = ["Forgetting", "forgetting_of"]

_CHANCE = -1  # the stage of rows that compare maps of two pictures
_HOWS = ("cascading", "independent")


@dataclass(frozen=True, eq=False)
class Forgetting:
    """How alike the maps of one method stay.

    `values` (stages, seeds, n) by (how, likeness), the first stage the unchanged network; `chance` (n,) by likeness; `other` (n,) by
    likeness, the likeness to the map of another class. NaN where undefined. `stages` names those of each `how`.
    """

    method: Method
    stages: dict[str, tuple[str, ...]]
    values: dict[tuple[str, str], Floats]
    chance: dict[str, Floats]
    other: dict[str, Floats]
    draws: Draws

    def curve(self, how: str, likeness: str) -> list[Interval]:
        """The mean over images of each stage with its interval, each image the mean over the seeds that it has."""
        found = self.values.get((how, likeness))
        return [] if found is None else self.draws.means(_seed_means(found).T)

    def mean(self, rows: Floats | None) -> Interval | None:
        """The mean of one number an image with its interval."""
        return None if rows is None else self.draws.means(rows[:, None])[0]

    @cached_property
    def lasting(self) -> Interval | None:
        """How long the maps last by the ranks of |M|, on average over images; None where that was not asked."""
        values = self.values.get(("cascading", "spearman-abs"))
        chance = self.chance.get("spearman-abs")
        if values is None or chance is None or len(values) < 2:
            return None
        return self.mean(lasting(values, chance))

    @property
    def verdict(self) -> SanityVerdict:
        found = self.lasting
        return "undefined" if found is None else sanity_verdict(found.low, found.high)

    @property
    def seeds(self) -> int:
        return max((v.shape[1] for v in self.values.values()), default=0)


def forgetting_of(study: Study) -> tuple[Forgetting, ...]:
    """The curves of each method that was checked, in the order of tables; empty where none was."""
    found: dict[str, Forgetting] = {}
    for number, run in enumerate(study.runs):
        rows = run.sanity.filter(pl.col("split") == run.settings.split)
        for method in study.methods:
            own = rows.filter(pl.col("spec") == method.spec)
            if number in method.runs and len(own) and method.name not in found:
                found[method.name] = _forgetting(study, run, method, own)
    return tuple(found[m.name] for m in study.methods if m.name in found)


def _forgetting(study: Study, run: Run, method: Method, rows: pl.DataFrame) -> Forgetting:
    units = rows.select("id", "index", "target").unique().sort("index", "target")
    place = pl.int_range(pl.len(), dtype=pl.Int64).alias("place")
    placed = rows.join(units.with_columns(place), on=["index", "target"])
    names: dict[str, tuple[str, ...]] = {}
    values: dict[tuple[str, str], Floats] = {}
    for how in _HOWS:
        staged = placed.filter(pl.col("how") == how, pl.col("stage") >= 0)
        if not len(staged):
            continue
        order = staged.select("stage", "stage_name").unique("stage").sort("stage")
        names[how] = tuple(order["stage_name"])
        for likeness, own in _by_likeness(staged):
            values[how, likeness] = _cube(own, order["stage"].to_list(), len(units))
    chance = placed.filter(pl.col("stage") == _CHANCE)
    other = placed.filter(pl.col("how") == "random-logit", pl.col("stage") >= 0)
    flat = [
        {kind: _seed_means(_cube(own, None, len(units)))[0] for kind, own in _by_likeness(part)}
        for part in (chance, other)
    ]
    return Forgetting(method, names, values, flat[0], flat[1], _draws(study, run, units))


def _by_likeness(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    return [(str(k), own) for (k,), own in rows.group_by("likeness", maintain_order=True)]


def _cube(rows: pl.DataFrame, stages: Sequence[int] | None, count: int) -> Floats:
    """Values as (stages, seeds, images), all rows of one stage where `stages` is None."""
    seeds = rows["seed"].fill_null(0).unique().sort().to_list()
    found = np.full((len(stages or [0]), len(seeds), count), math.nan)
    columns = rows.select("stage", pl.col("seed").fill_null(0), "place", "value")
    for stage, seed, place, value in columns.iter_rows():
        at = 0 if stages is None else stages.index(stage)
        found[at, seeds.index(seed), place] = math.nan if value is None else value
    return found


def _seed_means(values: Floats) -> Floats:
    """(stages, seeds, n) to (stages, n): the mean over the seeds that are defined."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=1)
    total = np.where(defined, values, 0.0).sum(axis=1)
    means: Floats = np.full(count.shape, math.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def _draws(study: Study, run: Run, units: pl.DataFrame) -> Draws:
    """Images are drawn as all others are, within their classes, but only those that were checked."""
    named = run.images.select("index", "split", "class").filter(
        pl.col("split") == run.settings.split
    )
    classes = units.join(named, on="index", how="left", maintain_order="left")["class"]
    ids = units["id"].to_numpy()
    several = units["id"].n_unique() < len(units)
    strata = strata_of(classes.fill_null("").to_numpy(), ids)
    return Draws(strata, ids if several else None, study.draws.replicates, study.draws.seed)
