"""What a run asked the network about its maps, brought to the rows of a study: curves, seeds and costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from saliscope.report.study.scores import Combo, Floats, role_of, with_places
from saliscope.report.study.together import Method, Study
from saliscope.runs import Run
from saliscope.runs.run import role_filter

__all__ = ["Cost", "Removal", "asked_combos", "costs_of", "removal_of", "seed_scores"]


def asked_combos(study: Study) -> frozenset[Combo]:
    """The metrics and protocols that any run asked the network for."""
    return frozenset(
        combo
        for run in study.runs
        for combo in run.answers.select("metric", "protocol").unique().iter_rows()
    )


def reported(run: Run, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the reported split, of the maps that the run is about."""
    return rows.filter(pl.col("split") == run.settings.split, role_filter(role_of(run)))


@dataclass(frozen=True, eq=False)
class Removal:
    """The curves of one kind: `fractions` (steps,), and for each method by name the scores (units, steps), NaN where it has none."""

    kind: str
    fractions: Floats
    scores: Mapping[str, Floats]


def removal_of(study: Study) -> tuple[Removal, ...]:
    """The removal curves by kind, in the order in which they stand in the runs.

    Curves over other fractions than the first of their kind are left out: their points are other questions.
    """
    fractions: dict[str, Floats] = {}
    scores: dict[str, dict[str, Floats]] = {}
    for kind, method, run, rows in _curves(study):
        steps = fractions.setdefault(kind, _array(rows["fractions"][0]))
        same = rows.filter([np.array_equal(_array(one), steps) for one in rows["fractions"]])
        if not len(same):
            continue
        own = np.full((len(study.main[run].units), len(steps)), np.nan)
        own[same["place"].to_numpy()] = np.stack([_array(one) for one in same["scores"]])
        here = np.asarray(study.spread(run, own), np.float64)
        known = scores.setdefault(kind, {}).get(method.name)
        scores[kind][method.name] = (
            here if known is None else np.where(np.isnan(known), here, known)
        )
    return tuple(Removal(kind, fractions[kind], found) for kind, found in scores.items())


def _curves(study: Study) -> Iterator[tuple[str, Method, int, pl.DataFrame]]:
    """The curves of each kind and method of a run, with the places of their images and classes."""
    for number, run in enumerate(study.runs):
        named = {m.spec: m for m in study.methods if number in m.runs}
        places = with_places(study.main[number].units)
        rows = reported(run, run.removal).join(places, on=["index", "target"])
        for (kind, spec), own in rows.group_by("kind", "spec", maintain_order=True):
            if spec in named:
                yield str(kind), named[str(spec)], number, own


def _array(values: pl.Series) -> Floats:
    return values.to_numpy().astype(np.float64)


def seed_scores(study: Study, combo: Combo) -> Floats | None:
    """The mean scores (seeds, methods) of an asked metric, of the networks' methods over the images that all of these have.

    Of the first run that asked with several seeds; None where none did, or no image has all.
    """
    for number, run in enumerate(study.runs):
        specs = [m.spec for m in study.networks if number in m.runs]
        rows = reported(run, run.answers).filter(
            pl.col("metric") == combo[0], pl.col("protocol") == combo[1], pl.col("spec").is_in(specs)
        )  # fmt: skip
        seeds = rows["seed"].unique().sort().to_list()
        if len(seeds) < 2:
            continue
        cube = _cube(rows, seeds, specs)
        cube = cube[:, ~np.isnan(cube).all(axis=(0, 2))]
        whole = ~np.isnan(cube).any(axis=(0, 1))
        if cube.size and whole.any():
            return np.asarray(cube[:, :, whole].mean(axis=2), np.float64)
    return None


def _cube(rows: pl.DataFrame, seeds: Sequence[int], specs: Sequence[str]) -> Floats:
    """Values as (seeds, methods, images and classes), NaN where there is none."""
    units = {unit: i for i, unit in enumerate(rows.select("index", "target").unique().iter_rows())}
    found = np.full((len(seeds), len(specs), len(units)), np.nan)
    columns = rows.select("seed", "spec", "index", "target", "value")
    for seed, spec, index, target, value in columns.iter_rows():
        found[seeds.index(seed), specs.index(spec), units[index, target]] = value
    return found


@dataclass(frozen=True)
class Cost:
    """What the answers to one question cost a map (one image, one method): seconds, and pictures that went through the network."""

    question: str
    seconds: float
    pictures: float
    metrics: tuple[str, ...]


def costs_of(study: Study) -> dict[str, Cost]:
    """The cost of each asked metric, by name, over all parts of all runs."""
    rows = pl.concat([run.costs for run in study.runs])
    sums = rows.group_by("question", maintain_order=True).agg(
        pl.col("metrics").explode().unique(maintain_order=True),
        pl.col("maps", "pictures", "seconds").sum(),
    )
    found: dict[str, Cost] = {}
    for question, metrics, maps, pictures, seconds in sums.iter_rows():
        if maps:
            cost = Cost(question, seconds / maps, pictures / maps, tuple(metrics))
            found |= dict.fromkeys(metrics, cost)
    return found
