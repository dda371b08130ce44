"""Grad-CAM against three other libraries: same layer, class and input; upsampled, then min-max; to 1e-5.

The doors: `attribute` on the module itself; the same on a prepared copy (batch norms folded, channels last), in float64,
since folding changes the order of rounding, which a deep random network amplifies; and `sc.Model`, in float32, at the
last layer, within what that rounding makes of it (8.5e-5 was the worst seen). Networks are random ones with the batch-norm statistics of trained ones, so that no map is flat. Where a library deviates
for a known reason, what can be compared is, and docs/deviations.md lists the rest.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import saliscope as sc
from saliscope.engine import prepare, survey
from saliscope.methods import map_batch, parse_method
from saliscope.models import logits_of

pytest.importorskip("pytorch_grad_cam")
pytest.importorskip("torchcam")
pytest.importorskip("captum")

SIZE = (128, 96)
CLASSES = 10


def small_vgg16() -> nn.Module:
    """VGG-16 with its two wide linear layers narrowed: 0.4 instead of 138 million weights to build and copy."""
    net = torchvision.models.vgg16(num_classes=CLASSES)
    net.classifier = nn.Sequential(
        nn.Linear(512 * 49, 16), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(16, CLASSES)
    )
    return net


def lively_convnext() -> nn.Module:
    """A fresh ConvNeXt scales its branches by 1e-6: they would hardly count."""
    net = torchvision.models.convnext_tiny(num_classes=CLASSES)
    for name, parameter in net.named_parameters():
        if name.endswith("layer_scale"):
            nn.init.uniform_(parameter, 0.2, 0.6)
    return net


NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=CLASSES), ["layer4", "layer3"]),
    "resnet50": (lambda: torchvision.models.resnet50(num_classes=CLASSES), ["layer4", "layer2.2"]),
    "vgg16": (small_vgg16, ["features.29", "features.30"]),
    "densenet121": (
        lambda: torchvision.models.densenet121(num_classes=CLASSES),
        ["features.denseblock4", "features.transition3"],
    ),
    "mobilenet_v2": (
        lambda: torchvision.models.mobilenet_v2(num_classes=CLASSES),
        ["features", "features.13"],
    ),
    "convnext_tiny": (lively_convnext, ["features", "features.5"]),
}


def calibrated(net: nn.Module) -> nn.Module:
    """Random scales and shifts for the batch norms, and the statistics of noise that came through them."""
    generator = torch.Generator().manual_seed(2)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # a plain average
            with torch.no_grad():
                part.weight.copy_(torch.rand(part.weight.shape, generator=generator) + 0.5)
                part.bias.copy_(torch.randn(part.bias.shape, generator=generator) * 0.3)
    with torch.no_grad():
        net.train()(torch.randn(8, 3, 96, 96, generator=generator))
    return net.eval()


@dataclass
class Case:
    """A network for one door, with our maps of it."""

    net: nn.Module
    layers: list[str]
    inputs: Tensor
    classes: list[int]
    ours: dict[str, Tensor]  # layer: raw maps
    limit: float


DOORS = {"module": 1e-5, "prepared": 1e-5, "model": 3e-4}


def by_door(
    door: str, net: nn.Module, layers: list[str], inputs: Tensor, classes: list[int]
) -> Case:
    if door == "prepared":
        net, inputs = copy.deepcopy(net).double(), inputs.double()
        ready = prepare(
            net, inputs, survey(net, inputs, read=logits_of), read=logits_of, keep=layers
        )
        norms = any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
        assert (ready.folded > 0) is norms
        specs = [parse_method("grad-cam", layer=layer) for layer in layers]
        maps = map_batch(ready.network, inputs, specs, target=classes).signed
        ours = {n: m[:, 0].relu() for n, m in zip(layers, maps, strict=True)}
    else:
        layers = layers if door == "module" else layers[:1]
        thing = net if door == "module" else sc.Model(net, SIZE)
        ours = sc.attribute(thing, inputs, classes, layer=layers)
    return Case(net, layers, inputs, classes, ours, DOORS[door])


@pytest.fixture(scope="module", params=NETWORKS)
def cases(request) -> dict[str, Case]:
    make, layers = NETWORKS[request.param]
    torch.manual_seed(1)
    net = calibrated(make())
    net.requires_grad_(requires_grad=True)
    inputs = torch.randn(2, 3, *SIZE)
    # The class with the strongest map in both layers: where almost nothing is positive, min-max shows float32 rounding.
    every = torch.arange(CLASSES).repeat(2, 1)
    first = sc.attribute(net, inputs, every, layer=list(layers))
    strength = torch.stack([m.amax((2, 3)) / m.amax() for m in first.values()]).amin(0)
    classes = [int(c) for c in strength.argmax(1)]
    assert float(strength.amax(1).min()) > 0.1, "pick another seed"
    return {door: by_door(door, net, layers, inputs, classes) for door in DOORS}


@pytest.fixture(params=DOORS)
def case(request, cases) -> Case:
    return cases[request.param]


def finish(maps: Tensor) -> Tensor:
    """Upsample to the input (bilinear, half-pixel centres), then min-max each."""
    maps = F.interpolate(
        maps.detach()[:, None].double(), SIZE, mode="bilinear", align_corners=False
    )
    flat = maps.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    assert bool((high > low).all())
    return ((flat - low) / (high - low)).view(-1, *SIZE)


def check(case: Case, theirs: dict[str, Tensor]) -> None:
    for layer, maps in theirs.items():
        worst = float((finish(case.ours[layer]) - maps).abs().max())
        assert worst < case.limit, f"{layer}: {worst:.2g}"


def test_against_captum(case):
    from captum.attr import LayerGradCam

    theirs = {}
    for layer in case.layers:
        explainer = LayerGradCam(case.net, case.net.get_submodule(layer))
        maps = explainer.attribute(
            case.inputs, target=torch.tensor(case.classes), relu_attributions=True
        )
        theirs[layer] = finish(maps[:, 0])
    check(case, theirs)


def test_against_torchcam(case):
    from torchcam.methods import GradCAM

    theirs = {}
    for layer in case.layers:
        with GradCAM(case.net, layer) as explainer:
            (maps,) = explainer(case.classes, case.net(case.inputs), normalized=False)
        theirs[layer] = finish(maps)
    check(case, theirs)


def test_against_pytorch_grad_cam(case):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(c) for c in case.classes]
    theirs = {}
    for layer in case.layers:
        with GradCAM(case.net, [case.net.get_submodule(layer)]) as explainer:
            maps = explainer(case.inputs, targets=targets)
        theirs[layer] = torch.from_numpy(maps).double()  # min-max, resized, min-max again
        assert theirs[layer].shape == (2, *SIZE)
    check(case, theirs)
