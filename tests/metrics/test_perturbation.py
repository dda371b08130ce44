import math
from itertools import product

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity

from saliscope.errors import OptionError
from saliscope.metrics.faithfulness import infidelity
from saliscope.metrics.perturbation import infidelity_scores, perturbations


def scene():
    random = torch.Generator().manual_seed(7)
    images = torch.randn(2, 3, 8, 9, generator=random)
    maps = torch.randn(3, 2, 8, 9, generator=random)
    weights = torch.randn(3 * 8 * 9, 2, generator=random) / 8
    return images, maps, lambda p: (p.flatten(1) @ weights).tanh()


OPTIONS = {"kind": "squares", "sides": (1, 4), "ground": "mean", "seed": 5}


@pytest.mark.parametrize("options", [OPTIONS, {"kind": "noise", "level": 0.3}])
@pytest.mark.parametrize("scaled", [True, False])
def test_equals_captum_on_the_same_perturbations(asked, options, scaled):
    images, maps, function = scene()
    found = infidelity_scores(
        asked(function, 2), images, maps, samples=12, scaled=scaled, **options
    )
    taken = torch.stack([perturbations(images, i, **options) for i in range(12)], 1)

    def perturb(inputs):
        flat = taken.flatten(0, 1)
        return flat, inputs - flat

    for m in range(3):
        heat = maps[m].unsqueeze(1).expand_as(images)
        for k in range(2):
            theirs = captum_infidelity(
                function, perturb, images, heat, target=k, n_perturb_samples=12, normalize=scaled
            )
            np.testing.assert_allclose(found[m, :, k].numpy(), theirs.numpy(), rtol=1e-4, atol=1e-6)


def test_against_loops(asked):
    images, maps, function = scene()
    found = infidelity_scores(asked(function, 2), images, maps, samples=9, **OPTIONS)
    for m, b, k in [(0, 0, 0), (2, 1, 1)]:
        p, d = [], []
        for i in range(9):
            taken = perturbations(images, i, **OPTIONS)[b]
            total = 0.0
            for y in range(8):
                for x in range(9):
                    total += float(maps[m, b, y, x]) * sum(float(taken[c, y, x]) for c in range(3))
            p.append(total)
            whole, less = function(images[b : b + 1]), function(images[b : b + 1] - taken)
            d.append(float(whole[0, k] - less[0, k]))
        beta = sum(u * v for u, v in zip(p, d, strict=True)) / sum(u * u for u in p)
        expected = sum((beta * u - v) ** 2 for u, v in zip(p, d, strict=True)) / 9
        assert found[m, b, k].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("scaled", [True, False])
def test_all_maps_at_once_are_scored_as_one_after_another(asked, scaled):
    """A map without heat has no beta, and a network that answers NaN has no infidelity."""
    images, maps, function = scene()
    maps[1, 0] = 0.0

    def broken(pictures):
        scores = function(pictures)
        scores[pictures[:, 0, 0, 0] == images[1, 0, 0, 0], 1] = math.nan
        return scores

    found = infidelity_scores(asked(broken, 2), images, maps, samples=9, scaled=scaled, **OPTIONS)
    taken = torch.stack([perturbations(images, i, **OPTIONS) for i in range(9)])
    products = torch.einsum("mbyx,ncbyx->nmb", maps.double(), taken.movedim(2, 1).double())
    answers = torch.stack([broken(images), *(broken(images - t) for t in taken)]).double()
    drops = answers[0] - answers[1:]
    for m, b, k in product(range(3), range(2), range(2)):
        expected = infidelity(products[:, m, b], drops[:, b, k], scaled=scaled)
        assert found[m, b, k].item() == pytest.approx(expected, rel=1e-5, nan_ok=True)
    assert found.isnan()[0].tolist() == [[False, False], [False, True]]


def test_all_maps_share_the_pictures(asked):
    images, maps, function = scene()
    question = asked(function, 2)
    infidelity_scores(question, images, maps, samples=10, **OPTIONS)
    assert question.pictures == 2 * 11


def test_a_batch_equals_its_images_and_a_seed_itself(asked):
    images, maps, function = scene()
    whole = infidelity_scores(asked(function, 2), images, maps, samples=6, **OPTIONS)
    alone = infidelity_scores(asked(function, 1), images[1:], maps[:, 1:], samples=6, **OPTIONS)
    torch.testing.assert_close(alone[:, 0], whole[:, 1])
    other = {**OPTIONS, "seed": 6}
    assert not torch.allclose(
        infidelity_scores(asked(function, 2), images, maps, samples=6, **other), whole
    )


def test_squares_lie_everywhere_and_hold_the_substrate():
    images = torch.randn(1, 3, 6, 7)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.1, 0.4)
    seen = torch.zeros(6, 7)
    for i in range(120):
        taken = perturbations(images, i, sides=(1, 3), mean=mean, std=std)
        changed = (taken != 0).any(1)[0]
        rows, columns = changed.any(1).sum(), changed.any(0).sum()
        assert rows == columns
        assert 1 <= rows <= 3
        assert changed.sum() == rows * columns
        black = (images - taken)[0, :, changed]
        s, m = (torch.tensor(v).view(3, 1) for v in (std, mean))
        torch.testing.assert_close(black * s + m, torch.zeros_like(black), atol=1e-6, rtol=0)
        seen += changed
    assert (seen > 0).all()


def test_a_map_without_a_value_everywhere_is_undefined(asked):
    images, maps, function = scene()
    maps[1, 0, 2, 2] = math.inf
    found = infidelity_scores(asked(function, 2), images, maps, samples=4, **OPTIONS)
    assert found.isnan().all(-1).tolist() == [[False, False], [True, False], [False, False]]


def test_what_is_refused():
    images, _, _ = scene()
    with pytest.raises(OptionError, match=r'perturbation "square" is unknown; nearest: "squares"'):
        perturbations(images, 0, kind="square")
    for sides in [(0, 3), (4, 3), (1, 9)]:
        with pytest.raises(OptionError, match=r"sides from 1 to 8 here, the shorter first; got"):
            perturbations(images, 0, sides=sides, ground="mean")
