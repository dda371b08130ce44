"""The other maps of one capture against grad-cam and torchcam: equal where those are right, and each known difference.

Raw maps are compared, after a ReLU, each divided by its maximum: grad-cam's own normalisation is left out by asking it
for the map of one layer before it scales it. If a difference is gone, a library has changed: update docs/deviations.md.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

import saliscope as sc
from saliscope.methods import FEM, EigenCAM, Evidence, GradCAMPlusPlus, XGradCAM

grad_cam = pytest.importorskip("pytorch_grad_cam")
torchcam = pytest.importorskip("torchcam.methods")

CLASSES = [2, 4]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """A ResNet-18 with the batch norms of a network that saw data."""
    torch.manual_seed(1)
    made = torchvision.models.resnet18(num_classes=6)
    r = torch.Generator().manual_seed(2)
    for part in made.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
            with torch.no_grad():
                part.weight.copy_(torch.rand(part.weight.shape, generator=r) + 0.5)
                part.bias.copy_(torch.randn(part.bias.shape, generator=r) * 0.3)
    with torch.no_grad():
        made.train()(torch.randn(8, 3, 96, 96, generator=r))
        made.fc.weight.mul_(30)  # gradients large enough that no epsilon of the others counts
    return made.eval()


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(2, 3, 128, 96, generator=torch.Generator().manual_seed(3))


def theirs(kind: str, net: nn.Module, x: Tensor, layer: str, **more) -> Tensor:
    """grad-cam's map before it is scaled and resized, on the layer's own grid."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(c) for c in CLASSES]
    with getattr(grad_cam, kind)(net, [net.get_submodule(layer)], **more) as cam:
        kept = []
        plain = cam.get_cam_image

        def keep(*args, **options):
            kept.append(plain(*args, **options))
            return kept[-1]

        cam.get_cam_image = keep
        cam(x, targets=targets)
    return torch.as_tensor(np.asarray(kept[0]))


def camped(kind: str, net: nn.Module, x: Tensor, layer: str) -> Tensor:
    with getattr(torchcam, kind)(net, layer) as cam:
        return cam(CLASSES, net(x), normalized=False)[0].detach()


def ours(method: str, net: nn.Module, x: Tensor, layer: str, **options) -> Tensor:
    return sc.attribute(net, x, CLASSES, method=method, layer=layer, **options)


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference of two batches of maps, each map divided by its largest absolute value."""
    a, b = (m.double() / m.double().abs().amax((1, 2), keepdim=True) for m in (a, b))
    return float((a - b).abs().max())


LAYERS = ["layer2", "layer4"]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("grad-cam++", "GradCAMPlusPlus"),
        ("xgrad-cam", "XGradCAM"),
        ("layer-cam", "LayerCAM"),
        ("hires-cam", "HiResCAM"),
    ],
)
def test_against_grad_cam(net, x, layer, method, kind):
    found = ours(method, net, x, layer, relu=False)
    limit = 1e-3 if method == "grad-cam++" else 1e-4  # their epsilon still moves the fourth digit
    assert apart(found, theirs(kind, net, x, layer)) < limit


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("method", "kind"), [("xgrad-cam", "XGradCAM"), ("layer-cam", "LayerCAM")])
def test_against_torchcam(net, x, layer, method, kind):
    assert apart(ours(method, net, x, layer), camped(kind, net, x, layer)) < 1e-5


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("method", "kind", "more"),
    [("eigen-cam", "EigenCAM", {}), ("eigen-grad-cam", "EigenGradCAM", {})],
)
def test_eigen_cams_are_grad_cams_where_centred_but_for_the_sign(net, x, layer, method, kind, more):
    found = ours(method, net, x, layer, centred=True)
    other = theirs(kind, net, x, layer)
    sign = (found * other).sum((1, 2), keepdim=True).sign()
    assert apart(found, other * sign) < 1e-3
    assert apart(ours(method, net, x, layer), found) > 0.02, "not centred, as in the paper"


@pytest.mark.parametrize("kernel", ["rbf", "sigmoid"])
def test_kpca_cam_is_grad_cams_but_for_the_sign(net, x, kernel):
    pytest.importorskip("sklearn")
    found = ours("kpca-cam", net, x, "layer4", kernel=kernel)
    other = theirs("KPCA_CAM", net, x, "layer4", kernel=kernel)
    sign = (found * other).sum((1, 2), keepdim=True).sign()
    assert apart(found, other * sign) < 1e-3


def test_shapley_cam(net, x):
    """Of the same score; theirs is the logit unless told otherwise, which bends nowhere in a network of ReLUs."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputReST

    with grad_cam.ShapleyCAM(net, [net.layer4]) as cam:
        kept = []
        plain = cam.get_cam_weights
        cam.get_cam_weights = lambda *a: kept.append((plain(*a), a[3])) or kept[-1][0]
        for i in range(2):
            cam(x[i : i + 1], targets=[ClassifierOutputReST(CLASSES[i])])
    found = ours("shapley-cam", net, x, "layer4", relu=False)
    for i, (weights, a) in enumerate(kept):
        other = (torch.as_tensor(weights)[0, :, None, None] * a[0].detach()).sum(0)
        assert apart(found[i : i + 1], other[None]) < 1e-4


def test_finer_cam(net, x):
    """The predicted class against the three nearest, weighted by probability."""
    from pytorch_grad_cam.utils.model_targets import FinerWeightedTarget

    top = net(x).detach().argsort(1, descending=True)
    with grad_cam.GradCAM(net, [net.layer3]) as cam:
        kept = []
        plain = cam.get_cam_image
        cam.get_cam_image = lambda *a, **k: kept.append(plain(*a, **k)) or kept[-1]
        cam(x, targets=[FinerWeightedTarget(int(t[0]), t[1:4].tolist(), 1.0) for t in top])
    found = sc.attribute(net, x, method="finer-cam", layer="layer3", relu=False)
    assert apart(found, torch.as_tensor(kept[0])) < 1e-4


# --- what differs ----------------------------------------------------------------------------------------------------


def test_torchcam_leaves_out_the_denominator_of_grad_cam_plus_plus(net, x):
    """alpha = g^2 / (...) stays g^2: the division works on a copy."""
    theirs_ = camped("GradCAMpp", net, x, "layer3")
    assert apart(ours("grad-cam++", net, x, "layer3"), theirs_) > 0.02
    with torch.enable_grad():
        a = net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x))))))
        a = net.layer3(a).detach().requires_grad_(True)
        z = net.fc(net.avgpool(net.layer4(a)).flatten(1))
        (g,) = torch.autograd.grad(z[[0, 1], CLASSES].sum(), a)
    weights = (g**2 * g.relu()).sum((2, 3))
    undivided = torch.einsum("bc,bchw->bhw", weights, a.detach()).relu()
    assert apart(undivided, theirs_) < 1e-4


def test_grad_cams_epsilon_decides_grad_cam_plus_plus_where_gradients_are_small():
    """g^2 / (2 g^2 + ... + 1e-6): with gradients of 1e-4, alpha is 0.02 instead of 0.5."""
    r = torch.Generator().manual_seed(0)
    a, g = torch.rand(1, 6, 5, 5, generator=r), torch.randn(1, 6, 5, 5, generator=r) * 1e-4
    found = GradCAMPlusPlus().signed_map(Evidence(torch.empty(0), a, g))
    weights = grad_cam.GradCAMPlusPlus.get_cam_weights(None, None, None, None, a.numpy(), g.numpy())
    other = (torch.from_numpy(weights)[..., None, None] * a).sum(1)
    assert float(found.max() / other.max()) > 10


def test_epsilons_of_xgrad_cam_where_activations_are_small():
    """They divide by sum A + 1e-7: channels of 1e-8 lose their weight."""
    r = torch.Generator().manual_seed(0)
    a, g = torch.rand(1, 3, 4, 4, generator=r) * 1e-8, torch.rand(1, 3, 4, 4, generator=r)
    found = XGradCAM().signed_map(Evidence(torch.empty(0), a, g))
    plain = XGradCAM().signed_map(Evidence(torch.empty(0), a * 1e8, g))
    torch.testing.assert_close(found * 1e8, plain)
    weights = grad_cam.XGradCAM.get_cam_weights(None, None, None, None, a.numpy(), g.numpy())
    other = (torch.from_numpy(weights)[..., None, None] * a).sum(1)
    assert float(found.max() / other.max()) > 1.5


def test_grad_cams_eigen_cam_may_be_the_negative(net, x):
    """The sign of a singular vector is LAPACK's: of some maps what is bright is what the layer does not respond to."""
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    r = torch.Generator().manual_seed(0)
    a = torch.rand(40, 6, 4, 4, generator=r)
    found = EigenCAM(centred=True).signed_map(Evidence(torch.empty(0), a))
    other = torch.from_numpy(get_2d_projection(a.numpy()))
    agreement = (found * other).sum((1, 2))
    assert 0 < int((agreement < 0).sum()) < 40


def test_grad_cams_fem_weighs_activations_by_how_often_they_stand_out():
    """The paper sums binary maps with the channels' means; theirs sums activations with the share of the binary map."""
    r = torch.Generator().manual_seed(0)
    a = torch.rand(1, 6, 7, 7, generator=r) ** 4
    found = FEM().signed_map(Evidence(torch.empty(0), a))
    made = grad_cam.FEM.get_cam_image(
        SimpleNamespace(k=2), None, None, None, a.numpy(), None, eigen_smooth=False
    )
    other = torch.from_numpy(made)
    assert apart(found, other) > 0.05
    share = (
        a > a.mean((2, 3), keepdim=True) + 2 * a.std((2, 3), correction=0, keepdim=True)
    ).float()
    expected = (share.mean((2, 3), keepdim=True) * a).sum(1)
    torch.testing.assert_close(other.float(), expected)


def test_layer_cam_and_grad_cam_elementwise_are_one_behind_a_relu(net, x):
    found = ours("layer-cam", net, x, "layer3")
    assert apart(found, theirs("GradCAMElementWise", net, x, "layer3")) < 1e-4


def test_refine_cam_of_min_maxed_maps(net, x):
    """Their product is of maps without their minimum, at the size of the image; ours of positive parts, on the finest grid."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(c) for c in CLASSES]
    cam = grad_cam.RefineCAM(net, [net.layer3, net.layer4])
    other = torch.from_numpy(cam(x, targets))
    found = ours("refine-cam", net, x, "layer3+layer4")
    big = nn.functional.interpolate(found[:, None], (128, 96), mode="bilinear")[:, 0]
    a, b = big.flatten(1), other.flatten(1)
    correlation = [
        float(torch.corrcoef(torch.stack([p, q]))[0, 1]) for p, q in zip(a, b, strict=True)
    ]
    assert min(correlation) > 0.9
    assert apart(big, other) > 0.01


def test_grad_cams_finer_cam_counts_ranks_and_ignores_its_comparison_where_a_target_is_given(
    net, x
):
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(c) for c in CLASSES]
    finer = grad_cam.FinerCAM(net, [net.layer3])
    with_targets = torch.from_numpy(finer(x, targets=targets, comparison_categories=[5]))
    with grad_cam.GradCAM(net, [net.layer3]) as plain:
        expected = torch.from_numpy(plain(x, targets=targets))
    assert torch.equal(with_targets, expected), "plain Grad-CAM"
    assert apart(ours("finer-cam", net, x, "layer3"), ours("grad-cam", net, x, "layer3")) > 0.01


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    """A ViT with two tokens in front of 4 x 6 patches."""
    import timm

    torch.manual_seed(0)
    make = timm.create_model
    made = make("deit_tiny_distilled_patch16_224", img_size=(64, 96), depth=3, num_classes=6)
    with torch.no_grad():
        made.head.weight.mul_(30)
        made.head_dist.weight.mul_(30)
    return made.eval()


def patches(height: int, width: int):
    return lambda t: t[:, 2:].reshape(len(t), height, width, -1).permute(0, 3, 1, 2)


WIDE = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("kind", "method"),
    [("GradCAM", "grad-cam"), ("LayerCAM", "layer-cam"), ("HiResCAM", "hires-cam"), ("XGradCAM", "xgrad-cam")],
)  # fmt: skip
@pytest.mark.parametrize("layer", ["blocks.2.norm1", "blocks.0.norm2"])
def test_tokens_with_a_reshape_transform(vit, kind, method, layer):
    expected = theirs(kind, vit, WIDE, layer, reshape_transform=patches(4, 6))
    assert expected.shape == (2, 4, 6)
    assert apart(ours(method, vit, WIDE, layer, relu=False), expected) < 1e-4


def test_a_reshape_that_swaps_height_and_width_goes_unnoticed(vit):
    """grad-cam draws whatever the function returns; the numbers are right and their places are not."""
    right = theirs("GradCAM", vit, WIDE, "blocks.2.norm1", reshape_transform=patches(4, 6))
    wrong = theirs("GradCAM", vit, WIDE, "blocks.2.norm1", reshape_transform=patches(6, 4))
    assert wrong.shape == (2, 6, 4)
    torch.testing.assert_close(wrong.reshape(2, 4, 6), right)
    with pytest.raises(RuntimeError, match="shape"):
        theirs("GradCAM", vit, WIDE, "blocks.2.norm1", reshape_transform=patches(14, 14))


def test_the_last_block_of_a_vit_is_empty(vit):
    assert not theirs("GradCAM", vit, WIDE, "blocks.2", reshape_transform=patches(4, 6)).any()
    assert not sc.attribute(vit, WIDE, CLASSES, layer="blocks.2").any()
    assert sc.Model(vit, (64, 96)).survey.recommended == "blocks.2.norm1"
    assert sc.explain(sc.Model(vit, (64, 96)), WIDE[0].sigmoid(), layer="blocks.2").status == "zero"
