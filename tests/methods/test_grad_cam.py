"""Grad-CAM against loops over the paper's formulas (Selvaraju et al. 2017, eqs. 1 and 2), and the identity with CAM."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import saliscope as sc
from saliscope.methods import Evidence, GradCAM


def twin(activation, gradient, *, relu=True, sign=1):
    """alpha_k = 1/Z sum_i sum_j dy/dA_ij^k, L = ReLU(sum_k alpha_k A^k): one image, loops, float64."""
    channels, height, width = activation.shape
    out = np.zeros((height, width))
    for k in range(channels):
        alpha = 0.0
        for i in range(height):
            for j in range(width):
                alpha += gradient[k, i, j] / (height * width)
        out += sign * alpha * activation[k]
    return np.maximum(out, 0) if relu else out


def evidence_of(net, x, scores):
    """Activation and gradient at `features.2` of a DeepHead, by plain autograd in float64."""
    net = copy.deepcopy(net).double()
    f = net.features
    a = f[2](F.relu(f[0](x.double()))).detach().requires_grad_(True)
    z = net.classifier(F.adaptive_avg_pool2d(f[4](F.relu(a)), 4).flatten(1))
    (gradient,) = torch.autograd.grad(scores(z).sum(), a)
    return a.detach().numpy(), gradient.numpy()


SCORES = {
    "logit": ({"target": [3, 0, 1]}, lambda z: z[torch.arange(3), torch.tensor([3, 0, 1])]),
    "predicted": ({}, lambda z: z.amax(1)),
    "probability": (
        {"target": [3, 0, 1], "target_space": "probability"},
        lambda z: z.softmax(1)[torch.arange(3), torch.tensor([3, 0, 1])],
    ),
    "callable": ({"target": lambda z: z[:, 0] - z[:, 2] ** 2}, lambda z: z[:, 0] - z[:, 2] ** 2),
}


@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize(
    ("options", "relu", "sign"),
    [
        ({}, True, 1),
        ({"relu": False}, False, 1),
        ({"sign": "negative"}, True, -1),
        ({"sign": "negative", "relu": False}, False, -1),
    ],
)
@pytest.mark.parametrize("door", ["raw", "model"])
def test_grad_cam_is_the_papers_formula(nets, batch, scores, options, relu, sign, door):
    net = nets.deep_head(inplace=True)
    given, function = SCORES[scores]
    thing = sc.Model(net, (24, 16)) if door == "model" else net
    found = sc.attribute(thing, batch, layer="features.2", **given, **options)
    activation, gradient = evidence_of(net, batch, function)
    assert found.shape == (3, 12, 8)
    for i in range(3):
        expected = twin(activation[i], gradient[i], relu=relu, sign=sign)
        scale = np.abs(twin(activation[i], gradient[i], relu=False)).max()
        np.testing.assert_allclose(found[i] / scale, expected / scale, rtol=0, atol=1e-5)


def test_k_targets_each_equal_the_target_alone(nets, batch):
    net = nets.deep_head()
    targets = torch.tensor([[0, 4], [2, 1], [3, 3]])
    together = sc.attribute(net, batch, targets, layer="features.2", relu=False)
    assert together.shape == (3, 2, 12, 8)
    for k in range(2):
        alone = sc.attribute(net, batch, targets[:, k], layer="features.2", relu=False)
        torch.testing.assert_close(together[:, k], alone)
    assert torch.equal(together[2, 0], together[2, 1])
    assert not torch.allclose(together[0, 0], together[0, 1])


def min_max(maps):
    flat = maps.double().flatten(-2)
    low, high = flat.amin(-1, keepdim=True), flat.amax(-1, keepdim=True)
    return (flat - low) / (high - low)


@pytest.mark.parametrize("make", ["module", "inplace", "functional", "none", "conv_head"])
@pytest.mark.parametrize("door", ["raw", "raw, layer named", "model"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_on_a_pooling_and_linear_network_it_is_cam(nets, batch, make, door, seed):
    torch.manual_seed(seed)
    net = nets.conv_head() if make == "conv_head" else nets.gap(make)
    nets.lively(net, seed)
    thing = sc.Model(net, (24, 16)) if door == "model" else net
    facts = sc.Model(net, (24, 16)).survey
    layer = facts.head.layer if (door == "raw, layer named" or make == "conv_head") else None
    classes = torch.arange(5).repeat(3, 1)
    cam = sc.attribute(thing, batch, classes, method="cam")
    signed = sc.attribute(thing, batch, classes, relu=False, layer=layer)
    cells = cam.shape[-2] * cam.shape[-1]
    if not facts.head.rectified:
        scale = float(cam.abs().max())
        torch.testing.assert_close(signed * cells / scale, cam / scale, rtol=0, atol=1e-6)
        spread = (cam.amax((2, 3)) - cam.amin((2, 3))) > 1e-3 * scale
        assert spread.float().mean() > 0.5
        close = (min_max(cam) - min_max(signed)).abs().flatten(2).amax(-1)[spread]
        assert float(close.max()) <= 1e-6
        negative = sc.attribute(thing, batch, classes, sign="negative", layer=layer)
        torch.testing.assert_close(negative, (-signed).relu())
        cut = sc.attribute(thing, batch, classes, layer=layer)
        torch.testing.assert_close(cut * cells / scale, cam.relu() / scale, rtol=0, atol=1e-6)


def test_z_alpha_is_the_class_weight(nets, batch):
    """Z alpha_k == w_k, read through a feature map that is one channel at a time."""
    from saliscope.engine import Network, shadow, survey
    from saliscope.models import logits_of

    net = nets.gap("module")
    for facts in (None, survey(net, batch, read=logits_of)):
        network = Network(shadow(net), read=logits_of, survey=facts)
        with torch.enable_grad():
            capture = network.capture(batch, ["act2"], of_logits=True)
            gradient = capture.gradients(capture.logits[:, 3])["act2"]
        cells = gradient.shape[2] * gradient.shape[3]
        alpha = gradient.mean((2, 3))
        torch.testing.assert_close(cells * alpha, net.fc.weight[3].detach().expand(3, -1))


def test_half_precision_gradients_are_averaged_in_float32():
    gradient = torch.full((1, 1, 64, 64), 100.0).half()
    activation = torch.ones(1, 1, 64, 64).half()
    found = GradCAM().signed_map(Evidence(torch.empty(0), activation, gradient))
    assert found.dtype == torch.float32
    assert float(found.max()) == 100.0


def test_evidence_that_is_missing_is_named():
    with pytest.raises(sc.MethodError, match="Grad-CAM needs a layer, and"):
        GradCAM().signed_map(Evidence(torch.empty(0)))
    with pytest.raises(sc.MethodError, match="Grad-CAM needs gradients"):
        GradCAM().signed_map(Evidence(torch.empty(0), torch.ones(1, 1, 2, 2)))


def test_a_scaled_logit_scales_the_map_and_nothing_else(nets, batch):
    net = nets.deep_head()
    plain = sc.attribute(net, batch, lambda z: z[:, 1], layer="features.2", relu=False)
    for factor in (1e-12, 1e-3, 7.0, 1e12):
        scaled = sc.attribute(
            net, batch, lambda z, f=factor: z[:, 1] * f, layer="features.2", relu=False
        )
        torch.testing.assert_close(min_max(scaled), min_max(plain), rtol=0, atol=1e-5)
