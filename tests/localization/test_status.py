import numpy as np
import pytest

from saliscope.errors import OptionError
from saliscope.localization import Status, status_of


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0, 1], [2, -3]], "ok"),
        ([[0, 0], [0, 1e-30]], "ok"),
        ([[0, 0], [0, 1e-44]], "ok"),
        ([[0, 0], [0, 0]], "zero"),
        ([[0.0, -0.0], [0, 0]], "zero"),
        ([[3, 3], [3, 3]], "constant"),
        ([[-3, -3], [-3, -3]], "constant"),
        ([[1, 1 + 1e-7], [1, 1]], "constant"),
        ([[1, 1 + 1e-5], [1, 1]], "ok"),
        ([[5]], "constant"),
        ([[0]], "zero"),
        ([[0, -1], [-2, -3]], "negative"),
        ([[-1e-30, -1], [-2, -3]], "negative"),
        ([[np.nan, 1], [2, 3]], "nonfinite"),
        ([[np.nan, np.nan], [np.nan, np.nan]], "nonfinite"),
        ([[np.inf, 1], [2, 3]], "nonfinite"),
        ([[-np.inf, -1], [-2, -3]], "nonfinite"),
        ([[np.nan, 0], [0, 0]], "nonfinite"),
    ],
)
def test_status(values, expected: Status):
    grid = np.array(values, np.float32)
    assert status_of(grid) == expected
    assert status_of(grid, saturated=True) == ("saturated" if expected == "ok" else expected)


def test_each_status_is_documented():
    for name in Status.__args__:
        assert f"`{name}`" in status_of.__doc__


def test_a_map_without_cells_is_refused():
    with pytest.raises(OptionError, match=r"a map has at least one cell; got shape \(0, 7\)"):
        status_of(np.zeros((0, 7), np.float32))
