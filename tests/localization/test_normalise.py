import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saliscope.errors import OptionError
from saliscope.frames import Frame
from saliscope.localization import normalise

heats = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.one_of(st.just(math.nan), st.floats(-(2.0**99), 2.0**99, width=32)),
)


def twin(heat, rule):
    """The definition, pixel by pixel, in float64."""
    out = np.empty(heat.shape)
    seen = [float(v) for v in heat.ravel() if math.isfinite(v)]
    low, high = (min(seen), max(seen)) if seen else (0.0, 0.0)
    for index, value in np.ndenumerate(heat.astype(np.float64)):
        if math.isnan(value) or rule == "none":
            out[index] = value
        elif rule == "min-max":
            out[index] = (
                (value - low) / (high - low) if high - low > 2**-20 * max(-low, high) else 0.0
            )
        else:
            out[index] = max(value, 0.0) / high if high > 0 else 0.0
    return out


@pytest.mark.parametrize("rule", ["min-max", "max", "none"])
@given(heat=heats)
def test_each_rule_equals_its_twin(rule, heat):
    before = heat.copy()
    result = normalise(heat, rule)
    np.testing.assert_allclose(result, twin(heat, rule), rtol=2e-7, atol=1e-45)
    assert result.dtype == np.float32
    assert not np.shares_memory(result, heat)
    np.testing.assert_array_equal(heat, before)


@pytest.mark.parametrize("rule", ["min-max", "max"])
@given(heat=heats)
def test_the_result_lies_in_0_1_and_reaches_1(rule, heat):
    result = normalise(heat, rule)
    seen = result[~np.isnan(result)]
    assert ((seen >= 0) & (seen <= 1)).all()
    assert not seen.any() or seen.max() == 1


@pytest.mark.parametrize("rule", ["min-max", "max"])
@pytest.mark.parametrize("factor", [1e-44, 1e-38, 1e-20, 1e-3, 7.0, 1e20, 1e30, 1e37])
def test_scale_does_not_matter(rule, factor):
    heat = np.array([[-2.0, 1.0], [3.0, np.nan]], np.float32)
    scaled = (heat.astype(np.float64) * factor).astype(np.float32)
    tolerance = 0.2 if factor == 1e-44 else 1e-6  # a subnormal number has few digits itself
    np.testing.assert_allclose(normalise(scaled, rule), normalise(heat, rule), atol=tolerance)
    assert np.nanmax(normalise(scaled, rule)) == 1


def test_the_whole_range_of_float32():
    edge = np.float32(3.4e38)
    assert normalise(np.array([-edge, 0, edge]), "min-max").tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("value", [0.0, 4.0, -4.0])
def test_constant_maps(value):
    heat = np.array([value, value, np.nan], np.float32)
    np.testing.assert_array_equal(normalise(heat, "min-max"), [0, 0, np.nan])
    expected = [1, 1, np.nan] if value > 0 else [0, 0, np.nan]
    np.testing.assert_array_equal(normalise(heat, "max"), expected)


def test_an_upsampled_constant_map_is_constant():
    for value in (0.1, -0.7, 3e7, 1e-30):
        up = Frame.squash((90, 77), (64, 64)).map_to_source(np.full((7, 7), value, np.float32))
        assert not normalise(up, "min-max").any()
    assert normalise(np.array([1.0, 1.00001]), "min-max").tolist() == [0, 1]


def test_nothing_positive_is_zeros_for_max():
    np.testing.assert_array_equal(normalise(np.array([[-3.0, -1.0]]), "max"), [[0, 0]])
    np.testing.assert_array_equal(normalise(np.array([[-3.0, 0.0]]), "max"), [[0, 0]])


@pytest.mark.parametrize("rule", ["min-max", "max", "none"])
@pytest.mark.parametrize(
    "bad", [[np.inf, 1, 2], [-np.inf, 1, 2], [np.inf, -np.inf, 0], [np.nan] * 3, []]
)
def test_values_that_are_not_finite_do_not_crash_or_warn(rule, bad):
    heat = np.array(bad, np.float32)
    result = normalise(heat, rule)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(heat))


def test_all_unseen_stays_unseen():
    assert np.isnan(normalise(np.full((3, 3), np.nan))).all()


def test_an_unknown_rule_is_refused():
    with pytest.raises(OptionError, match='normalisation "minmax" is unknown; nearest: "min-max"'):
        normalise(np.zeros((2, 2)), "minmax")


def test_the_percentile_rule_in_loops():
    random = np.random.default_rng(3)
    heat = random.normal(size=(13, 17)).astype(np.float32) ** 3
    heat[0, 0], heat[1, 1] = 900, np.nan
    positive = sorted(v for v in heat.ravel().tolist() if v > 0)
    place = 0.99 * (len(positive) - 1)
    below = int(place)
    p = positive[below] + (place - below) * (positive[below + 1] - positive[below])
    found = normalise(heat, "percentile")
    for (y, x), value in np.ndenumerate(heat):
        if np.isnan(value):
            assert np.isnan(found[y, x])
        else:
            assert found[y, x] == pytest.approx(min(max(float(value), 0.0) / p, 1.0), rel=1e-6)
    assert normalise(np.array([-1.0, 0.0]), "percentile").tolist() == [0.0, 0.0]
    assert normalise(np.array([np.inf, 2.0]), "percentile").tolist() == [1.0, 1.0]
