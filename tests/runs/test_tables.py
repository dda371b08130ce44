"""Parts of tables: their columns, their bytes, and what damaged bytes say."""

import io

import numpy as np
import polars as pl
import pytest

from saliscope.errors import DataError
from saliscope.runs.tables import (
    ANSWERS,
    BOXES,
    CURVES,
    IMAGES,
    KEY,
    MAPS,
    PIXELS,
    REMOVAL,
    SCORES,
    TABLES,
    frame_of,
    from_bytes,
    to_bytes,
)

ROW = {
    "id": 'a "b"/ü.png', "index": 3, "split": "test", "spec": "cam", "target": 1, "rank": 0, "is_truth": True, "rule": "max",
    "iou": np.array([0.1, 1.0, np.nan]), "best": np.array([0.5, 1.0, np.inf], np.float32), "parts": np.array([0, 65535, 7]),
}  # fmt: skip


def test_every_measured_row_begins_with_its_key():
    measured = {"maps", "scores", "boxes", "curves", "pixels", "images"}
    assert set(TABLES) == measured | {"answers", "removal", "costs", "sanity"}
    for schema in (MAPS, SCORES, BOXES, CURVES, PIXELS, ANSWERS, REMOVAL):
        assert list(schema)[: len(KEY)] == list(KEY)
    assert list(IMAGES)[:3] == ["id", "index", "split"]


def test_rows_become_columns_of_their_types():
    frame = frame_of([ROW, {"id": "b", "split": "val"}], CURVES)
    assert dict(frame.schema) == CURVES
    assert frame["iou"][0].to_list() == [np.float32(0.1), 1.0, pytest.approx(np.nan, nan_ok=True)]
    assert frame["parts"][0].to_list() == [0, 65535, 7]
    assert frame.row(1) == ("b", None, "val", *[None] * (len(CURVES) - 3))


def test_no_rows_have_the_columns_too():
    for schema in TABLES.values():
        frame = frame_of([], schema)
        assert dict(frame.schema) == schema
        assert from_bytes(to_bytes(frame), "x").equals(frame)


def test_bytes_give_the_same_rows_to_the_bit():
    values = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, 3e38, 0.1], np.float32)
    frame = frame_of([ROW | {"iou": values, "best": values}], CURVES)
    back = from_bytes(to_bytes(frame), "x")
    assert back.schema == frame.schema
    assert back["iou"][0].to_numpy().tobytes() == values.tobytes()
    assert back["id"].to_list() == ['a "b"/ü.png']
    assert to_bytes(back) == to_bytes(frame)


def test_some_columns():
    frame = frame_of([ROW], CURVES)
    assert from_bytes(to_bytes(frame), "x", ("rule", "id")).columns in (
        ["rule", "id"],
        ["id", "rule"],
    )
    with pytest.raises(DataError, match="x is damaged"):
        from_bytes(to_bytes(frame), "x", ("nothing",))


@pytest.mark.parametrize("left", [0, 1, 4, 0.3, 0.9, -1, -4, -8])
def test_a_truncated_part_is_named(left):
    data = to_bytes(frame_of([ROW] * 30, CURVES))
    cut = data[: int(len(data) * left)] if isinstance(left, float) else data[:left]
    with pytest.raises(
        DataError,
        match=r"run/maps/a.parquet is damaged \(.*\); remove it and run `saliscope evaluate` on the folder again",
    ):
        from_bytes(cut, "run/maps/a.parquet")


@pytest.mark.parametrize(
    "content", [b"hello", b"PAR1", b"PAR1PAR1", bytes(4000), b"PAR1" + bytes(400) + b"PAR1"]
)
def test_what_is_no_part_is_named(content):
    with pytest.raises(DataError, match=r"a.parquet is damaged"):
        from_bytes(content, "a.parquet")


def test_a_reader_that_panics_is_damage_too(monkeypatch):
    """Some damage ends polars' own code, which is no `Exception` in Python."""

    def panic(*_, **__):
        raise pl.exceptions.PanicException("assertion failed: offset + length <= self.length")

    monkeypatch.setattr(pl, "read_parquet", panic)
    with pytest.raises(DataError, match=r"a.parquet is damaged \(assertion failed"):
        from_bytes(b"", "a.parquet")


def test_parts_are_small(tmp_path):
    """Zstandard: a map that is all alike is next to nothing."""
    row = {"id": "a", "map": np.zeros(40_000, np.float32)}
    assert len(to_bytes(frame_of([row], MAPS))) < 8000
    assert pl.read_parquet(io.BytesIO(to_bytes(frame_of([row], MAPS))))["map"][0].len() == 40_000
