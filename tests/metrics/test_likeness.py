"""Similarities of maps against twins in loops, and against scikit-image where it is installed."""

import math

import numpy as np
import pytest
from scipy import stats

from saliscope.errors import DataError, OptionError
from saliscope.metrics.likeness import (
    SIMILARITY_METRICS,
    hog_features,
    hog_similarity,
    pearson,
    similarity,
    ssim,
)

R = np.random.default_rng(3)


def pictures(size=(52, 67), seed=0):
    """Two smooth pictures in [0, 1] that have something in common."""
    r = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]] / 10
    made = [np.sin(y + a) * np.cos(x * b) + 0.3 * r.random(size) for a, b in [(0, 1), (0.7, 1.2)]]
    return [(m - m.min()) / (m.max() - m.min()) for m in made]


def ssim_in_loops(one, other, L=1.0):
    """Equation 13 of Wang et al. 2004 at every pixel whose 11 x 11 window fits, weights from the two-dimensional Gaussian."""
    dy, dx = np.mgrid[-5:6, -5:6]
    w = np.exp(-(dy**2 + dx**2) / (2 * 1.5**2))
    w /= w.sum()
    c1, c2 = (0.01 * L) ** 2, (0.03 * L) ** 2
    found = []
    for i in range(5, one.shape[0] - 5):
        for j in range(5, one.shape[1] - 5):
            x, y = (m[i - 5 : i + 6, j - 5 : j + 6] for m in (one, other))
            mx, my = (w * x).sum(), (w * y).sum()
            vx, vy = (w * (x - mx) ** 2).sum(), (w * (y - my) ** 2).sum()
            cov = (w * (x - mx) * (y - my)).sum()
            luminance = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
            structure = (2 * cov + c2) / (vx + vy + c2)
            found.append(luminance * structure)
    return sum(found) / len(found)


def hog_in_loops(picture, cell=16):
    """Pixel by pixel, vote by vote."""
    height, width = picture.shape
    rows, columns = height // cell, width // cell
    hist = np.zeros((rows, columns, 9))
    for i in range(rows * cell):
        for j in range(columns * cell):
            gy = picture[i + 1, j] - picture[i - 1, j] if 0 < i < height - 1 else 0.0
            gx = picture[i, j + 1] - picture[i, j - 1] if 0 < j < width - 1 else 0.0
            angle = math.degrees(math.atan2(gy, gx)) % 180
            for k in range(9):
                if 20 * k <= angle < 20 * (k + 1):
                    hist[i // cell, j // cell, k] += math.hypot(gx, gy) / cell**2
    features = []
    for i in range(rows - 2):
        for j in range(columns - 2):
            block = [hist[i + a, j + b, k] for a in range(3) for b in range(3) for k in range(9)]
            for cut in (True, False):
                norm = math.sqrt(sum(v * v for v in block) + 1e-10)
                block = [min(v / norm, 0.2) if cut else v / norm for v in block]
            features += block
    return np.array(features)


@pytest.mark.parametrize("size", [(16, 23), (11, 11)])
def test_ssim_equals_its_twin(size):
    one, other = pictures(size)
    assert ssim(one, other) == pytest.approx(ssim_in_loops(one, other), abs=1e-10)
    assert ssim(9 * one, 9 * other, data_range=9) == pytest.approx(ssim(one, other), abs=1e-10)


@pytest.mark.parametrize(("size", "cell"), [((52, 67), 16), ((30, 24), 6), ((24, 31), 7)])
def test_hog_equals_its_twin(size, cell):
    one, other = pictures(size)
    assert hog_features(one, cell=cell) == pytest.approx(hog_in_loops(one, cell), abs=1e-10)
    expected = stats.spearmanr(hog_in_loops(one, cell), hog_in_loops(other, cell)).statistic
    assert hog_similarity(one, other, cell=cell) == pytest.approx(expected, abs=1e-6)


def test_ssim_and_hog_are_those_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    feature = pytest.importorskip("skimage.feature")
    one, other = pictures((90, 75))
    theirs = metrics.structural_similarity(
        one, other, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1
    )
    assert ssim(one, other) == pytest.approx(theirs, abs=1e-10)
    theirs = feature.hog(one, 9, (16, 16), (3, 3), block_norm="L2-Hys")
    assert hog_features(one) == pytest.approx(theirs, abs=1e-6)  # its histograms add up in float32


def test_ssim_is_two_dimensional():
    one, other = pictures((22, 33))
    turned = [m.T.copy() for m in (one, other)]
    assert ssim(*turned) == pytest.approx(ssim(one, other), abs=1e-12)
    stretched = [np.repeat(m.ravel()[None], 11, axis=0) for m in (one, other)]
    assert abs(ssim(*stretched) - ssim(one, other)) > 0.02


def test_pearson_is_numpys_at_any_scale():
    one, other = (R.normal(size=(5, 7)) for _ in range(2))
    expected = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    for factor in (1e-300, 1.0, 1e300):
        assert pearson(one * factor, other + 3) == pytest.approx(expected, abs=1e-12)
    tiny = (one.astype(np.float32) * np.float32(1e-38)).astype(np.float32)
    assert pearson(tiny, other) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("likeness", SIMILARITY_METRICS)
def test_equal_maps_are_exactly_alike(likeness):
    one, _ = pictures()
    assert similarity(one - 0.5, one - 0.5, likeness) == pytest.approx(1, abs=1e-12)
    if likeness != "pearson":
        assert similarity(one - 0.5, one - 0.5, likeness) == 1


@pytest.mark.parametrize("likeness", SIMILARITY_METRICS)
def test_each_is_symmetric_bounded_and_blind_to_scale(likeness):
    one, other = pictures()
    one, other = one - 0.4, other - 0.6
    value = similarity(one, other, likeness)
    assert -1 <= value <= 1
    assert similarity(other, one, likeness) == pytest.approx(value, abs=1e-9)
    assert similarity(3 * one, other, likeness) == pytest.approx(value, abs=1e-4)
    assert SIMILARITY_METRICS[likeness](one, other) == value


@pytest.mark.parametrize("likeness", SIMILARITY_METRICS)
@pytest.mark.parametrize(
    "bad", [np.zeros((52, 67)), np.full((52, 67), 2.0), np.full((52, 67), np.nan)]
)
def test_a_map_that_says_nothing_is_like_none_not_even_itself(likeness, bad):
    one, _ = pictures()
    assert math.isnan(similarity(one, bad, likeness))
    assert math.isnan(similarity(bad, one, likeness))
    assert math.isnan(similarity(bad, bad, likeness))


def test_one_value_that_is_not_finite_leaves_no_similarity():
    one, other = pictures()
    for value in (np.nan, np.inf, -np.inf):
        broken = one.copy()
        broken[3, 4] = value
        assert math.isnan(similarity(broken, other, "spearman"))
        assert math.isnan(pearson(broken, other))


def test_absolute_and_signed_ranks_part_ways_where_the_sign_turns():
    one, _ = pictures()
    one = one - 0.5
    assert similarity(one, -one, "spearman") == -1
    assert similarity(one, -one, "spearman-abs") == 1
    assert similarity(one, one**3, "spearman") == 1


def test_maps_with_the_same_edges_in_other_places_are_told_apart_by_ranks():
    heat = np.zeros((64, 64))
    heat[8:24, 8:24] = 1
    moved = np.roll(heat, (32, 32), (0, 1))
    assert similarity(heat, moved, "spearman") < 0
    assert similarity(heat, heat + np.eye(64) * 1e-3, "hog") < 1


def test_independent_noise_is_unlike():
    a, b = (np.random.default_rng(s).random((224, 224)) for s in (1, 2))
    for likeness in ("spearman", "spearman-abs", "pearson"):
        assert abs(similarity(a, b, likeness)) < 0.01
    assert abs(similarity(a, b, "ssim")) < 0.02


def test_a_picture_without_edges_has_no_hog_similarity():
    assert math.isnan(hog_similarity(np.ones((48, 48)), pictures((48, 48))[0]))


def test_what_cannot_be_compared_is_refused():
    one, _ = pictures()
    with pytest.raises(
        DataError, match=r"one shape \(H, W\) are compared; got \(52, 67\) and \(67, 52\)"
    ):
        similarity(one, one.T)
    with pytest.raises(DataError, match=r"one shape \(H, W\)"):
        pearson(one.ravel(), one.ravel())
    with pytest.raises(OptionError, match=r'likeness "spearmann" is unknown; nearest: "spearman"'):
        similarity(one, one, "spearmann")
    with pytest.raises(DataError, match=r"window of 11 x 11 pixels and the maps are \(10, 30\)"):
        ssim(np.ones((10, 30)), np.ones((10, 30)))
    with pytest.raises(OptionError, match=r"data_range is the width of the range, e.g. 1; got 0"):
        ssim(one, one, data_range=0)
    with pytest.raises(DataError, match=r"3 x 3 cells of 16 pixels at least; got \(47, 80\)"):
        hog_similarity(np.ones((47, 80)), np.ones((47, 80)))
