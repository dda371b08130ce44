import numpy as np
import pytest

from saliscope.errors import OptionError
from saliscope.report.findings import findings

BASE = np.linspace(0.3, 0.7, 40)
LOW = {
    **{(s, "iou", "cam2016"): BASE / 2 for s in ("random", "centre", "edges")},
    ("full-box", "iou", "box"): BASE / 2,
    ("cam", "iou", "cam2016"): BASE,
    ("grad-cam@layer4", "iou", "cam2016"): BASE + 0.1,
}
SMALL = np.tile(np.linspace(0.05, 0.25, 100, dtype=np.float32), (40, 1))


def report(run, **options):
    return findings([run] if not isinstance(run, list) else run, replicates=200, **options)


def table(found, name):
    return next(t for s in found.sections for t in s.tables if t.name == name)


def section(found, key):
    return next(s for s in found.sections if s.key == key)


def row(found, name, **values):
    return next(r for r in table(found, name).rows if all(r.get(k) == v for k, v in values.items()))


def test_the_answer_stands_first(make_run):
    run = make_run(
        n={"test": 40, "val": 20}, tune="val", values=LOW, primary="iou@cam2016",
        curves={("centre-box", "side", "iou"): SMALL},
    )  # fmt: skip
    found = report(run)
    low, high = (
        row(found, "main", method="grad-cam@layer4")[f"value_{k}"] for k in ("low", "high")
    )
    box = row(found, "main", method="full-image box")
    centred = row(found, "main", method="centred box")
    best = max((box, centred), key=lambda r: r["value"])
    assert best["method"] == "full-image box"
    assert found.answer == (
        f"Primary endpoint mean IoU (cam2016), declared before the run: grad-cam@layer4 has the highest of 2 methods, 0.600 [{low:.3f}, {high:.3f}], "
        "over 40 images. After Holm correction, grad-cam@layer4 is better than cam. "
        f"With no network at all, random heat has 0.250 [{box['value_low']:.3f}, {box['value_high']:.3f}]; every method is clearly better."
    )
    assert found.warnings == ()
    assert found.title == "resnet50 (pretrained) on made, test"
    assert [s.key for s in found.sections] == [
        "answer", "beyond", "thresholds", "scores", "classes", "predictions", "statuses", "provenance",
    ]  # fmt: skip


def test_a_box_without_a_network_that_is_not_beaten_is_warned_of(make_run):
    values = LOW | {("full-box", "iou", "box"): BASE + 0.095}
    run = make_run(
        n=40,
        values=values,
        primary="iou@cam2016",
        curves={("centre-box", "side", "iou"): SMALL},
        tune="val",
    )
    found = report(run)
    full = row(found, "main", method="full-image box")
    said = f"0.595 [{full['value_low']:.3f}, {full['value_high']:.3f}]"
    assert found.warnings == (
        f"With no network at all, by mean IoU (cam2016): the box of the full image {said}. No method is clearly better: "
        "grad-cam@layer4 (0.600) and cam (0.500).",
    )
    assert found.answer.endswith(
        f"With no network at all, the box of the full image has {said}: no method is clearly better."
    )
    assert found.sections[0].warnings == found.warnings
    assert row(found, "main", method="cam")["gain"] == pytest.approx(-0.095)


def test_better_by_less_than_the_margin_is_not_clearly_better(make_run):
    values = LOW | {("full-box", "iou", "box"): BASE + 0.07}
    options = {
        "values": values,
        "primary": "iou@cam2016",
        "curves": {("centre-box", "side", "iou"): SMALL},
        "tune": "val",
    }
    assert "clearly better: grad-cam@layer4" in report(make_run("a", n=40, **options)).answer
    strict = report(make_run("b", n=40, margin=0.05, **options))
    assert "no method is clearly better" in strict.answer


def test_the_centred_box_is_named_with_its_size(make_run):
    curve = np.zeros((40, 100), np.float32)
    curve[:, 84] = 0.62
    run = make_run(
        n=40, values=LOW, primary="iou@cam2016", curves={("centre-box", "side", "iou"): curve}
    )
    found = report(run)
    assert found.warnings[0] == (
        "With no network at all, by mean IoU (cam2016): a centred box of 85 % of each side (oracle) 0.620 [0.620, 0.620]. No method is "
        "clearly better: grad-cam@layer4 (0.600) and cam (0.500)."
    )
    assert found.warnings[1].startswith(
        "The side of the centred box is an oracle, chosen on the reported images"
    )
    assert row(found, "main", method="centred box")["threshold"] == "side 0.85, oracle"


def test_a_score_named_afterwards_is_said_to_be(make_run):
    found = report(make_run(n=20), primary="enrichment@boxes")
    assert found.answer.startswith("Endpoint enrichment, chosen after the run: ")
    assert any(
        w.startswith(
            "The primary score enrichment@boxes was chosen after the run, when its results could be seen; declared was iou@yang2025."
        )
        for w in found.warnings
    )
    assert found.provenance["commands"][-1].endswith(" --primary enrichment@boxes")


def test_an_oracle_says_so(make_run):
    found = report(make_run(n=20, primary="iou@chosen"))
    assert "mean IoU (oracle threshold)" in found.answer
    assert any(
        w.startswith("These are oracle thresholds: each was chosen on the very images")
        for w in found.warnings
    )
    by_definition = report(make_run("b", n=20, tune="val", primary="max-box-acc-v2@min-max"))
    assert any("is an oracle by definition" in w for w in by_definition.warnings)


def test_identical_methods_are_no_difference(make_run):
    values = {("grad-cam@layer4", "iou", "yang2025"): BASE, ("cam", "iou", "yang2025"): BASE}
    found = report(make_run(n=40, values=values))
    assert "grad-cam@layer4 is identical to cam" in found.answer
    assert "cam and grad-cam@layer4 have the same, 0.500 [" in found.answer
    assert row(found, "main", method="grad-cam@layer4")["identical"]
    assert row(found, "main", method="grad-cam@layer4")["p"] is None
    assert row(found, "main", method="grad-cam@layer4")["verdict"] == "identical"


def test_without_trivial_methods_nothing_says_what_it_is_worth(make_run):
    found = report(make_run(n=10, trivial=False))
    assert found.warnings[-1].startswith("Nothing that knows no network was scored beside them")


def test_one_image_of_one_method(make_run):
    found = report(make_run(n=1, methods=("cam",), failed=("bad.jpg",)))
    assert "cam has " in found.answer
    assert "over 1 image." in found.answer
    assert table(found, "failed").rows[0]["message"] == "cannot be read: it is cut short"
    assert all(chart.draw() is not None for s in found.sections for chart in s.charts)


def test_a_score_that_is_undefined_everywhere(make_run):
    nothing = {
        (s, "energy", "boxes"): np.full(12, np.nan)
        for s in ("cam", "grad-cam@layer4", "random", "centre", "edges", "full-box")
    }
    found = report(make_run(n=12, primary="energy@boxes", values=nothing))
    assert found.answer.strip() == "No method has a defined heat inside the boxes."
    assert "Undefined on every image: cam, grad-cam@layer4" in table(found, "main").note
    assert all(chart.draw() is not None for s in found.sections for chart in s.charts)


def test_several_networks_stand_side_by_side(make_run):
    runs = [
        make_run("a", n=30, seed=1),
        make_run("b", n=30, seed=2, resolved={"model": "vgg16 (pretrained)"}),
    ]
    found = report(runs)
    names = [r["method"] for r in table(found, "main").rows]
    assert names[:4] == [
        "resnet50 · cam",
        "resnet50 · grad-cam@layer4",
        "vgg16 · cam",
        "vgg16 · grad-cam@layer4",
    ]
    assert row(found, "main", method="vgg16 · cam")["pairs"] == 30
    assert found.title == "resnet50 (pretrained), vgg16 (pretrained) on made, test"
    assert [r["network"] for r in table(found, "classification").rows] == [
        "resnet50 (pretrained)",
        "vgg16 (pretrained)",
    ]


def test_runs_without_a_common_image_are_not_compared(make_run):
    found = report([make_run("a", n=12), make_run("b", n=12, split="val", data_seed=1)])
    assert (
        "test and val have no image in common: their numbers stand beside each other, and are not compared."
        in found.warnings
    )
    assert row(found, "main", method="val · cam")["verdict"] == "no common image"
    assert row(found, "main", method="val · cam")["gain"] is not None


def test_runs_of_other_selections_say_what_they_share(make_run):
    found = report([make_run("a", n=12), make_run("b", n=20)])
    assert any(
        w.startswith("a and b have 12 of 12 and 20 images in common: only these are ranked and")
        for w in found.warnings
    )


def test_other_declarations_are_told(make_run):
    found = report(
        [make_run("a", n=12), make_run("b", n=12, seed=3, data="x", primary="iou@cam2016")]
    )
    assert any(
        w.startswith(
            "The runs declared different primary scores (made iou@yang2025, x iou@cam2016)"
        )
        for w in found.warnings
    )


def test_several_seeds_are_drawn_at_two_levels(make_run):
    runs = [
        make_run(f"s{i}", n=30, seed=i, resolved={"model": f"resnet50 (s{i})"}) for i in range(3)
    ]
    found = report(runs)
    own = section(found, "trainings")
    assert len(own.warnings) == 2
    one = row(found, "trainings", method="grad-cam@layer4")
    means = [r.by_method("iou", "yang2025")["grad-cam@layer4"].mean() for r in runs]
    assert one["both"] == pytest.approx(np.mean(means))
    assert one["sd"] == pytest.approx(np.std(means, ddof=1))
    assert one["means"] == ", ".join(f"{m:.3f}" for m in means)
    base = [r.by_method("iou", "yang2025")["cam"].mean() for r in runs]
    assert one["gap"] == pytest.approx(np.mean(means) - np.mean(base))
    assert row(found, "trainings", method="cam")["gap"] is None


def test_the_same_seed_gives_the_same_numbers(make_run):
    run = make_run(n=20)
    one, two = report(run, seed=4), report(run, seed=4)
    assert table(one, "main").rows == table(two, "main").rows
    other = row(report(run, seed=5), "main", method="cam")
    assert other["value_low"] != row(one, "main", method="cam")["value_low"]


def test_no_run_is_refused():
    with pytest.raises(OptionError, match="a report needs a run"):
        findings([])


def test_unfinished_runs_are_told(make_run):
    run = make_run(n={"test": 8, "val": 4}, tune="val")
    run.record.selected["test"], run.record.available["test"] = 10, 50
    found = report(run)
    assert (
        "2 selected images not explained yet; the same `saliscope evaluate` continues."
        in found.warnings
    )
    assert "10 of the 50 images of test, drawn by the hash of their ids." in found.warnings


def test_provenance_is_whole(make_run):
    run = make_run(n=6)
    found = report(run)
    facts = {r["what"]: r["run0"] for r in table(found, "provenance").rows}
    assert facts["hash of the maps"] == run.record.hash
    assert facts["weights"] == "0" * 64
    assert facts["fingerprint of test"] == "0" * 32 + "test"
    assert facts["images of test"] == "6 of 6"
    assert facts["method cam"] == "cam@layer4"
    assert table(found, "sessions").rows[0]["machine"] == "a machine"
    assert found.provenance["runs"][0]["resolved"] == run.record.resolved


def test_the_caveat_of_a_method_is_a_warning(make_run):
    methods = ("cam", "guided-backprop", "deconvnet:force=true", "guided-grad-cam@layer4")
    said = [w for w in report(make_run(methods=methods)).warnings if "sanity check" in w]
    assert len(said) == 2
    assert said[0].startswith("guided-backprop and deconvnet:force=true: It fails the sanity check")
    assert said[0].endswith("and hardly depends on the class.")
    assert said[1].startswith("guided-grad-cam@layer4: It fails the sanity check")
    assert not any("sanity check" in w for w in report(make_run("plain")).warnings)
