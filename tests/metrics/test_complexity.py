"""Sparseness, entropy and area against closed forms, scipy, and twins in loops."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from saliscope.errors import DataError, OptionError
from saliscope.metrics import Mean
from saliscope.metrics.complexity import (
    COMPLEXITY_METRICS,
    complexity_scores,
    effective_area,
    entropy,
    gini,
    heat_area,
    normalised_entropy,
)

FUNCTIONS = [gini, entropy, normalised_entropy, effective_area, heat_area]
R = np.random.default_rng(0)


def one_hot(n, size=(10, 10)):
    heat = np.zeros(size)
    heat.flat[n] = 3.7
    return heat


def signed(size=(7, 9)):
    return R.normal(size=size).astype(np.float32)


def gini_by_pairs(values):
    """The mean absolute difference of all pairs over twice the mean: the definition before any sorting."""
    n = len(values)
    total = sum(abs(a - b) for a in values for b in values)
    return total / (2 * n * sum(values))


def area_by_fractions(values, share):
    """Take the hottest cells in turn, exactly, until the share is held."""
    cells = sorted((Fraction(float(v)) for v in values), reverse=True)
    left, area = Fraction(share) * sum(cells), Fraction(0)
    for cell in cells:
        take = min(cell, left)
        if not take:
            break
        area += take / cell
        left -= take
    return float(area / len(cells))


def test_the_known_answers():
    assert gini(np.full((10, 10), 2.5)) == pytest.approx(0, abs=1e-12)
    assert gini(one_hot(42)) == pytest.approx(0.99)
    assert gini(np.array([[1.0, 2.0], [3.0, 4.0]])) == 0.25
    assert entropy(np.full((10, 10), 2.5)) == pytest.approx(math.log(100))
    assert entropy(one_hot(42)) == 0.0
    assert math.copysign(1, entropy(one_hot(42))) == 1
    assert normalised_entropy(np.full((10, 10), 2.5)) == pytest.approx(1)


def test_equal_cells_cover_their_own_area():
    heat = np.zeros((10, 10))
    heat[:3] = 0.1
    assert effective_area(heat) == pytest.approx(0.3)
    assert heat_area(heat, share=0.5) == pytest.approx(0.15)
    assert heat_area(heat, share=1) == pytest.approx(0.3)
    assert heat_area(one_hot(7), share=0.9) == pytest.approx(0.009)
    assert heat_area(np.array([[4.0, 3.0], [2.0, 1.0]]), share=0.9) == pytest.approx(0.75)


@pytest.mark.parametrize("seed", range(5))
def test_each_equals_its_twin(seed):
    heat = np.random.default_rng(seed).normal(size=(6, 8)).astype(np.float32)
    heat[heat < -1] = 0  # ties
    values = [abs(float(v)) for v in heat.flat]
    assert gini(heat) == pytest.approx(gini_by_pairs(values), abs=1e-12)
    assert entropy(heat) == pytest.approx(float(stats.entropy(values)), abs=1e-12)
    assert effective_area(heat) == pytest.approx(math.exp(stats.entropy(values)) / 48, abs=1e-12)
    for share in (0.1, 0.5, 0.9, 1.0):
        assert heat_area(heat, share=share) == pytest.approx(
            area_by_fractions(values, share), abs=1e-12
        )
    positive = [max(float(v), 0.0) for v in heat.flat]
    assert gini(heat, part="positive") == pytest.approx(gini_by_pairs(positive), abs=1e-12)
    assert entropy(heat, part="positive") == pytest.approx(
        float(stats.entropy(positive)), abs=1e-12
    )


def test_absolute_heat_is_not_positive_heat():
    heat = np.array([[1.0, -1.0], [0.0, 0.0]])
    assert effective_area(heat) == pytest.approx(0.5)
    assert effective_area(heat, part="positive") == pytest.approx(0.25)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("factor", [1e-44, 1e-30, 7.0, 1e38])
def test_a_factor_changes_nothing(function, factor):
    heat = np.array([[1.0, 2.0, -3.0], [0.0, 3.0, 2.0]])
    assert function((heat * factor).astype(np.float32)) == pytest.approx(function(heat), rel=0.05)
    assert function(heat * factor) == pytest.approx(function(heat), rel=1e-9)


def test_the_order_of_the_cells_does_not_matter():
    heat = signed()
    shuffled = R.permutation(heat.ravel()).reshape(heat.shape)
    for function in FUNCTIONS:
        assert function(shuffled) == pytest.approx(function(heat), abs=1e-12)


def test_what_finer_cells_change_and_what_not():
    heat = np.abs(signed((5, 6)))
    finer = heat.repeat(2, axis=0).repeat(2, axis=1)
    assert gini(finer) == pytest.approx(gini(heat))
    assert heat_area(finer) == pytest.approx(heat_area(heat))
    assert effective_area(finer) == pytest.approx(effective_area(heat))
    assert entropy(finer) == pytest.approx(entropy(heat) + math.log(4))
    assert normalised_entropy(finer) > normalised_entropy(heat)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "heat",
    [
        np.zeros((3, 3)),
        np.full((3, 3), np.nan),
        np.array([[1.0, np.nan]]),
        np.array([[1.0, np.inf]]),
        np.array([[1.0, -np.inf]]),
        np.zeros((0, 3)),
    ],
)
def test_without_heat_or_finite_values_it_is_undefined(function, heat):
    assert math.isnan(function(heat))


def test_a_negative_map_has_no_positive_heat_and_a_single_cell_no_normalised_entropy():
    assert math.isnan(gini(-np.ones((3, 3)), part="positive"))
    assert math.isnan(normalised_entropy(np.ones((1, 1))))
    assert gini(np.ones((1, 1))) == 0


def test_unseen_pixels_are_left_out_where_they_are_named():
    heat = np.array([[1.0, 2.0, np.nan], [3.0, 4.0, np.inf]])
    seen = np.isfinite(heat)
    whole = np.array([[1.0, 2.0], [3.0, 4.0]])
    for function in FUNCTIONS:
        assert function(heat, seen=seen) == function(whole)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(DataError, match=r"shape \(H, W\); got \(2, 3, 3\)"):
        gini(np.ones((2, 3, 3)))
    with pytest.raises(DataError, match=r"heatmap is \(3, 3\) and the seen pixels \(2, 3\)"):
        gini(np.ones((3, 3)), seen=np.ones((2, 3), bool))
    with pytest.raises(OptionError, match=r'part "abs" of a map is unknown; nearest: "absolute"'):
        entropy(np.ones((3, 3)), part="abs")
    for share in (0, 1.1, math.nan):
        with pytest.raises(OptionError, match=r"share is a share of the heat, in \(0, 1\]"):
            heat_area(np.ones((3, 3)), share=share)


@pytest.mark.parametrize("name", COMPLEXITY_METRICS)
def test_every_row_is_a_metric_within_its_bounds(name):
    metric = COMPLEXITY_METRICS[name]
    low, high = metric.bounds
    mean = Mean(metric)
    for heat in (signed(), np.ones((4, 4)), one_hot(3), np.zeros((4, 4))):
        mean.update(heat)
    assert low - 1e-12 <= mean.compute().value <= high + 1e-12
    assert (mean.compute().n, mean.compute().undefined) == (3, 1)
    even, single = metric(np.ones((10, 10))), metric(one_hot(3))
    assert (single > even) == (metric.direction == "higher")


def test_rows_of_areas_differ_by_their_share():
    heat = np.array([[4.0, 3.0], [2.0, 1.0]])
    assert COMPLEXITY_METRICS["heat-area-50"](heat) == pytest.approx((1 + 1 / 3) / 4)
    assert COMPLEXITY_METRICS["heat-area-90"](heat, part="positive") == pytest.approx(0.75)


@pytest.mark.parametrize("part", ["absolute", "positive"])
def test_all_at_once_are_those_one_by_one(part):
    random = np.random.default_rng(2)
    for heat in (random.normal(size=(5, 7)), random.normal(size=(1, 1)), np.zeros((3, 3))):
        seen = random.random(heat.shape) < 0.7
        for pixels in (None, seen):
            found = complexity_scores(heat, part=part, seen=pixels)
            assert list(found) == list(COMPLEXITY_METRICS)
            for name, metric in COMPLEXITY_METRICS.items():
                expected = metric(heat, part=part, seen=pixels)
                assert found[name] == expected or (math.isnan(found[name]) and math.isnan(expected))


def test_a_shuffled_map_has_the_same_to_the_bit():
    random = np.random.default_rng(3)
    for _ in range(20):
        heat = random.normal(size=(7, 9))
        shuffled = random.permutation(heat.ravel()).reshape(9, 7)
        assert complexity_scores(heat) == complexity_scores(shuffled)
        for metric in COMPLEXITY_METRICS.values():
            assert metric(heat) == metric(shuffled)
