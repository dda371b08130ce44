"""Score-CAM and its relatives, and Ablation-CAM, against grad-cam and torchcam: equal where those are right, and each difference.

If a difference is gone, a library has changed: update docs/deviations.md.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliscope as sc

grad_cam = pytest.importorskip("pytorch_grad_cam")
torchcam = pytest.importorskip("torchcam.methods")

CLASSES = [2, 3]


class Flat(nn.Module):
    """Its first two layers have the size of the input (`stride` 1), so nothing is enlarged."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 6, 3, stride=stride, padding=1), nn.ReLU()
        self.late, self.fc = nn.Conv2d(6, 8, 3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.late(self.act(self.conv(x))).relu().mean((2, 3)))
        return scores


def flat(stride: int = 1, shift: float = 0.0) -> Flat:
    torch.manual_seed(4)
    net = Flat(stride).eval()
    with torch.no_grad():
        net.fc.weight.mul_(20)
        net.fc.bias.fill_(shift)
    return net


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 20, 16, generator=torch.Generator().manual_seed(3))


def theirs(kind: str, net: nn.Module, x: Tensor, layer: str) -> Tensor:
    """grad-cam's map before it is scaled and resized, on the layer's own grid."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(c) for c in CLASSES]
    with getattr(grad_cam, kind)(net, [net.get_submodule(layer)]) as cam:
        kept = []
        plain = cam.get_cam_image
        cam.get_cam_image = lambda *a, **k: kept.append(plain(*a, **k)) or kept[-1]
        cam(x, targets=targets)
    return torch.as_tensor(np.asarray(kept[0]))


def camped(kind: str, net: nn.Module, x: Tensor, layer: str, **more: object) -> Tensor:
    with getattr(torchcam, kind)(net, layer, **more) as cam, torch.no_grad():
        found: Tensor = cam(CLASSES, net(x), normalized=False)[0]
        return found.detach()


def ours(method: str, net: nn.Module, x: Tensor, layer: str, **options: object) -> Tensor:
    found = sc.attribute(net, x, CLASSES, method=method, layer=layer, **options)
    assert isinstance(found, Tensor)
    return found


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference of two batches of maps, each map divided by its largest absolute value."""
    a, b = (m.double() / m.double().abs().amax((1, 2), keepdim=True) for m in (a, b))
    return float((a - b).abs().max())


@pytest.mark.parametrize("layer", ["conv", "act"])
def test_score_cam_is_theirs_where_nothing_is_enlarged(x, layer):
    found = ours("score-cam", flat(), x, layer, relu=False)
    assert apart(found, theirs("ScoreCAM", flat(), x, layer)) < 1e-4
    assert apart(found.relu(), camped("ScoreCAM", flat(), x, layer)) < 1e-4


def test_score_cam_differs_from_both_where_masks_are_enlarged(x):
    found = ours("score-cam", flat(2), x, "act", relu=False)
    for other in (theirs("ScoreCAM", flat(2), x, "act"), camped("ScoreCAM", flat(2), x, "act")):
        assert 1e-4 < apart(found, other) < 0.2


def test_others_ask_about_channels_that_mask_everything(x):
    net = flat()
    with torch.no_grad():
        net.conv.weight[1] = 0
        net.conv.bias[1] = 0.7
        net.fc.weight.mul_(0.05)  # so that a black picture's share is no rounding
    found = ours("score-cam", net, x, "conv", relu=False)
    other = theirs("ScoreCAM", net, x, "conv")
    a = net.conv(x).detach()
    with torch.no_grad():
        masks = (a - a.amin((2, 3), keepdim=True)) / (a.amax((2, 3), keepdim=True) - a.amin((2, 3), keepdim=True)).clamp(min=1e-8)  # fmt: skip
        scores = torch.stack([net(x * masks[:, k : k + 1])[range(2), CLASSES] for k in range(6)], 1)
    share = scores.softmax(1)[:, 1]
    assert float(share.min()) > 0.05
    expected = found * (1 - share)[:, None, None] + 0.7 * share[:, None, None]
    torch.testing.assert_close(other, expected, rtol=1e-3, atol=1e-4)


def test_ablation_cam_is_grad_cams_behind_a_relu_for_positive_scores(x):
    net = flat(2, shift=50)
    found = ours("ablation-cam", net, x, "act", relu=False)
    assert apart(found, theirs("AblationCAM", net, x, "act")) < 1e-3
    share = ours("ablation-cam", net, x, "act", relu=False, relative=True)
    torch.testing.assert_close(share, theirs("AblationCAM", net, x, "act"), rtol=1e-2, atol=1e-4)


def test_grad_cams_ablation_cam_turns_over_with_the_sign_of_the_score(x):
    plus, minus = flat(2, shift=50), flat(2, shift=-50)
    assert apart(theirs("AblationCAM", plus, x, "act"), -theirs("AblationCAM", minus, x, "act")) < 1e-3  # fmt: skip
    for options in ({}, {"relative": True}):
        one, other = (
            ours("ablation-cam", n, x, "act", relu=False, **options) for n in (plus, minus)
        )
        assert apart(one, other) < 1e-3


def test_grad_cam_fills_ablated_channels_with_enormous_numbers(x):
    net, seen = flat(2), []
    net.act = nn.Identity()  # a ReLU behind the layer would hide it
    watched = copy.deepcopy(net)
    watched.late.register_forward_pre_hook(lambda m, given: seen.append(given[0].detach().clone()))
    other = theirs("AblationCAM", watched, x, "conv")
    lowest = torch.cat([s.amin((1, 2, 3)) for s in seen])
    assert float(lowest.max()) < 0
    assert float(lowest.min()) < -1.9e7, "it grows along the batch"
    assert apart(ours("ablation-cam", net, x, "conv", relu=False).abs(), other.abs()) > 0.01


def test_torchcams_is_cam_leaves_the_range_of_the_picture(x):
    net, seen = flat(2), []
    watched = copy.deepcopy(net)
    watched.register_forward_pre_hook(lambda m, given: seen.append(given[0].detach().clone()))
    camped("ISCAM", watched, x, "act", num_samples=10)
    largest = max(float(s.abs().max()) for s in seen) / float(x.abs().max())
    assert largest > 4
