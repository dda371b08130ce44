import math

import numpy as np
import pytest
import torch

from saliscope.errors import DataError, OptionError
from saliscope.metrics.occlusion import occlusion_drops, occlusion_rank
from saliscope.metrics.ranks import spearman


def scene(size=(11, 13)):
    random = torch.Generator().manual_seed(8)
    images = torch.randn(2, 3, *size, generator=random)
    maps = torch.randn(3, 2, *size, generator=random)
    weights = torch.randn(3 * size[0] * size[1], 2, generator=random) / 8
    return images, maps, lambda p: (p.flatten(1) @ weights).tanh()


@pytest.mark.parametrize(("patch", "stride"), [(4, 3), (5, 2), (3, 3), (11, 4)])
def test_against_loops(asked, patch, stride):
    images, maps, function = scene()
    drops = occlusion_drops(asked(function, 2), images, patch=patch, stride=stride)
    found = occlusion_rank(maps, drops, patch=patch, stride=stride)
    rows = range(0, math.ceil((11 - patch) / stride) * stride + 1, stride)
    columns = range(0, math.ceil((13 - patch) / stride) * stride + 1, stride)
    assert drops.shape == (2, 2, len(rows), len(columns))
    covered = np.zeros((11, 13))
    for b in range(2):
        means = np.zeros((3, len(rows), len(columns)))
        for i, y in enumerate(rows):
            for j, x in enumerate(columns):
                picture = images[b].clone()
                picture[:, y : y + patch, x : x + patch] = 0
                expected = function(images[b : b + 1]) - function(picture[None])
                np.testing.assert_allclose(
                    drops[b, :, i, j].numpy(), expected[0].numpy(), atol=1e-5
                )
                covered[y : y + patch, x : x + patch] = 1
                for m in range(3):
                    means[m, i, j] = maps[m, b, y : y + patch, x : x + patch].double().mean()
        for m in range(3):
            for k in range(2):
                expected = spearman(means[m], drops[b, k].numpy())
                if math.isnan(expected):
                    assert math.isnan(found[m, b, k])
                else:
                    assert found[m, b, k].item() == pytest.approx(expected, abs=1e-9)
    assert covered.all()


def test_published_settings_at_224():
    images = torch.zeros(1, 1, 224, 224)
    drops = torch.zeros(1, 1, 13, 13)
    assert occlusion_rank(torch.zeros(1, 1, 224, 224), drops).shape == (1, 1, 1)
    assert len(range(0, math.ceil((224 - 45) / 15) * 15 + 1, 15)) == 13
    assert images.shape[-1] - 12 * 15 == 44  # the last patch is cut by one pixel


def test_a_map_of_the_drops_has_rank_correlation_one(asked):
    images, _, _ = scene((12, 12))
    weights = torch.rand(12, 12)
    images = torch.ones_like(images)
    question = asked(lambda p: (p.mean(1) * weights).sum((1, 2)), 2)
    drops = occlusion_drops(question, images, patch=4, stride=2)
    assert question.pictures == 2 * (25 + 1)
    found = occlusion_rank(weights.expand(1, 2, 12, 12), drops, patch=4, stride=2)
    torch.testing.assert_close(found, torch.ones(1, 2, 1, dtype=torch.float64))
    found = occlusion_rank(-weights.expand(1, 2, 12, 12), drops, patch=4, stride=2)
    torch.testing.assert_close(found, -torch.ones(1, 2, 1, dtype=torch.float64))


def test_undefined_maps(asked):
    images, maps, function = scene()
    maps[0, 1] = 2.5
    maps[2, 0, 3, 3] = math.nan
    drops = occlusion_drops(asked(function, 2), images, patch=4, stride=3)
    found = occlusion_rank(maps, drops, patch=4, stride=3).isnan().all(-1)
    assert found.tolist() == [[False, True], [False, False], [True, False]]


def test_what_is_refused(asked):
    images, maps, function = scene()
    for patch, stride in [(12, 3), (4, 5), (4, 0), (0, 0)]:
        with pytest.raises(OptionError, match=rf"from 1 to 11 pixels here.*patch={patch}, stride="):
            occlusion_drops(asked(function, 2), images, patch=patch, stride=stride)
    drops = occlusion_drops(asked(function, 2), images, patch=4, stride=3)
    with pytest.raises(DataError, match=r"maps \(M, B, H, W\) go with images"):
        occlusion_rank(maps, drops, patch=4, stride=2)
