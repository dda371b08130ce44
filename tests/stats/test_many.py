import math

import numpy as np
import pytest
import scipy.stats

from saliscope.errors import DataError, OptionError
from saliscope.stats import benjamini_hochberg, correct, friedman, holm


@pytest.mark.parametrize("digits", [8, 1, 0])
def test_friedman_is_that_of_scipy_with_ties(digits):
    scores = np.round(np.random.default_rng(2).normal([0, 0.3, 0.5, 0.1], 1, (30, 4)), digits)
    theirs = scipy.stats.friedmanchisquare(*scores.T)
    found = friedman(scores)
    assert found.statistic == pytest.approx(theirs.statistic)
    assert found.pvalue == pytest.approx(theirs.pvalue)
    assert found.ranks == pytest.approx(scipy.stats.rankdata(scores, axis=1).mean(axis=0))


def test_full_agreement_has_concordance_one():
    found = friedman([[0.1, 0.2, 0.9], [0.3, 0.5, 0.6], [1, 2, 3], [4, 5, 6]])
    assert (found.statistic, found.concordance) == (pytest.approx(8.0), pytest.approx(1.0))
    assert found.ranks == (1.0, 2.0, 3.0)
    assert found.pvalue == pytest.approx(math.exp(-4))  # chi-squared with two degrees


def test_on_right_and_wrong_it_is_cochrans_q():
    scores = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0], [0, 1, 0], [1, 0, 0]])
    columns, rows, k = scores.sum(0), scores.sum(1), 3
    q = (k - 1) * (k * (columns**2).sum() - columns.sum() ** 2) / (k * rows.sum() - (rows**2).sum())
    assert friedman(scores).statistic == pytest.approx(q)


def test_images_with_a_gap_are_left_out_and_ties_alone_say_nothing():
    scores = np.random.default_rng(0).random((12, 3))
    gaps = scores.copy()
    gaps[4, 1] = np.nan
    found = friedman(gaps)
    assert (found.n, found.undefined) == (11, 1)
    assert found.statistic == pytest.approx(friedman(np.delete(scores, 4, axis=0)).statistic)
    tied = friedman(np.ones((5, 3)))
    assert math.isnan(tied.pvalue)
    assert (tied.n, tied.ranks) == (5, (2.0, 2.0, 2.0))
    assert math.isnan(friedman(np.full((2, 3), np.nan)).statistic)


def test_two_methods_are_a_pair():
    with pytest.raises(DataError, match="three methods or more; got 2: use the paired test"):
        friedman(np.ones((4, 2)))


def test_friedman_errs_as_often_as_it_says():
    draw = np.random.default_rng(4)
    found = [friedman(draw.random((25, 4))).pvalue for _ in range(600)]
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.022)


def test_holm_by_hand():
    # Sorted .01, .02, .03, .04 times 4, 3, 2, 1: .04, .06, .06, .04, and never falling.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == pytest.approx([0.02])


def test_benjamini_hochberg_is_that_of_scipy():
    values = np.random.default_rng(1).random(40) ** 3
    theirs = scipy.stats.false_discovery_control(values)
    assert benjamini_hochberg(values) == pytest.approx(theirs)
    assert benjamini_hochberg([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])


@pytest.mark.parametrize("rule", [holm, benjamini_hochberg])
def test_what_was_not_tested_does_not_count(rule):
    given = np.array([0.01, np.nan, 0.04, np.nan])
    found = rule(given)
    assert np.isnan(found).tolist() == [False, True, False, True]
    assert found[[0, 2]] == pytest.approx(rule([0.01, 0.04]))
    assert given[0] == 0.01  # what was given stays as it was
    assert len(rule([])) == 0
    with pytest.raises(DataError, match="p-values lie between 0 and 1, or are NaN"):
        rule([0.2, 1.2])


def test_families_and_grids_have_their_own_rule():
    raw = {"edges": 0.01, "centre": 0.03, "random": 0.04, "CAM": math.nan}
    family, grid = correct(raw), correct(raw, label="exploratory")
    assert (family.rule, family.label) == ("Holm", "family")
    assert family.adjusted["centre"] == pytest.approx(0.06)
    assert family.rejected == ("edges",)
    assert (grid.rule, grid.label) == ("Benjamini-Hochberg", "exploratory")
    assert grid.adjusted["centre"] == pytest.approx(0.04)
    assert grid.rejected == ("edges", "centre", "random")
    assert family.raw == raw


def test_unknown_labels_are_refused():
    with pytest.raises(OptionError, match='a "family" or "exploratory"; got "bonferroni"'):
        correct({"a": 0.1}, label="bonferroni")
    with pytest.raises(OptionError, match="alpha lies between 0 and 1; got 5"):
        correct({"a": 0.1}, alpha=5)


def test_holm_bounds_the_chance_of_any_false_claim():
    draw = np.random.default_rng(3)
    claims = [holm(draw.random(8)).min() <= 0.05 for _ in range(2000)]
    assert np.mean(claims) == pytest.approx(1 - (1 - 0.05 / 8) ** 8, abs=0.015)
