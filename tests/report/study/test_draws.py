import numpy as np
import pytest

from saliscope.report.study.draws import Draws, strata_of
from saliscope.stats import compare_methods, mean_interval, paired_difference


@pytest.fixture
def draws():
    return Draws(np.arange(40) % 4, replicates=500, seed=3)


def test_means_are_those_of_the_statistics(draws):
    columns = np.random.default_rng(0).normal(size=(40, 3))
    columns[[3, 8]] = np.nan
    for found, column in zip(draws.means(columns), columns.T, strict=True):
        expected = mean_interval(column, strata=draws.strata, replicates=500, seed=3)
        assert found.n == 38
        assert found.undefined == 2
        np.testing.assert_allclose(
            [found.estimate, found.low, found.high],
            [expected.estimate, expected.low, expected.high], rtol=1e-12,
        )  # fmt: skip


def test_gaps_are_paired(draws):
    random = np.random.default_rng(1)
    columns = random.normal(size=(40, 2))
    columns[:, 1] += 0.5 * columns[:, 0]
    (_, _), (gap,) = draws.means_and_gaps(columns, [(1, 0)])
    expected = paired_difference(
        columns[:, 1], columns[:, 0], strata=draws.strata, replicates=500, seed=3
    )
    assert gap.estimate == pytest.approx(expected.interval.estimate)
    assert (gap.low, gap.high) == pytest.approx((expected.interval.low, expected.interval.high))


def test_a_gap_is_over_rows_where_both_are_defined(draws):
    columns = np.ones((40, 2))
    columns[:10, 0], columns[20:, 1] = np.nan, np.nan
    columns[10:20, 0] = 3
    (one, two), (gap,) = draws.means_and_gaps(columns, [(0, 1)])
    assert (one.n, two.n, gap.n) == (30, 20, 10)
    assert gap.estimate == 2
    assert one.estimate == pytest.approx((10 * 3 + 20) / 30)


def test_unpaired_gaps_are_of_different_rows(draws):
    values = np.where(np.arange(40) < 20, 1.0, 0.25)
    columns = np.column_stack(
        [
            np.where(np.arange(40) < 20, values, np.nan),
            np.where(np.arange(40) >= 20, values, np.nan),
        ]
    )
    assert draws.means_and_gaps(columns, [(0, 1)])[1][0].n == 0
    (gap,) = draws.means_and_gaps(columns, [(0, 1)], paired=False)[1]
    assert (gap.estimate, gap.low, gap.high) == (0.75, 0.75, 0.75)


def test_nothing_defined_is_undefined(draws):
    columns = np.column_stack([np.full(40, np.nan), np.ones(40)])
    (none, one), (gap,) = draws.means_and_gaps(columns, [(0, 1)])
    assert none.n == gap.n == 0
    assert np.isnan([none.estimate, none.low, gap.estimate]).all()
    assert none.undefined == 40
    assert one.estimate == 1
    assert np.isnan(draws.means(columns[:, :1])[0].estimate)


def test_clusters_are_drawn_whole():
    values = np.repeat([0.0, 1.0, 0.5, 0.2, 0.9], 4)
    ids = np.repeat(["a", "b", "c", "d", "e"], 4)
    found = Draws(np.zeros(20, int), ids, 500, 0).means(values[:, None])[0]
    expected = mean_interval(values, clusters=ids, strata=np.zeros(20, int), replicates=500)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.low < 0.2


def test_intervals_are_those_of_the_comparison(draws):
    random = np.random.default_rng(5)
    scores = {"a": random.random(40), "b": random.random(40)}
    compared = compare_methods(scores, "iou", reference="a", **draws.options)
    found, (gap,) = draws.means_and_gaps(np.column_stack(list(scores.values())), [(1, 0)])
    for one, row in zip(found, compared.rows, strict=True):
        assert (one.low, one.high) == pytest.approx((row.estimate.low, row.estimate.high))
    assert gap.high == pytest.approx(compared.pairs[0].difference.high)


def test_small_classes_are_drawn_together():
    classes = np.array(["cat"] * 6 + ["dog"] * 4 + ["fox"])
    strata = strata_of(classes, np.arange(11))
    assert len(set(strata[:6].tolist())) == 1
    assert set(strata[6:].tolist()) == {-1}
    assert strata[0] != -1


def test_a_class_is_counted_by_images_not_rows():
    classes, ids = np.array(["cat"] * 6), np.array(["x", "x", "x", "y", "y", "y"])
    assert set(strata_of(classes, ids).tolist()) == {-1}


def test_few_rows_of_many_classes_are_drawn_together():
    draws = Draws(np.arange(40) % 8, replicates=500)
    columns = np.full((40, 1), np.nan)
    columns[[0, 1, 2, 3, 4], 0] = [0.0, 0.5, 1.0, 0.0, 1.0]
    found = draws.means(columns)[0]
    assert found.low < 0.3
    assert found.high > 0.7


def test_what_is_drawn_is_said():
    classes = np.array(["a"] * 5 + ["b"] * 2)
    mixed = strata_of(classes, np.arange(7))
    assert Draws(mixed).words == "images within their classes, small classes together"
    assert Draws(mixed[:5]).words == "images within their classes"
    assert Draws(mixed[5:]).words == "images"
    assert Draws(mixed[5:], np.arange(2)).words == "images with all their classes"


def test_fewer_than_five_images_have_no_interval():
    columns = np.full((40, 2), np.nan)
    columns[:4, 0], columns[:5, 1] = 0.5, [0.1, 0.2, 0.3, 0.4, 0.5]
    (few, five), (gap,) = Draws(np.zeros(40, int), replicates=500).means_and_gaps(columns, [(0, 1)])
    assert (few.estimate, few.n) == (0.5, 4)
    assert np.isnan([few.low, few.high]).all()
    assert 0.1 <= five.low < 0.3 < five.high <= 0.5
    assert gap.estimate == pytest.approx(0.25)
    assert np.isnan(gap.low)


def test_rows_of_fewer_than_five_images_have_no_interval():
    ids = np.repeat(["a", "b", "c", "d"], 5)
    draws = Draws(np.zeros(20, int), ids, replicates=500)
    (found,) = draws.means(np.arange(20.0)[:, None])
    assert (found.estimate, found.n) == (9.5, 20)
    assert np.isnan(found.low)
    assert draws.count(np.arange(20) < 6) == 2
