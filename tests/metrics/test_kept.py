import math

import pytest
import torch

from saliscope.errors import OptionError
from saliscope.metrics.kept import keep, kept_scores


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
