import numpy as np
import polars as pl
import pytest

from saliscope.report.study.parts import read_parts, read_table
from saliscope.report.study.scores import read_scores, role_of
from saliscope.report.study.sweeps import DELTAS, read_sweeps
from saliscope.report.study.together import study_of
from saliscope.runs.tables import to_bytes


def truths(run, spec, rule, column, split="test"):
    """Curves of a method as rows, by a loop over the table."""
    rows = run.curves.filter(spec=spec, rule=rule, split=split, is_truth=True).sort(
        "index", "target"
    )
    return np.array(rows[column].to_list(), np.float32)


def test_scores_are_those_of_the_run(make_run):
    run = make_run(n={"test": 23, "val": 9}, tune="val", part=5)
    own = read_scores(run)["truth"]
    wide = run.by_method("iou", "cam2016")
    assert own.units["id"].to_list() == wide["id"].to_list()
    for spec in ("cam", "grad-cam@layer4", "random", "edges"):
        np.testing.assert_array_equal(own.values["iou", "cam2016"][spec], wide[spec].to_numpy())
    np.testing.assert_array_equal(own.values["iou", "box"]["full-box"], wide["full-box"].to_numpy())
    assert "full-box" not in own.values["iou", "cam2016"]


def test_roles_are_apart(make_run):
    run = make_run(n=20, target="both", wrong=0.5)
    found = read_scores(run)
    assert len(found["truth"].units) == 20
    assert len(found["predicted"].units) == 20
    assert found["predicted"].units["rank"].to_list() == [0] * 20
    wrong = found["predicted"].units["is_truth"].not_()
    assert wrong.sum() == (found["truth"].units["rank"] > 0).sum() > 0
    assert role_of(run) == "truth"
    assert role_of(make_run("other", n=4, target="predicted")) == "predicted"


def test_masks_of_single_classes_stand_under_one_name(make_run):
    run = make_run(n=8, masks=("body", "fox", "owl"))
    own = read_scores(run)["truth"]
    assert ("relevance-mass", "mask:body") in own.values
    assert ("relevance-mass", "mask:class") in own.values
    assert not any(p in ("mask:fox", "mask:owl") for _, p in own.values)


def test_a_row_in_two_parts_counts_once(make_run):
    run = make_run(n={"test": 12, "val": 6}, tune="val", part=4)
    before = read_sweeps(run, read_scores(run)["truth"].units, "truth")
    for table in ("scores", "curves"):
        names = [n for n in run.place.names(table) if n.endswith(".parquet")]
        again = run.place.read(f"{table}/{names[-1]}")
        run.place.write(f"{table}/part-9999.{run.record.measured}.parquet", again)
    own = read_scores(run)["truth"]
    after = read_sweeps(run, own.units, "truth")
    assert len(own.units) == 12
    for job, sweep in before.items():
        assert after[job].n == sweep.n == 12
        assert after[job].aims["iou"].chosen == sweep.aims["iou"].chosen
        np.testing.assert_allclose(after[job].parts, sweep.parts)
        np.testing.assert_allclose(after[job].aims["iou"].mean, sweep.aims["iou"].mean)


def test_only_scores_of_the_present_settings_are_read(make_run):
    run = make_run(n=6)
    old = next(read_parts(run, "scores", ("id",))).with_columns(id=pl.lit("old"))
    run.place.write("scores/part-0000.111111111111.parquet", to_bytes(old))
    assert set(read_table(run, "scores", ("id",))["id"]) == {f"test-{i:05d}" for i in range(6)}


def test_no_parts_give_an_empty_table(make_run):
    run = make_run(n=3)
    found = read_table(run, "pixels", ("id", "mask"), split="test")
    assert found.columns == ["id", "mask"]
    assert len(found) == 0


@pytest.mark.parametrize("rule", ["min-max", "max"])
def test_sweeps_agree_with_loops(make_run, rule):
    run = make_run(n={"test": 31, "val": 17}, tune="val", rules=["min-max", "max"], part=6)
    sweeps = read_sweeps(run, read_scores(run)["truth"].units, "truth")
    for spec in ("cam", "edges"):
        sweep = sweeps[spec, rule]
        iou, best = truths(run, spec, rule, "iou"), truths(run, spec, rule, "best")
        means = [float(np.mean([row[t] for row in iou], dtype=np.float64)) for t in range(50)]
        np.testing.assert_allclose(sweep.aims["iou"].mean[0], means, rtol=1e-12)
        tuned = [
            float(np.mean(v, dtype=np.float64)) for v in truths(run, spec, rule, "iou", "val").T
        ]
        chosen = max(range(50), key=lambda t: (tuned[t], -t))
        assert sweep.aims["iou"].chosen == (chosen,)
        np.testing.assert_array_equal(sweep.aims["iou"].at_chosen[:, 0], iou[:, chosen])
        for d, delta in enumerate(DELTAS):
            hits = [sum(row[t] >= np.float32(delta) for row in best) / 31 for t in range(50)]
            np.testing.assert_allclose(sweep.aims["max-box-acc-v2"].mean[d], hits)
            assert sweep.aims["max-box-acc-v2"].oracle[d] == hits.index(max(hits))
        hits = [sum(row[t] >= np.float32(0.5) for row in iou) / 31 for t in range(50)]
        assert sweep.aims["max-box-acc"].mean.max() == pytest.approx(max(hits))
        parts = truths(run, spec, rule, "parts").mean(axis=0)
        np.testing.assert_allclose(sweep.parts, parts)


def test_the_centred_box_has_its_sides_as_thresholds(make_run):
    run = make_run(n={"test": 14, "val": 10}, tune="val")
    sweep = read_sweeps(run, read_scores(run)["truth"].units, "truth")["centre-box", "side"]
    curves, tuned = (
        truths(run, "centre-box", "side", "iou"),
        truths(run, "centre-box", "side", "iou", "val"),
    )
    assert sweep.thresholds[[0, -1]].tolist() == [0.01, 1.0]
    assert sweep.aims["iou"].chosen == (int(tuned.mean(axis=0, dtype=float).argmax()),)
    assert sweep.aims["iou"].oracle == (int(curves.mean(axis=0, dtype=float).argmax()),)


def test_float32_hits_are_not_compared_with_float64(make_run):
    exact = np.full((4, 50), np.float32(0.3))
    run = make_run(
        n=4, curves={("cam", "min-max", "best"): exact, ("cam", "min-max", "iou"): exact}
    )
    sweep = read_sweeps(run, read_scores(run)["truth"].units, "truth")["cam", "min-max"]
    assert sweep.aims["max-box-acc-v2"].mean[:, 0].tolist() == [1.0, 0.0, 0.0]


def test_thresholds_near_the_best_are_few_and_hold_it(make_run):
    random = np.random.default_rng(0)
    curves = np.clip(
        0.5 + random.normal(0, 0.2, (200, 1)) + random.normal(0, 0.02, (200, 1000)), 0, 1
    )
    curves[:, 700:] -= 0.3
    run = make_run(n=200, thresholds=1000, curves={("cam", "min-max", "iou"): curves.clip(0, 1)})
    aim = read_sweeps(run, read_scores(run)["truth"].units, "truth")["cam", "min-max"].aims["iou"]
    assert aim.places.shape[1] <= 33
    assert aim.oracle[0] in aim.places[0]
    assert aim.places.max() < 700
    np.testing.assert_array_equal(
        aim.near[:, 0, list(aim.places[0]).index(aim.oracle[0])], aim.at_oracle[:, 0]
    )


def test_without_a_sweep_only_the_centred_box_has_curves(make_run):
    run = make_run(n=5, thresholds=0)
    sweeps = read_sweeps(run, read_scores(run)["truth"].units, "truth")
    assert list(sweeps) == [("centre-box", "side")]


def test_images_without_annotation_have_no_curve(make_run):
    run = make_run(n=6)
    rows = run.curves.filter(pl.col("index") != 2)
    run.place.write(f"curves/part-0000.{run.record.measured}.parquet", to_bytes(rows))
    study = study_of([run])
    values = study.swept(study.method("cam"), "min-max", "iou", "at_oracle")
    assert np.isnan(values[:, 0]).tolist() == [False, False, True, False, False, False]
