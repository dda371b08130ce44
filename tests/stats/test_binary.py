import math

import numpy as np
import pytest
import scipy.stats

from saliscope.errors import DataError, OptionError
from saliscope.stats import mcnemar, mcnemar_exact, newcombe_interval, wilson_interval


def test_mcnemar_ten_to_two():
    assert mcnemar_exact(10, 2) == pytest.approx(0.03857, abs=5e-6)
    assert mcnemar_exact(10, 2) == pytest.approx(2 * (1 + 12 + 66) / 2**12)


@pytest.mark.parametrize(("b", "c"), [(0, 5), (3, 3), (40, 61), (1, 0), (700, 850)])
def test_mcnemar_is_the_binomial_test(b, c):
    expected = scipy.stats.binomtest(b, b + c, 0.5).pvalue
    assert mcnemar_exact(b, c) == pytest.approx(expected)
    assert mcnemar_exact(c, b) == mcnemar_exact(b, c)


def test_without_different_pairs_nothing_is_found():
    assert mcnemar_exact(0, 0) == 1.0
    found = mcnemar([1, 0, 1], [1, 0, 1])
    assert (found.pvalue, found.both, found.neither) == (1.0, 2, 1)
    assert math.isnan(found.effect)


def test_pairs_are_counted():
    first = [1, 1, 1, 0, 0, math.nan, 1]
    second = [1, 0, 0, 1, 0, 1, math.nan]
    found = mcnemar(first, second)
    assert (found.both, found.b, found.c, found.neither) == (1, 2, 1, 1)
    assert (found.difference.n, found.difference.undefined) == (5, 2)
    assert found.difference.estimate == pytest.approx(0.2)
    assert found.effect == pytest.approx(1 / 3)
    assert found.difference == newcombe_interval(1, 2, 1, 1, undefined=2)
    empty = mcnemar([math.nan], [1])
    assert math.isnan(empty.pvalue)
    assert math.isnan(empty.difference.low)


def test_only_right_and_wrong_are_compared():
    with pytest.raises(DataError, match="scores are 0, 1 or NaN"):
        mcnemar([0.5, 1], [1, 0])
    with pytest.raises(DataError, match="counts of pairs are 0 or more; got b=-1, c=2"):
        mcnemar_exact(-1, 2)
    with pytest.raises(DataError, match="counts of pairs are 0 or more; got 1, 2, 3, -4"):
        newcombe_interval(1, 2, 3, -4)


def test_wilson_of_the_human_study():
    found = wilson_interval(496, 810)
    assert (round(found.low, 4), round(found.high, 4)) == (0.5783, 0.6453)
    assert found.estimate == pytest.approx(0.6123, abs=5e-5)


@pytest.mark.parametrize(
    ("k", "n", "level"), [(0, 7, 0.95), (7, 7, 0.9), (3, 40, 0.99), (1, 1, 0.95)]
)
def test_wilson_is_that_of_scipy(k, n, level):
    theirs = scipy.stats.binomtest(k, n).proportion_ci(level, method="wilson")
    found = wilson_interval(k, n, level=level)
    assert (found.low, found.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert 0 <= found.low <= found.estimate <= found.high <= 1


def test_wilson_of_nothing_and_of_too_much():
    assert math.isnan(wilson_interval(0, 0, undefined=3).low)
    assert wilson_interval(0, 0, undefined=3).undefined == 3
    with pytest.raises(DataError, match="between 0 and n; got 5 of 4"):
        wilson_interval(5, 4)
    with pytest.raises(OptionError, match="the level lies between 0 and 1"):
        wilson_interval(1, 4, level=95)


# Newcombe 1998, Statistics in Medicine 17, 2635-2650, table III, method 10. Unrounded, (1, 97, 1, 1) gives .87367 for the .8736 printed.
@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((20, 12, 2, 16), 0.0562, 0.3292),
        ((18, 12, 2, 18), 0.0562, 0.3290),
        ((36, 14, 0, 0), 0.1528, 0.4167),
        ((35, 14, 0, 1), 0.1461, 0.4175),
        ((18, 14, 0, 18), 0.1441, 0.3963),
        ((2, 97, 1, 0), 0.8721, 0.9854),
        ((1, 97, 1, 1), 0.8736, 0.9850),
        ((0, 30, 0, 0), 0.8395, 1.0),
        ((54, 0, 0, 0), -0.0664, 0.0664),
        ((30, 0, 0, 24), -0.0358, 0.0358),
    ],
)
def test_newcombe_gives_the_table_of_the_paper(cells, low, high):
    found = newcombe_interval(*cells)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    both, b, c, neither = cells
    turned = newcombe_interval(both, c, b, neither)
    assert (turned.low, turned.high) == (pytest.approx(-found.high), pytest.approx(-found.low))


def test_wilson_covers_exactly_as_the_binomial_says():
    for p in (0.1, 0.5, 0.93):
        inside = [k for k in range(41) if (w := wilson_interval(k, 40)).low <= p <= w.high]
        assert scipy.stats.binom.pmf(inside, 40, p).sum() == pytest.approx(0.95, abs=0.025)


def test_newcombe_covers():
    draw = np.random.default_rng(1)
    for cells in ((0.5, 0.2, 0.1, 0.2), (0.1, 0.05, 0.3, 0.55)):
        tables = draw.multinomial(60, cells, 500)
        found = [newcombe_interval(*map(int, t)) for t in tables]
        truth = cells[1] - cells[2]
        assert np.mean([f.low <= truth <= f.high for f in found]) == pytest.approx(0.95, abs=0.03)
