"""A run, opened: frames, the wide table, explanations that were stored."""

import dataclasses
import math
import shutil

import numpy as np
import polars as pl
import pytest

import saliscope as sc
from saliscope import runs
from saliscope.data import open_data
from saliscope.errors import DataError, DependencyError, OptionError
from saliscope.localization import even_grid
from saliscope.metrics.wsol import wsol_grid
from saliscope.runs.run import role_filter
from saliscope.runs.store import ASKED
from saliscope.runs.tables import TABLES


@pytest.fixture(scope="module")
def run(finished):
    return sc.open_run(finished)


def test_its_name_and_what_it_is_of(run, finished):
    assert (
        repr(run)
        == f"<Run {finished}: little_world.py:build (untrained) on {run.settings.data} (12 of all)>"
    )
    assert run.methods == ["cam", "grad-cam@features.1", "random", "centre", "edges"]
    assert (run.missing, run.unmeasured) == (0, 0)
    assert run.settings.rules == ("min-max", "max")
    assert (run.record.selected, run.record.available) == ({"all": 12}, {"all": 12})


def test_a_folder_by_its_text_and_from_elsewhere(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished.parent)
    assert sc.open_run("finished").scores.equals(sc.open_run(str(finished)).scores)
    with pytest.raises(DataError, match="holds no run"):
        sc.open_run(tmp_path)


def test_opening_and_reading_writes_nothing(kept):
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in kept.rglob("*") if p.is_file()}
    run = sc.open_run(kept)
    for name in TABLES:
        without = name in ("pixels", *ASKED, "sanity")  # there are no masks, and nothing was asked
        assert (len(getattr(run, name)) == 0) == without
    run.explanations("cat/p0.png")
    assert {
        p: (p.stat().st_mtime_ns, p.read_bytes()) for p in kept.rglob("*") if p.is_file()
    } == before


def test_the_columns_are_those_that_are_written_down(run):
    for name, schema in TABLES.items():
        assert dict(getattr(run, name).schema) == schema


def test_thresholds(run):
    np.testing.assert_array_equal(run.thresholds("min-max"), even_grid(20))
    np.testing.assert_array_equal(run.thresholds("max"), even_grid(20))
    np.testing.assert_array_equal(run.thresholds("wsol"), wsol_grid())
    np.testing.assert_allclose(run.thresholds("side"), [k / 100 for k in range(1, 101)])
    assert all(len(v) == 20 for v in run.curves.filter(rule="max")["iou"])


# --- the wide table --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["truth", "predicted"])
def test_one_row_an_image_one_column_a_method(run, target):
    wide = run.by_method("iou", "cam2016", target=target)
    assert wide.columns == ["id", "index", "target", *run.methods, "shuffled", "full-box"]
    assert len(wide) == 11
    assert wide["index"].to_list() == sorted(wide["index"].to_list())
    for row in wide.to_dicts():
        image = run.images.filter(id=row["id"]).to_dicts()[0]
        assert row["target"] == image["truth" if target == "truth" else "predicted"]
        for spec in run.methods:
            (value,) = run.scores.filter(
                id=row["id"], target=row["target"], spec=spec, metric="iou", protocol="cam2016"
            )["value"]
            assert row[spec] == value or (math.isnan(row[spec]) and math.isnan(value))
    assert (run.by_method("iou", "cam2016") == wide).select(pl.col("target").all()).item() == (
        target == "truth"
    )


def test_a_metric_of_one_protocol_needs_no_name(run):
    assert run.by_method("energy").equals(run.by_method("energy", "boxes"), null_equal=True)
    assert "full-box" in run.by_method("energy").columns
    with pytest.raises(
        OptionError, match="iou was measured by cam2016, gradcam2017, yang2025; name one of them"
    ):
        run.by_method("iou")
    assert run.by_method("iou", "box").columns == ["id", "index", "target", "full-box"]


@pytest.mark.parametrize(
    ("metric", "protocol", "message"),
    [
        ("iuo", None, 'no metric "iuo" was measured; nearest: "iou"'),
        ("iou", "yang2024", 'iou was not measured by "yang2024"; nearest: "yang2025"'),
    ],
)
def test_what_was_not_measured_is_named(run, metric, protocol, message):
    with pytest.raises(OptionError, match=message):
        run.by_method(metric, protocol)
    with pytest.raises(OptionError, match='no metric "iou" was measured'):
        run.by_method("iou", "yang2025", split="val")


def test_classes_that_were_not_explained_are_refused(plain, settings, tmp_path):
    """What there is of them are the images that were classified correctly: an answer to another question."""
    run = sc.open_run(plain)
    with pytest.raises(
        OptionError,
        match=r"this run explained the truth classes only: .* evaluate with --target both",
    ):
        run.by_method("energy", target="predicted")
    assert len(run.by_method("energy")) == 12
    runs.evaluate(settings(target="predicted", methods=["cam"]), tmp_path / "run")
    with pytest.raises(OptionError, match="this run explained the predicted classes only"):
        sc.open_run(tmp_path / "run").by_method("energy")
    assert len(sc.open_run(tmp_path / "run").by_method("energy", target="predicted")) == 12


def test_roles(run):
    for role in ("truth", "predicted"):
        rows = run.maps.filter(role_filter(role), pl.col("status") != "failed")
        assert len(rows) == 11 * 5
    with pytest.raises(
        OptionError, match='maps are of the "truth" or the "predicted" class; got "best"'
    ):
        role_filter("best")
    with pytest.raises(OptionError, match='got "best"'):
        run.by_method("energy", target="best")


def test_pandas(run, monkeypatch):
    pandas = pytest.importorskip("pandas")
    frame = run.to_pandas("iou", "yang2025")
    assert isinstance(frame, pandas.DataFrame)
    assert frame.index.name == "id"
    assert list(frame.columns) == [*run.methods, "shuffled", "full-box"]
    wide = run.by_method("iou", "yang2025")
    assert list(frame.index) == wide["id"].to_list()
    np.testing.assert_array_equal(frame["cam"].to_numpy(), wide["cam"].to_numpy())
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(DependencyError, match="pandas is not installed: pip install pandas"):
        run.to_pandas("iou", "yang2025")


# --- explanations that were stored -----------------------------------------------------------------------------------


def test_explanations_are_those_that_were_stored(run):
    data = open_data(run.settings.data, "all")
    found = run.explanations("red fox/p1.png")
    assert len(found) == len(run.maps.filter(id="red fox/p1.png")) >= 5
    for e, row in zip(found, run.maps.filter(id="red fox/p1.png").to_dicts(), strict=True):
        assert (e.target.index, e.target.rank, e.target.logit) == (
            row["target"],
            row["rank"],
            row["logit"],
        )
        assert (e.predicted.index, e.status, e.seconds) == (
            row["predicted"],
            row["status"],
            row["seconds"],
        )
        assert e.map.tobytes() == np.array(row["map"], np.float32).tobytes()
        assert e.model == "little_world.py:build (untrained)"
        np.testing.assert_array_equal(e.photo.pixels, data[9].photo().pixels)
        assert e.heatmap().shape == e.photo.size
    assert [e.spec for e in found[:5]] == [
        "cam@features",
        "grad-cam@features.1",
        "random",
        "centre",
        "edges",
    ]
    assert {e.target.index: e.target.label for e in found}[2] == "red fox"


def test_samples_without_maps(run):
    with pytest.raises(DataError, match=r'there are no maps of "owl/p2.png" in'):
        run.explanations("owl/p2.png")
    with pytest.raises(DataError, match='there are no maps of "nothing" in'):
        run.explanations("nothing")


def test_another_photograph_is_not_taken_for_the_right_one(run, photos):
    (photos / "cat/p0.png").unlink()
    data = {"all": open_data(f"folder:{photos}", "all")}
    with pytest.raises(
        DataError, match=r'has no "cat/p2.png" at place 2: the maps were made of another copy'
    ):
        run.explanations("cat/p2.png", data=data)


def test_a_photograph_that_is_gone(run, photos):
    data = {"all": open_data(f"folder:{photos}", "all")}
    (photos / "cat/p2.png").unlink()
    with pytest.raises(sc.SaliscopeError, match=r"cat/p2.png"):
        run.explanations("cat/p2.png", data=data)


def test_of_two_splits_the_maps_of_one(settings, world, tmp_path):
    data = {"val": world.several("val", 3), "all": world.several("all", 2)}
    runs.evaluate(settings(methods=["cam"], tune="val", trivial=False), tmp_path / "run", data=data)
    run = sc.open_run(tmp_path / "run")
    assert run.record.selected == {"all": 2, "val": 3}
    assert sorted(set(run.maps.select("split", "id").rows())) == [
        ("all", "v0"),
        ("all", "v1"),
        ("val", "v0"),
        ("val", "v1"),
        ("val", "v2"),
    ]
    assert len(run.explanations("v0", data=data)) == 2  # a dog and a person, of one split
    assert len(run.by_method("iou", "cam2016", split="val")) == 4
    broken = dataclasses.replace(data["all"], read=lambda index: world.Several("all")(6))
    with pytest.raises(DataError, match="the annotation of v6 is damaged"):
        run.explanations("v0", data={"all": broken})


# --- a run that is not finished --------------------------------------------------------------------------------------


def test_what_is_missing_is_counted(kept):
    (kept / "maps").rename(kept / "elsewhere")
    run = sc.open_run(kept)
    assert (run.missing, run.unmeasured, len(run.maps)) == (0, 0, 0)  # all are measured
    assert not run.has_maps
    (kept / "maps").mkdir()
    parts = sorted((kept / "elsewhere").iterdir())
    shutil.copy(parts[1], kept / "maps" / parts[1].name)
    assert sc.open_run(kept).missing == 8
    shutil.copy(parts[0], kept / "maps" / parts[0].name)
    (kept / "curves" / sorted(p.name for p in (kept / "curves").iterdir())[0]).unlink()
    assert (sc.open_run(kept).missing, sc.open_run(kept).unmeasured) == (4, 1)
