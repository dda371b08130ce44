import numpy as np
import pytest

from saliscope.report.grids import pack_grid, unpack_grid


@pytest.mark.parametrize(
    ("size", "bits"), [((7, 7), 16), ((32, 32), 16), ((33, 32), 8), ((56, 56), 8)]
)
def test_values_come_back_within_half_a_step(size, bits):
    grid = np.random.default_rng(0).normal(size=size).astype(np.float32) * 1e-5
    packed = pack_grid(grid)
    assert packed["bits"] == bits
    step = np.ptp(grid) / (2**bits - 2)
    np.testing.assert_allclose(unpack_grid(packed), grid, rtol=0, atol=0.501 * step)
    assert (packed["low"], packed["high"]) == (grid.min(), grid.max())


@pytest.mark.parametrize("scale", [1e-40, 3e38])
def test_smallest_and_largest_numbers(scale):
    grid = np.array([[-1.0, 0.0], [0.5, 1.0]], np.float64) * scale
    found = unpack_grid(pack_grid(grid))
    np.testing.assert_allclose(found, grid.astype(np.float32), rtol=1e-4, atol=scale * 1e-4)


def test_constant_maps_stay_constant():
    np.testing.assert_array_equal(
        unpack_grid(pack_grid(np.full((3, 4), -2.5))), np.full((3, 4), -2.5)
    )


def test_what_is_not_finite_is_nan():
    grid = np.array([[1.0, np.nan], [np.inf, -np.inf], [3.0, 2.0]], np.float32)
    expected = [[1.0, np.nan], [np.nan, np.nan], [3.0, 2.0]]
    np.testing.assert_allclose(unpack_grid(pack_grid(grid)), expected, atol=1e-4)
    assert np.isnan(unpack_grid(pack_grid(np.full((2, 2), np.nan)))).all()


def test_fine_maps_are_averaged():
    grid = np.kron(np.arange(12, dtype=np.float32).reshape(3, 4), np.ones((112, 112), np.float32))
    found = unpack_grid(pack_grid(grid))
    assert found.shape == (84, 112)
    assert found.mean() == pytest.approx(grid.mean(), rel=0.01)
    assert found[10, 10] == pytest.approx(0, abs=0.05)
    assert found[80, 105] == pytest.approx(11, abs=0.05)
