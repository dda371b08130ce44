import numpy as np
import pytest

from saliscope.report.study.compare import compare, friedman_of, gaps, verdict
from saliscope.report.study.grid import grid_of
from saliscope.report.study.maxima import maxima_of
from saliscope.report.study.primary import find_primary, find_reference
from saliscope.report.study.together import study_of
from saliscope.stats import (
    benjamini_hochberg,
    compare_methods,
    maximised_difference,
    maximised_interval,
    mcnemar,
    mean_interval,
    wilcoxon,
    wilson_interval,
)


def prepared(run, **options):
    study = study_of([run], replicates=300)
    return study, find_primary(study, **options), find_reference(study)


def test_fixed_protocols_are_compared_as_the_statistics_do(make_run):
    study, primary, reference = prepared(make_run(n=40, trivial=False))
    found = compare(study, primary.scored, primary.endpoint, reference)
    values = {n: study.values("iou", "yang2025")[n] for n in ("cam", "grad-cam@layer4")}
    scored = {**values, "centred box": primary.scored.values.get("centred box")}
    expected = compare_methods(
        {k: v for k, v in scored.items() if v is not None},
        primary.endpoint,
        reference="cam",
        **study.draws.options,
    )
    assert found.pair("grad-cam@layer4") == expected.pair("grad-cam@layer4")
    assert found.rows[:2] == expected.rows[:2]


def test_oracles_are_maximised_again(make_run):
    run = make_run(n=40, primary="iou@oracle")
    study, primary, reference = prepared(run)
    found = compare(study, primary.scored, primary.endpoint, reference)
    curve = {
        s: np.array(run.curves.filter(spec=s, rule="min-max").sort("index")["iou"].to_list())
        for s in ("cam", "grad-cam@layer4")
    }
    own = maximised_interval(curve["cam"], **study.draws.options).interval
    row = found.rows[0].estimate
    np.testing.assert_allclose([row.estimate, row.low, row.high], [own.estimate, own.low, own.high])
    gap = maximised_difference(
        curve["grad-cam@layer4"], curve["cam"], **study.draws.options
    ).difference
    pair = found.pair("grad-cam@layer4")
    np.testing.assert_allclose([pair.difference.low, pair.difference.high], [gap.low, gap.high])
    at = primary.scored.values
    assert pair.pvalue == pytest.approx(
        wilcoxon(at["grad-cam@layer4"] - at["cam"], tolerance=1e-6).pvalue
    )
    full = found.pair("full-image box").difference
    assert full.estimate == pytest.approx(
        study.units["share"].mean() - curve["cam"].mean(axis=0).max()
    )


def test_only_the_centred_box_is_maximised_beside_a_fixed_protocol(make_run):
    study, primary, reference = prepared(make_run(n=40))
    found = compare(study, primary.scored, primary.endpoint, reference)
    cam = mean_interval(primary.scored.values["cam"], **study.draws.options)
    assert found.rows[0].estimate.low == pytest.approx(cam.low)
    near = primary.scored.near["centred box"]
    box = maximised_interval(near, **study.draws.options).interval
    row = next(r for r in found.rows if r.method == "centred box")
    assert (row.estimate.low, row.estimate.high) == pytest.approx((box.low, box.high))


def test_gaps_to_what_knows_no_network(make_run):
    study, primary, _ = prepared(make_run(n=40))
    found = gaps(
        study, primary.scored, ["cam", "grad-cam@layer4"], ["full-image box", "centred box"]
    )
    assert set(found) == {
        (m, o) for m in ("cam", "grad-cam@layer4") for o in ("full-image box", "centred box")
    }
    values = primary.scored.values
    plain = mean_interval(values["cam"] - values["full-image box"], **study.draws.options)
    assert found["cam", "full-image box"].low == pytest.approx(plain.low)
    expected = maximised_difference(
        values["cam"][:, None], primary.scored.near["centred box"][:, 0], **study.draws.options
    ).difference
    assert found["cam", "centred box"].low == pytest.approx(expected.low)
    assert found["cam", "centred box"].high == pytest.approx(expected.high)


def test_verdicts(make_run):
    base = np.linspace(0.2, 0.8, 40)
    values = {
        ("cam", "iou", "yang2025"): base, ("a@l", "iou", "yang2025"): base + 1e-9,
        ("b@l", "iou", "yang2025"): base + 0.1, ("c@l", "iou", "yang2025"): base + 0.001 + 0.0001 * np.sin(np.arange(40)),
        ("d@l", "iou", "yang2025"): base + 0.2 * np.sin(np.arange(40)), ("e@l", "iou", "yang2025"): np.full(40, np.nan),
    }  # fmt: skip
    names = {
        "a@l": "grad-cam@a",
        "b@l": "grad-cam@b",
        "c@l": "grad-cam@c",
        "d@l": "grad-cam@d",
        "e@l": "grad-cam@e",
    }
    given = {(names.get(s, s), m, p): v for (s, m, p), v in values.items()}
    run = make_run(n=40, methods=("cam", *names.values()), values=given)
    study, primary, reference = prepared(run)
    found = compare(study, primary.scored, primary.endpoint, reference)
    said = {p.method: verdict(p, primary.endpoint) for p in found.pairs}
    assert said["grad-cam@a"] == "identical"
    assert said["grad-cam@b"] == "better"
    assert said["grad-cam@c"] == "better, too little to matter"
    assert said["grad-cam@d"] == "not told apart"
    assert said["grad-cam@e"] == "no common image"
    assert verdict(None, primary.endpoint) == "reference"
    assert friedman_of(
        study, found, {n: v for n, v in primary.scored.values.items() if n != "grad-cam@e"}
    ).ranks


def test_friedman_needs_three_methods_that_differ(make_run):
    study, primary, reference = prepared(make_run(n=12))
    found = compare(study, primary.scored, primary.endpoint, reference)
    assert friedman_of(study, found, primary.scored.values) is None


def test_the_grid_holds_every_score_once(make_run):
    run = make_run(n=40, tune="val", masks=("body",))
    study = study_of([run], replicates=300)
    grid = grid_of(study, study.method("cam"))
    cell = grid.get("energy", "boxes", "edges")
    values = study.values("energy", "boxes")
    own = mean_interval(values["edges"], **study.draws.options)
    assert (cell.estimate.low, cell.estimate.high) == pytest.approx((own.low, own.high))
    gap = mean_interval(values["edges"] - values["cam"], **study.draws.options)
    assert (cell.difference.low, cell.difference.high) == pytest.approx((gap.low, gap.high))
    assert cell.pvalue == pytest.approx(
        wilcoxon(values["edges"] - values["cam"], tolerance=1e-6).pvalue
    )
    binary = grid.get("gt-known", "cam2016", "edges")
    hits = study.values("gt-known", "cam2016")
    assert binary.estimate == wilson_interval(int(hits["edges"].sum()), 40)
    assert binary.pvalue == mcnemar(hits["edges"], hits["cam"]).pvalue
    assert binary.difference == mcnemar(hits["edges"], hits["cam"]).difference
    assert grid.get("iou", "chosen", "centred box").estimate.n == 40
    assert grid.get("top-5", "yang2025", "cam") is not None
    assert grid.get("relevance-mass", "mask:body", "cam") is not None
    cells = list(grid.cells.values())
    np.testing.assert_allclose(
        [c.adjusted for c in cells], benjamini_hochberg([c.pvalue for c in cells])
    )


def test_undefined_scores_stay_undefined_in_the_grid(make_run):
    nothing = {("edges", "energy", "boxes"): np.full(9, np.nan)}
    study = study_of([make_run(n=9, values=nothing)], replicates=300)
    cell = grid_of(study, study.method("cam")).get("energy", "boxes", "edges")
    assert cell.estimate.n == 0
    assert np.isnan(cell.estimate.estimate)
    assert cell.test == "none: no common image"
    assert np.isnan(cell.adjusted)


def test_images_of_several_classes_are_drawn_whole_in_the_grid(make_run):
    study = study_of([make_run(n=12, several=3)], replicates=300)
    cell = grid_of(study, study.method("cam")).get("gt-known", "cam2016", "edges")
    own = mean_interval(study.values("gt-known", "cam2016")["edges"], **study.draws.options)
    assert cell.estimate.by == "percentile"
    assert cell.estimate.high == pytest.approx(own.high)


def test_maxima_stand_beside_what_tuning_gives(make_run):
    run = make_run(n={"test": 30, "val": 20}, tune="val")
    study = study_of([run], replicates=300)
    found = maxima_of(study, "max-box-acc", "min-max", "cam")
    hits = np.array(
        run.curves.filter(spec="edges", rule="min-max", split="test")
        .sort("index")["iou"]
        .to_list(),
        np.float32,
    ) >= np.float32(0.5)
    expected = maximised_interval(hits, **study.draws.options)
    assert found["edges"].oracle.estimate == pytest.approx(hits.mean(axis=0).max())
    assert found["edges"].oracle.high == pytest.approx(expected.interval.high)
    assert found["cam"].difference is None
    tuned = np.array(
        run.curves.filter(spec="edges", rule="min-max", split="val")["iou"].to_list(), np.float32
    ) >= np.float32(0.5)
    at = int(tuned.mean(axis=0).argmax())
    assert found["edges"].tuned_at == (at / 50,)
    assert found["edges"].tuned.estimate == pytest.approx(hits[:, at].mean())
    assert "centred box" in found
    assert maxima_of(study, "iou", "wsol", "cam").keys() == {"centred box"}
