import numpy as np
import polars as pl
import pytest

from saliscope.report.chapters.beyond import EDGES, beyond_section, size_bins
from saliscope.report.chapters.classes import classes_section
from saliscope.report.chapters.evidence import counted, describe, evidence_of, listed, say
from saliscope.report.chapters.layers import layers_section
from saliscope.report.chapters.predictions import predictions_section
from saliscope.report.chapters.scores import scores_section
from saliscope.report.chapters.statuses import statuses_section
from saliscope.report.chapters.thresholds import thresholds_section
from saliscope.report.chapters.trainings import trainings_section
from saliscope.report.study.together import Method, study_of
from saliscope.runs.tables import to_bytes
from saliscope.stats import Interval, by_class, mean_interval


def evidence(*runs, primary=None):
    return evidence_of(study_of(list(runs), replicates=200), primary)


def table(section, name):
    return next(t for t in section.tables if t.name == name)


def row(section, name, **values):
    return next(
        r for r in table(section, name).rows if all(r.get(k) == v for k, v in values.items())
    )


def truth(run):
    """What is known of each image, in order: its place, rank and share."""
    rows = run.scores.filter(spec="cam", metric="energy", is_truth=True, split="test").sort("index")
    return rows.join(
        run.images.filter(split="test").select("index", "share", "class", "correct"), on="index"
    )


# What boxes cannot see


def test_size_bins_are_half_open():
    share = np.array([0.0, 0.1999, 0.2, 0.4, 0.5999, 0.6, 0.8, 1.0, np.nan])
    found = size_bins(share)
    expected = [np.nan if np.isnan(s) else sum(s >= e for e in EDGES) for s in share.tolist()]
    np.testing.assert_array_equal(found, expected)


def test_scores_by_the_size_of_objects(make_run):
    run = make_run(n=60)
    found = evidence(run)
    section = beyond_section(found)
    share = truth(run)["share"].to_numpy()
    for name, values in (
        ("cam", run.by_method("iou", "yang2025")["cam"].to_numpy()),
        ("full-image box", share),
    ):
        one = row(section, "iou-by-size", method=name)
        for b, (low, high) in enumerate([(0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 2)]):
            own = [v for v, s in zip(values, share, strict=True) if low <= s < high]
            if own:
                assert one[f"bin{b}"] == pytest.approx(np.mean(own))
                assert one[f"n{b}"] == len(own)
            else:
                assert one[f"bin{b}"] is None
    assert row(section, "iou-by-size", method="centred box")["trivial"]
    assert "full-image box" in section.lead
    assert "centred box" in section.lead


def test_heat_is_shown_with_even_heat_and_masks(make_run):
    section = beyond_section(evidence(make_run(n=20, masks=("body", "evidence"))))
    even = row(section, "heat", method="full-image box")
    assert (even["enrichment@boxes"], even["enrichment@boxes_low"]) == (1.0, 1.0)
    keys = [c.key for c in table(section, "heat").columns]
    assert keys[:3] == ["method", "enrichment@boxes", "energy@boxes"]
    assert keys.index("relevance-mass@mask:evidence") < keys.index("relevance-mass@mask:body")
    assert sum(k.startswith("pointing@") for k in keys) == 3


def test_sizes_of_another_primary_score_are_of_the_first_box_protocol(make_run):
    run = make_run(n=30)
    section = beyond_section(evidence(run, primary="energy@boxes"))
    assert table(section, "iou-by-size").title == "Mean IoU (yang2025) by the size of the objects"


# Thresholds


def test_thresholds_chosen_elsewhere_stand_beside_oracles(make_run):
    run = make_run(n={"test": 24, "val": 12}, tune="val", rules=["min-max", "max"], wsol=True)
    section = thresholds_section(evidence(run))
    assert [t.name for t in section.tables] == [
        "thresholds-min-max", "max-box-acc-min-max", "thresholds-max", "max-box-acc-max", "thresholds-wsol", "max-box-acc-wsol",
    ]  # fmt: skip
    one = row(section, "thresholds-min-max", method="cam")
    assert one["lost"] == pytest.approx(one["oracle"] - one["tuned"])
    assert one["lost"] >= 0
    assert section.warnings == ()
    assert row(section, "max-box-acc-min-max", method="cam")["boxes"] >= 1
    assert [c.name for c in section.charts] == [
        "thresholds-min-max",
        "thresholds-max",
        "thresholds-wsol",
    ]


def test_without_a_sweep_the_curves_by_wsol_are_still_there(make_run):
    run = make_run(n=12, thresholds=0, wsol=True)
    section = thresholds_section(evidence(run, primary="iou@yang2025"))
    assert [t.name for t in section.tables] == ["thresholds-wsol", "max-box-acc-wsol"]
    assert 0 < row(section, "max-box-acc-wsol", method="cam")["v2"] <= 1


def test_without_tuning_images_thresholds_are_oracles(make_run):
    section = thresholds_section(evidence(make_run(n=12)))
    assert section.warnings[0].startswith("No split for tuning was given")
    assert "tuned" not in [c.key for c in table(section, "thresholds-min-max").columns]


def test_pixels_of_masks_have_their_own_table(make_run):
    section = thresholds_section(evidence(make_run(n=12, masks=("body",))))
    assert [c.key for c in table(section, "pxap").columns] == ["method", "body"]
    assert 0 < row(section, "pxap", method="edges")["body"] < 1


def test_nothing_swept_is_no_chapter(make_run):
    run = make_run(n=6, trivial=False, thresholds=0)
    assert thresholds_section(evidence(run)) is None


# All scores


def test_each_protocol_has_its_table(make_run):
    run = make_run(
        n={"test": 30, "val": 10},
        tune="val",
        masks=("body",),
        protocols=["yang2025", "cam2016:threshold=0.3"],
    )
    section = scores_section(evidence(run))
    assert [t.name for t in section.tables] == [
        "boxes-yang2025", "boxes-cam2016-threshold-0.3", "boxes-chosen", "heat-in-boxes", "mask-body", "complexity-image", "complexity-map",
        "classification", "all-scores",
    ]  # fmt: skip
    assert [c.heading for c in table(section, "boxes-yang2025").columns] == [
        "method", "mean IoU", "mean IoU with the union of boxes", "GT-known localisation", "top-1 localisation error",
        "top-5 localisation error", "images without a box",
    ]  # fmt: skip
    better = {c.key: c.better for c in table(section, "boxes-yang2025").columns}
    assert better["top-1@yang2025"] == "lower"
    assert better["iou@yang2025"] == "higher"


def test_classification_errors_are_of_the_network(make_run):
    run = make_run(n=40, wrong=0.5)
    ranks = truth(run)["rank"].to_numpy()
    one = row(scores_section(evidence(run)), "classification", n=40)
    assert one["top-1"] == np.mean(ranks >= 1)
    assert one["top-5"] == np.mean(ranks >= 5)


def test_predicted_maps_know_only_the_first_error(make_run):
    run = make_run(n=40, wrong=0.5, target="predicted")
    (one,) = table(scores_section(evidence(run)), "classification").rows
    assert one["top-1"] == pytest.approx(1 - run.images["correct"].mean())
    assert "top-5" not in one


# Layers


def test_layers_stand_in_the_order_of_depth(make_run):
    methods = ("cam", "grad-cam@layer4", "grad-cam@layer2", "grad-cam@layer10", "grad-cam@layer1")
    section = layers_section(evidence(make_run(n=10, methods=methods)))
    found = [(r["layer"], r["grid"]) for r in table(section, "layers").rows]
    assert found == [
        ("layer1", "56 × 56"),
        ("layer2", "28 × 28"),
        ("layer4", "7 × 7"),
        ("layer10", "7 × 7"),
    ]
    one = row(section, "layers", layer="layer2")
    assert (
        one["primary"]
        == evidence(make_run("b", n=10, methods=methods)).estimate("grad-cam@layer2").estimate
    )


def test_one_layer_is_no_progression(make_run):
    assert layers_section(evidence(make_run(n=5))) is None


def test_methods_of_several_runs_have_lines_of_their_own(make_run):
    methods = ("grad-cam@layer3", "grad-cam@layer4")
    runs = [make_run(n, n=5, methods=methods, data=n) for n in ("x", "y")]
    rows = table(layers_section(evidence(*runs)), "layers").rows
    assert [r["kind"] for r in rows] == [
        "x · grad-cam",
        "x · grad-cam",
        "y · grad-cam",
        "y · grad-cam",
    ]


# Classes


def test_dispersion_is_that_of_the_class_means(make_run):
    run = make_run(n=60, classes=6)
    section = classes_section(evidence(run))
    values = run.by_method("iou", "yang2025")["cam"].to_numpy()
    expected = by_class(values, truth(run)["class"].to_numpy(), replicates=200)
    one = row(section, "dispersion", method="cam")
    assert one["macro"] == pytest.approx(expected.macro.estimate)
    assert (one["macro_low"], one["macro_high"]) == pytest.approx(
        (expected.macro.low, expected.macro.high)
    )
    assert (one["spread"], one["excess"]) == pytest.approx((expected.spread, expected.excess))
    assert one["worst"] == f"{expected.worst(1)[0].name} ({expected.worst(1)[0].mean:.3f})"
    every = row(section, "classes", **{"class": "class 3"})
    own = truth(run)["class"].to_numpy() == "class 3"
    assert every["cam"] == pytest.approx(values[own].mean())
    assert every["accuracy"] == pytest.approx(truth(run)["correct"].to_numpy()[own].mean())


def test_heat_outside_names_the_class(make_run):
    energy = np.full(80, 0.9) + 0.01 * np.sin(np.arange(80))
    energy[np.arange(80) % 4 == 1] -= 0.5
    values = {(m, "energy", "boxes"): energy for m in ("cam", "grad-cam@layer4")}
    section = classes_section(evidence(make_run(n=80, values=values)))
    assert "1 class with more heat of" in section.lead
    assert "outside the boxes than their size explains: class 1 (0.60" in section.lead
    assert table(section, "heat-outside").rows[0]["class"] == "class 1"
    assert table(section, "heat-outside").rows[0]["stands_out"]


def test_one_class_is_no_chapter(make_run):
    assert classes_section(evidence(make_run(n=6, classes=1))) is None


def test_images_of_several_classes_are_taken_apart(make_run):
    section = classes_section(evidence(make_run(n=8, several=3, classes=5)))
    assert sum(r["n"] for r in table(section, "classes").rows) == 24


# Right and wrong


def test_right_and_wrong_predictions_are_apart(make_run):
    run = make_run(n=50, wrong=0.4)
    section = predictions_section(evidence(run))
    values, right = (
        run.by_method("iou", "yang2025")["cam"].to_numpy(),
        truth(run)["correct"].to_numpy(),
    )
    one = row(section, "right-wrong", method="cam")
    assert one["right"] == pytest.approx(values[right].mean())
    assert one["wrong"] == pytest.approx(values[~right].mean())
    assert one["difference"] == pytest.approx(values[right].mean() - values[~right].mean())
    assert (one["n_right"], one["n_wrong"]) == (right.sum(), (~right).sum())
    assert one["difference_low"] < one["difference"] < one["difference_high"]


def test_confusions_are_counted(make_run):
    run = make_run(n=80, wrong=0.5)
    wrong = run.images.filter(~pl.col("correct"))
    section = predictions_section(evidence(run))
    rows = table(section, "confusions").rows
    assert sum(r["count"] for r in rows) == len(wrong)
    first = rows[0]
    own = wrong.filter(pl.col("class") == first["class"])
    assert first["count"] == len(own)
    assert first["predicted"] == f"class {(int(first['class'][-1]) + 1) % 4}"
    assert first["of"] == 20
    lead = run.by_method("iou", "yang2025").join(own.select("id"), on="id", how="semi")
    name = evidence(run).lead.name
    assert first["score"] == pytest.approx(lead[name].mean())


def test_maps_of_the_predicted_class_stand_beside_those_of_the_true_one(make_run):
    run = make_run(n=40, wrong=0.5, target="both")
    section = predictions_section(evidence(run))
    one = row(section, "predicted-maps", method="cam")
    two = run.by_method("iou", "yang2025", target="predicted").join(
        run.by_method("iou", "yang2025"), on="id", suffix="_truth"
    )
    two = two.filter(pl.col("target") != pl.col("target_truth"))
    assert one["n"] == len(two) > 5
    assert one["iou@yang2025 predicted"] == pytest.approx(two["cam"].mean())
    assert one["iou@yang2025 truth"] == pytest.approx(two["cam_truth"].mean())
    assert one["iou@yang2025 difference"] == pytest.approx((two["cam"] - two["cam_truth"]).mean())


def test_without_single_classes_nothing_is_right_or_wrong(make_run):
    assert predictions_section(evidence(make_run(n=5, several=2))) is None


# Statuses


def test_statuses_and_failures_are_listed(make_run):
    run = make_run(
        n=6,
        failed=("a.jpg", "b.jpg"),
        statuses={"cam": ["zero", "constant", "ok", "ok", "ok", "saturated"]},
    )
    section = statuses_section(evidence(run))
    one = row(section, "statuses", method="cam")
    assert (one["maps"], one["ok"], one["zero"], one["constant"], one["saturated"]) == (
        6,
        3,
        1,
        1,
        1,
    )
    assert [(r["id"], r["what"]) for r in table(section, "failed").rows] == [
        ("a.jpg", "not explained"),
        ("b.jpg", "not explained"),
    ]
    assert section.lead.startswith(
        "2 samples failed or could not be judged. 1 method with maps that are not ok"
    )


def test_no_boxes_are_counted_by_protocol(make_run):
    none = np.array([1.0, 0, 1, 0, 0])
    section = statuses_section(evidence(make_run(n=5, values={("cam", "no-box", "cam2016"): none})))
    assert row(section, "statuses", method="cam")["cam2016"] == 2
    assert section.lead == "No sample failed. Every map is ok."


def test_annotations_that_cannot_be_read_are_told(make_run):
    run = make_run(n=4)
    images = run.images.with_columns(
        message=pl.when(pl.col("index") == 2).then(pl.lit("no such mask")).otherwise(None)
    )
    run.place.write(f"images/part-0000.{run.record.measured}.parquet", to_bytes(images))
    section = statuses_section(evidence(type(run)(run.place.address)))
    assert table(section, "failed").rows[0]["what"] == "not judged"


def test_runs_that_are_no_trainings_have_no_such_chapter(make_run):
    assert trainings_section(evidence(make_run(n=4))) is None


# Words


def test_words():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed("abcdef", 3) == "a, b and 4 more"
    assert counted(1, "image") == "1 image"
    assert counted(8580, "image") == "8,580 images"
    assert counted(2, "class", "classes") == "2 classes"
    assert say(Interval(0.5, 0.25, 1.0, 3), 2) == "0.50 [0.25, 1.00]"
    box = Method("vgg · centred box", "centre-box", (1,), trivial=True)
    assert (
        describe(box, {box.name: "side 0.53, 0.7, oracle"})
        == "a centred box of 53 and 70 % of each side (oracle) (vgg)"
    )


def test_the_lead_is_the_best_method(make_run):
    values = {("cam", "top", "x"): None}
    found = evidence(make_run(n=20, quality={"cam": 0.2, "grad-cam@layer4": 0.9}, values=values))
    assert found.lead.name == "grad-cam@layer4"
    worse = evidence(
        make_run("b", n=20, quality={"cam": 0.2, "grad-cam@layer4": 0.9}), primary="top-1@cam2016"
    )
    assert worse.lead.name == "grad-cam@layer4"
    own = mean_interval(worse.primary.scored.values["grad-cam@layer4"])
    assert worse.estimate("grad-cam@layer4").estimate == pytest.approx(own.estimate)
