import math

import numpy as np
import pytest

from saliscope.errors import DataError, OptionError
from saliscope.stats import maximised_difference, maximised_interval, mean_interval

GRID = np.linspace(0, 1, 12)


def hits(n, seed, at=0.5, level=0.6):
    """Right or wrong (n, 12): each image is right in a window of thresholds around `at`."""
    draw = np.random.default_rng(seed)
    centre, wide = at + 0.2 * draw.normal(size=(n, 1)), 0.3 * draw.random((n, 1))
    return (np.abs(GRID - centre) < wide) & (draw.random((n, 1)) < level + 0.3)


def slow(values, replicates, seed):
    draw = np.random.default_rng(seed)
    found, places = [], []
    for _ in range(replicates):
        rows = values[draw.integers(0, len(values), len(values))]
        means = rows.mean(axis=0)
        found.append(means.max())
        places.append(int(means.argmax()))
    return found, places


def test_each_replicate_chooses_its_own_threshold_by_a_slow_twin():
    values = hits(40, 1)
    found = maximised_interval(values, replicates=300, seed=5)
    twin, places = slow(values.astype(float), 300, 5)
    assert found.interval.estimate == pytest.approx(values.mean(axis=0).max())
    assert found.interval.low == pytest.approx(np.quantile(twin, 0.025))
    assert found.interval.high == pytest.approx(np.quantile(twin, 0.975))
    assert found.best == (int(values.mean(axis=0).argmax()),)
    assert found.between == (tuple(np.quantile(places, [0.025, 0.975], method="nearest")),)
    fixed = mean_interval(values[:, found.best[0]], replicates=300, seed=5)
    assert found.interval.low > fixed.low  # a threshold held fixed knows nothing of the choice


def test_of_one_threshold_it_is_the_mean():
    values = np.random.default_rng(0).random(30)
    found = maximised_interval(values[:, None], replicates=200)
    assert found.interval.low == pytest.approx(mean_interval(values, replicates=200).low)
    assert (found.best, found.between) == ((0,), ((0, 0),))


def test_the_mean_over_deltas_has_one_threshold_each():
    # Images 0 to 3, deltas "loose" and "strict", three thresholds.
    loose = [[1, 1, 0], [1, 1, 1], [0, 1, 0], [0, 1, 0]]
    strict = [[1, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]]
    cube = np.stack([loose, strict], axis=1).astype(np.uint8)
    found = maximised_interval(cube, replicates=400, seed=2)
    assert found.interval.estimate == pytest.approx((1.0 + 0.75) / 2)
    assert found.best == (1, 0)
    draw = np.random.default_rng(2)
    twin = [cube[draw.integers(0, 4, 4)].mean(axis=0).max(axis=1).mean() for _ in range(400)]
    assert found.interval.low == pytest.approx(np.quantile(twin, 0.025))
    assert found.between[1] == (0, 2)


def test_clusters_of_several_sizes_are_drawn_whole_by_a_slow_twin():
    values, images = hits(60, 5), np.sort(np.random.default_rng(1).integers(0, 25, 60))
    owned = [values[images == image] for image in np.unique(images)]
    draw, twin = np.random.default_rng(7), []
    for row in draw.integers(0, len(owned), (200, len(owned))):
        twin.append(np.concatenate([owned[i] for i in row]).mean(axis=0).max())
    found = maximised_interval(values, clusters=images, replicates=200, seed=7)
    assert found.interval.low == pytest.approx(np.quantile(twin, 0.025))
    assert found.interval.high == pytest.approx(np.quantile(twin, 0.975))
    assert len({len(rows) for rows in owned}) > 2


def test_whole_numbers_and_floats_give_the_same():
    values = hits(300, 3)
    first = maximised_interval(values, replicates=200)
    assert maximised_interval(values.astype(float), replicates=200) == first
    assert maximised_interval(values.astype(np.int8), replicates=200) == first
    assert maximised_interval(values.astype(np.uint8), replicates=200) == first
    large = maximised_interval(values * np.uint8(250), replicates=200)
    assert large.interval.high == pytest.approx(250 * first.interval.high)
    assert first.interval.by == "percentile"


def test_scores_that_are_no_whole_numbers():
    values = np.random.default_rng(7).random((25, 6))
    twin, _ = slow(values, 150, 0)
    found = maximised_interval(values, replicates=150)
    assert found.interval.high == pytest.approx(np.quantile(twin, 0.975))


def test_undefined_images_are_left_out_and_counted():
    values = hits(30, 4).astype(float)
    with_gaps = np.insert(values, [3, 20], np.nan, axis=0)
    strata = np.insert(np.arange(30) % 2, [3, 20], 9)
    found = maximised_interval(with_gaps, strata=strata, replicates=200)
    alone = maximised_interval(values, strata=np.arange(30) % 2, replicates=200)
    assert found.interval.low == alone.interval.low
    assert (found.interval.n, found.interval.undefined) == (30, 2)
    empty = maximised_interval(np.full((2, 3), np.nan), replicates=100)
    assert math.isnan(empty.interval.estimate)
    assert (empty.interval.n, empty.interval.undefined, empty.best) == (0, 2, ())


def test_the_difference_draws_both_from_the_same_images_by_a_slow_twin():
    one, two = hits(50, 1), hits(50, 2, at=0.3)[:, ::2]  # other thresholds
    found = maximised_difference(one, two, replicates=250, seed=3)
    draw, twin = np.random.default_rng(3), []
    for _ in range(250):
        rows = draw.integers(0, 50, 50)
        twin.append(one[rows].mean(axis=0).max() - two[rows].mean(axis=0).max())
    assert found.difference.low == pytest.approx(np.quantile(twin, 0.025))
    assert found.difference.high == pytest.approx(np.quantile(twin, 0.975))
    assert found.difference.estimate == pytest.approx(
        found.first.interval.estimate - found.second.interval.estimate
    )
    assert found.first == maximised_interval(one, replicates=250, seed=3)
    assert found.second.best == maximised_interval(two, replicates=250, seed=3).best


def test_a_method_does_not_differ_from_itself():
    found = maximised_difference(hits(40, 1), hits(40, 1), replicates=200).difference
    assert (found.estimate, found.low, found.high) == (0.0, 0.0, 0.0)


def test_an_image_undefined_in_either_is_left_out_of_both():
    one, two = hits(20, 1).astype(float), hits(20, 2).astype(float)
    one[4], two[9] = np.nan, np.nan
    found = maximised_difference(one, two, clusters=np.arange(20), replicates=200)
    kept = np.delete(np.arange(20), [4, 9])
    assert found.first.interval.estimate == pytest.approx(one[kept].mean(axis=0).max())
    assert (found.difference.n, found.difference.undefined, found.second.interval.n) == (18, 2, 18)


def test_bca_undoes_part_of_the_upward_shift():
    values = np.random.default_rng(2).random((60, 40)) < 0.5  # forty thresholds, equally good
    plain = maximised_interval(values, replicates=1000)
    leaning = maximised_interval(values, replicates=1000, by="bca")
    assert plain.interval.high > leaning.interval.high
    assert plain.interval.low > leaning.interval.low


def test_scores_stay_as_they_are():
    for values in (hits(60, 1), hits(60, 1).astype(np.uint8), hits(60, 1) * 0.7):
        before = values.copy()
        maximised_interval(values, strata=np.arange(60) % 2, replicates=100, by="bca")
        np.testing.assert_array_equal(values, before)


def test_bad_scores_are_refused():
    torn = np.ones((3, 4))
    torn[1, 2] = np.nan
    with pytest.raises(DataError, match="image 1 is NaN at some thresholds only"):
        maximised_interval(torn)
    with pytest.raises(DataError, match=r"scores have images and thresholds.*got shape \(3, 0\)"):
        maximised_interval(np.ones((3, 0)))
    with pytest.raises(DataError, match=r"scores have images and thresholds.*got shape \(3,\)"):
        maximised_interval(np.ones(3, bool))
    with pytest.raises(DataError, match="row 2 is infinite"):
        maximised_interval(np.array([[1.0], [np.nan], [np.inf]]))
    with pytest.raises(OptionError, match='made by "percentile" or "bca"; got "basic"'):
        maximised_interval(np.ones((3, 4)), by="basic")
    with pytest.raises(
        DataError, match=r"same images and deltas; got shapes \(3, 1, 4\) and \(2, 1"
    ):
        maximised_difference(np.ones((3, 4)), np.ones((2, 4)))


def test_it_covers_the_best_of_the_population():
    truth = hits(400_000, 99).mean(axis=0).max()
    found = [maximised_interval(hits(1000, i), replicates=200).interval for i in range(150)]
    assert 0.88 < np.mean([f.low <= truth <= f.high for f in found]) < 0.99


def test_of_few_images_and_equal_thresholds_it_lies_too_high_as_documented():
    truth = hits(400_000, 99).mean(axis=0).max()
    found = [maximised_interval(hits(120, i), replicates=200).interval for i in range(150)]
    above = np.mean([f.low > truth for f in found])
    assert 0.05 < above < 0.2
    assert np.mean([f.high < truth for f in found]) < 0.02
