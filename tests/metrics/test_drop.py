import math

import numpy as np
import pytest

from saliscope.errors import DataError
from saliscope.metrics import Mean
from saliscope.metrics.drop import (
    absolute_drop,
    adcc,
    coherency,
    increase,
    mean_heat,
    relative_drop,
    relative_gain,
    win,
)
from saliscope.metrics.faithfulness import FAITHFULNESS

BEFORE, AFTER = [0.8, 0.5, 0.4, 0.9], [0.4, 0.6, 0.4, 0.0]


@pytest.mark.parametrize(
    ("name", "percent"),
    [("average-drop", 37.5), ("increase", 25), ("gain", 5.0), ("absolute-drop", 32.5)],
)
def test_known_means(name, percent):
    mean = Mean(FAITHFULNESS[name])
    for before, after in zip(BEFORE, AFTER, strict=True):
        mean.update(before, after)
    found = mean.compute()
    assert 100 * found.value == pytest.approx(percent)
    assert (found.n, found.undefined) == (4, 0)


def test_undefined_is_not_zero():
    nan = math.nan
    for function in (relative_drop, increase, relative_gain, absolute_drop, win):
        assert math.isnan(function(nan, 0.5))
        assert math.isnan(function(0.5, nan))
    assert math.isnan(relative_drop(0.0, 0.0))
    assert math.isnan(relative_drop(-1.0, 2.0))  # a logit below 0 has no relative drop
    assert math.isnan(relative_gain(1.0, 1.0))
    assert math.isnan(relative_gain(3.0, 4.0))


def test_equal_is_neither_an_increase_nor_a_win():
    assert increase(0.4, 0.4) == 0
    assert win(0.2, 0.2) == 0
    assert win(0.1, 0.2) == 1
    assert win(0.2, 0.1) == 0


def test_coherency_against_numpy():
    one, other = np.random.default_rng(0).normal(size=(2, 6, 7)).astype(np.float32)
    assert coherency(one, other) == pytest.approx(
        (np.corrcoef(one.ravel().astype(float), other.ravel())[0, 1] + 1) / 2
    )
    assert coherency(one, 3 * one + 1) == pytest.approx(1)
    assert coherency(one, -one) == pytest.approx(0, abs=1e-12)
    assert math.isnan(coherency(one, np.ones((6, 7))))
    assert math.isnan(coherency(one, np.where(one > 1, np.nan, one)))
    with pytest.raises(DataError, match=r"one size; got \(6, 7\) and \(6, 6\)"):
        coherency(one, other[:, :6])


def test_mean_heat():
    assert mean_heat(np.array([[2.0, 4.0], [2.0, 3.0]])) == pytest.approx(1.5 / 4)
    assert math.isnan(mean_heat(np.full((3, 3), 0.7)))
    assert math.isnan(mean_heat(np.array([[0.0, np.nan]])))


def test_adcc_is_a_harmonic_mean():
    assert adcc(0.9, 0.2, 0.4) == pytest.approx(3 / (1 / 0.9 + 1 / 0.8 + 1 / 0.6))
    assert adcc(1.0, 0.0, 0.0) == 1
    assert adcc(0.0, 0.5, 0.5) == adcc(0.5, 1.0, 0.5) == adcc(0.5, 0.5, 1.0) == 0
    assert math.isnan(adcc(math.nan, 0.5, 1.0))
    # Not the geometric mean, and not the arithmetic one.
    assert adcc(0.9, 0.9, 0.1) < (0.9 * 0.1 * 0.9) ** (1 / 3)
