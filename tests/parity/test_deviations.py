"""Where the other libraries and this one differ on purpose: every row of docs/deviations.md that was run.

If one of these fails, a library has changed: update the page.
"""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

import saliscope as sc

pytest.importorskip("pytorch_grad_cam")
pytest.importorskip("torchcam")
pytest.importorskip("captum")


def vgg(*, inplace: bool) -> nn.Module:
    """The features of VGG-11 and a small head, with or without in-place ReLUs; the same weights in both."""
    torch.manual_seed(0)
    net = torchvision.models.vgg11(num_classes=5)
    net.classifier = nn.Sequential(nn.Linear(512 * 49, 16), nn.ReLU(), nn.Linear(16, 5))
    for part in net.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = inplace
    return net.eval()


def picture() -> Tensor:
    return torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))


def captum_map(net: nn.Module, layer: str, **options) -> Tensor:
    from captum.attr import LayerGradCam

    explainer = LayerGradCam(net, net.get_submodule(layer))
    return explainer.attribute(picture(), target=2, **options)[0, 0].detach()


def torchcam_map(net: nn.Module, layer: str, **options) -> Tensor:
    from torchcam.methods import GradCAM

    with GradCAM(net, layer) as explainer:
        return explainer(2, net(picture()), **options)[0][0].detach()


def grad_cam_map(net: nn.Module, layer: str, targets=None) -> Tensor:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with GradCAM(net, [net.get_submodule(layer)]) as explainer:
        return torch.from_numpy(
            explainer(picture(), targets=targets or [ClassifierOutputTarget(2)])
        )[0]


def ours(net: nn.Module, layer: str, **options) -> Tensor:
    return sc.attribute(net, picture(), 2, layer=layer, **options)[0]


def min_max(x: Tensor) -> Tensor:
    return (x - x.min()) / (x.max() - x.min())


def apart(a: Tensor, b: Tensor) -> float:
    return float((min_max(a) - min_max(b)).abs().max())


LAYER = "features.18"  # the last convolution, with a ReLU behind it


def test_an_in_place_relu_behind_the_layer():
    """The maps of the same weights with and without `inplace=True`; captum's and ours stay the same."""
    pure, inplace = vgg(inplace=False), vgg(inplace=True)
    assert torch.equal(ours(pure, LAYER), ours(inplace, LAYER))
    assert apart(ours(pure, LAYER), captum_map(pure, LAYER, relu_attributions=True)) < 1e-5
    assert apart(ours(pure, LAYER), torchcam_map(pure, LAYER, normalized=False)) < 1e-5
    behind = ours(pure, "features.19")
    assert apart(torchcam_map(inplace, LAYER, normalized=False), behind) < 1e-5, "of the ReLU"
    assert apart(torchcam_map(inplace, LAYER, normalized=False), ours(pure, LAYER)) > 0.05
    assert apart(grad_cam_map(inplace, LAYER), grad_cam_map(pure, LAYER)) > 0.05
    assert apart(captum_map(inplace, LAYER, relu_attributions=True), ours(pure, LAYER)) < 1e-5


def test_captum_keeps_negative_values_unless_told():
    net = vgg(inplace=False)
    signed = captum_map(net, LAYER)
    torch.testing.assert_close(signed, ours(net, LAYER, relu=False), rtol=1e-4, atol=1e-9)
    assert float(signed.min()) < 0


def test_epsilons_flatten_small_maps():
    net = vgg(inplace=False)
    with torch.no_grad():
        net.classifier[2].weight.mul_(1e-6)
    assert float(torchcam_map(net, LAYER).max()) < 0.9
    assert float(min_max(ours(net, LAYER)).max()) == 1.0


def test_a_negative_map_is_zero_elsewhere_without_a_word():
    class Negative(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 1, 1)
            with torch.no_grad():
                self.conv.weight.zero_()
                self.conv.bias.fill_(1.0)
                self.conv.weight[0, 0] = 0.1

        def forward(self, x):
            return torch.cat([x.mean((2, 3)), -self.conv(x).mean((2, 3))], 1)[:, [0, 1, 3]]

    net = Negative()
    assert float(grad_cam_map(net, "conv").abs().max()) == 0
    assert float(torchcam_map(net, "conv").abs().max()) == 0
    assert (
        sc.explain(sc.Model(net, 96), torch.rand(3, 96, 96), layer="conv", target=2).status
        == "negative"
    )


def test_frozen_networks():
    net = vgg(inplace=False).requires_grad_(requires_grad=False)
    assert float(ours(net, LAYER).max()) > 0
    with pytest.raises(RuntimeError, match="not connected to every target layer"):
        torchcam_map(net, LAYER)
    with pytest.raises(RuntimeError, match="require"):
        grad_cam_map(net, LAYER)


def test_fewer_targets_than_images():
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net, two = vgg(inplace=False), torch.cat([picture(), picture() * 0.5])
    with GradCAM(net, [net.get_submodule(LAYER)]) as explainer:
        maps = explainer(two, targets=[ClassifierOutputTarget(2)])
    assert maps[0].max() > 0
    assert maps[1].max() == 0
    with pytest.raises(sc.TargetError, match=r"\(1,\) targets for 2 images"):
        sc.attribute(net, two, [2], layer=LAYER)
