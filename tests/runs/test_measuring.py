"""Maps and annotations become scores: those of the metrics on the explanation itself, each class by its own things."""

import dataclasses
import math

import numpy as np
import polars as pl
import pytest

from saliscope import runs
from saliscope.boxes import Box, best_iou
from saliscope.data import Listing, Region, Sample, open_data
from saliscope.errors import DataError
from saliscope.frames import Frame
from saliscope.images import Photo
from saliscope.localization import even_grid, parse_protocol, sweep_boxes
from saliscope.metrics import (
    COMPLEXITY_METRICS,
    box_coverage,
    box_region,
    energy_in_boxes,
    enrichment_in_boxes,
    gt_known,
    heat_share,
    hottest_point,
    inside_outside_ratio,
    pixel_average_precision,
    pointing_hit,
    union_iou,
)
from saliscope.runs.measuring import (
    CENTRE_BOX,
    FULL_BOX,
    SHUFFLED,
    SIDES,
    measure_part,
    measures_of,
    sample_of,
    shuffled_map,
)
from saliscope.runs.scoring import Measures
from saliscope.runs.tables import MAPS, frame_of, from_bytes

PROTOCOLS = ("yang2025", "cam2016", "gradcam2017")


def scores_of(run, **where):
    found = run.scores.filter(*(pl.col(k) == v for k, v in where.items()))
    return {(r["metric"], r["protocol"]): r["value"] for r in found.to_dicts()}


def exactly(a, b):
    assert (math.isnan(a) and math.isnan(b)) or a == b


def close(a, b):
    assert (math.isnan(a) and math.isnan(b)) or a == pytest.approx(b, rel=1e-12)


# --- as on the explanation itself ------------------------------------------------------------------------------------


def test_every_score_is_that_of_the_explanation(finished):
    run = runs.open_run(finished)
    data, judged = open_data(run.settings.data, "all"), 0
    for sample in data:
        if sample.id == "owl/p2.png":
            continue
        truth, size = sample.boxes(), sample.photo().size
        rows = run.maps.filter(id=sample.id).to_dicts()
        for map_row, e in zip(rows, run.explanations(sample.id), strict=True):
            spec = map_row["spec"]
            found = scores_of(run, id=sample.id, target=e.target.index, spec=spec)
            signed, judged = e.signed(), judged + 1
            for protocol in PROTOCOLS:
                box = e.box(protocol)
                exactly(found["iou", protocol], best_iou(box, truth))
                exactly(found["iou", protocol], e.iou(truth, protocol=protocol))
                exactly(found["union-iou", protocol], union_iou(box, truth))
                exactly(found["gt-known", protocol], gt_known(box, truth))
                assert found["no-box", protocol] == float(box is None)
                (row,) = run.boxes.filter(
                    id=sample.id, target=e.target.index, spec=spec, protocol=protocol
                ).to_dicts()
                assert (row["x0"], row["y0"], row["x1"], row["y1"]) == (
                    tuple(box) if box else (None,) * 4
                )
            region = box_region(truth, size)
            flat = e.status in ("zero", "constant")
            close(found["energy", "boxes"], energy_in_boxes(signed, truth))
            close(found["enrichment", "boxes"], enrichment_in_boxes(signed, truth))
            close(
                found["inside-outside", "boxes"],
                inside_outside_ratio(signed, region) if truth else math.nan,
            )
            for delta in (0.0, 0.25, 0.5):
                if truth:
                    exactly(
                        found["box-coverage", f"delta={delta:g}"],
                        box_coverage(signed, truth, threshold=delta),
                    )
            for variant in ("torchray", "caffe", "square"):
                hit = math.nan
                if truth:
                    hit = float(
                        not flat
                        and pointing_hit(hottest_point(signed), truth, size, variant=variant)
                    )
                exactly(found["pointing", f"{variant}-15px"], hit)
            for rule in ("min-max", "max"):
                rows = run.curves.filter(
                    id=sample.id, target=e.target.index, spec=spec, rule=rule
                ).to_dicts()
                assert len(rows) == bool(truth)
                if truth:
                    sweep = sweep_boxes(e.heatmap(rule), even_grid(20), truth=truth)
                    assert rows[0]["iou"] == sweep.iou.astype(np.float32).tolist()
                    assert rows[0]["best"] == sweep.best_iou.astype(np.float32).tolist()
                    assert rows[0]["parts"] == sweep.components.tolist()
    assert judged == run.maps.filter(pl.col("status") != "failed").height > 11 * 5


def test_masks_are_those_of_the_sample(settings, world, tmp_path):
    own = settings(
        data="critters:size=64:count=3",
        split="test",
        num_classes=24,
        methods=["cam"],
        protocols=["cam2016"],
    )
    runs.evaluate(own, tmp_path / "run")
    run, data = runs.open_run(tmp_path / "run"), open_data(own.data, "test")
    for sample in data:
        masks = sample.masks()
        found = scores_of(run, id=sample.id, spec="cam")
        (e,) = [e for e in run.explanations(sample.id) if e.method == "cam"]
        names = {p.removeprefix("mask:") for m, p in found if m == "relevance-mass"}
        assert names == {name for name in ("body", "evidence", "twin") if masks[name].any()}
        assert {"body", "evidence"} <= names
        for name in names:
            exactly(found["relevance-mass", f"mask:{name}"], heat_share(e.signed(), masks[name]))
            close(
                found["pixel-ap", f"mask:{name}"], pixel_average_precision(e.signed(), masks[name])
            )
            (row,) = run.pixels.filter(id=sample.id, spec="cam", mask=name).to_dicts()
            assert (sum(row["inside"]), sum(row["outside"])) == (
                masks[name].sum(),
                (~masks[name]).sum(),
            )
        even = scores_of(run, id=sample.id, spec=FULL_BOX)
        assert even["relevance-mass", "mask:body"] == pytest.approx(masks["body"].mean())
        assert even["mask-enrichment", "mask:body"] == pytest.approx(1.0)
        assert even["relevance-rank", "mask:body"] == pytest.approx(masks["body"].mean())
        assert even["pixel-ap", "mask:body"] == pytest.approx(masks["body"].mean())
        assert set(run.images.filter(id=sample.id)["masks"][0]) == set(masks)


# --- without a map ---------------------------------------------------------------------------------------------------


def test_the_whole_image_as_a_box(finished):
    run = runs.open_run(finished)
    for sample in open_data(run.settings.data, "all"):
        if sample.id == "owl/p2.png":
            continue
        height, width = sample.photo().size
        for target in run.maps.filter(id=sample.id)["target"].unique():
            found = scores_of(run, id=sample.id, target=target, spec=FULL_BOX)
            shares = [b.area / (height * width) for b in sample.boxes()]
            inside = box_region(sample.boxes(), (height, width)).mean()
            if not shares:
                known = {k for k, v in found.items() if not math.isnan(v)}
                assert known == {("no-box", "box")}
                continue
            assert found["iou", "box"] == pytest.approx(max(shares))
            assert found["gt-known", "box"] == float(max(shares) >= 0.5)
            assert found["union-iou", "box"] == pytest.approx(inside)
            assert found["energy", "boxes"] == pytest.approx(inside)
            assert (found["enrichment", "boxes"], found["inside-outside", "boxes"]) == (1.0, 1.0)
            middle = (width // 2, height // 2)
            for variant in ("torchray", "caffe", "square"):
                hit = pointing_hit(middle, sample.boxes(), (height, width), variant=variant)
                assert found["pointing", f"{variant}-15px"] == float(hit)
    rows = run.boxes.filter(spec=FULL_BOX)
    assert set(rows["protocol"]) == {"box"}
    sizes = run.images.filter(status="ok").select("id", "height", "width")
    both = rows.join(sizes, on="id")
    assert both.select(
        ((pl.col("x1") == pl.col("width")) & (pl.col("y1") == pl.col("height"))).all()
    ).item()


def test_centred_boxes(finished):
    run = runs.open_run(finished)
    rows = run.curves.filter(spec=CENTRE_BOX)
    assert set(rows["rule"]) == {"side"}
    assert SIDES.tolist() == [k / 100 for k in range(1, 101)]
    for row in rows.to_dicts():
        image = run.images.filter(id=row["id"]).to_dicts()[0]
        corners = np.reshape(image["boxes"], (-1, 4))
        for k in (9, 49, 99):
            w, h = image["width"] * (k + 1) / 100, image["height"] * (k + 1) / 100
            box = Box(
                (image["width"] - w) / 2,
                (image["height"] - h) / 2,
                (image["width"] + w) / 2,
                (image["height"] + h) / 2,
            )
            assert (
                row["iou"][k]
                == row["best"][k]
                == np.float32(best_iou(box, [Box(*c) for c in corners]))
            )
        assert row["parts"] == [1] * 100
    whole = run.scores.filter(spec=FULL_BOX, metric="iou").drop_nans("value")
    assert len(rows) == len(whole) == 2 * 8 - run.maps.filter(pl.col("is_truth"), pl.col("rank") == 0, spec="cam").filter(
        pl.col("id").str.ends_with("p3.png").not_()
    ).height  # fmt: skip


def test_they_are_left_out_with_the_other_trivial_ones(settings, tmp_path):
    runs.evaluate(settings(trivial=False), tmp_path / "run")
    run = runs.open_run(tmp_path / "run")
    assert set(run.scores["spec"]) == set(run.curves["spec"]) == {"cam", "grad-cam@features.1"}


# --- what is annotated -----------------------------------------------------------------------------------------------


def test_images_without_a_box_are_undefined_and_never_zero(finished):
    run = runs.open_run(finished)
    rows = run.scores.filter(pl.col("id").str.ends_with("p3.png"))
    assert len(rows) > 0
    defined = rows.filter(pl.col("value").is_not_nan())
    assert set(defined["metric"]) == {"no-box", *COMPLEXITY_METRICS}
    assert run.curves.filter(pl.col("id").str.ends_with("p3.png")).height == 0
    wide = run.by_method("iou", "yang2025")
    assert wide.filter(pl.col("id") == "cat/p3.png").select("cam", "random", FULL_BOX).row(
        0
    ) == pytest.approx((math.nan,) * 3, nan_ok=True)
    assert run.images.filter(id="cat/p3.png").select("instances", "share", "status").row(0) == (
        0,
        None,
        "ok",
    )


def test_every_sample_is_an_image(finished):
    run = runs.open_run(finished)
    assert run.images["id"].to_list() == list(open_data(run.settings.data, "all").ids)
    images = {r["id"]: r for r in run.images.to_dicts()}
    one = images["cat/p1.png"]  # 41 x 52, boxes 3,6..23,22 and 40,0..50,9
    assert (one["class"], one["truth"], one["height"], one["width"]) == ("cat", 0, 41, 52)
    assert (one["instances"], one["boxes"]) == (2, [3, 6, 23, 22, 40, 0, 50, 9])
    assert one["share"] == pytest.approx((20 * 16 + 10 * 9) / (41 * 52))
    for row in run.maps.filter(spec="cam", is_truth=True).to_dicts():
        assert images[row["id"]]["correct"] == (row["rank"] == 0)
        assert images[row["id"]]["predicted"] == row["predicted"]
    broken = images["owl/p2.png"]
    assert (broken["status"], broken["class"], broken["correct"], broken["boxes"]) == (
        "failed",
        "owl",
        None,
        None,
    )
    assert "owl/p2.png" in broken["message"]


@pytest.fixture
def several(settings, world, tmp_path):
    own = settings(methods=["cam"], protocols=["cam2016"], thresholds=5, target="truth")
    runs.evaluate(own, tmp_path / "several", data={"all": world.several()})
    return runs.open_run(tmp_path / "several")


def iou_of(run, name, target, spec=FULL_BOX):
    (row,) = run.scores.filter(id=name, target=target, spec=spec, metric="iou").to_dicts()
    return row["value"]


def test_each_class_is_judged_by_its_own_things(several):
    """Of the whole image: the share of the largest thing of that class, 40 x 60 pixels."""
    assert iou_of(several, "v0", 0) == pytest.approx(20 * 16 / 2400)  # a dog, not the person
    assert iou_of(several, "v0", 2) == pytest.approx(20 * 20 / 2400)
    assert iou_of(several, "v1", 0) == pytest.approx(
        24 * 26 / 2400
    )  # not the difficult one, not the cow
    assert iou_of(several, "v2", 1) == pytest.approx(25 * 24 / 2400)
    assert iou_of(several, "v7", 2) == pytest.approx(20 * 20 / 2400)  # not the head
    for name in ("v3", "v4", "v5"):  # a crowd, a difficult thing, nothing
        rows = several.scores.filter(id=name, metric="iou")
        assert len(rows) > 0
        assert rows["value"].is_nan().all()


def test_the_point_may_lie_on_a_difficult_thing(settings, world, tmp_path):
    regions = (Region(Box(0, 0, 2, 2), "dog"), Region(Box(28, 18, 32, 22), "dog", difficult=True))
    sample = Sample("a", Photo(world.picture(1)), None, "all", regions)
    data = {"all": Listing("a", "all", world.CLASSES, ["a"], [None], lambda i: sample)}
    runs.evaluate(settings(methods=["cam"]), tmp_path / "run", data=data)
    found = scores_of(runs.open_run(tmp_path / "run"), id="a", spec=FULL_BOX)
    assert found["pointing", "torchray-15px"] == 1.0
    assert found["iou", "box"] == pytest.approx(4 / 2400)


def test_difficult_trials_of_the_pointing_game_are_counted_twice(several):
    rows = several.scores.filter(metric="pointing", spec="full-box")
    for variant in ("torchray", "caffe", "square"):
        hard = rows.filter(protocol=f"{variant}-15px-difficult").select("id", "target", "value")
        assert set(hard.select("id", "target").rows()) == {("v0", 0), ("v0", 2)}
        plain = rows.filter(protocol=f"{variant}-15px", id="v0").select("id", "target", "value")
        assert hard.sort("target").equals(plain.sort("target"))


def test_masks_of_the_class_and_what_is_ignored(several):
    masks = {"dog": (4, 4, 24, 20), "person": (30, 10, 50, 30), "object": (4, 4, 50, 30)}
    areas = {name: (x1 - x0) * (y1 - y0) for name, (x0, y0, x1, y1) in masks.items()}
    rows = several.pixels.filter(id="v0", spec="cam").to_dicts()
    assert {(r["target"], r["mask"]) for r in rows} == {
        (0, "dog"),
        (0, "object"),
        (2, "person"),
        (2, "object"),
    }
    for row in rows:  # rows 30 to 40 are ignored, where no thing is
        assert (sum(row["inside"]), sum(row["outside"])) == (
            areas[row["mask"]],
            1800 - areas[row["mask"]],
        )
    (row,) = several.pixels.filter(
        id="v7", spec="cam"
    ).to_dicts()  # the border counts only where it is foreground
    assert (row["mask"], sum(row["inside"]), sum(row["outside"])) == ("person", 256, 2400 - 400)
    assert "mask:evidence" not in set(
        several.scores.filter(id="v7")["protocol"]
    )  # empty: it is not there


def test_damaged_annotations_are_told_and_stop_nothing(several):
    images = {r["id"]: r for r in several.images.to_dicts()}
    assert (images["v6"]["status"], images["v6"]["message"]) == (
        "failed",
        "the annotation of v6 is damaged",
    )
    assert (images["v8"]["status"], images["v8"]["message"]) == (
        "ok",
        "the masks of this image are damaged",
    )
    assert iou_of(several, "v8", 2) == pytest.approx(20 * 20 / 2400)
    assert images["v8"]["masks"] == []
    assert several.pixels.filter(id="v8").height == 0
    assert images["v0"]["instances"] == 3
    assert images["v3"]["instances"] == 0


def test_an_annotation_damaged_since_makes_scores_undefined(several, world, tmp_path):
    class Since(world.Several):
        def __call__(self, index):
            if index == 0:
                raise DataError("v0 was damaged since")
            return super().__call__(index)

    data = {"all": dataclasses.replace(world.several(), read=Since("all"))}
    runs.measure(several.place.address, data=data, thresholds=4)
    run = runs.open_run(several.place.address)
    rows = run.scores.filter(id="v0").drop_nans("value")
    assert set(rows["metric"]) == {"no-box", *COMPLEXITY_METRICS}
    (image,) = run.images.filter(id="v0").to_dicts()
    assert (image["status"], image["message"], image["instances"]) == (
        "ok",
        "v0 was damaged since",
        0,
    )
    assert iou_of(run, "v1", 0) == pytest.approx(24 * 26 / 2400)


# --- maps without a place to point at --------------------------------------------------------------------------------


def row_of(grid, status, **more):
    grid = np.asarray(grid, np.float32)
    return {
        "id": "a", "index": 0, "split": "all", "spec": "cam", "target": 0, "rank": 0, "is_truth": True, "method": "cam",
        "label": "dog", "status": status, "map": grid.ravel(), "height": grid.shape[0], "width": grid.shape[1],
        "source_height": 40, "source_width": 60, "region": [0, 0, 60, 40], "input_height": 32, "input_width": 32, **more,
    }  # fmt: skip


@pytest.fixture
def one(world):
    """One image with a dog of 20 x 24 pixels, box and mask."""
    reader = world.Masks({"object": (10, 8, 30, 32)})
    sample = Sample(
        "a",
        Photo(world.picture(1)),
        0,
        "all",
        (Region(Box(10, 8, 30, 32), "dog"),),
        mask_reader=reader,
    )
    return {"all": Listing("one", "all", world.CLASSES, ["a"], [0], lambda i: sample)}


FLAT = [
    ("zero", np.zeros((3, 4)), math.nan),
    ("constant", np.full((3, 4), 0.3), 0.2),
    ("constant", np.full((1, 1), 0.1), 0.2),
    ("constant", np.full((3, 4), -0.3), math.nan),
    ("nonfinite", [[1, np.inf], [0, 1]], math.nan),
    ("nonfinite", [[1, -np.inf], [0, 1]], math.nan),
    ("nonfinite", [[1, np.nan], [0, 1]], math.nan),
    ("nonfinite", [[np.nan]], math.nan),
]


@pytest.mark.parametrize(("status", "grid", "energy"), FLAT)
def test_a_flat_map_is_even_heat_to_the_last_digit(one, status, grid, energy):
    """Neither rounding nor an infinity ranks its pixels, and the measure stage lives."""
    measures = Measures(
        tuple(map(parse_protocol, PROTOCOLS)),
        ("min-max", "max"),
        10,
        ("caffe",),
        wsol=status == "nonfinite",
    )
    files = measure_part(frame_of([row_of(grid, status)], MAPS), one, measures)
    rows = from_bytes(files["scores"], "x").filter(spec="cam").to_dicts()
    found = {(r["metric"], r["protocol"]): r["value"] for r in rows}
    share = 480 / 2400
    for name in PROTOCOLS:
        assert (found["iou", name], found["no-box", name]) == (0.0, 1.0)
    close(found["energy", "boxes"], energy)
    close(found["enrichment", "boxes"], energy / share)
    close(found["relevance-mass", "mask:object"], energy)
    assert found["relevance-rank", "mask:object"] == pytest.approx(share, rel=1e-12)
    assert found["pixel-ap", "mask:object"] == pytest.approx(share, rel=1e-12)
    assert found["pointing", "caffe-15px"] == 0.0
    assert [found["box-coverage", f"delta={d}"] for d in ("0", "0.25", "0.5")] == [0.0] * 3
    curves = from_bytes(files["curves"], "x").filter(spec="cam", rule="min-max").to_dicts()
    assert curves[0]["iou"] == curves[0]["best"] == [0.0] * 10
    wsol = {"wsol"} if status == "nonfinite" else set()
    assert set(from_bytes(files["curves"], "x")["rule"]) == {"min-max", "max", "side"} | wsol


def test_a_flat_map_keeps_what_a_crop_never_saw(one):
    measures = Measures((parse_protocol("cam2016"),), ("min-max",), 4, ())
    row = row_of([[np.inf]], "nonfinite", region=[0, 0, 30, 40])
    files = measure_part(frame_of([row], MAPS), one, measures)
    found = from_bytes(files["pixels"], "x")
    assert found["spec"].to_list() == ["cam", SHUFFLED]
    for pixels in found.to_dicts():
        assert (pixels["inside"][0], pixels["outside"][0]) == (480, 30 * 40 - 480)


# --- the shuffled map ------------------------------------------------------------------------------------------------


def test_the_shuffled_row_scores_the_reference_with_its_cells_elsewhere(one):
    grid = np.arange(12, dtype=np.float32).reshape(3, 4)
    measures = Measures((parse_protocol("cam2016"),), ("min-max",), 4, ())
    rows = [row_of(grid[::-1], "ok") | {"spec": "first"}, row_of(grid, "ok") | {"spec": "second"}]
    place = shuffled_map(np.arange(12).reshape(3, 4), rows[0]["id"]).ravel()
    assert sorted(place) == list(range(12))
    assert list(place) != list(range(12))
    for reference, own in ((None, grid[::-1]), ("first", grid[::-1]), ("second", grid)):
        files = measure_part(frame_of(rows, MAPS), one, measures, reference=reference)
        shuffled = own.ravel()[place].reshape(3, 4)
        np.testing.assert_array_equal(shuffled, shuffled_map(own, rows[0]["id"]))
        alone = [row_of(shuffled, "ok") | {"spec": SHUFFLED}]
        expected = measure_part(frame_of(alone, MAPS), one, measures)
        for table in ("scores", "boxes", "curves", "pixels"):
            found = from_bytes(files[table], "x").filter(spec=SHUFFLED)
            assert len(found) > 0
            assert found.equals(from_bytes(expected[table], "x").filter(spec=SHUFFLED))
    without = measure_part(frame_of(rows, MAPS), one, measures, trivial=False)
    assert SHUFFLED not in from_bytes(without["scores"], "x")["spec"].to_list()


def test_another_image_is_shuffled_otherwise():
    grid = np.arange(49).reshape(7, 7)
    one, two = shuffled_map(grid, "a"), shuffled_map(grid, "b")
    assert (one == shuffled_map(grid, "a")).all()
    assert (one != two).any()


def test_complexity_is_that_of_the_grid_and_of_the_heatmap(one):
    grid = np.array([[0.0, 1.0], [2.0, -5.0]], np.float32)
    measures = Measures((), (), 0, ())
    row = row_of(grid, "ok", region=[0, 0, 30, 40])
    files = measure_part(frame_of([row], MAPS), one, measures, trivial=False)
    found = {(r["metric"], r["protocol"]): r["value"] for r in from_bytes(files["scores"], "x").to_dicts()}  # fmt: skip
    frame = Frame(
        (row["source_height"], row["source_width"]),
        Box(0, 0, 30, 40),
        (row["input_height"], row["input_width"]),
    )
    heat = frame.map_to_source(grid)
    seen = ~np.isnan(heat)
    assert not seen.all()
    for name, metric in COMPLEXITY_METRICS.items():
        close(found[name, "map"], metric(grid))
        close(found[name, "image"], metric(heat, seen=seen))


# --- the right data --------------------------------------------------------------------------------------------------


def test_another_copy_of_the_data_is_refused(finished, photos):
    data = {"all": open_data(f"folder:{photos}", "all")}
    maps = runs.open_run(finished).maps
    measures = measures_of(runs.open_run(finished).settings)
    measure_part(maps, data, measures)
    (photos / "cat/p1.png").unlink()
    shifted = {"all": open_data(f"folder:{photos}", "all")}
    message = 'has no "cat/p1.png" at place 1: the maps were made of another copy; give its folder with --root'
    with pytest.raises(DataError, match=message):
        measure_part(maps, shifted, measures)
    with pytest.raises(DataError, match='has no "a" at place 99'):
        sample_of(shifted["all"], {"id": "a", "index": 99, "split": "all"})


def test_every_image_is_told(finished):
    run, told = runs.open_run(finished), []
    data = {"all": open_data(run.settings.data, "all")}
    measure_part(run.maps, data, measures_of(run.settings), tell=told.append)
    assert told == [1] * 12


def test_settings_say_what_is_measured(settings):
    own = measures_of(
        settings(
            protocols=["cam2016:threshold=0.3"],
            rules=["max"],
            thresholds=7,
            pointing=["caffe"],
            wsol=True,
        )
    )
    assert own == Measures(
        (parse_protocol("cam2016:threshold=0.3"),), ("max",), 7, ("caffe",), wsol=True
    )
