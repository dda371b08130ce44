"""MWP conserves mass: what the networks that people use hand down sums to 1 wherever all of it has to pass."""

import pytest
import torch
import torchvision

import saliscope as sc
from saliscope.engine import BatchTarget, Budget, Network, Question, shadow, survey
from saliscope.methods.excitation import _Walk
from saliscope.models import logits_of


def is_cut(net, name, x):
    """Whether all that the network knows of its input passes the layer: with it cut off, nothing is left."""
    handle = net.get_submodule(name).register_forward_hook(lambda m, i, o: o.detach())
    cut = not net(x.clone().requires_grad_(True)).requires_grad
    handle.remove()
    return cut


def masses(net, x, layers, c):
    network = Network(shadow(net), read=logits_of)
    question = Question(network, x, x, tuple(layers), {}, [BatchTarget(torch.full((len(x),), c))], Budget())  # fmt: skip
    return {n: m.sum((1, 2)) for n, m in _Walk(question, "MWP")._masses(0, opposite=False).items()}


def build(name):
    torch.manual_seed(0)
    if name.startswith("timm:"):
        import timm

        return timm.create_model(name[5:]).eval().requires_grad_(False)
    more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, **more).eval().requires_grad_(False)


QUICK = ["resnet18", "mobilenet_v2", "regnet_y_400mf"]
SLOW = [
    *("alexnet", "vgg16", "googlenet", "inception_v3", "resnet50", "resnext50_32x4d"),
    *(
        "densenet121",
        "squeezenet1_1",
        "efficientnet_b0",
        "mobilenet_v3_large",
        "mobilenet_v3_small",
    ),
    *("shufflenet_v2_x0_5", "mnasnet0_5", "timm:resnetv2_50", "timm:efficientnet_b0"),
    *("timm:mobilenetv3_small_100", "timm:seresnext26d_32x4d", "timm:res2net50_26w_4s"),
]


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)])
def test_the_mass_is_one_at_every_cut_of_a_network(name):
    net = build(name)
    x = torch.randn(1, 3, 96, 96) if name == "inception_v3" else torch.randn(1, 3, 64, 64)
    facts = survey(net, x, read=logits_of)
    names = [f.name for f in facts.layers]
    top = [n for n in names if n.count(".") < 2]
    layers = [n for n in (top if name in QUICK else names) if is_cut(net, n, x)]
    assert len(layers) > 5
    for n, mass in masses(net, x, layers, 7).items():
        assert float(mass) == pytest.approx(1, abs=1e-4), n


def test_branches_share_the_mass():
    net = build("googlenet")
    branches = [f"inception4c.branch{i}" for i in (1, 2, 3, 4)]
    found = masses(net, torch.randn(1, 3, 64, 64), branches, 3)
    assert sum(map(float, found.values())) == pytest.approx(1, abs=1e-4)
    assert all(0 < float(m) < 1 for m in found.values())


@pytest.mark.slow
def test_convnext_is_refused():
    net = build("timm:convnext_atto")
    with pytest.raises(sc.MethodError, match=r'no rule for "layer_norm"'):
        sc.attribute(net, torch.randn(1, 3, 64, 64), 1, method="mwp", layer="stages.2")
