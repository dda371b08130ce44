import numpy as np
import polars as pl
import pytest

import asked_runs
from saliscope.report.study.forgetting import forgetting_of
from saliscope.report.study.together import study_of
from saliscope.stats import mean_interval

CHECK = ("cascading", "spearman-abs")
STAGES = ("original", "fc", "layer4")


def checked(run):
    return forgetting_of(study_of([run], replicates=300, seed=3))


def lasting_twin(values, chance):
    """How long the maps of each image last, in loops: (s - c) / (1 - c) of the mean over seeds, nothing below 0, mean over stages."""
    level = np.mean(chance)
    found = []
    for image in range(values.shape[2]):
        left = []
        for stage in range(1, values.shape[0]):
            mean = sum(values[stage, seed, image] for seed in range(values.shape[1])) / values.shape[1]  # fmt: skip
            left.append(max(0.0, (mean - level) / (1 - level)))
        found.append(sum(left) / len(left))
    return np.array(found)


def test_lasting_is_a_mean_over_images_with_its_interval(make_run):
    run = make_run(n=12, classes=2)
    draw = np.random.default_rng(0)
    values = draw.uniform(0.1, 0.9, (3, 3, 12))
    values[0] = 1
    chance = draw.uniform(0, 0.3, 12)
    asked_runs.put_sanity(run, {("cam", *CHECK): values}, chance={("cam", CHECK[1]): chance}, stages=STAGES)  # fmt: skip
    (one,) = checked(run)
    classes = [i % 2 for i in range(12)]
    expected = mean_interval(lasting_twin(values, chance), strata=classes, replicates=300, seed=3)
    assert (one.lasting.estimate, one.lasting.low, one.lasting.high) == pytest.approx((expected.estimate, expected.low, expected.high))  # fmt: skip
    assert one.stages == {"cascading": STAGES}
    assert one.seeds == 3
    curve = one.curve(*CHECK)
    np.testing.assert_allclose([c.estimate for c in curve], values.mean(axis=(1, 2)))
    assert (curve[0].low, curve[0].high) == (1.0, 1.0)
    assert one.curve("independent", "ssim") == []


@pytest.mark.parametrize(
    ("level", "verdict"), [(0.1, "passes"), (0.9, "fails"), (None, "undecided")]
)
def test_the_interval_decides(make_run, level, verdict):
    run = make_run(n=10, classes=1)
    each = np.tile([0.1, 0.9], 5) if level is None else np.full(10, level)
    values = np.broadcast_to(each, (3, 1, 10)).copy()
    asked_runs.put_sanity(run, {("cam", *CHECK): values}, chance={("cam", CHECK[1]): np.zeros(10)}, stages=STAGES)  # fmt: skip
    (one,) = checked(run)
    assert one.verdict == verdict
    assert one.lasting.estimate == pytest.approx(0.5 if level is None else level)


def test_maps_that_are_alike_by_chance_cannot_be_judged(make_run):
    run = make_run(n=6)
    asked_runs.put_sanity(run, {("centre", *CHECK): np.ones((3, 1, 6))}, chance={("centre", CHECK[1]): np.ones(6)}, stages=STAGES)  # fmt: skip
    (one,) = checked(run)
    assert one.lasting.n == 0
    assert one.verdict == "undefined"


def test_without_chance_or_curve_there_is_no_verdict(make_run):
    run = make_run(n=6)
    asked_runs.put_sanity(run, {("cam", "cascading", "ssim"): np.ones((3, 1, 6))}, stages=STAGES)
    (one,) = checked(run)
    assert one.lasting is None
    assert one.verdict == "undefined"


def test_undefined_values_are_left_out(make_run):
    run = make_run(n=6)
    values = np.full((3, 2, 6), 0.5)
    values[1, 0, 0] = np.nan
    values[:, :, 5] = np.nan
    other = np.array([0.5, 0.7, np.nan, 0.5, 0.5, 0.3])
    asked_runs.put_sanity(
        run, {("cam", *CHECK): values}, chance={("cam", CHECK[1]): np.zeros(6)}, other={("cam", CHECK[1]): other}, stages=STAGES,
    )  # fmt: skip
    run.sanity = run.sanity.with_columns(pl.when(pl.col("stage") == -1).then(None).otherwise(pl.col("seed")).alias("seed"))  # fmt: skip
    (one,) = checked(run)
    assert (one.lasting.estimate, one.lasting.n, one.lasting.undefined) == (0.5, 5, 1)
    assert one.mean(one.other[CHECK[1]]).estimate == pytest.approx(0.5)
    assert one.mean(one.other.get("hog")) is None


def test_methods_stand_in_the_order_of_tables(make_run):
    run = make_run(n=5)
    ones = np.ones((3, 1, 5))
    asked_runs.put_sanity(run, {("edges", *CHECK): ones, ("cam", *CHECK): ones, ("gone", *CHECK): ones}, stages=STAGES)  # fmt: skip
    assert [one.method.name for one in checked(run)] == ["cam", "edges"]
    assert checked(make_run("old", n=5)) == ()
