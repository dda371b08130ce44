import math

import numpy as np
import pytest
import scipy.stats

from saliscope.errors import OptionError
from saliscope.stats import Interval, bootstrap_equivalence, equivalence_of, mean_interval, tost

VALUES = np.random.default_rng(0).normal(0.003, 0.02, 50)


@pytest.mark.parametrize("margin", [0.002, 0.01, 0.05])
def test_it_is_two_t_tests(margin):
    above = scipy.stats.ttest_1samp(VALUES, -margin, alternative="greater").pvalue
    below = scipy.stats.ttest_1samp(VALUES, margin, alternative="less").pvalue
    found = tost(VALUES, margin=margin)
    assert found.pvalue == pytest.approx(max(above, below))
    assert (found.verdict == "within") == (found.pvalue < 0.05)


def test_its_interval_is_that_of_the_t_test_at_90_percent():
    theirs = scipy.stats.ttest_1samp(VALUES, 0).confidence_interval(0.9)
    found = tost(VALUES, margin=0.01).interval
    assert (found.low, found.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert (found.level, found.by, found.n) == (pytest.approx(0.9), "t", 50)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.009, 0.009, "within"),
        (0.001, 0.0099, "within"),
        (-0.01, 0.009, "open"),
        (0.005, 0.02, "open"),
        (-0.02, 0.02, "open"),
        (0.01, 0.02, "beyond"),
        (-0.03, -0.011, "beyond"),
        (math.nan, math.nan, "undefined"),
    ],
)
def test_verdicts_by_inclusion(low, high, verdict):
    found = equivalence_of(Interval(0.0, low, high, 9, level=0.9), margin=0.01)
    assert (found.verdict, found.alpha, found.margin) == (verdict, 0.05, 0.01)
    assert math.isnan(found.pvalue)


def test_differences_that_are_all_equal_or_too_few():
    inside = tost([0.004] * 5, margin=0.01)
    assert (inside.pvalue, inside.verdict) == (0.0, "within")
    outside = tost([0.02] * 5, margin=0.01)
    assert (outside.pvalue, outside.verdict) == (1.0, "beyond")
    single = tost([0.001, math.nan], margin=0.01)
    assert (single.verdict, single.interval.n, single.interval.undefined) == ("undefined", 1, 1)
    assert math.isnan(single.pvalue)
    assert tost([], margin=1).verdict == "undefined"


def test_the_bootstrap_includes_its_own_90_percent_interval():
    strata = np.arange(50) % 5
    found = bootstrap_equivalence(VALUES, margin=0.01, strata=strata, replicates=800, seed=3)
    alone = mean_interval(VALUES, strata=strata, level=0.9, replicates=800, seed=3)
    assert (found.interval.low, found.interval.high) == (alone.low, alone.high)
    assert found.verdict == "within"
    assert found.pvalue < 0.05
    wide = bootstrap_equivalence(VALUES, margin=0.004, replicates=800)
    assert wide.verdict == "open"
    assert wide.pvalue == pytest.approx(tost(VALUES, margin=0.004).pvalue, abs=0.05)
    nothing = bootstrap_equivalence([math.nan], margin=0.01)
    assert nothing.verdict == "undefined"
    assert math.isnan(nothing.pvalue)


@pytest.mark.parametrize("margin", [0, -0.1, math.nan, math.inf])
def test_a_margin_is_positive(margin):
    with pytest.raises(OptionError, match="largest difference that does not matter, above 0; got"):
        tost(VALUES, margin=margin)


@pytest.mark.parametrize("test", [tost, bootstrap_equivalence])
def test_alpha_is_less_than_a_half(test):
    with pytest.raises(OptionError, match=r"alpha lies between 0 and 0\.5; got 0\.5"):
        test(VALUES, margin=1, alpha=0.5)


def test_at_the_margin_it_errs_as_often_as_it_says():
    draw = np.random.default_rng(2)
    samples = draw.normal(0.01, 0.02, (600, 60))
    found = [tost(s, margin=0.01).verdict == "within" for s in samples]
    assert np.mean(found) == pytest.approx(0.05, abs=0.022)
    some = [
        bootstrap_equivalence(s, margin=0.01, replicates=300).verdict == "within"
        for s in samples[:250]
    ]
    assert np.mean(some) == pytest.approx(0.055, abs=0.035)
