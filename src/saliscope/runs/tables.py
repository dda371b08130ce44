"""The tables of a run: their columns, and parts of them as bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import polars as pl

from saliscope.errors import DataError

__all__ = ["ANSWERS", "BOXES", "COSTS", "CURVES", "IMAGES", "KEY", "MAPS", "PIXELS", "REMOVAL", "SANITY", "SCORES", "TABLES", "frame_of", "from_bytes", "to_bytes"]  # fmt: skip

KEY: dict[str, Any] = {
    "id": pl.String,
    "index": pl.Int64,
    "split": pl.String,
    "spec": pl.String,
    "target": pl.Int32,
    "rank": pl.Int32,
    "is_truth": pl.Boolean,
}
"""What names a map: the sample (its id, and its place in its split), the method as it is written, the class explained.

`rank` counts the classes with a larger logit: 0 for the predicted one. `is_truth`: one of the image's own classes.
"""

MAPS: dict[str, Any] = KEY | {
    "method": pl.String,
    "layer": pl.String,
    "label": pl.String,
    "space": pl.String,
    "logit": pl.Float64,
    "probability": pl.Float64,
    "truth": pl.Int32,
    "predicted": pl.Int32,
    "status": pl.String,
    "message": pl.String,
    "map": pl.List(pl.Float32),
    "height": pl.Int32,
    "width": pl.Int32,
    "source_height": pl.Int32,
    "source_width": pl.Int32,
    "region": pl.List(pl.Float64),
    "input_height": pl.Int32,
    "input_width": pl.Int32,
    "seconds": pl.Float64,
}
"""One row a map, raw and signed on its own grid (height x width, row by row), with the frame that brings it to the image.

A sample that failed is one row with status "failed", its `message`, and nothing else.
"""

SCORES: dict[str, Any] = KEY | {
    "metric": pl.String,
    "protocol": pl.String,
    "value": pl.Float64,
}
"""One row an image, map, metric and protocol; NaN where undefined. Rows without a network have a spec of their own."""

BOXES: dict[str, Any] = KEY | {
    "protocol": pl.String,
    "x0": pl.Float64,
    "y0": pl.Float64,
    "x1": pl.Float64,
    "y1": pl.Float64,
}
"""The box that a protocol found, half-open in image pixels; null where it found none."""

CURVES: dict[str, Any] = KEY | {
    "rule": pl.String,
    "iou": pl.List(pl.Float32),
    "best": pl.List(pl.Float32),
    "parts": pl.List(pl.UInt16),
}
"""At every threshold of the grid: IoU of the largest part's box, of the best part's box, and the number of parts."""

PIXELS: dict[str, Any] = KEY | {
    "mask": pl.String,
    "inside": pl.List(pl.UInt32),
    "outside": pl.List(pl.UInt32),
}
"""Histograms of the normalised heat, 1,000 bins and one for values of exactly 1, inside and outside a mask: what PxAP sums."""

IMAGES: dict[str, Any] = {
    "id": pl.String,
    "index": pl.Int64,
    "split": pl.String,
    "class": pl.String,
    "truth": pl.Int32,
    "predicted": pl.Int32,
    "label": pl.String,
    "correct": pl.Boolean,
    "status": pl.String,
    "message": pl.String,
    "height": pl.Int32,
    "width": pl.Int32,
    "instances": pl.Int32,
    "share": pl.Float64,
    "boxes": pl.List(pl.Float64),
    "masks": pl.List(pl.String),
}
"""One row a sample, damaged ones too: its class, what was predicted (`label` names it), and what is annotated.

`boxes` are x0, y0, x1, y1 of one instance after the other: those of its class, where it has one class and any is called so,
else all. `share` is how much of the image they cover together.
"""

ANSWERS: dict[str, Any] = SCORES | {"seed": pl.Int32}
"""What the network answered about a map: one row a metric, protocol and seed. Scores hold the mean over seeds."""

REMOVAL: dict[str, Any] = KEY | {
    "kind": pl.String,
    "fractions": pl.List(pl.Float32),
    "scores": pl.List(pl.Float32),
}
"""The probability of the class as pixels go or come in the order of a map, mean over seeds; `fractions` are those changed."""

COSTS: dict[str, Any] = {
    "split": pl.String,
    "index": pl.Int64,
    "question": pl.String,
    "metrics": pl.List(pl.String),
    "images": pl.Int64,
    "maps": pl.Int64,
    "pictures": pl.Int64,
    "seconds": pl.Float64,
}
"""What a question took: one row a part, `index` its first image; `pictures` went through the network for its `maps` together."""

SANITY: dict[str, Any] = {
    "id": pl.String,
    "index": pl.Int64,
    "split": pl.String,
    "spec": pl.String,
    "target": pl.Int32,
    "how": pl.String,
    "likeness": pl.String,
    "stage": pl.Int32,
    "stage_name": pl.String,
    "seed": pl.Int32,
    "value": pl.Float64,
}
"""How alike a map and that of a network that forgot are: one row an image, method, way of forgetting, likeness, stage and seed.

`how` is "cascading", "independent" or "random-logit". Stage 0 is the unchanged network, 1 the first that forgot (another
class, with "random-logit"), -1 the likeness to the map of another picture, by chance. NaN where undefined.
"""

TABLES: Mapping[str, dict[str, Any]] = {
    "maps": MAPS,
    "scores": SCORES,
    "boxes": BOXES,
    "curves": CURVES,
    "pixels": PIXELS,
    "images": IMAGES,
    "answers": ANSWERS,
    "removal": REMOVAL,
    "costs": COSTS,
    "sanity": SANITY,
}


_NUMBERS: dict[Any, Any] = {
    pl.Float32: np.float32,
    pl.Float64: np.float64,
    pl.UInt16: np.uint16,
    pl.UInt32: np.uint32,
}


def frame_of(rows: Sequence[Mapping[str, Any]], schema: Mapping[str, Any]) -> pl.DataFrame:
    """Rows by column name as a frame; what a row leaves out is null."""
    return pl.DataFrame([_column(name, kind, rows) for name, kind in schema.items()])


def _column(name: str, kind: Any, rows: Sequence[Mapping[str, Any]]) -> pl.Series:
    values = [row.get(name) for row in rows]
    if isinstance(kind, pl.List) and kind.inner in _NUMBERS:
        number = _NUMBERS[kind.inner]
        return _lists(name, kind, [None if v is None else np.asarray(v, number) for v in values])
    return pl.Series(name, values, dtype=kind)


def _lists(name: str, kind: pl.List, values: Sequence[np.ndarray[Any, Any] | None]) -> pl.Series:
    """A column of lists; those of one length are made at once, which is twenty times quicker."""
    lengths = {-1 if v is None else len(v) for v in values}
    if len(lengths) != 1 or min(lengths) < 1:
        listed = [None if v is None else pl.Series(v) for v in values]
        return pl.Series(name, listed, dtype=kind)
    return pl.Series(name, np.stack([v for v in values if v is not None])).cast(kind)


def to_bytes(frame: pl.DataFrame) -> bytes:
    """A part as a Parquet file: the same rows give the same bytes."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=3, statistics=False)
    return buffer.getvalue()


def from_bytes(data: bytes, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """A part from its bytes; `DataError`, naming the file, where it is damaged."""
    try:
        return pl.read_parquet(io.BytesIO(data), columns=list(columns) if columns else None)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as err:
        again = "evaluate" if PurePath(name).parent.name == "maps" else "measure"
        raise DataError(
            f"{name} is damaged ({err}); remove it and run `saliscope {again}` on the folder again: only what it held is done anew"
        ) from err
