"""Layer-CAM, HiResCAM and FEM against loops over their papers' formulas."""

import numpy as np
import pytest
import torch

import saliscope as sc
from saliscope.methods import FEM, Evidence, HiResCAM, LayerCAM


def layer_cam_twin(a, g):
    """w_ij = relu(g_ij), sum_k w_ij A_ij (before the last ReLU)."""
    out = np.zeros(a.shape[1:])
    for k, i, j in np.ndindex(*a.shape):
        if g[k, i, j] > 0:
            out[i, j] += g[k, i, j] * a[k, i, j]
    return out


def hires_twin(a, g):
    """sum_k g_ij A_ij."""
    out = np.zeros(a.shape[1:])
    for k, i, j in np.ndindex(*a.shape):
        out[i, j] += g[k, i, j] * a[k, i, j]
    return out


def fem_twin(a, g, *, k=2.0):
    """Binary maps A^c > mean + k sigma, summed with the channels' means."""
    out = np.zeros(a.shape[1:])
    for channel in a:
        mean = sum(channel.flatten()) / channel.size
        sigma = (sum((v - mean) ** 2 for v in channel.flatten()) / channel.size) ** 0.5
        for i, j in np.ndindex(*channel.shape):
            if channel[i, j] > mean + k * sigma:
                out[i, j] += mean
    return out


TWINS = {"layer-cam": (LayerCAM(), layer_cam_twin), "hires-cam": (HiResCAM(), hires_twin),
         "fem": (FEM(), fem_twin)}  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_random_evidence(name, pair, close):
    method, twin = TWINS[name]
    a, g = pair
    found = method.signed_map(Evidence(torch.empty(0), a.float(), g.float()))
    assert found.dtype == torch.float32
    for i in range(len(a)):
        close(found[i], twin(a[i].numpy(), g[i].numpy()))


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("layer", ["features.0", "features.1", "features.2", "features.4"])
@pytest.mark.parametrize("door", ["raw", "model"])
def test_a_network(nets, batch, by_hand, close, name, layer, door):
    net = nets.deep_head()
    hand = by_hand(net, batch, layer, lambda z: z.amax(1))
    thing = sc.Model(net, (24, 16)) if door == "model" else net
    options = "" if name == "fem" else ":relu=false"
    found = sc.attribute(thing, batch, method=f"{name}@{layer}{options}")
    for i in range(3):
        close(found[i], TWINS[name][1](hand.a[i], hand.g[i]))


@pytest.mark.parametrize("k", [0.0, 0.5, 1.0, 3.0])
def test_fem_thresholds(pair, close, k):
    a, _ = pair
    found = FEM(k=k).signed_map(Evidence(torch.empty(0), a.float()))
    close(found[0], fem_twin(a[0].numpy(), None, k=k))


def test_fem_of_channels_that_do_not_vary_is_zero():
    a = torch.full((1, 3, 7, 7), 0.1)
    a[0, 1], a[0, 2] = 0.3, 0.0
    found = FEM(k=0.0).signed_map(Evidence(torch.empty(0), a))
    assert torch.equal(found, torch.zeros(1, 7, 7))


@pytest.mark.parametrize("k", [-1.0, float("inf"), float("nan")])
def test_fem_refuses_thresholds_that_are_none(k):
    with pytest.raises(sc.MethodError, match="fem:k is a number of standard deviations"):
        FEM(k=k)


def test_layer_cam_is_grad_cam_elementwise_behind_a_relu(nets, batch):
    """relu(g) A and relu(g A) are one where A >= 0, and two where it is not."""
    net = nets.deep_head()
    found = sc.attribute(net, batch, 1, method="layer-cam@features.1")
    r = torch.Generator().manual_seed(0)
    a, g = torch.randn(2, 1, 4, 5, 5, generator=r)
    positive = LayerCAM().signed_map(Evidence(torch.empty(0), a.relu(), g))
    torch.testing.assert_close(positive, (a.relu() * g).relu().sum(1))
    signed = LayerCAM().signed_map(Evidence(torch.empty(0), a, g))
    assert not torch.allclose(signed, (a * g).relu().sum(1))
    assert float(found.min()) >= 0


def test_hires_cam_sums_to_the_score_and_is_cam_at_a_linear_head(nets, batch):
    """Its guarantee: behind the layer everything is linear, so the map adds up to the logit less the bias."""
    net = nets.gap()
    found = sc.attribute(net, batch, 2, method="hires-cam@act2")
    logits = net(batch).detach()[:, 2] - net.fc.bias.detach()[2]
    torch.testing.assert_close(found.sum((1, 2)), logits, rtol=1e-4, atol=1e-5)
    cam = sc.attribute(net, batch, 2, method="cam")
    torch.testing.assert_close(found * cam[0].numel(), cam, rtol=1e-4, atol=1e-5)
