import math

import numpy as np
import pytest
from scipy import stats

from saliscope.errors import DataError
from saliscope.metrics.ranks import average_ranks, spearman, spearman_rows


def twin(a, b):
    """Pearson's correlation of mean ranks, each rank counted one value at a time."""

    def ranks(values):
        return [sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 for x in values]

    ra, rb = ranks(a), ranks(b)
    ma, mb = math.fsum(ra) / len(a), math.fsum(rb) / len(b)
    covariance = math.fsum((x - ma) * (y - mb) for x, y in zip(ra, rb, strict=True))
    va = math.fsum((x - ma) ** 2 for x in ra)
    vb = math.fsum((y - mb) ** 2 for y in rb)
    return covariance / math.sqrt(va * vb)


def smooth_pair(size=32):
    y, x = np.mgrid[:size, :size] / size
    one = np.exp(-8 * ((x - 0.4) ** 2 + (y - 0.5) ** 2))
    return one, one + 0.1 * np.sin(5 * x)


@pytest.mark.parametrize("transform", [np.exp, np.cbrt, lambda v: 3 * v - 1])
def test_a_monotone_transform_keeps_every_rank(transform):
    values = np.random.default_rng(0).normal(size=(9, 11))
    assert spearman(values, transform(values)) == 1.0
    assert spearman(values, -transform(values)) == -1.0


def test_argsort_is_not_a_rank():
    one, other = smooth_pair()
    true = spearman(one, other)
    shortcut = np.corrcoef(np.argsort(one.ravel()), np.argsort(other.ravel()))[0, 1]
    assert true > 0.9
    assert shortcut < 0.5
    values = np.random.default_rng(1).normal(size=2000)
    again = np.corrcoef(np.argsort(values), np.argsort(values + 1e-3 * values**3))[0, 1]
    assert again == pytest.approx(1)  # equal orders hide the mistake; other ones do not
    mixed = values + 0.5 * np.random.default_rng(2).normal(size=2000)
    assert abs(np.corrcoef(np.argsort(values), np.argsort(mixed))[0, 1]) < 0.1
    assert spearman(values, mixed) > 0.8


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_against_counting_with_ties(levels):
    random = np.random.default_rng(levels)
    a, b = random.integers(0, levels, (2, 40)) / 7
    assert spearman(a, b) == pytest.approx(twin(a.tolist(), b.tolist()), abs=1e-12)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_equals_share_the_mean_rank_and_not_the_first():
    assert average_ranks(np.array([[2.0, 2, 1], [5, 5, 5]])).tolist() == [[2.5, 2.5, 1], [2, 2, 2]]


def test_a_relu_map_keeps_its_ties_and_is_not_ordered_by_position():
    zeros = np.zeros((20, 20))
    zeros[:, :6] = np.arange(120).reshape(20, 6) + 1
    place = np.arange(400.0).reshape(20, 20)
    assert spearman(zeros, place) == pytest.approx(twin(zeros.ravel(), place.ravel()))


@pytest.mark.parametrize("a", [np.zeros(5), np.full(5, 0.1), np.full(5, np.nan), [1, 2, 3, 4, 5]])
def test_without_an_order_it_is_undefined(a):
    constant = np.full(5, 3.0)
    assert math.isnan(spearman(a, constant))
    assert math.isnan(spearman(constant, a))


def test_too_few_places():
    assert math.isnan(spearman([], []))
    assert math.isnan(spearman([1.0], [2.0]))
    assert math.isnan(spearman([1.0, np.nan], [2.0, 3.0]))
    assert spearman([1.0, np.nan, 2.0], [2.0, 9.0, 3.0]) == 1.0


def test_rows_are_pairs_of_their_own_and_unseen_places_of_one_row_stay_in_the_others():
    random = np.random.default_rng(3)
    a, b = random.normal(size=(2, 4, 5, 6))
    b += a
    a[1, 0, :3] = np.nan
    b[2] = 1.0
    b[3, 4, 4] = np.nan
    found = spearman_rows(a, b)
    assert found.shape == (4,)
    for row in (0, 1, 3):
        seen = ~np.isnan(a[row]) & ~np.isnan(b[row])
        assert found[row] == pytest.approx(twin(a[row][seen].tolist(), b[row][seen].tolist()))
    assert math.isnan(found[2])
    assert spearman_rows(np.empty((0, 3)), np.empty((0, 3))).shape == (0,)


def test_inputs_stay_as_they_are():
    a, b = np.array([3.0, np.nan, 1.0]), np.array([1.0, 2.0, 3.0])
    before = a.copy(), b.copy()
    spearman(a, b)
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])


def test_integers_and_large_maps_are_exact():
    values = np.random.default_rng(4).permutation(224 * 224)
    assert spearman(values, values.astype(np.float32)) == 1.0
    assert spearman(values, values[::-1]) == pytest.approx(0, abs=0.02)


def test_shapes_must_agree():
    with pytest.raises(DataError, match=r"one shape; got \(2, 2\) and \(4,\)"):
        spearman(np.ones((2, 2)), np.ones(4))
    with pytest.raises(DataError, match=r"\(R, n\) or \(R, H, W\); got \(3,\)"):
        spearman_rows([1, 2, 3], [1, 2, 3])
