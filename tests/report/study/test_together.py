import numpy as np
import polars as pl
import pytest

from saliscope.errors import OptionError
from saliscope.report.study.together import study_of
from saliscope.runs.tables import SCORES, to_bytes


def test_methods_of_networks_come_first(make_run):
    study = study_of([make_run(n=3)])
    assert [m.name for m in study.methods] == [
        "cam", "grad-cam@layer4", "random", "centre", "edges", "full-image box", "centred box",
    ]  # fmt: skip
    assert [m.trivial for m in study.methods] == [False] * 2 + [True] * 5


def test_boxes_alone_stand_beside_every_protocol(make_run):
    study = study_of([make_run(n=9)])
    for protocol in ("yang2025", "cam2016"):
        np.testing.assert_array_equal(
            study.values("iou", protocol)["full-image box"], study.units["share"].to_numpy()
        )
    assert "centred box" not in study.values("iou", "yang2025")
    assert (
        study.values("energy", "boxes")["full-image box"].tolist() == study.units["share"].to_list()
    )


def test_runs_are_paired_by_id(make_run):
    one = make_run("one", n=8, values={("cam", "iou", "cam2016"): np.arange(8) / 10})
    two = make_run("two", n=8, values={("cam", "iou", "cam2016"): np.arange(8) / 20})
    backwards = two.scores.with_columns(index=7 - pl.col("index"), value="value").select(
        list(SCORES)
    )
    place = two.place
    place.write(f"scores/part-0000.{two.record.measured}.parquet", to_bytes(backwards))
    images = two.images.with_columns(index=7 - pl.col("index"))
    place.write(f"images/part-0000.{two.record.measured}.parquet", to_bytes(images))
    study = study_of([one, type(two)(place.address)])
    values = study.values("iou", "cam2016")
    assert values["one · cam"].tolist() == pytest.approx((np.arange(8) / 10).tolist())
    assert values["two · cam"].tolist() == pytest.approx((np.arange(8) / 20).tolist())


def test_images_of_one_run_are_undefined_in_the_other(make_run):
    study = study_of([make_run("one", n=4), make_run("two", n=7)])
    values = study.values("iou", "yang2025")
    assert len(study.units) == 7
    assert np.isnan(values["one · cam"]).tolist() == [False] * 4 + [True] * 3
    assert not np.isnan(values["two · cam"]).any()


def test_what_knows_no_network_is_shown_once_where_it_is_the_same(make_run):
    scores = {("edges", m, p): np.full(4, 0.5) for m, p in [("iou", "yang2025")]}
    first = make_run("one", n=4, seed=0)
    second = make_run("two", n=4, seed=0)
    names = [m.name for m in study_of([first, second]).trivial]
    assert names == ["random", "centre", "edges", "full-image box", "centred box"]
    other = make_run("three", n=4, seed=0, values=scores)
    names = [m.name for m in study_of([first, other]).trivial]
    assert names == [
        "random",
        "centre",
        "one · edges",
        "three · edges",
        "full-image box",
        "centred box",
    ]


def test_boxes_of_other_images_are_other_boxes(make_run):
    study = study_of([make_run("one", n=4), make_run("two", n=4, split="val")])
    assert [m.name for m in study.trivial if m.spec == "full-box"] == [
        "test · full-image box",
        "val · full-image box",
    ]


def test_a_centred_box_is_that_of_the_run_with_most_images(make_run):
    study = study_of([make_run("small", n=3), make_run("large", n=9)])
    (box,) = [m for m in study.trivial if m.spec == "centre-box"]
    assert study.names[box.run] == "large"
    assert not np.isnan(study.swept(box, "side", "iou", "at_oracle")).any()


def test_images_of_several_classes_are_clusters(make_run):
    study = study_of([make_run(n=6, several=3, classes=5)])
    assert study.several
    assert len(study.units) == 18
    assert study.draws.clusters.tolist() == study.units["id"].to_list()
    assert study.units["label"][:3].to_list() == ["class 0", "class 1", "class 2"]


def test_classes_are_paired_by_name_not_by_number(make_run):
    one, two = make_run("one", n=5, several=2), make_run("two", n=5, several=2)
    for table in ("scores", "maps", "curves"):
        suffix = "" if table == "maps" else f".{two.record.measured}"
        rows = getattr(two, table).with_columns((pl.col("target") + 100).cast(pl.Int32))
        two.place.write(f"{table}/part-0000{suffix}.parquet", to_bytes(rows))
    study = study_of([one, type(two)(two.place.address)])
    assert len(study.units) == 10
    assert not np.isnan(study.values("iou", "yang2025")["two · cam"]).any()


def test_a_run_without_scores_is_refused(make_run):
    run = make_run(n=3)
    run.place.remove([f"scores/part-0000.{run.record.measured}.parquet"])
    with pytest.raises(OptionError, match="has no scores of test; `saliscope measure"):
        study_of([run])


def test_options_make_no_network_of_a_trivial_method(make_run):
    study = study_of([make_run(n=3, methods=("cam", "random:seed=2"))])
    assert [m.name for m in study.networks] == ["cam"]
    assert [m.name for m in study.trivial][:3] == ["random:seed=2", "random", "centre"]
