"""The gradient at the image, integrated and guided, against captum: equal where it is right, and each known difference.

If a difference is gone, captum has changed: update docs/deviations.md.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import saliscope as sc

attr = pytest.importorskip("captum.attr")

CLASSES = torch.tensor([2, 4])


@pytest.fixture(autouse=True)
def _captums_own_warnings() -> Iterator[None]:
    """It warns on every call that it sets hooks and gradients."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(1)
    made = torchvision.models.resnet18(num_classes=6)
    with torch.no_grad():
        made.train()(torch.randn(8, 3, 64, 64))
    return made.eval()


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def small() -> nn.Module:
    """For tests of many copies."""
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
        nn.Flatten(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 6)).eval()  # fmt: skip


def leaf(x: Tensor) -> Tensor:
    return x.clone().requires_grad_(True)


def ours(method: str, net: nn.Module, x: Tensor, **options) -> Tensor:
    return sc.attribute(net, x, CLASSES, method=method, **{"channels": "keep", **options})


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference as a share of the largest value."""
    return float((a.detach().double() - b.detach().double()).abs().max() / b.detach().abs().max())


def test_saliency(net, x):
    assert apart(ours("gradient", net, x).abs(), attr.Saliency(net).attribute(leaf(x), CLASSES)) < 1e-5  # fmt: skip
    signed = attr.Saliency(net).attribute(leaf(x), CLASSES, abs=False)
    assert apart(ours("gradient", net, x), signed) < 1e-5
    assert apart(ours("gradient", net, x, channels="absmax"), signed.abs().amax(1)) < 1e-5


def test_input_x_gradient(net, x):
    theirs = attr.InputXGradient(net).attribute(leaf(x), CLASSES)
    assert apart(ours("input-x-gradient", net, x), theirs) < 1e-5
    assert apart(ours("input-x-gradient", net, x, channels="sum"), theirs.sum(1)) < 1e-5


@pytest.mark.parametrize(("rule", "theirs"), [("gauss-legendre", "gausslegendre"), ("midpoint", "riemann_middle")])  # fmt: skip
def test_integrated_gradients(net, x, rule, theirs):
    other = attr.IntegratedGradients(net).attribute(leaf(x), 0, CLASSES, n_steps=12, method=theirs)
    assert apart(ours("integrated-gradients", net, x, steps=12, rule=rule), other) < 1e-5


def test_integrated_gradients_by_default_and_from_another_baseline(net, x):
    assert apart(ours("integrated-gradients", net, x), attr.IntegratedGradients(net).attribute(leaf(x), target=CLASSES)) < 1e-5  # fmt: skip
    model = sc.Model(net, (64, 48), prepare=False)
    white = torch.tensor(model.preprocessing.black_and_white[1])[:, None, None].expand_as(x)
    other = attr.IntegratedGradients(net).attribute(leaf(x), white, CLASSES, n_steps=8)
    found = sc.attribute(model, x, CLASSES, method="integrated-gradients:baseline=white:steps=8:channels=keep")  # fmt: skip
    assert apart(found, other) < 1e-5


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize(("method", "kind"), [("guided-backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution")])  # fmt: skip
def test_guided_backprop_and_deconvolution(net, x, method, kind, inplace):
    own = copy.deepcopy(net)
    for part in own.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = inplace
    theirs = getattr(attr, kind)(copy.deepcopy(own)).attribute(leaf(x), CLASSES)
    assert apart(ours(method, own, x), theirs) < 1e-5
    assert apart(ours(method, sc.Model(own, (64, 48)), x), theirs) < 1e-3, "folded: other rounding"


def test_guided_grad_cam(net, x):
    own = copy.deepcopy(net)
    theirs = attr.GuidedGradCam(own, own.layer3).attribute(leaf(x), CLASSES, interpolate_mode="bilinear")  # fmt: skip
    assert apart(ours("guided-grad-cam", net, x, layer="layer3"), theirs) < 1e-5


def test_smoothgrad_without_noise_and_in_expectation(small, x):
    tunnel = attr.NoiseTunnel(attr.Saliency(small))
    none = tunnel.attribute(leaf(x), nt_type="smoothgrad", nt_samples=2, stdevs=0.0, target=CLASSES, abs=False)  # fmt: skip
    assert apart(ours("smoothgrad", small, x, smooth=2, noise=0.0), none) < 1e-5
    level = 0.1  # of each image's range: theirs takes one standard deviation
    spread = float(level * (x[:1].amax() - x[:1].amin()))
    torch.manual_seed(0)
    theirs = tunnel.attribute(leaf(x[:1]), nt_type="smoothgrad", nt_samples=150, stdevs=spread, target=2, abs=False, nt_samples_batch_size=10)  # fmt: skip
    a = sc.attribute(small, x[:1], 2, method="smoothgrad", channels="keep", smooth=150, noise=level)
    b = sc.attribute(small, x[:1], 2, method="smoothgrad", channels="keep", smooth=150, noise=level, seed=1)  # fmt: skip
    seeds, libraries = apart(b, a), apart(theirs, a)
    assert libraries < 1.5 * seeds, "no further from us than another seed of ours"
    assert correlation(theirs, a) > 0.8


def test_vargrad_in_expectation(small, x):
    tunnel = attr.NoiseTunnel(attr.Saliency(small))
    spread = float(0.1 * (x[:1].amax() - x[:1].amin()))
    torch.manual_seed(0)
    theirs = tunnel.attribute(leaf(x[:1]), nt_type="vargrad", nt_samples=150, stdevs=spread, target=2, abs=False, nt_samples_batch_size=10)  # fmt: skip
    a = sc.attribute(small, x[:1], 2, method="vargrad", channels="keep", smooth=150, noise=0.1)
    assert correlation(theirs, a) > 0.8
    assert float(theirs.mean() / a.mean()) == pytest.approx(1, rel=0.05)


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.detach().flatten(), b.detach().flatten()]))[0, 1])


# --- what differs ------------------------------------------------------------------------------------------------------


class Written(nn.Module):
    def __init__(self, act) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.fc = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 6)
        self.act, self.act2 = act, copy.deepcopy(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act2(self.b(self.act(self.a(x)))).mean((2, 3)))


@pytest.mark.parametrize("act", [F.relu, torch.relu, nn.ReLU6(), F.relu6], ids=["F.relu", "torch.relu", "ReLU6", "F.relu6"])  # fmt: skip
@pytest.mark.parametrize(("method", "kind"), [("guided-backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution")])  # fmt: skip
def test_captum_leaves_out_every_relu_that_is_no_module(x, method, kind, act):
    """Its map is then the plain gradient, without a word."""
    own = Written(act).eval()
    theirs = getattr(attr, kind)(own).attribute(leaf(x), CLASSES)
    assert apart(theirs, ours("gradient", own, x)) < 1e-6
    found = ours(method, own, x)
    assert apart(found, theirs) > 0.1
    if act in (F.relu, torch.relu):
        assert apart(found, getattr(attr, kind)(Written(nn.ReLU()).eval()).attribute(leaf(x), CLASSES)) < 1e-5  # fmt: skip


def test_captum_gives_a_plain_gradient_for_other_activations(x):
    own = Written(nn.GELU()).eval()
    theirs = attr.GuidedBackprop(own).attribute(leaf(x), CLASSES)
    assert apart(theirs, ours("gradient", own, x)) < 1e-6
    with pytest.raises(sc.MethodError, match=r"this network has GELU"):
        ours("guided-backprop", own, x)


def test_captum_upsamples_grad_cam_by_the_nearest_cell(net, x):
    own = copy.deepcopy(net)
    theirs = attr.GuidedGradCam(own, own.layer3).attribute(leaf(x), CLASSES)
    assert apart(ours("guided-grad-cam", net, x, layer="layer3"), theirs) > 0.05


def test_captums_trapezoid_is_too_small(net, x):
    """Its weights sum to (n - 1) / n."""
    for steps in (5, 20):
        other = attr.IntegratedGradients(net).attribute(leaf(x), 0, CLASSES, n_steps=steps, method="riemann_trapezoid")  # fmt: skip
        found = ours("integrated-gradients", net, x, steps=steps, rule="trapezoid")
        assert apart(found * (steps - 1) / steps, other) < 1e-5
        assert apart(found, other) > 0.9 / steps


def test_captums_smoothgrad_averages_sizes_unless_told(small, x):
    """`Saliency` takes the absolute value before the mean: a map that noise alone lights up."""
    spread = float(0.3 * (x[:1].amax() - x[:1].amin()))
    torch.manual_seed(0)
    theirs = attr.NoiseTunnel(attr.Saliency(small)).attribute(leaf(x[:1]), nt_type="smoothgrad", nt_samples=40, stdevs=spread, target=2)  # fmt: skip
    found = sc.attribute(small, x[:1], 2, method="smoothgrad", channels="keep", smooth=40, noise=0.3).abs()  # fmt: skip
    assert float(theirs.mean() / found.mean()) > 1.5


def test_grad_cams_guided_backprop_explains_the_first_image_and_adds_up(net, x):
    """The second call on one input gives twice the first; of a batch only the first image is explained."""
    pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam import GuidedBackpropReLUModel

    own = copy.deepcopy(net)
    for part in own.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = False
    found = sc.attribute(net, x[:1], 2, method="guided-backprop", channels="keep")[0]
    theirs = GuidedBackpropReLUModel(own, "cpu")
    given = leaf(x[:1])
    first = torch.from_numpy(np.array(theirs(given, target_category=2))).permute(2, 0, 1)
    assert apart(found, first) < 1e-4
    second = torch.from_numpy(np.array(theirs(given, target_category=2))).permute(2, 0, 1)
    assert apart(second / 2, first) < 1e-4
    both = np.array(theirs(leaf(x), target_category=2))
    assert both.shape == (64, 48, 3)
    assert sc.attribute(net, x, 2, method="guided-backprop", channels="keep").shape == x.shape


def test_torchcams_smooth_grad_cam_weighs_the_last_noisy_copy(net, x):
    """Its hook is overwritten by each copy: activations and first derivative are the last one's."""
    torchcam = pytest.importorskip("torchcam.methods")
    torch.manual_seed(5)
    with torchcam.SmoothGradCAMpp(net, "layer3", num_samples=4, std=0.5) as cam:
        scores = net(x[:1])
        noisy = []
        plain = cam._distrib.sample
        cam._distrib.sample = lambda size: noisy.append(plain(size)) or noisy[-1]
        theirs = cam([2], scores, normalized=False)[0].detach()
    copies = [x[:1] + n for n in noisy]
    assert apart(theirs, smooth_by_hand(net, copies, x[:1], last=True, mixed=True)) < 1e-3
    paper = smooth_by_hand(net, copies, x[:1])
    assert apart(theirs, paper) > 0.02
    assert apart(smooth_by_hand(net, copies, x[:1], last=True), paper) > 0.02
    assert apart(smooth_by_hand(net, copies, x[:1], mixed=True), paper) > 0.001


def smooth_by_hand(net: nn.Module, copies: list[Tensor], image: Tensor, *, last: bool = False, mixed: bool = False) -> Tensor:  # fmt: skip
    """Smooth Grad-CAM++; with `last` of the last copy's activations and gradient, with `mixed` each cell's third derivative
    times its own activation, instead of the sum of activations times the cell's third derivative."""

    def parts(picture: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            a = net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(picture))))))
            a = net.layer3(a).detach().requires_grad_(True)
            z = net.fc(net.avgpool(net.layer4(a)).flatten(1))[:, 2].sum()
            return a.detach(), torch.autograd.grad(z, a)[0]

    each = [parts(c)[1] for c in copies]
    first, second, third = (sum(g**n for g in each) / len(each) for n in (1, 2, 3))
    a = parts(image)[0]
    total = (third * a).sum((2, 3), keepdim=True) if mixed else third * a.sum((2, 3), keepdim=True)
    share = second / (2 * second + total + (1e-8 if last else 0))  # and their epsilon
    shown, gradient = parts(copies[-1]) if last else (a, first)
    weights = (share * gradient.relu()).sum((2, 3), keepdim=True)
    return (weights * shown).sum(1).relu()
