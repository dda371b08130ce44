"""What became of every map: its status, by method, and the samples that failed."""

from __future__ import annotations

import polars as pl

from saliscope.report.study.parts import read_table
from saliscope.report.study.scores import role_of
from saliscope.runs import Run
from saliscope.runs.run import role_filter

__all__ = ["STATUSES", "grids_of", "read_statuses"]

STATUSES = ("ok", "zero", "constant", "negative", "nonfinite", "saturated")


def read_statuses(run: Run) -> pl.DataFrame:
    """How many maps of the reported split each method has with each status, by the maps the run is about: spec, status, len."""
    columns = ("index", "spec", "target", "rank", "is_truth", "status")
    rows = read_table(run, "maps", columns, split=run.settings.split)
    rows = rows.filter(pl.col("status") != "failed", role_filter(role_of(run)))
    return rows.unique(["index", "spec", "target"]).group_by("spec", "status").len().sort("spec", "status")  # fmt: skip


def grids_of(run: Run) -> dict[str, tuple[int, int]]:
    """The size (h, w) of each method's maps, the most common one."""
    rows = read_table(run, "maps", ("spec", "height", "width")).drop_nulls()
    sizes = rows.group_by("spec", "height", "width").len().sort("len", descending=True)
    return {spec: (height, width) for spec, height, width, _ in reversed(sizes.rows())}
