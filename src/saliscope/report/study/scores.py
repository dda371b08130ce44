"""The scores of one run as arrays: one row an image and class, one array a method, NaN where undefined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saliscope.report.study.parts import read_table
from saliscope.runs import Run
from saliscope.runs.run import Role, over_seeds, role_filter

__all__ = ["OWN_CLASS", "Combo", "Floats", "RunScores", "masks_named", "read_scores", "role_of"]

OWN_CLASS = "class"
"""What masks of the explained class are called together, whichever class that is."""

_GIVEN = ("object", "body", "evidence", "twin", "tag")

Combo = tuple[str, str]
"""A metric and its protocol, as the scores name them."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RunScores:
    """What one run measured on one split, of the maps of one role.

    `units`: one row an image and class, with what is known of the image, in the order of the data. `values`: for each metric
    and protocol the scores (units,) of each method that has them.
    """

    units: pl.DataFrame
    values: Mapping[Combo, Mapping[str, Floats]]


def role_of(run: Run) -> Role:
    """The maps that a run is about: those of the images' own classes, unless it has only those of the predicted ones."""
    return "predicted" if run.settings.target == "predicted" else "truth"


def read_scores(run: Run) -> Mapping[Role, RunScores]:
    """The scores of the reported split by role; "predicted" beside "truth" only where the run has both."""
    columns = ("id", "index", "spec", "target", "rank", "is_truth", "metric", "protocol", "value")
    rows = read_table(run, "scores", columns, split=run.settings.split)
    rows = _with_answers(run, rows)
    images = run.images.filter(pl.col("split") == run.settings.split)
    roles: tuple[Role, ...] = (role_of(run),)
    if run.settings.target == "both":
        roles = ("truth", "predicted")
    return {role: _arrays(rows.filter(role_filter(role)), images) for role in roles}


def _with_answers(run: Run, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with those of the metrics that asked the network."""
    asked = over_seeds(run.answers.filter(pl.col("split") == run.settings.split))
    return pl.concat([rows, asked.select(rows.columns)])


def with_places(units: pl.DataFrame) -> pl.DataFrame:
    """The columns index, target and place: where the row of an image and class lies in the arrays."""
    return units.select("index", "target", pl.int_range(pl.len(), dtype=pl.Int64).alias("place"))


def masks_named(column: str, prefix: str = "") -> pl.Expr:
    """A column that names masks, with those of single classes under one name: each image has that of its own class."""
    name = pl.col(column)
    other = name.str.starts_with(prefix) & ~name.is_in([prefix + g for g in _GIVEN])
    return pl.when(other).then(pl.lit(prefix + OWN_CLASS)).otherwise(name).alias(column)


def _arrays(rows: pl.DataFrame, images: pl.DataFrame) -> RunScores:
    keys = ["index", "target"]
    units = rows.unique(keys, keep="any").sort(keys).select("id", *keys, "rank", "is_truth")
    known = images.select("index", "class", "truth", "predicted", "correct", "share", "instances")
    units = units.join(known, on="index", how="left", maintain_order="left")
    placed = rows.join(with_places(units), on=keys).with_columns(masks_named("protocol", "mask:"))
    groups = placed.group_by("metric", "protocol", "spec").agg("place", "value")
    groups = groups.sort("metric", "protocol", "spec")
    values: dict[Combo, dict[str, Floats]] = {}
    for i, (metric, protocol, spec) in enumerate(groups.select(groups.columns[:3]).iter_rows()):
        column = np.full(len(units), np.nan)
        column[groups["place"][i].to_numpy()] = groups["value"][i].to_numpy()
        values.setdefault((metric, protocol), {})[spec] = column
    return RunScores(units, values)
