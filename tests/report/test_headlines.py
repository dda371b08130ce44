"""What the first sentence and the warnings of a report say of runs that differ, and of few images."""

import numpy as np
import polars as pl
import pytest

from saliscope.report.findings import findings
from saliscope.runs.tables import to_bytes

BASE = np.linspace(0.3, 0.7, 40)


def report(*runs, **options):
    return findings(list(runs), replicates=200, **options)


def row(found, name, **values):
    every = next(t for s in found.sections for t in s.tables if t.name == name).rows
    return next(r for r in every if all(r.get(k) == v for k, v in values.items()))


def section(found, key):
    return next(s for s in found.sections if s.key == key)


def scores(values, other=None, protocol="yang2025"):
    two = values if other is None else other
    return {
        ("cam", "iou", protocol): values,
        ("grad-cam@layer4", "iou", protocol): two,
    }


# Runs of different images


def test_runs_that_share_no_images_are_not_ranked(make_run):
    one = make_run("a", n=12, values=scores(np.full(12, 0.5), np.full(12, 0.25)))
    two = make_run("b", n=8, split="val", data_seed=1, values=scores(np.full(8, 0.75)))
    found = report(one, two)
    assert found.answer.startswith(
        "Primary endpoint mean IoU (yang2025), declared before the run: test · cam has 0.500 over 12 images, "
        "test · grad-cam@layer4 has 0.250 over 12 images, val · cam has 0.750 over 8 images and val · grad-cam@layer4 has 0.750 over "
        "8 images; the runs share no images, so they are not ranked. After Holm correction, test · grad-cam@layer4 is worse than test · cam; "
        "val · cam and val · grad-cam@layer4 have no image in common with test · cam."
    )
    assert all(chart.draw() is not None for s in found.sections for chart in s.charts)


def test_runs_of_wholly_different_data_make_a_report(make_run):
    one = make_run("a", n=6, trivial=False)
    none = {("cam", "energy", "boxes"): np.full(8, np.nan)}
    two = make_run(
        "b", n=8, split="val", classes=3, trivial=False, data="other", methods=("cam",), values=none,
        images={"share": None},
    )  # fmt: skip
    found = report(one, two)
    assert "the runs share no images, so they are not ranked" in found.answer
    assert row(found, "main", method="other · cam")["n"] == 8
    assert all(chart.draw() is not None for s in found.sections for chart in s.charts)


def test_methods_are_ranked_on_the_images_they_share(make_run):
    more = np.concatenate([BASE[:30] - 0.1, np.full(10, 1.0)])
    one = make_run("a", n=30, values=scores(BASE[:30], BASE[:30] - 0.2))
    two = make_run("b", n=40, values=scores(more, BASE - 0.3))
    found = report(one, two)
    best = BASE[:30].mean()
    assert row(found, "main", method="b · cam")["value"] == pytest.approx(more.mean())
    assert more.mean() > best
    assert f"a · cam has the highest of 4 methods, {best:.3f} [" in found.answer
    assert "over the 30 images they share. After" in found.answer
    assert [row(found, "main", method=f"{run} · cam")["n"] for run in "ab"] == [30, 40]


def test_the_interval_of_the_first_is_that_of_the_shared_images(make_run):
    more = np.concatenate([np.full(30, 0.6), np.full(10, 0.1)])
    one = make_run("a", n=30, values=scores(np.full(30, 0.5)))
    two = make_run("b", n=40, values=scores(more, np.full(40, 0.2)))
    found = report(one, two)
    assert "b · cam has the highest of 4 methods, 0.600 [0.600, 0.600], over the 30" in found.answer
    assert "b · cam is better than a · cam" in found.answer
    said = next(w for w in found.warnings if "in common" in w)
    assert said == (
        "a and b have 30 of 30 and 40 images in common: only these are ranked and compared, and each mean in the table is over its own."
    )


def test_methods_that_are_equal_on_shared_images_share_the_first_place(make_run):
    more = np.concatenate([BASE[:30], np.full(10, 1.0)])
    one = make_run("a", n=30, values=scores(BASE[:30], BASE[:30] / 2))
    two = make_run("b", n=40, values=scores(more, more / 2))
    found = report(one, two)
    assert "a · cam and b · cam share the highest of 4 methods, " in found.answer
    assert "b · cam is identical to a · cam" in found.answer


def test_undefined_scores_are_left_out_of_the_ranking_of_one_run(make_run):
    two = BASE - 0.1
    two[:20] = np.nan
    one = BASE.copy()
    one[20:] = 0.4
    found = report(make_run(n=40, values=scores(one, two)))
    assert f"grad-cam@layer4 has the highest of 2 methods, {two[20:].mean():.3f} [" in found.answer
    assert "over the 20 images where all are defined." in found.answer


def test_oracle_thresholds_are_ranked_on_shared_images(make_run):
    curve = np.zeros((40, 50), np.float32)
    curve[:30, 10], curve[30:, 20] = 0.5, 1.0
    curves = {(m, "min-max", "iou"): curve for m in ("cam", "grad-cam@layer4")}
    one = {k: v[:30] + np.float32(0.1) * (v[:30] > 0) for k, v in curves.items()}
    found = report(
        make_run("a", n=30, curves=one, primary="iou@chosen"),
        make_run("b", n=40, curves=curves, primary="iou@chosen"),
    )
    said = "a · cam and a · grad-cam@layer4 share the highest of 4 methods, 0.600 ["
    assert said in found.answer


# Few images


def test_few_images_have_no_verdict(make_run):
    values = scores(np.array([0.9, 0.8]), np.array([0.2, 0.1]))
    values |= {("full-box", "iou", "box"): np.array([0.01, 0.02])}
    found = report(make_run(n=2, values=values))
    assert found.answer.startswith(
        "Primary endpoint mean IoU (yang2025), declared before the run: cam 0.850 and grad-cam@layer4 0.150 over 2 images, "
        "too few to tell methods apart. With no network at all, "
    )
    assert found.answer.endswith("; so few images cannot say whether a method is better.")
    assert found.warnings[0] == "Only 2 images: no interval, and nothing can be told apart."
    assert "clearly" not in " ".join([found.answer, *found.warnings])
    one = row(found, "main", method="grad-cam@layer4")
    assert (one["value"], one["verdict"]) == (pytest.approx(0.15), "too few images")
    assert np.isnan([one["value_low"], one["difference_high"], one["gain_low"]]).all()
    assert all(chart.draw() is not None for s in found.sections for chart in s.charts)


def test_few_images_with_several_classes_have_no_verdict(make_run):
    found = report(make_run(n=3, several=3, classes=5))
    assert found.warnings[0] == "Only 3 images: no interval, and nothing can be told apart."
    assert "over 9 images and classes, too few to tell methods apart" in found.answer
    assert np.isnan(row(found, "main", method="cam")["value_low"])


def test_five_images_have_intervals(make_run):
    found = report(make_run(n=5))
    one = row(found, "main", method="cam")
    assert one["value_low"] <= one["value"] <= one["value_high"]
    assert not any(w.startswith("Only") for w in found.warnings)


def test_few_shared_images_are_no_ranking(make_run):
    found = report(make_run("a", n=3), make_run("b", n=40))
    assert "over the 3 images they share, too few to tell methods apart." in found.answer
    assert row(found, "main", method="b · cam")["value_low"] > 0
    assert "Only 3 images that all methods have: no interval over them, and no ranking." in (
        found.warnings
    )


def test_trainings_on_few_images_have_no_interval_over_images(make_run):
    runs = [make_run(f"s{i}", n=4, seed=i, resolved={"model": f"resnet50 (s{i})"}) for i in (0, 1)]
    one = row(report(*runs), "trainings", method="cam")
    means = [run.by_method("iou", "yang2025")["cam"].mean() for run in runs]
    assert one["both"] == pytest.approx(np.mean(means))
    assert np.isnan([one["both_low"], one["images_high"]]).all()
    assert one["trainings_low"] < one["both"] < one["trainings_high"]


# What is in no score, and what is not finished


def test_images_in_no_score_are_told(make_run):
    run = make_run(n=3, failed=("x.jpg", "y.jpg"))
    rows = run.scores.with_columns(
        value=pl.when(pl.col("index") == 1).then(np.nan).otherwise("value")
    )
    run.place.write(f"scores/part-0000.{run.record.measured}.parquet", to_bytes(rows))
    bare = pl.col("index") == 1
    images = run.images.with_columns(
        instances=pl.when(bare).then(0).otherwise("instances").cast(pl.Int32),
        share=pl.when(bare).then(None).otherwise("share").cast(run.images.schema["share"]),
    ).cast({"instances": run.images.schema["instances"]})
    run.place.write(f"images/part-0000.{run.record.measured}.parquet", to_bytes(images))
    found = report(type(run)(run.place.address), primary="energy@boxes")
    assert found.warnings[0] == "3 of 5 images are in no score (2 failed, 1 without annotation)."
    assert section(found, "statuses").warnings[0] == found.warnings[0]


def test_unfinished_runs_come_first(make_run):
    run = make_run(n=12, failed=("x.jpg",))
    run.record.selected["test"] = 20
    found = report(run)
    assert found.warnings[0].startswith("7 selected images not explained yet")
    assert found.warnings[1] == "1 of 13 images is in no score (1 failed)."


# Primary scores


def test_a_run_without_the_primary_score_is_named(make_run):
    one = make_run("a", n=12, data="x", primary="iou@cam2016")
    two = make_run("b", n=12, data="y", protocols=["yang2025"])
    found = report(one, two)
    assert "Run y has no iou@cam2016: its methods are not ranked." in found.warnings
    assert "of 2 methods" in found.answer


def test_what_not_all_runs_declared_is_not_called_declared(make_run):
    one = make_run("a", n=12, data="x", primary="iou@cam2016")
    two = make_run("b", n=12, data="y")
    found = report(one, two)
    assert found.answer.startswith(
        "Primary endpoint mean IoU (cam2016), declared before the run by x only: "
    )
    assert (
        "The runs declared different primary scores (x iou@cam2016, y iou@yang2025); that of the first is shown."
        in found.warnings
    )


def test_a_score_named_by_its_metric_alone_is_the_same(make_run):
    one = make_run("a", n=12, data="x", primary="energy@boxes")
    found = report(one, make_run("b", n=12, data="y", primary="energy"))
    assert "heat inside the boxes, declared before the run: " in found.answer
    assert not any("declared different" in w for w in found.warnings)


# Words


def test_the_subject_stands_first(make_run):
    names = [f"grad-cam@{letter}" for letter in "abcd"]
    wave = np.sin(np.arange(40))
    given = {
        "cam": BASE, names[0]: BASE - 0.1, names[1]: BASE + 0.2 * wave, names[2]: BASE + 0.25 * wave,
        names[3]: BASE + 0.0001 * wave,
    }  # fmt: skip
    values = {(spec, "iou", "yang2025"): v for spec, v in given.items()}
    found = report(make_run(n=40, methods=("cam", *names), values=values))
    assert (
        "After Holm correction, grad-cam@a is worse than cam; equal to cam within ±0.01: grad-cam@d; "
        "grad-cam@b and grad-cam@c cannot be told apart from cam." in found.answer
    )


def test_classes_keep_within_the_score(make_run):
    values = scores(np.tile([0.0, 1.0, 0.0], 4)[:12])
    found = report(make_run(n=12, classes=4, values=values))
    (chart,) = [c for c in section(found, "classes").charts if c.name == "classes"]
    low, high = chart.draw().axes[1].get_xlim()
    assert -0.1 < low < high < 1.1


def test_thresholds_name_no_highest_of_different_images(make_run):
    runs = make_run("a", n=10), make_run("b", n=14)
    assert "highest" not in section(report(*runs), "thresholds").lead
    assert "highest" in section(report(runs[0]), "thresholds").lead


def test_notes_speak_of_columns_that_are_there(make_run):
    found = report(make_run(n={"test": 8, "val": 6}, tune="val"))
    tables = {t.name: t for t in section(found, "scores").tables}
    chosen = tables["boxes-chosen"]
    assert chosen.title == "Boxes at thresholds chosen by tuning"
    assert chosen.note.startswith("GT-known: ")
    assert "op-1" not in chosen.note
    assert "Top-1 and top-5" in tables["boxes-yang2025"].note
    sizes = next(t for t in section(found, "beyond").tables if t.name == "iou-by-size")
    assert all(c.heading.count(" ") == 1 for c in sizes.columns[1:])
