import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saliscope.errors import OptionError
from saliscope.localization import count_passed, even_grid
from saliscope.localization.levels import _by_rounding


def twin(values, thresholds, strict):
    """Compare with each threshold, one by one."""
    steps = np.asarray(thresholds, values.dtype)
    return np.array(
        [sum(bool(v > t if strict else v >= t) for t in steps) for v in values.ravel()]
    ).reshape(values.shape)


@settings(max_examples=200, deadline=None)
@given(
    hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-0.5, 1.5, width=32)),
    st.integers(1, 60),
    st.booleans(),
)
def test_an_even_grid_is_counted_as_one_by_one(values, count, strict):
    thresholds = even_grid(count)
    # Values on a threshold, and right beside one, decide.
    on = np.asarray(thresholds, np.float32)
    values = np.concatenate([values, on, np.nextafter(on, 2), np.nextafter(on, -1)])
    found = count_passed(values, thresholds, strict=strict)
    np.testing.assert_array_equal(found, twin(values, thresholds, strict))


@settings(max_examples=200, deadline=None)
@given(
    hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(allow_infinity=True, width=64)),
    st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20).map(sorted),
    st.booleans(),
)
def test_any_ascending_thresholds_do(values, thresholds, strict):
    values = np.concatenate([values, thresholds])
    found = count_passed(values, thresholds, strict=strict)
    np.testing.assert_array_equal(found, twin(values, thresholds, strict))


@settings(max_examples=100, deadline=None)
@given(
    st.integers(2, 40),
    st.lists(st.floats(1.0, 9.0, width=32), max_size=4).map(sorted),
    st.booleans(),
)
def test_thresholds_behind_an_even_grid_count_too(count, behind, strict):
    thresholds = np.append(even_grid(count), behind)
    on = np.asarray(thresholds, np.float32)
    values = np.concatenate(
        [[-np.inf, np.inf, np.nan], on, np.nextafter(on, 10), np.nextafter(on, -1)]
    )
    values = values.astype(np.float32)
    found = count_passed(values, thresholds, strict=strict)
    np.testing.assert_array_equal(found, twin(values, thresholds, strict))


@pytest.mark.parametrize("count", [2, 7, 1000, 5000])
def test_even_grids_need_no_search(count):
    grid = even_grid(count).astype(np.float32)
    found = _by_rounding(grid, grid, strict=False)
    assert found is not None
    np.testing.assert_array_equal(found, np.arange(1, count + 1))


def test_uneven_thresholds_are_searched():
    assert _by_rounding(np.float64([0.0, 1.0]), np.float64([0.0, 0.01, 1.0]), strict=False) is None


def test_known_counts():
    values = np.array([[0.0, 0.25, np.nan], [0.3, -1.0, 2.0]])
    assert count_passed(values, [0.0, 0.25, 0.5]).tolist() == [[1, 2, 0], [2, 0, 3]]
    assert count_passed(values, [0.0, 0.25, 0.5], strict=True).tolist() == [[0, 1, 0], [2, 0, 3]]
    assert count_passed(values, [0.25, 0.25]).tolist() == [[0, 2, 0], [2, 0, 2]]


def test_float32_is_compared_in_float32():
    value = np.array([np.float32(0.1)])
    assert float(value[0]) > 0.1
    assert count_passed(value, [0.1], strict=True).tolist() == [0]
    assert count_passed(value.astype(np.float64), [0.1], strict=True).tolist() == [1]


@pytest.mark.parametrize("thresholds", [[], [0.5, 0.1], [0.1, np.nan], [[0.1]]])
def test_thresholds_ascend(thresholds):
    with pytest.raises(OptionError, match="finite numbers in ascending order"):
        count_passed(np.zeros(3), thresholds)


def test_a_grid_has_thresholds():
    assert even_grid(5).tolist() == [0.0, 0.2, 0.4, 0.6, 0.8]
    with pytest.raises(OptionError, match="at least 1 threshold; got 0"):
        even_grid(0)
