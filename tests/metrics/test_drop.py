import math

import numpy as np
import pytest
import torch

from saliscope.errors import DataError, OptionError
from saliscope.metrics import Mean
from saliscope.metrics.drop import (
    absolute_drop,
    adcc,
    coherency,
    increase,
    keep,
    kept_scores,
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


def scene():
    random = torch.Generator().manual_seed(6)
    images = torch.randn(3, 3, 4, 5, generator=random)
    maps = torch.randn(2, 3, 4, 5, generator=random)
    return images, maps


def test_weighted_pictures_in_loops():
    images, maps = scene()
    found = keep(images, maps)
    for m in range(2):
        for b in range(3):
            low, high = float(maps[m, b].min()), float(maps[m, b].max())
            for c, y, x in [(0, 0, 0), (1, 2, 3), (2, 3, 4)]:
                weight = (float(maps[m, b, y, x]) - low) / (high - low)
                assert found[m, b, c, y, x].item() == pytest.approx(
                    weight * float(images[b, c, y, x]), abs=1e-6
                )


def test_a_picture_over_black_is_the_map_times_the_pixels():
    images, maps = scene()
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    over_black = keep(images, maps, ground="black", mean=mean, std=std)
    s, m = (torch.tensor(v).view(3, 1, 1) for v in (std, mean))
    weight = maps - maps.amin((2, 3), keepdim=True)
    weight = weight / weight.amax((2, 3), keepdim=True)
    torch.testing.assert_close(over_black * s + m, weight.unsqueeze(2) * (images * s + m))
    assert not torch.allclose(over_black, keep(images, maps))


def test_half_keeps_exactly_the_hotter_half():
    images, maps = scene()
    maps[0].clamp_min_(10)  # all ties
    found = keep(images, maps, rule="half")
    stays = (found == images).all(2)
    assert (stays.flatten(2).sum(-1) == 10).all()
    assert (found[~stays.unsqueeze(2).expand_as(found)] == 0).all()
    for b in range(3):
        assert maps[1, b][stays[1, b]].min() > maps[1, b][~stays[1, b]].max()


def test_scores_of_images_and_of_what_maps_keep(asked):
    images, maps = scene()
    maps[0, 1] = 0.3
    maps[1, 2, 0, 0] = math.nan
    weights = torch.randn(60, 2)
    question = asked(lambda p: p.flatten(1) @ weights, 3)
    found = kept_scores(question, images, maps)
    assert question.pictures == 3 * 3
    torch.testing.assert_close(found.before.float(), images.flatten(1) @ weights)
    expected = keep(images, maps).flatten(2) @ weights
    lost = found.after.isnan().all(-1)
    assert lost.tolist() == [[False, True, False], [False, False, True]]
    torch.testing.assert_close(found.after[~lost].float(), expected[~lost])


def test_an_all_ones_map_by_half_is_still_defined(asked):
    images, maps = scene()
    found = kept_scores(asked(lambda p: p.flatten(1).sum(1), 3), images, maps * 0, rule="half")
    assert torch.isfinite(found.after).all()


def test_unknown_rule():
    images, maps = scene()
    with pytest.raises(OptionError, match=r'rule "halve" is unknown; nearest: "half"'):
        keep(images, maps, rule="halve")
