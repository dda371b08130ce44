"""Stored maps measured again: by other settings, without the network, from another folder."""

import shutil

import pytest

from saliscope import runs
from saliscope.errors import DataError, OptionError
from saliscope.runs.scoring import COMPLEXITY

# --- measured again --------------------------------------------------------------------------------------------------


def test_other_protocols_replace_the_scores_and_keep_the_maps(kept, look, watch):
    maps = look.files(kept / "maps")
    old, told = runs.open_run(kept).by_method("energy"), watch()
    outcome = runs.measure(
        kept, protocols=["yang2025-tight", "cam2016:threshold=0.4"], thresholds=0, watch=told
    )
    assert (outcome.done, outcome.failed, outcome.new_done) == (11, 1, 0)
    assert told.begun == [("measure", 12, 0)]
    assert look.files(kept / "maps") == maps
    run = runs.open_run(kept)
    assert run.settings.protocols == ("yang2025-tight", "cam2016:threshold=0.4")
    assert run.settings.rules == ("min-max", "max")  # what is not named stays
    assert set(run.boxes["protocol"]) == {"yang2025-tight", "cam2016:threshold=0.4", "box"}
    assert set(run.curves["rule"]) == {"side"}
    assert run.by_method("energy").equals(old, null_equal=True)
    assert len(list((kept / "scores").iterdir())) == 3  # the others are gone
    e = run.explanations("cat/p1.png")[0]
    (row,) = run.boxes.filter(
        id="cat/p1.png", target=e.target.index, spec="cam", protocol="yang2025-tight"
    ).to_dicts()
    assert (row["x0"], row["y0"], row["x1"], row["y1"]) == tuple(e.box("yang2025-tight"))


def test_measuring_the_same_again_does_nothing(kept, look):
    before = look.files(kept)
    runs.measure(kept)
    assert look.files(kept) == before


def test_a_run_whose_maps_were_left_behind_keeps_its_scores(kept, look):
    shutil.rmtree(kept / "maps")
    before = look.files(kept)
    with pytest.raises(
        DataError, match=r"holds no maps.*copy its maps/ back.*scores that it has stay"
    ):
        runs.measure(kept, protocols=["cam2016"])
    assert look.files(kept) == before
    assert not runs.open_run(kept).missing


def test_there_and_back_again(kept, finished, look):
    runs.measure(kept, protocols=["cam2016"], rules=["max"], pointing=["caffe"])
    assert set(runs.open_run(kept).curves["rule"]) == {"max", "side"}
    own = runs.open_run(finished).settings
    runs.measure(kept, protocols=own.protocols, rules=own.rules, pointing=own.pointing)
    look.same(kept, finished)


def test_the_old_scores_stay_until_the_new_ones_are_there(kept, watch, look):
    old = look.tables(kept)["scores"]
    with pytest.raises(KeyboardInterrupt):
        runs.measure(kept, protocols=["cam2016"], watch=watch("measure", 4))
    assert look.tables(kept)["scores"].equals(old, null_equal=True)
    assert len(list((kept / "scores").iterdir())) > 3
    told = watch()
    runs.measure(kept, protocols=["cam2016"], watch=told)
    assert told.begun[0][1] < 12  # continued
    assert set(runs.open_run(kept).scores["protocol"]) == {
        "cam2016",
        "box",
        "boxes",
        *COMPLEXITY,
        *(p for p in set(old["protocol"]) if "px" in p or "delta" in p),
    }


def test_measuring_needs_no_network(world, settings, tmp_path, monkeypatch):
    shutil.copy(world.file, tmp_path / "own.py")
    runs.evaluate(settings(model=f"{tmp_path / 'own.py'}:build"), tmp_path / "run")
    (tmp_path / "own.py").unlink()
    monkeypatch.setattr("saliscope.runs.subject.load_model", lambda *a, **k: 1 / 0)
    assert runs.measure(tmp_path / "run", thresholds=4).done == 12


def test_a_run_that_was_stopped_is_measured_as_it_was_meant(settings, watch, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        runs.evaluate(
            settings(protocols=["cam2016"], thresholds=3, batch_size=1),
            tmp_path / "run",
            watch=watch("explain", 3),
        )
    runs.measure(tmp_path / "run")
    run = runs.open_run(tmp_path / "run")
    assert set(run.boxes["protocol"]) == {"cam2016", "box"}
    assert len(run.curves.filter(rule="min-max")["iou"][0]) == 3
    assert 0 < run.missing < 12


def test_wrong_measuring_is_refused(kept, world, tmp_path, look):
    before = look.files(kept)
    for more, message in [
        ({"protocols": ["cam2015"]}, 'box protocol "cam2015" is unknown; nearest: "cam2016"'),
        ({"thresholds": -1}, "thresholds is -1"),
        (
            {"data": {"test": world.several()}},
            'the settings name the split "all", the data given has test',
        ),
    ]:
        with pytest.raises(OptionError, match=message):
            runs.measure(kept, **more)
    with pytest.raises(DataError, match="holds no run"):
        runs.measure(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    assert look.files(kept) == before


def test_wsol_scores_of_a_crop_are_refused(settings, tmp_path, look):
    """That program lays a map over its whole image, which a crop never saw."""
    runs.evaluate(settings(methods=["cam"], resize="crop", limit=2), tmp_path / "run")
    before = look.files(tmp_path / "run")
    with pytest.raises(OptionError, match="these maps are of a crop: use --resize squash"):
        runs.measure(tmp_path / "run", wsol=True)
    assert look.files(tmp_path / "run") == before
    runs.evaluate(
        settings(methods=["cam"], resize="squash", limit=2, wsol=True), tmp_path / "whole"
    )
    assert runs.open_run(tmp_path / "whole").settings.wsol


def test_data_that_moved_is_given_by_root(settings, photos, tmp_path):
    runs.evaluate(settings(methods=["cam"], limit=2), tmp_path / "run")
    photos.rename(tmp_path / "moved")
    with pytest.raises(
        DataError, match="where the data lies elsewhere now, give its folder with --root"
    ):
        runs.measure(tmp_path / "run", thresholds=3)
    runs.measure(tmp_path / "run", thresholds=3, root=str(tmp_path / "moved"))


def test_that_the_declared_score_is_measured_no_more_is_said(kept, watch):
    told = watch()
    runs.measure(kept, protocols=["cam2016"], watch=told)
    assert any(
        '"iou@yang2025" is not measured' in said and "--primary" in said for said in told.said
    )
    told = watch()
    runs.measure(kept, protocols=["cam2016", "yang2025"], watch=told)
    assert told.said == []


# --- from anywhere ---------------------------------------------------------------------------------------------------


def test_relative_names_are_continued_from_another_folder(
    settings, world, photos, look, singles, watch, tmp_path, monkeypatch
):
    shutil.copy(world.file, tmp_path / "own.py")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    own = settings(model="own.py:build", data="folder:photos:boxes=photos/boxes.csv", batch_size=1)
    with pytest.raises(KeyboardInterrupt):
        runs.evaluate(own, "run", watch=watch("explain", 3))
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="there is no folder"):
        runs.evaluate(settings(data="folder:photos"), "../run")
    own = settings(
        model="../own.py:build", data="folder:../photos:boxes=../photos/boxes.csv", batch_size=1
    )
    outcome = runs.evaluate(own, "../run")
    assert (outcome.address, outcome.done) == ("../run", 12)
    assert 0 < outcome.new_done < 12
    look.same("../run", singles)
    assert runs.measure("../run", thresholds=5).done == 12
    assert len(runs.open_run("../run").explanations("cat/p0.png")) == 5


def test_the_root_is_kept_and_may_be_another(settings, tmp_path, monkeypatch):
    """A small VOC."""
    root = tmp_path / "data/VOCdevkit/VOC2007"
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    thing = "<object><name>{}</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>30</ymax></bndbox></object>"
    for i, names in enumerate([("dog",), ("dog", "person"), ("chair",)]):
        (root / f"Annotations/{i}.xml").write_text(
            f"<annotation><size><width>60</width><height>40</height></size>{''.join(map(thing.format, names))}</annotation>"
        )
        _save_jpeg(root / f"JPEGImages/{i}.jpg", i)
    (root / "ImageSets/Main/test.txt").write_text("0\n1\n2\n")
    monkeypatch.chdir(tmp_path)
    own = settings(
        data="voc",
        split="test",
        num_classes=20,
        methods=["cam"],
        root="data",
        protocols=["cam2016"],
    )
    runs.evaluate(own, "run")
    run = runs.open_run("run")
    assert run.settings.root == str(tmp_path / "data")
    person, dog = (
        runs.open_run("run").maps.filter(label=word)["target"][0] for word in ("person", "dog")
    )
    assert set(run.maps.filter(id="1")["target"]) == {person, dog}
    assert run.scores.filter(metric="iou", spec="full-box")["value"].to_list() == pytest.approx(
        [19 * 28 / 2400] * 4
    )
    before = run.by_method("iou", "cam2016")
    (tmp_path / "data").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(DataError, match=r"voc is not in .*data"):
        runs.measure(tmp_path / "run", thresholds=3)
    runs.measure(tmp_path / "run", thresholds=3, root=str(tmp_path / "moved"))
    assert runs.open_run(tmp_path / "run").by_method("iou", "cam2016").equals(before)
    monkeypatch.chdir(tmp_path)
    outcome = runs.evaluate(own.model_copy(update={"root": "moved"}), "run")
    assert (outcome.done, outcome.new_done) == (3, 0)
    assert runs.open_run("run").settings.root == str(tmp_path / "moved")


def _save_jpeg(path, seed):
    import numpy as np
    from PIL import Image

    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(
        path
    )


def test_a_folder_of_photographs_that_was_moved(settings, photos, tmp_path):
    runs.evaluate(settings(), tmp_path / "run")
    before = runs.open_run(tmp_path / "run").by_method("iou", "cam2016")
    photos.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="there is no folder"):
        runs.measure(tmp_path / "run", thresholds=3)
    assert runs.measure(tmp_path / "run", thresholds=3, root=str(tmp_path / "elsewhere")).done == 12
    assert (
        runs.open_run(tmp_path / "run").by_method("iou", "cam2016").equals(before, null_equal=True)
    )
