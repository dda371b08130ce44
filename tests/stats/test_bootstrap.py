import math

import numpy as np
import pytest

from saliscope.errors import OptionError
from saliscope.stats import mean_interval


def test_a_slow_twin_draws_the_same_interval():
    values = np.random.default_rng(5).normal(size=40)
    draw = np.random.default_rng(3)
    means = sorted(np.mean([values[i] for i in draw.integers(0, 40, 40)]) for _ in range(200))
    found = mean_interval(values, replicates=200, seed=3)
    at = 0.025 * 199
    low = means[math.floor(at)] + (at % 1) * (means[math.ceil(at)] - means[math.floor(at)])
    assert found.low == pytest.approx(low)
    assert found.estimate == pytest.approx(values.mean())


def test_it_is_as_wide_as_theory_says():
    values = np.random.default_rng(1).normal(2, 3, size=400)
    found = mean_interval(values)
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05 * half)
    narrow = mean_interval(values, level=0.5)
    assert narrow.high - narrow.low == pytest.approx(2 * 0.6745 * values.std() / 20, rel=0.05)


def test_it_covers_the_truth_as_often_as_it_says():
    draw = np.random.default_rng(8)
    found = [mean_interval(draw.exponential(size=60), replicates=400, seed=i) for i in range(300)]
    assert np.mean([i.low <= 1 <= i.high for i in found]) == pytest.approx(0.93, abs=0.05)


def test_many_values_are_drawn_in_parts_and_stay_the_same():
    values = np.random.default_rng(2).random(9000)
    assert mean_interval(values, replicates=1000) == mean_interval(values, replicates=1000)
    assert mean_interval(values, seed=1, replicates=1000) != mean_interval(values, replicates=1000)


def test_undefined_values_are_left_out_and_counted():
    found = mean_interval([1.0, math.nan, 3.0, math.nan])
    assert (found.estimate, found.n, found.undefined) == (2.0, 2, 2)
    assert (found.low, found.high) == (1.0, 3.0)


def test_nothing_has_no_mean_and_one_value_no_width():
    empty = mean_interval([math.nan])
    assert math.isnan(empty.estimate)
    assert math.isnan(empty.low)
    assert (empty.n, empty.undefined) == (0, 1)
    single = mean_interval([0.25])
    assert (single.estimate, single.low, single.high) == (0.25, 0.25, 0.25)
    assert str(single) == "0.250 [0.250, 0.250]"


@pytest.mark.parametrize("options", [{"level": 1.0}, {"level": 0.0}, {"replicates": 10}])
def test_bad_settings_are_refused(options):
    with pytest.raises(OptionError, match="level lies between 0 and 1 and replicates number 100"):
        mean_interval([1.0, 2.0], **options)
