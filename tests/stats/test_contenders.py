import math

import numpy as np
import pytest
import scipy.stats

from saliscope.stats import contenders, maximised_difference, maximised_interval
from saliscope.stats.contenders import find_contenders
from saliscope.stats.counts import draw_counts
from saliscope.stats.resampling import Units, read_units

REPLICATES = 600


def windows(n, thresholds, seed, deltas=1):
    """Right in a window of thresholds, stricter deltas in a narrower one: what IoU curves with one peak give."""
    draw = np.random.default_rng(seed)
    grid = np.linspace(0, 1, thresholds)
    centre, wide = draw.normal(0.4, 0.12, (n, 1)), draw.uniform(0.05, 0.35, (n, 1))
    return np.stack(
        [np.abs(grid - centre) < wide / (1 + delta) for delta in range(deltas)], axis=1
    ).astype(np.int8)


def tied(n):
    """Two columns that are complements, each three times, and one that is the best of some replicates only by a tie."""
    one = np.arange(n) % 2
    return np.stack([one, 1 - one, one, np.r_[one[1:], 1], 1 - one, one], axis=1)[:, None]


def heavy(n):
    """One image decides: bounds that take sums to be normal would drop columns that win."""
    values = np.zeros((n, 1, 4))
    values[:, 0, 0], values[0, 0, 1], values[:3, 0, 2] = 0.01, 0.008 * n, -0.002 * n
    return values + np.random.default_rng(0).random((n, 1, 1))


CASES = {
    "curves": windows(800, 120, 1, deltas=3),
    "few images": windows(30, 120, 2, deltas=2),
    "equal columns": np.repeat(windows(200, 1, 3), 40, axis=2),
    "all wrong": np.zeros((300, 2, 20), np.int8),
    "ties": tied(400),
    "chance": np.random.default_rng(4).integers(0, 2, (400, 1, 60), np.int8),
    "grades to 127": windows(900, 80, 5) * np.int8(127),
    "whole, negative": windows(300, 80, 6) * -900.0,
    "any numbers": windows(300, 80, 7) * np.random.default_rng(7).random((300, 1, 1)),
    "heavy": heavy(500),
    "one threshold": windows(100, 1, 8),
}


def labels(n, kind):
    draw = np.random.default_rng(9)
    clusters = draw.integers(0, n // 2, n)
    return {
        "rows": (None, None),
        "strata": (draw.integers(0, 5, n), None),
        "clusters": (None, clusters),
        "both": (clusters % 4, clusters),
    }[kind]


@pytest.mark.parametrize("kind", ["rows", "strata", "clusters", "both"])
@pytest.mark.parametrize("case", CASES)
def test_contenders_have_the_maxima_of_all_columns_in_every_replicate(case, kind):
    scores = CASES[case]
    scores = scores if scores.dtype == np.int8 else scores.astype(float)
    units = read_units(len(scores), *labels(len(scores), kind))
    found = find_contenders(scores, units, replicates=REPLICATES)
    table = units.sums(scores.reshape(len(scores), -1)).astype(float)
    size = units.sums(np.ones((len(scores), 1)))[:, 0]
    for counts in draw_counts(np.random.default_rng(3), units.sizes, REPLICATES):
        rows = counts @ size
        maxima = found.replicate(np.ascontiguousarray(counts.T), rows)
        # The slow twin looks at every column. einsum adds equal columns in equal order, so they stay equal.
        sums = np.einsum("ru,uc->rc", counts, table).reshape(len(counts), *scores.shape[1:])
        expected = (sums.max(axis=2) / rows[:, None]).mean(axis=1)
        np.testing.assert_allclose(maxima[:, 0], expected, rtol=1e-12, atol=1e-12)
        if case not in ("any numbers", "heavy"):  # whole numbers: exactly, and ties to the first
            np.testing.assert_array_equal(maxima[:, 0], expected)
        np.testing.assert_array_equal(maxima[:, 1:], sums.argmax(axis=2))


def test_few_columns_of_curves_are_contenders():
    found = find_contenders(windows(2000, 300, 1), Units(np.array([2000])), replicates=10_000)
    assert 5 < len(found.places[0]) < 150
    assert found.changes


def test_of_equal_columns_the_first_is_one_contender():
    found = find_contenders(CASES["equal columns"], Units(np.array([200])), replicates=100)
    np.testing.assert_array_equal(found.places[0], [0])
    found = find_contenders(CASES["ties"].astype(np.int8), Units(np.array([400])), replicates=100)
    np.testing.assert_array_equal(found.places[0], [0, 1, 3])


def test_of_few_images_all_are_contenders():
    scores = np.zeros((49, 1, 2), np.int8)
    scores[:, 0, 1] = 1
    assert len(find_contenders(scores, Units(np.array([49])), replicates=100).places[0]) == 2
    scores = np.repeat(scores, 2, axis=0)
    np.testing.assert_array_equal(
        find_contenders(scores, Units(np.array([98])), replicates=100).places[0], [1]
    )


def chance(n, more, less):
    """The exact chance that a column which gains `more` images and loses `less` of `n` has the sum of the best or more."""
    lost = np.arange(n + 1)
    rest = scipy.stats.binom.sf(lost - 1, n - lost, more / (n - less))
    return float((scipy.stats.binom.pmf(lost, n, less / n) * rest).sum())


@pytest.mark.parametrize("more", [0, 1, 5, 20, 50])
@pytest.mark.parametrize("less", [1, 6, 30, 51, 80])
def test_a_column_is_left_out_only_at_smaller_odds_than_it_has(more, less):
    n = 130
    best, other = np.zeros(n, np.int8), np.zeros(n, np.int8)
    best[:less], other[n - more :] = 1, 1
    if more > less:
        best, other, more, less = other, best, less, more
    table, odds = np.stack([best, other], axis=1), chance(n, more, less)
    assert len(contenders._possible(table, -math.log(odds))) == 2
    if odds < 0.2:  # and it is left out well before its odds are nothing
        assert len(contenders._possible(table, -math.log(odds) / 6)) == 1


def test_odds_within_strata_are_smaller_still():
    draw, n = np.random.default_rng(0), 60
    best, other = np.zeros(n, np.int8), np.zeros(n, np.int8)
    best[:14], other[40:42] = 1, 1
    bound = math.exp(-((math.sqrt(14) - math.sqrt(2)) ** 2))
    for sizes in ([60], [30, 30], [7, 7, 26, 20]):
        counts = np.concatenate(list(draw_counts(draw, np.array(sizes), 200_000)))
        odds = np.mean(counts @ (other - best) >= 0)
        assert odds < bound
    assert bound < 10 * chance(n, 2, 14)


@pytest.mark.parametrize("by", ["percentile", "bca"])
@pytest.mark.parametrize("setting", [("_FEW", 10**9), ("_SPARSE", 10**9), ("_SPARSE", 0)])
def test_nothing_changes_without_leaving_out_or_with_other_products(setting, by, monkeypatch):
    one, two = (windows(500, 90, seed, deltas=2).astype(float) for seed in (1, 2))
    one[[4, 70]], two[9] = np.nan, np.nan
    strata = np.random.default_rng(1).integers(0, 7, 500)
    options = {"strata": strata, "by": by, "replicates": 400, "level": 0.99}
    found = maximised_difference(one, two, **options)
    few = maximised_interval(one[:40], by=by, replicates=400)
    monkeypatch.setattr(contenders, *setting)
    assert maximised_difference(one, two, **options) == found
    assert maximised_interval(one[:40], by=by, replicates=400) == few


def test_sums_beyond_single_precision_are_taken_in_double():
    scores = np.zeros((60, 1, 2))
    scores[:, 0, 0], scores[:, 0, 1] = 2.0**24, 2.0**24
    scores[7, 0, 1] += 1
    found = maximised_interval(scores, replicates=500)
    assert found.interval.estimate == 2.0**24 + 1 / 60
    assert found.best == (1,)
