import math

import numpy as np
import pytest
import torch

from saliscope.errors import DataError, OptionError
from saliscope.metrics.faithfulness import road_combined
from saliscope.metrics.imputation import impute
from saliscope.metrics.road_curves import SHARES, Road, remove_and_debias, road


def scene(size=(10, 12)):
    random = torch.Generator().manual_seed(9)
    images = torch.randn(2, 3, *size, generator=random)
    maps = torch.rand(2, 2, *size, generator=random)
    low = maps[0].flatten(1).argsort(-1)[:, : round(0.7 * size[0] * size[1])]
    maps[0] = maps[0].flatten(1).scatter(1, low, 0.0).reshape(maps[0].shape)
    weights = torch.randn(3 * size[0] * size[1], 2, generator=random) / 8
    return images, maps, lambda p: (p.flatten(1) @ weights).tanh()


class Watching:
    """Records which pixels differ from the image."""

    def __init__(self, images):
        self.images, self.changed = images, []

    def answers(self, count, make):
        for i in range(count):
            pictures = make(range(i, i + 1), slice(0, len(self.images)))
            self.changed.append((pictures[0] != self.images).any(1).flatten(1).sum(1).tolist())
            yield range(i, i + 1), pictures.flatten(2).sum(-1, keepdim=True)


def test_a_relu_map_loses_exactly_the_asked_share_at_every_step():
    images, maps, _ = scene()
    question = Watching(images)
    found = road(question, images, maps)
    expected = [round(120 * s) for s in SHARES]
    assert question.changed[0] == [0, 0]
    assert question.changed[1:] == [[n, n] for n in expected * 4]
    assert found.ties[0].tolist() == pytest.approx([0.7, 0.7])


def twin(image, heat, share, function, noise):
    """Sort, remove, fill and ask, one picture at a time; heat without ties."""
    places = sorted(np.ndindex(*heat.shape), key=lambda p: float(heat[p]), reverse=True)
    gone = torch.zeros(heat.shape, dtype=torch.bool)
    for place in places[: round(share * len(places))]:
        gone[place] = True
    picture = impute(image[None], gone[None])[0]
    picture = torch.where(gone, picture + noise, picture)
    return function(picture[None])[0]


def test_against_one_picture_at_a_time(asked):
    images, maps, function = scene()
    shares = (0.2, 0.5, 0.9)
    found = road(asked(function, 2), images, maps, shares=shares, noise=0.0)
    assert found.morf.shape == found.lerf.shape == (2, 2, 2, 3)
    for b in range(2):
        torch.testing.assert_close(found.whole[b].float(), function(images[b : b + 1])[0])
        for s, share in enumerate(shares):
            for curve, sign in ((found.morf, 1), (found.lerf, -1)):
                expected = twin(images[b], sign * maps[1, b], share, function, 0)
                torch.testing.assert_close(curve[1, b, :, s].float(), expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(found.combined, ((found.lerf - found.morf) / 2).mean(-1))
    assert found.combined[1, 0, 0].item() == pytest.approx(
        road_combined(found.morf[1, 0, 0].tolist(), found.lerf[1, 0, 0].tolist()), abs=1e-6
    )


def test_both_orders_of_tensors_are_those_of_single_maps():
    """The facts of `road-combined` name `road_combined`, which needs no torch; runs take `Road.combined`."""
    random = torch.Generator().manual_seed(6)
    morf, lerf = torch.rand(2, 3, 20, 2, 9, generator=random, dtype=torch.float64)
    morf[0, :5, :, 4], lerf[1, 5:10, 1, 0] = math.nan, math.nan
    found = Road(torch.tensor(SHARES), morf[0, :, :, 0], morf, lerf, torch.zeros(3, 20)).combined
    rows = zip(morf.flatten(0, 2).tolist(), lerf.flatten(0, 2).tolist(), strict=True)
    expected = [road_combined(*row) for row in rows]
    assert sum(map(math.isnan, expected)) == 5 * 2 + 5
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-15, nan_ok=True)


def test_pictures_are_asked_once(asked):
    images, maps, function = scene()
    question = asked(function, 2)
    road(question, images, maps)
    assert question.pictures == 2 * (2 * 9 * 2 + 1)


def test_noise_is_seeded_scaled_and_on_removed_pixels_only():
    images, _, _ = scene((20, 24))
    gone = torch.zeros(2, 20, 24, dtype=torch.bool)
    gone[:, 4:16, 4:20] = True
    still = remove_and_debias(images, gone, noise=0)
    std = (0.2, 0.1, 0.4)
    noisy = remove_and_debias(images, gone, std=std, seed=1)
    spread = (noisy - still)[:, :, gone[0]].std(-1)
    torch.testing.assert_close(spread, (0.01 / torch.tensor(std)).expand(2, 3), rtol=0.2, atol=0)
    assert torch.equal(noisy[:, :, ~gone[0]], images[:, :, ~gone[0]])
    assert torch.equal(noisy, remove_and_debias(images, gone, std=std, seed=1))
    assert not torch.equal(noisy, remove_and_debias(images, gone, std=std, seed=2))
    alone = remove_and_debias(images[1:], gone[1:], std=std, seed=1)
    torch.testing.assert_close(alone[0], noisy[1], atol=1e-4, rtol=0)
    assert not torch.allclose((noisy - still)[0, :, gone[0]], (noisy - still)[1, :, gone[0]])


def test_filling_in_commutes_with_the_normalisation():
    images, _, _ = scene()
    gone = torch.rand(2, 10, 12) < 0.4
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.5, 0.4, 0.3), (0.2, 0.1, 0.4)))
    inside = remove_and_debias(images, gone, std=std.flatten().tolist(), noise=0)
    pixels = remove_and_debias(images * std + mean, gone, noise=0)
    torch.testing.assert_close((pixels - mean) / std, inside, atol=3e-4, rtol=0)


def test_a_batch_equals_its_images(asked):
    images, maps, function = scene()
    whole = road(asked(function, 2, chunk=5), images, maps, seed=2)
    alone = road(asked(function, 1), images[1:], maps[:, 1:], seed=2)
    torch.testing.assert_close(alone.morf[:, 0], whole.morf[:, 1], atol=1e-4, rtol=0)
    torch.testing.assert_close(alone.lerf[:, 0], whole.lerf[:, 1], atol=1e-4, rtol=0)


def test_a_map_without_a_value_everywhere_is_undefined(asked):
    images, maps, function = scene()
    maps[1, 0, 0, 0] = math.nan
    found = road(asked(function, 2), images, maps, shares=(0.5,))
    assert found.combined.isnan().all(-1).tolist() == [[False, False], [True, False]]


def test_what_is_refused(asked):
    images, maps, function = scene()
    for shares in [(), (0.0, 0.5), (0.5, 1.0), (10, 20)]:
        with pytest.raises(OptionError, match=r"lie between 0 and 1, both left out; got"):
            road(asked(function, 2), images, maps, shares=shares)
    with pytest.raises(DataError, match=r"bring the maps to the network's input"):
        road(asked(function, 2), images, maps[..., :5])
    # 240 of 240.4 pixels round to all of them.
    with pytest.raises(DataError, match=r"all pixels of an image are missing"):
        road(asked(function, 2), images, maps, shares=(0.999,))
