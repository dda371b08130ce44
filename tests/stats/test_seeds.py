import math

import numpy as np
import pytest
import scipy.stats

from saliscope.errors import DataError, OptionError
from saliscope.stats import mean_interval, seeds_interval


def grid(seeds, images, *, training, image, noise, seed):
    draw = np.random.default_rng(seed)
    shared = image * draw.normal(size=(1, images))
    return (
        training * draw.normal(size=(seeds, 1)) + shared + noise * draw.normal(size=(seeds, images))
    )


def width(interval):
    return (interval.high - interval.low) / (2 * 1.959964)


def test_means_of_seeds_and_their_t_interval():
    found = seeds_interval([[0.1, 0.3], [0.4, 0.6], [0.3, 0.7]], replicates=100)
    assert found.means == pytest.approx((0.2, 0.5, 0.5))
    assert found.both.estimate == pytest.approx(0.4)
    assert found.sd == pytest.approx(np.std([0.2, 0.5, 0.5], ddof=1))
    theirs = scipy.stats.ttest_1samp([0.2, 0.5, 0.5], 0).confidence_interval(0.95)
    assert found.trainings.low == pytest.approx(theirs.low)
    assert (found.trainings.n, found.both.n) == (3, 6)


def test_the_width_over_shared_images_is_what_theory_says():
    scores = grid(8, 40, training=0.3, image=1.0, noise=0.5, seed=1)
    found = seeds_interval(scores, replicates=4000)
    covariance = np.cov(scores, ddof=0) / 40  # of the seeds' means, drawing images
    means, s = scores.mean(axis=1), 8
    products = np.full((s, s), (1 - 1 / s) / s**2) + np.eye(s) / s**2  # E of counts' products / S^2
    expected = means.var() / s + (products * covariance).sum()
    assert width(found.both) == pytest.approx(math.sqrt(expected), rel=0.06)
    assert width(found.images) == pytest.approx(math.sqrt(covariance.mean()), rel=0.06)


def test_the_width_over_own_images_is_what_theory_says():
    scores = grid(6, 30, training=0.2, image=1.0, noise=0.5, seed=2)
    found = seeds_interval(scores, images="own", replicates=4000)
    within = scores.var(axis=1) / 30
    assert width(found.both) == pytest.approx(
        math.sqrt(scores.mean(axis=1).var() / 6 + within.mean() / 6), rel=0.06
    )
    assert width(found.images) == pytest.approx(math.sqrt(within.mean() / 6), rel=0.06)
    shared = seeds_interval(scores, replicates=4000)
    assert width(shared.images) > 1.5 * width(found.images)  # a hard image is hard for all seeds


def test_one_seed_is_the_bootstrap_over_images():
    values = np.random.default_rng(3).random(60)
    found = seeds_interval(values[None], replicates=4000)
    plain = mean_interval(values, replicates=4000)
    assert found.both.low == pytest.approx(plain.low, abs=0.006)
    assert (found.both.low, found.both.high) == (found.images.low, found.images.high)
    assert math.isnan(found.sd)
    assert math.isnan(found.trainings.low)


@pytest.mark.parametrize("images", ["shared", "own"])
def test_gaps_are_left_out_of_their_seed(images):
    scores = np.array([[1.0, 1.0, np.nan, 1.0], [3.0, np.nan, np.nan, 3.0]])
    found = seeds_interval(scores, images=images, replicates=400)
    assert found.means == (1.0, 3.0)
    assert (found.both.n, found.both.undefined) == (5, 3)
    assert (found.images.low, found.images.high) == (2.0, 2.0)
    assert (found.both.low, found.both.high) == (1.0, 3.0)


def test_bad_grids_are_refused():
    with pytest.raises(DataError, match="seed 1 has no defined score; leave it out and say so"):
        seeds_interval([[1.0, 2.0], [np.nan, np.nan]])
    with pytest.raises(DataError, match="seed 0 has no defined score"):
        seeds_interval(np.empty((0, 4)))
    with pytest.raises(DataError, match="scores have 2 axes"):
        seeds_interval([1.0, 2.0])
    with pytest.raises(OptionError, match='"shared" by all seeds or each seed\'s "own"; got "x"'):
        seeds_interval([[1.0, 2.0]], images="x")


def covered(seeds, images):
    hits = np.zeros(2)
    for i in range(150):
        scores = grid(seeds, 40, training=0.2, image=0.5, noise=0.5, seed=i)
        found = seeds_interval(scores, replicates=300, seed=i)
        hits += [found.both.low <= 0 <= found.both.high, found.images.low <= 0 <= found.images.high]
    return hits / 150


def test_twelve_seeds_cover_where_images_alone_do_not():
    both, images = covered(12, 40)
    assert 0.88 < both < 0.99
    assert images < both


def test_three_seeds_are_too_few_as_documented():
    both, images = covered(3, 40)
    assert images + 0.05 < both < 0.93
