"""Parts on disk: what is done, what is missing, each row once."""

import polars as pl
import pytest

from saliscope import runs
from saliscope.errors import DataError
from saliscope.runs.place import open_place
from saliscope.runs.store import Store, measured_name
from saliscope.runs.tables import IMAGES, MAPS, SCORES, TABLES, frame_of, to_bytes


@pytest.fixture
def store(tmp_path):
    return Store(open_place(tmp_path / "run"))


def maps(*rows, split="test", status="ok"):
    """(id, index, spec, logit) or (id, index, message) of one that failed."""
    found = []
    for name, index, *more in rows:
        own = {"id": name, "index": index, "split": split}
        if len(more) == 1:
            found.append(own | {"status": "failed", "message": more[0]})
        else:
            spec, logit = more
            found.append(own | {"spec": spec, "target": 0, "status": status, "logit": float(logit)})
    return to_bytes(frame_of(found, MAPS))


def facts(frame, *columns):
    return frame.select(columns).rows()


def test_what_is_done_and_what_failed(store):
    store.write(
        "maps",
        "part-test-00000000-a",
        maps(("a", 0, "cam", 1), ("b", 1, "broken"), ("c", 2, "cam", 2)),
    )
    store.write("maps", "part-val-00000000-b", maps(("a", 0, "gone"), split="val"))
    found = store.progress()
    assert (found.done, found.failed) == ({"test": {"a", "c"}}, {"test": {"b"}, "val": {"a"}})
    assert found.closed("test") == {"a", "b", "c"}
    assert found.closed("test", retry=True) == {"a", "c"}
    assert found.closed("val") == {"a"}
    assert found.closed("val", retry=True) == found.closed("train") == frozenset()


def test_an_empty_folder_has_nothing(store):
    assert store.progress().done == store.progress().failed == {}
    for name, schema in TABLES.items():
        assert dict(store.table(name).schema) == schema
        assert store.parts(name) == []
    assert store.unmeasured("0a") == []
    assert store.failures().height == 0
    assert store.images_in([]) == 0


def test_what_failed_and_then_did_not_is_no_failure(store):
    store.write(
        "maps",
        "part-test-00000000-a",
        maps(("a", 0, "broken"), ("b", 1, "cam", 2), ("c", 2, "broken")),
    )
    store.write("maps", "part-test-00000000-b", maps(("a", 0, "cam", 1)))
    found = store.progress()
    assert (found.done, found.failed) == ({"test": {"a", "b"}}, {"test": {"c"}})
    assert facts(store.failures(), "index", "id", "message") == [(2, "c", "broken")]
    assert facts(store.table("maps"), "id", "status") == [("a", "ok"), ("b", "ok"), ("c", "failed")]


def test_the_same_sample_in_two_splits_is_two(store):
    store.write("maps", "part-test-00000000-a", maps(("a", 0, "cam", 1)))
    store.write("maps", "part-val-00000000-a", maps(("a", 0, "broken"), split="val"))
    assert facts(store.table("maps"), "split", "id", "status") == [
        ("test", "a", "ok"),
        ("val", "a", "failed"),
    ]
    assert facts(store.failures(), "split", "id") == [("val", "a")]


def test_rows_written_twice_are_read_once_in_the_order_of_the_data(store):
    store.write("maps", "part-test-00000004-a", maps(("e", 4, "cam", 5), ("e", 4, "edges", 6)))
    store.write(
        "maps",
        "part-test-00000000-b",
        maps(("a", 0, "cam", 1), ("e", 4, "cam", 7), ("i", 8, "cam", 9)),
    )
    found = store.table("maps")
    assert facts(found, "id", "spec", "logit") == [
        ("a", "cam", 1.0),
        ("e", "cam", 7.0),
        ("e", "edges", 6.0),
        ("i", "cam", 9.0),
    ]


def test_scores_differ_by_metric_and_protocol(store):
    rows = [
        {"id": "a", "index": 0, "split": "test", "spec": "cam", "target": t, "metric": m, "protocol": p, "value": float(v)}
        for v, (t, m, p) in enumerate([(0, "iou", "x"), (0, "iou", "y"), (0, "energy", "x"), (1, "iou", "x"), (0, "iou", "x")])
    ]  # fmt: skip
    store.write("scores", "part-test-00000000-a.k1", to_bytes(frame_of(rows, SCORES)))
    assert store.table("scores", "k1")["value"].to_list() == [0.0, 1.0, 2.0, 3.0]
    assert store.table("scores", "k2").height == 0
    assert store.table("scores", "1").height == 0  # the whole key counts


def test_some_columns_are_read_alone(store):
    store.write("maps", "part-test-00000000-a", maps(("a", 0, "cam", 1)))
    assert store.table("maps", columns=("id", "logit")).to_dict(as_series=False) == {
        "id": ["a"],
        "logit": [1.0],
    }


def test_images_are_counted_once(store):
    store.write(
        "maps",
        "part-test-00000000-a",
        maps(("a", 0, "cam", 1), ("a", 0, "edges", 1), ("b", 1, "broken")),
    )
    assert store.images_in(["part-test-00000000-a"]) == 2


# --- the measure stage -----------------------------------------------------------------------------------------------


def measured(key):
    images = to_bytes(frame_of([{"id": key, "index": 0, "split": "test"}], IMAGES))
    return {
        name: images if name == "images" else to_bytes(frame_of([], TABLES[name]))
        for name in TABLES
        if name != "maps"
    }


def test_parts_are_measured_by_one_key_at_a_time(store):
    for name in ("part-test-00000000-a", "part-test-00000008-b"):
        store.write("maps", name, maps(("a", 0, "cam", 1)))
    assert store.unmeasured("k1") == ["part-test-00000000-a", "part-test-00000008-b"]
    store.write_measured("part-test-00000000-a", "k1", measured("k1"))
    assert store.unmeasured("k1") == ["part-test-00000008-b"]
    assert len(store.unmeasured("k2")) == 2
    store.write_measured("part-test-00000000-a", "k2", measured("k2"))
    assert store.table("images", "k1")["id"].to_list() == ["k1"]
    assert store.forget_other_scores("k2") == 5
    assert store.table("images", "k1").height == 0
    assert store.table("images", "k2")["id"].to_list() == ["k2"]
    assert store.forget_other_scores("k2") == 0
    assert store.parts("maps") == ["part-test-00000000-a", "part-test-00000008-b"]


@pytest.mark.parametrize("table", ["scores", "boxes", "curves", "pixels", "images"])
def test_a_part_that_lacks_a_table_is_not_measured(store, table):
    store.write("maps", "part-test-00000000-a", maps(("a", 0, "cam", 1)))
    store.write_measured("part-test-00000000-a", "k1", measured("k1"))
    assert store.unmeasured("k1") == []
    store.place.remove([f"{table}/{measured_name('part-test-00000000-a', 'k1')}.parquet"])
    assert store.unmeasured("k1") == ["part-test-00000000-a"]


# --- damage ----------------------------------------------------------------------------------------------------------


def test_a_damaged_part_is_named_by_its_place(store):
    store.write("maps", "part-test-00000000-a", maps(("a", 0, "cam", 1)))
    store.write("maps", "part-test-00000008-b", maps(("b", 8, "cam", 1))[:100])
    message = r"run/maps/part-test-00000008-b.parquet is damaged .*; remove it and run `saliscope evaluate` on the folder again"
    for read in (
        store.progress,
        lambda: store.table("maps"),
        lambda: store.read("maps", "part-test-00000008-b"),
        store.failures,
    ):
        with pytest.raises(DataError, match=message):
            read()


def test_damaged_parts_are_found_among_those_that_are_wanted(store):
    whole = maps(("a", 0, "cam", 1))
    kinds = {
        "whole": whole,
        "cut": whole[:-30],
        "half": whole[:100],
        "empty": b"",
        "text": b"x" * 400,
    }
    for name, content in kinds.items():
        store.write("maps", f"part-{name}", content)
    wanted = {f"part-{name}" for name in (*kinds, "absent")}
    assert store.damaged("maps", wanted) == ["part-cut", "part-empty", "part-half", "part-text"]
    assert store.damaged("maps", {"part-whole", "part-half"}) == ["part-half"]
    assert store.damaged("answers", wanted) == []


def test_other_files_in_the_folders_are_not_ours(store):
    store.write("maps", "part-test-00000000-a", maps(("a", 0, "cam", 1)))
    for name in ("maps/notes.txt", "maps/.part-test-1.parquet.0a.new"):
        store.place.write(name, b"mine")
    assert store.parts("maps") == ["part-test-00000000-a"]
    assert store.progress().done == {"test": {"a"}}


def test_tables_of_a_run_are_sorted_by_split_and_place(finished):
    run = runs.open_run(finished)
    for name in TABLES:
        frame = getattr(run, name)
        assert frame.select("split", "index").rows() == sorted(
            frame.select("split", "index").rows()
        )
    assert run.maps.filter(pl.col("index") == 0)["spec"].to_list()[:5] == [
        "cam",
        "grad-cam@features.1",
        "random",
        "centre",
        "edges",
    ]
