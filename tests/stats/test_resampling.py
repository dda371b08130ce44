import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats

from saliscope.errors import DataError, OptionError
from saliscope.stats import mean_interval, resample, resample_means


def mean(sums):
    return sums[:, :-1] / sums[:, -1:]


def parts(values):
    return np.column_stack([values, np.ones(len(values))])


def test_strata_are_drawn_one_after_another_by_a_slow_twin():
    values = np.array([1.0, 5.0, 2.0, 7.0, 3.0])
    strata = ["b", "a", "b", "a", "b"]
    draw = np.random.default_rng(6)
    a, b = draw.integers(0, 2, (150, 2)), draw.integers(2, 5, (150, 3)) - 2
    expected = [
        (np.array([5.0, 7.0])[i].sum() + np.array([1.0, 2.0, 3.0])[j].sum()) / 5
        for i, j in zip(a, b, strict=True)
    ]
    (found,) = resample(parts(values), mean, strata=strata, replicates=150, seed=6)
    assert found.replicates == pytest.approx(expected)
    assert (found.estimate, found.n) == (pytest.approx(3.6), 5)


def test_strata_of_equal_values_leave_nothing_to_chance():
    found = mean_interval([0.2, 0.9, 0.2, 0.9, 0.9], strata=[0, 1, 0, 1, 1])
    assert (found.low, found.high) == (pytest.approx(0.62), pytest.approx(0.62))


def test_clusters_are_drawn_whole_by_a_slow_twin():
    values, clusters = np.array([1.0, 2.0, 6.0, 4.0, 4.0, 10.0]), [3, 3, 1, 2, 2, 2]
    owned = [[6.0], [4.0, 4.0, 10.0], [1.0, 2.0]]
    draw = np.random.default_rng(9)
    expected = [
        np.mean([v for i in row for v in owned[i]]) for row in draw.integers(0, 3, (200, 3))
    ]
    (found,) = resample(parts(values), mean, clusters=clusters, replicates=200, seed=9)
    assert found.replicates == pytest.approx(expected)


def test_clusters_of_copies_are_as_wide_as_one_row_each():
    values = np.random.default_rng(2).normal(size=50)
    once = mean_interval(values, replicates=500)
    copied = mean_interval(
        np.repeat(values, 4), clusters=np.repeat(np.arange(50), 4), replicates=500
    )
    assert (copied.low, copied.high) == (pytest.approx(once.low), pytest.approx(once.high))
    assert copied.n == 200


@pytest.mark.parametrize("names", ["pqr", "prq", "rqp"])
def test_clusters_within_strata(names):
    values, clusters = [1.0, 1.0, 2.0, 8.0, 9.0], [names[i] for i in (0, 0, 1, 2, 2)]
    strata = ["x", "x", "x", "y", "y"]
    (found,) = resample(
        parts(values), mean, strata=strata, clusters=clusters, replicates=400, seed=1
    )
    # The first two, p and q, are drawn twice of two, r always: sums and counts of pp, pq, qp, qq with r.
    possible = {21 / 6, 21 / 5, 21 / 4}
    assert {round(v, 9) for v in found.replicates} == {round(v, 9) for v in possible}
    assert np.mean(np.isclose(found.replicates, 21 / 5)) == pytest.approx(0.5, abs=0.08)


def test_a_cluster_in_two_strata_is_refused():
    with pytest.raises(DataError, match='cluster "dog" has rows in two strata'):
        resample(parts(np.ones(3)), mean, clusters=["cat", "dog", "dog"], strata=[1, 1, 2])


@pytest.mark.parametrize("shape", [(9,), (700,)])
def test_blocks_few_and_many_units_draw_alike(shape, monkeypatch):
    values = np.random.default_rng(0).random(shape)
    whole = resample(parts(values), mean, replicates=120, seed=2)[0].replicates
    draw = np.random.default_rng(2)
    expected = values[draw.integers(0, len(values), (120, len(values)))].mean(axis=1)
    assert whole == pytest.approx(expected)
    monkeypatch.setattr("saliscope.stats.counts.CELLS", 4 * len(values))
    again = resample(parts(values), mean, replicates=120, seed=2)[0].replicates
    assert again == pytest.approx(expected)


def test_what_is_drawn_does_not_depend_on_the_number_of_columns(monkeypatch):
    monkeypatch.setattr("saliscope.stats.counts.CELLS", 2000)
    values, strata = np.random.default_rng(0).random(40), np.arange(40) % 3
    narrow = resample(parts(values), mean, strata=strata, replicates=150)
    columns = np.repeat(values[:, None], 300, axis=1)
    wide = resample(parts(columns), mean, strata=strata, replicates=150)
    assert wide[299].replicates == pytest.approx(narrow[0].replicates, rel=1e-12)


def test_the_only_unit_of_a_stratum_adds_nothing_to_the_acceleration():
    values = skewed(30)
    (alone,) = resample(parts(values), mean, replicates=100, by="bca")
    strata = [0] * 30 + [1]
    (found,) = resample(
        parts(np.append(values, 9.0)), mean, strata=strata, replicates=100, by="bca"
    )
    assert found.acceleration == pytest.approx(alone.acceleration)


def test_whole_numbers_are_exact_in_single_precision():
    values = np.random.default_rng(0).integers(0, 200, 5000)
    (single,) = resample(parts(values).astype(np.float32), mean, replicates=100)
    (shifted,) = resample(parts(values + 0.5), mean, replicates=100)
    assert single.replicates * 5000 == pytest.approx(np.rint(single.replicates * 5000), abs=1e-7)
    assert single.replicates == pytest.approx(shifted.replicates - 0.5, rel=1e-12)


def test_large_whole_numbers_are_not():
    values = np.array([2.0**24 + 1, 0.0, 3.0])
    (found,) = resample(parts(values), mean, replicates=100, seed=0)
    whole = found.replicates * 3
    assert whole == pytest.approx(np.rint(whole), abs=1e-6)
    assert {round(w) % 2 for w in whole} == {0, 1}


def test_any_function_of_sums():
    x, y = np.random.default_rng(1).random((2, 60)) + 0.5
    (ratio,) = resample(np.column_stack([x, y]), lambda s: s[:, :1] / s[:, 1:], replicates=500)
    picked = np.random.default_rng(0).integers(0, 60, (500, 60))
    assert ratio.estimate == pytest.approx(x.sum() / y.sum())
    assert ratio.replicates == pytest.approx(x[picked].sum(1) / y[picked].sum(1))


def skewed(n=35):
    return np.random.default_rng(4).exponential(size=n)


def test_bca_is_that_of_scipy_on_the_same_replicates():
    values = skewed()
    (found,) = resample(parts(values), mean, replicates=3000, by="bca")
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=0, method="BCa",
        bootstrap_result=SimpleNamespace(bootstrap_distribution=found.replicates),
    ).confidence_interval  # fmt: skip
    ours = found.interval(by="bca")
    assert (ours.low, ours.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert ours.low > found.interval().low  # skewed to the right: both ends move up
    assert ours.high > found.interval().high
    assert ours.by == "bca"


def test_the_acceleration_of_a_mean_is_a_sixth_of_its_skewness_by_root_n():
    values = skewed()
    (found,) = resample(parts(values), mean, replicates=100, by="bca")
    assert found.acceleration == pytest.approx(scipy.stats.skew(values) / (6 * math.sqrt(35)))
    assert math.isnan(resample(parts(values), mean, replicates=100)[0].acceleration)


def test_the_acceleration_over_strata_is_that_of_scipy_over_samples():
    first, second = skewed(12), skewed(30)[12:] * 3

    def both(x, y, axis=-1):
        return (12 * x.mean(axis=axis) + 18 * y.mean(axis=axis)) / 30

    values, strata = np.concatenate([first, second]), np.repeat([0, 1], [12, 18])
    (found,) = resample(parts(values), mean, strata=strata, replicates=2000, by="bca")
    theirs = scipy.stats.bootstrap(
        (first, second), both, n_resamples=0, method="BCa",
        bootstrap_result=SimpleNamespace(bootstrap_distribution=found.replicates),
    ).confidence_interval  # fmt: skip
    ours = found.interval(by="bca")
    assert (ours.low, ours.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))


def test_bca_of_what_never_changes_is_that_value():
    same = mean_interval([0.3, 0.3, 0.3], by="bca")
    assert (same.low, same.high) == (0.3, 0.3)


def test_bca_is_undefined_where_all_replicates_lie_on_one_side():
    values = skewed()
    (found,) = resample(parts(values), lambda s: -np.abs(s[:, :1] - values.sum()), by="bca")
    assert found.estimate == pytest.approx(0, abs=1e-12)
    assert found.replicates.max() < -1e-6
    assert math.isnan(found.interval(by="bca").low)
    assert found.interval().high < 0  # percentiles would exclude the estimate itself


def test_bca_asked_for_afterwards_is_undefined():
    (found,) = resample(parts(skewed()), mean, replicates=100)
    assert math.isnan(found.interval(by="bca").high)


def test_of_no_rows_there_are_as_many_undefined_statistics():
    found = resample(np.empty((0, 3)), mean, undefined=7, by="bca")
    assert len(found) == 2
    assert math.isnan(found[1].interval(by="bca").estimate)
    assert (found[0].n, found[0].undefined, len(found[0].replicates)) == (0, 7, 0)
    (column,) = resample_means(np.full((2, 1), np.nan))
    assert (column.n, column.undefined) == (0, 2)


@pytest.mark.parametrize("bad", [np.ones(3), [[1.0], [np.nan]], [[np.inf]]])
def test_parts_are_a_finite_table(bad):
    with pytest.raises(DataError, match="parts are finite, of shape"):
        resample(bad, mean)


def test_unknown_rules_are_refused():
    with pytest.raises(OptionError, match='made by "percentile" or "bca"; got "basic"'):
        mean_interval([1.0, 2.0], by="basic")


@pytest.mark.parametrize(("by", "least"), [("percentile", 0.88), ("bca", 0.89)])
def test_intervals_within_strata_cover_as_often_as_they_say(by, least):
    draw, hits = np.random.default_rng(3), 0
    strata = np.repeat([0, 1, 2], [20, 30, 10])
    centre = np.array([1.0, 4.0, 8.0])[strata]
    for i in range(250):
        values = centre + draw.exponential(size=60) - 1
        found = mean_interval(values, strata=strata, by=by, replicates=400, seed=i)
        hits += found.low <= centre.mean() <= found.high
        assert found.high - found.low < 1.2  # without strata it would be 1.4 and more
    assert least < hits / 250 < 0.98


def test_intervals_over_clusters_cover_where_rows_alone_do_not():
    draw, hits, rows = np.random.default_rng(3), 0, 0
    image = np.repeat(np.arange(40), 3)
    for i in range(200):
        values = draw.normal(size=40)[image] + 0.2 * draw.normal(size=120)
        found = mean_interval(values, clusters=image, replicates=300, seed=i)
        naive = mean_interval(values, replicates=300, seed=i)
        hits += found.low <= 0 <= found.high
        rows += naive.low <= 0 <= naive.high
    assert 0.88 < hits / 200 < 0.98
    assert rows / 200 < 0.83
