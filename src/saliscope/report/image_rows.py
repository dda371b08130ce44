"""The table of all images as data for a page: thousands of rows in few bytes, one array a score."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saliscope.report.material import Material, Metric
from saliscope.runs.place import Place

__all__ = ["IMAGES", "make_rows", "write_rows"]

IMAGES = "images"
"""The name of the files with all rows."""

_MOST = 65_534  # the largest number that is a value; one more is "undefined"


def make_rows(material: Material, pictures: dict[str, int]) -> dict[str, Any]:
    """The rows of `material` for the page's script. `pictures` says which images it can show, by their place in the payload.

    Names stand in lists and columns of whole numbers in base64 (little-endian): `class`, `predicted` and `target` are places
    in `names`, `picture` in the payload; -1 for none. `state` is 0 wrong, 1 correct, 2 unknown, 3 failed. Of each score the
    numbers of all rows of one method follow those of the method before.
    """
    rows = material.rows
    names: dict[str, int] = {}

    def numbered(column: str) -> str:
        places = (-1 if v is None else names.setdefault(v, len(names)) for v in rows[column])
        return _text(list(places), "<i4")

    columns = {name: numbered(name) for name in ("class", "predicted", "target")}
    state = [
        3 if s == "failed" else _STATES[c]
        for s, c in zip(rows["status"], rows["correct"], strict=True)
    ]
    return {
        "ids": rows["id"].to_list(),
        "names": list(names),
        **columns,
        "state": _text(state, "u1"),
        "picture": _text([pictures.get(name, -1) for name in rows["id"]], "<i4"),
        "several": rows["id"].n_unique() < len(rows),
        "scores": [_packed(metric, material.values(metric)) for metric in material.metrics],
    }


def write_rows(material: Material, place: Place) -> list[str]:
    """Write the same rows in full precision, tables/images.csv and .parquet, a column for each score and method; their paths."""
    columns = [
        pl.Series(f"{metric.label}, {source.label}", values[:, number])
        for metric in material.metrics
        for values in [material.values(metric)]
        for number, source in enumerate(material.sources)
    ]
    frame = material.rows.with_columns(columns)
    parquet = io.BytesIO()
    frame.write_parquet(parquet, statistics=False)
    files = {"csv": frame.write_csv().encode(), "parquet": parquet.getvalue()}
    for ending, content in files.items():
        place.write(f"tables/{IMAGES}.{ending}", content)
    return [f"tables/{IMAGES}.{ending}" for ending in files]


_STATES = {False: 0, True: 1, None: 2}


def _packed(metric: Metric, values: NDArray[np.float64]) -> dict[str, Any]:
    """Scores (rows, sources) as 16-bit numbers between the lowest and the highest, column by column."""
    known = np.isfinite(values)
    low, high = (float(f(values[known])) for f in (np.min, np.max)) if known.any() else (0.0, 1.0)
    if low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0  # the same steps for all shares
    step = (high - low) / _MOST or 1.0
    numbers = np.full(values.shape, _MOST + 1, "<u2")
    numbers[known] = np.rint((values[known] - low) / step).astype("<u2")
    return {
        "label": metric.label,
        "low": low,
        "step": step,
        "binary": metric.binary,
        "data": b64encode(numbers.T.tobytes()).decode(),
    }


def _text(values: list[int], kind: str) -> str:
    return b64encode(np.array(values, kind).tobytes()).decode()
