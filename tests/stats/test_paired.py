import itertools
import math

import numpy as np
import pytest
import scipy.stats

from saliscope.stats import paired_difference, wilcoxon
from saliscope.stats.paired import midranks


def test_ranks_share_their_mean():
    assert midranks(np.array([5.0, 1.0, 5.0, 3.0, 5.0])).tolist() == [4.0, 1.0, 4.0, 2.0, 4.0]
    values = np.random.default_rng(0).integers(0, 9, 60).astype(float)
    assert np.array_equal(midranks(values), scipy.stats.rankdata(values))


def all_signs(differences):
    """The exact two-sided p-value by writing out every sign of every non-zero difference."""
    ranks = scipy.stats.rankdata(np.abs(differences))
    own = ranks[np.asarray(differences) != 0]
    seen = ranks[np.asarray(differences) > 0].sum()
    low = min(seen, own.sum() - seen)
    sums = [own[list(s)].sum() for s in itertools.product([False, True], repeat=len(own))]
    return min(1.0, 2 * np.mean(np.array(sums) <= low + 1e-9))


@pytest.mark.parametrize(
    "differences",
    [
        [1, 2, 3, 4, 5],
        [1, -2, 3, -4, 5, 6],
        [0, 0, 1, -2, 3, 4, 4],
        [2, 2, 2, -2, 0, 0, 0, 0],
        [-1, -1, 1, 3, 3, 3, -3, 0, 8, 9],
        [0, 0, 0, 0, 0, 7],
    ],
)
def test_small_samples_are_exact_with_ties_and_zeros(differences):
    found = wilcoxon(differences)
    assert found.exact
    assert found.pvalue == pytest.approx(all_signs(differences))


def test_without_ties_it_is_the_exact_test_of_scipy():
    values = np.random.default_rng(3).normal(0.2, 1, 45)
    ours, theirs = wilcoxon(values), scipy.stats.wilcoxon(values, mode="exact")
    assert ours.pvalue == pytest.approx(theirs.pvalue, rel=1e-9)
    assert min(ours.positive, ours.negative) == theirs.statistic


def test_large_samples_are_those_of_scipy_with_ties_and_pratt_zeros():
    values = np.random.default_rng(3).integers(-6, 8, 300).astype(float)
    ours = wilcoxon(values)
    theirs = scipy.stats.wilcoxon(
        values, zero_method="pratt", correction=False, method="asymptotic"
    )
    assert not ours.exact
    assert ours.pvalue == pytest.approx(theirs.pvalue, rel=1e-9)
    assert ours.zeros == (values == 0).sum()


def test_exact_and_normal_meet_and_many_zeros_change_little(monkeypatch):
    values = np.concatenate([np.random.default_rng(5).normal(0.3, 1, 50), np.zeros(5000)])
    exact = wilcoxon(values)
    monkeypatch.setattr("saliscope.stats.paired._EXACT", 10)
    assert exact.exact
    assert not wilcoxon(values).exact
    assert wilcoxon(values).pvalue == pytest.approx(exact.pvalue, rel=0.1)


def test_the_effect_is_the_share_of_ranks():
    # |d| ranks 1, 2, 3, 4 with the third negative: (1 + 2 + 4 - 3) / 10.
    found = wilcoxon([0.1, 0.2, -0.3, 0.4])
    assert (found.positive, found.negative, found.effect) == (7.0, 3.0, pytest.approx(0.4))
    assert wilcoxon([-1, -2]).effect == -1
    # Pratt: two zeros hold ranks 1 and 2, so the others have 3, 4, 5.
    found = wilcoxon([0.0, 0.0, 1.0, 2.0, -3.0])
    assert (found.positive, found.negative, found.zeros) == (7.0, 5.0, 2)
    assert found.effect == pytest.approx(2 / 12)


def test_rounding_makes_no_ranks():
    found = wilcoxon([0.3 - 0.1, 0.2, -(0.1 + 0.1), 0.5 - 0.3])
    assert (found.positive, found.negative) == (7.5, 2.5)
    noisy = wilcoxon([1e-9, -2e-9, 0.5, 0.2], tolerance=1e-6)
    assert (noisy.zeros, noisy.positive, noisy.negative) == (2, 7.0, 0.0)


def test_nothing_but_zeros_and_nothing_at_all():
    zeros = wilcoxon([0.0, 0.0, 0.0])
    assert (zeros.pvalue, zeros.zeros) == (1.0, 3)
    assert math.isnan(zeros.effect)
    empty = wilcoxon([math.nan, math.nan])
    assert math.isnan(empty.pvalue)
    assert (empty.n, empty.undefined) == (0, 2)


def test_identical_arrays_differ_by_exactly_nothing():
    values = np.random.default_rng(0).random(200)
    found = paired_difference(values, values)
    assert (found.interval.estimate, found.interval.low, found.interval.high) == (0.0, 0.0, 0.0)
    assert found.wilcoxon.pvalue == 1.0


def test_pairs_make_narrow_intervals():
    draw = np.random.default_rng(1)
    image = draw.random(300)
    found = paired_difference(image + 0.02 + 0.01 * draw.normal(size=300), image)
    assert found.interval.estimate == pytest.approx(0.02, abs=0.002)
    assert found.interval.high - found.interval.low == pytest.approx(
        2 * 1.96 * 0.01 / 17.3, rel=0.15
    )
    assert found.wilcoxon.pvalue < 1e-6
    assert found.wilcoxon.effect > 0.9


def test_a_pair_with_a_gap_is_left_out():
    found = paired_difference([1.0, math.nan, 3.0, 4.0], [0.5, 1.0, math.nan, 3.0])
    assert (found.interval.n, found.interval.undefined) == (2, 2)
    assert (found.wilcoxon.n, found.wilcoxon.undefined) == (2, 2)
    assert found.interval.estimate == pytest.approx(0.75)


def test_several_rows_of_an_image_are_one_number_to_the_test():
    first, image = [1.0, 1.0, 1.0, 2.0, 3.0], ["a", "a", "a", "b", "c"]
    found = paired_difference(first, np.zeros(5), clusters=image, replicates=200)
    assert found.wilcoxon.n == 3
    assert found.wilcoxon.pvalue == 0.25  # three images on one side: 2 / 2^3
    assert found.interval.estimate == pytest.approx(8 / 5)
    assert found.interval.n == 5


def test_the_test_errs_as_often_as_it_says():
    draw = np.random.default_rng(0)
    for n in (12, 80):
        found = [wilcoxon(np.round(draw.normal(size=n), 1)).pvalue for _ in range(600)]
        assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.046, abs=0.022)


def test_the_interval_of_a_difference_covers():
    draw, hits = np.random.default_rng(6), 0
    for i in range(200):
        image = draw.random(50)
        found = paired_difference(
            image + draw.normal(0.1, 0.2, 50), image, replicates=300, seed=i
        ).interval
        hits += found.low <= 0.1 <= found.high
    assert 0.88 < hits / 200 < 0.98
