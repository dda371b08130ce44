"""Score-CAM, SS-CAM and IS-CAM against loops in float64, and what their masks must and must not do."""

import copy
import itertools
import math
import zlib

import numpy as np
import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.methods import ScoreCAM, parse_method

CLASSES = torch.tensor([[0, 3], [2, 2], [4, 1]])
LAYERS = ["features.0", "features.2", "features.4"]


def enlarged(grid, size):
    """Bilinear with half-pixel centres, pixel by pixel."""
    (h, w), (height, width) = grid.shape, size
    out = np.zeros(size)
    for i, j in itertools.product(range(height), range(width)):
        y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
        x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
        top, left = int(y), int(x)
        down, right = min(top + 1, h - 1), min(left + 1, w - 1)
        p, q = y - top, x - left
        out[i, j] = (
            (1 - p) * ((1 - q) * grid[top, left] + q * grid[top, right])
            + p * ((1 - q) * grid[down, left] + q * grid[down, right])
        )  # fmt: skip
    return out


def masks_of(kind, grid, channel, size, seed=0):
    """The masks of one channel, straight from the definitions."""
    made = []
    for i in range(1 if kind == "score-cam" else 3):
        noisy = grid.copy()
        if kind == "ss-cam":
            generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {i} {channel}".encode()))
            noise = torch.randn(grid.shape, generator=generator).numpy()
            noisy = noisy + 0.5 * (grid.max() - grid.min()) * noise
        big = enlarged(noisy, size)
        mask = (big - big.min()) / (big.max() - big.min())
        made.append(mask * (i + 1) / 3 if kind == "is-cam" else mask)
    return made


def twin(kind, net, x, a, classes):
    """The map (h, w) before its ReLU, of one image x (3, H, W), channels a (C, h, w) and one class."""
    net = copy.deepcopy(net).double()
    scores = []
    with torch.no_grad():
        black = net(torch.zeros_like(x)[None])[0, classes].item()
        for k, grid in enumerate(a):
            if grid.max() == grid.min():
                scores.append(-math.inf)
                continue
            rises = [
                net((x * torch.as_tensor(mask))[None])[0, classes].item() - black
                for mask in masks_of(kind, grid, k, tuple(x.shape[1:]))
            ]
            scores.append(sum(rises) / len(rises))
    total = sum(math.exp(s) for s in scores)
    out = np.zeros(a.shape[1:])
    for s, grid in zip(scores, a, strict=True):
        out += math.exp(s) / total * grid
    return out


OPTIONS = {"score-cam": "", "ss-cam": ":samples=3:sigma=0.5", "is-cam": ":samples=3"}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", OPTIONS)
def test_the_formula(nets, batch, by_hand, close, kind, layer):
    net = nets.deep_head()
    with torch.no_grad():
        net.classifier[2].weight.mul_(8)  # scores far enough apart that their softmax is no mean
        net.features[0].weight[1] = 0  # a channel that is the same everywhere
    a = by_hand(net, batch, layer, lambda logits: logits[:, 0]).a
    found = sc.attribute(net, batch, CLASSES, method=kind + OPTIONS[kind], layer=layer, relu=False)
    for i, k in itertools.product(range(3), range(2)):
        expected = twin(kind, net, batch[i].double(), a[i], int(CLASSES[i, k]))
        close(found[i, k], expected)
    with_relu = sc.attribute(net, batch, CLASSES, method=kind + OPTIONS[kind], layer=layer)
    assert torch.equal(with_relu, found.relu())


def test_a_channel_that_is_the_same_everywhere_is_not_asked_about_and_weighs_nothing(nets, batch):
    net = nets.deep_head()
    with torch.no_grad():
        net.features[0].weight[:5] = 0
        net.features[0].bias.copy_(torch.tensor([3.0, -2.0, 0.0, 1e6, 0.1, 0.0]))
    found = sc.attribute(net, batch, 1, method="score-cam", layer="features.0", relu=False)
    only = net.features[0](batch).detach()[:, 5]
    torch.testing.assert_close(found, only)
    with torch.no_grad():
        net.features[0].weight.zero_()
    found = sc.attribute(net, batch, 1, method="score-cam", layer="features.0", relu=False)
    assert torch.equal(found, torch.zeros(3, 12, 8))


def test_nan_in_a_channel_is_not_hidden(nets, batch):
    net = nets.deep_head()
    with torch.no_grad():
        net.features[0].bias[2] = float("nan")
    found = sc.attribute(net, batch, 1, method="score-cam", layer="features.0")
    assert found.isnan().all()


def test_one_sample_of_is_cam_and_no_noise_in_ss_cam_is_score_cam(nets, batch):
    net = nets.gap()
    plain = sc.attribute(net, batch, CLASSES, method="score-cam", layer="bn1")
    one = sc.attribute(net, batch, CLASSES, method="is-cam", layer="bn1", samples=1)
    quiet = sc.attribute(net, batch, CLASSES, method="ss-cam", layer="bn1", samples=2, sigma=0)
    torch.testing.assert_close(one, plain)
    torch.testing.assert_close(quiet, plain)


def test_the_seed_decides_the_noise_of_ss_cam(nets, batch):
    def run(seed):
        options = {"samples": 2, "sigma": 1.0, "seed": seed}
        return sc.attribute(nets.deep_head(), batch, 1, method="ss-cam", layer="features.0", **options)  # fmt: skip

    torch.manual_seed(1)
    first = run(1)
    torch.manual_seed(1)
    second = run(1)
    torch.manual_seed(1)
    third = run(2)
    assert torch.equal(first, second)
    assert not torch.allclose(first, third)


def test_masks_stay_within_the_picture(nets, batch, monkeypatch):
    """A mask is from 0 to 1: IS-CAM's never grow beyond the picture, as those of torchcam do."""
    from saliscope.engine import question

    seen = []
    plain = question.Question._answer
    monkeypatch.setattr(
        question.Question, "_answer", lambda s, p, rows: seen.append((p, rows)) or plain(s, p, rows)
    )
    for method, options in OPTIONS.items():
        seen.clear()
        sc.attribute(nets.gap(), batch, 1, method=method + options, layer="bn1")
        for pictures, rows in seen:
            assert bool((pictures.abs() <= batch[rows].abs() + 1e-6).all())
            assert bool((pictures * batch[rows] >= 0).all())
        together = torch.cat([p for p, _ in seen]) / torch.cat([batch[r] for _, r in seen])
        largest, least = together.amax((1, 2, 3)), together.amin((1, 2, 3))
        if method != "is-cam":
            torch.testing.assert_close(largest, torch.ones_like(largest), rtol=0, atol=1e-4)
        torch.testing.assert_close(least, torch.zeros_like(least), rtol=0, atol=1e-4)


def test_small_activations_mask_like_large_ones():
    """Masks know no epsilon: channels of 1e-12 mask as those of 1."""
    from saliscope.methods import score_cam

    grids = torch.rand(4, 5, 5)
    small = score_cam._mask(grids * 1e-12, (12, 12))
    torch.testing.assert_close(small, score_cam._mask(grids, (12, 12)), rtol=1e-4, atol=1e-6)
    assert float(small.amax()) == 1.0


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("ss-cam:samples=0", r"ss-cam:samples is the number of masks of each channel, 1 or more; got 0"),
        ("is-cam:samples=-1", r"is-cam:samples is the number of masks of each channel, 1 or more; got -1"),
        ("ss-cam:sigma=-1", r"ss-cam:sigma is a share of the range of a channel, 0 or more; got -1"),
        ("ss-cam:sigma=nan", r"ss-cam:sigma is a share of the range"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing(method, message):
    with pytest.raises(sc.MethodError, match=message):
        parse_method(method)


def test_score_cam_of_a_probability(nets, batch, by_hand, close):
    net = nets.deep_head()
    found = sc.attribute(net, batch, 1, method="score-cam", layer="features.4", relu=False, target_space="probability")  # fmt: skip

    class Soft(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = copy.deepcopy(net)

        def forward(self, x):
            return self.net(x).softmax(1)

    a = by_hand(net, batch, "features.4", lambda logits: logits[:, 0]).a
    for i in range(3):
        close(found[i], twin("score-cam", Soft(), batch[i].double(), a[i], 1))
    assert ScoreCAM().finish(found).min() >= 0
