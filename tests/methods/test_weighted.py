"""Grad-CAM++ and XGrad-CAM against loops over their papers' formulas, and Grad-CAM++ against derivatives of exp(S)."""

import numpy as np
import pytest
import torch

import saliscope as sc
from saliscope.methods import Evidence, GradCAMPlusPlus, XGradCAM


def plus_plus_twin(a, g):
    """Eq. 19: alpha = g^2 / (2 g^2 + sum_ab A_ab g^3), w_k = sum_ij alpha relu(g), sum_k w_k A^k; loops."""
    channels, height, width = a.shape
    out = np.zeros((height, width))
    for k in range(channels):
        total = 0.0
        for i in range(height):
            for j in range(width):
                total += a[k, i, j]
        weight = 0.0
        for i in range(height):
            for j in range(width):
                if g[k, i, j] > 0:
                    share = g[k, i, j] ** 2 / (2 * g[k, i, j] ** 2 + total * g[k, i, j] ** 3)
                    weight += share * g[k, i, j]
        out += weight * a[k]
    return out


def xgrad_twin(a, g):
    """alpha_k = sum_ij A_ij / sum_ab A_ab * g_ij, sum_k alpha_k A^k; loops."""
    channels, height, width = a.shape
    out = np.zeros((height, width))
    for k in range(channels):
        total = sum(a[k, i, j] for i in range(height) for j in range(width))
        if total == 0:
            continue
        alpha = sum(a[k, i, j] / total * g[k, i, j] for i in range(height) for j in range(width))
        out += alpha * a[k]
    return out


TWINS = {"grad-cam++": (GradCAMPlusPlus, plus_plus_twin), "xgrad-cam": (XGradCAM, xgrad_twin)}


@pytest.mark.parametrize("name", TWINS)
def test_random_evidence(name, pair, close):
    kind, twin = TWINS[name]
    a, g = pair
    found = kind().signed_map(Evidence(torch.empty(0), a.float(), g.float()))
    assert found.dtype == torch.float32
    for i in range(len(a)):
        # float32 sums near a pole of the formula are worth less
        close(found[i], twin(a[i].numpy(), g[i].numpy()), atol=2e-5)


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("layer", ["features.1", "features.4"])
def test_a_network(nets, batch, by_hand, close, name, layer):
    net = nets.deep_head()
    classes = torch.tensor([3, 0, 1])
    hand = by_hand(net, batch, layer, lambda z: z[torch.arange(3), classes])
    found = sc.attribute(net, batch, classes, method=f"{name}@{layer}:relu=false")
    cut = sc.attribute(net, batch, classes, method=f"{name}@{layer}")
    for i in range(3):
        close(found[i], TWINS[name][1](hand.a[i], hand.g[i]))
    assert torch.equal(cut, found.relu())


def test_plus_plus_is_the_share_of_derivatives_of_the_exponential(nets, batch, by_hand, close):
    """The share with Y = exp(S) and its second and third derivatives by autograd, cell by cell; the network is linear in pieces."""
    net = nets.deep_head()
    hand = by_hand(net, batch[:1], "features.4", lambda z: z[:, 2])
    a = torch.from_numpy(hand.a)[:, :, ::3, ::2]  # fewer cells: 8 x 2 x 2
    flat = a.flatten().requires_grad_(True)
    whole = torch.from_numpy(hand.a)

    def exponential(values):
        grid = whole.clone()
        grid[:, :, ::3, ::2] = values.view(a.shape)
        return hand.score(grid).exp().sum()

    first, second, third = [], [], []
    (d1,) = torch.autograd.grad(exponential(flat), flat, create_graph=True)
    for i in range(len(flat)):
        (d2,) = torch.autograd.grad(d1[i], flat, create_graph=True)
        (d3,) = torch.autograd.grad(d2[i], flat, retain_graph=True)
        first.append(d1[i].item())
        second.append(d2[i].item())
        third.append(d3[i].item())
    y1, y2, y3 = (
        torch.tensor(v, dtype=torch.float64).view(a.shape)[0] for v in (first, second, third)
    )
    values = a[0].detach()
    total = values.sum((1, 2), keepdim=True)
    share = torch.where(y2 != 0, y2 / (2 * y2 + total * y3), 0.0)
    weights = (share * y1.relu()).sum((1, 2))
    expected = (weights[:, None, None] * values).sum(0) / exponential(flat).item()
    g = torch.from_numpy(hand.g)[:, :, ::3, ::2]
    found = GradCAMPlusPlus().signed_map(Evidence(torch.empty(0), a.detach().float(), g.float()))
    close(found[0], expected)
    assert float(expected.max()) > 0


def test_several_objects_count_alike():
    """The paper's reason: a small and a large object, one channel each, get the same height; Grad-CAM dims the small one."""
    a = torch.zeros(1, 2, 6, 6)
    a[0, 0, :3, :4], a[0, 1, 5, 5] = 1.0, 1.0
    g = a * 0.5
    found = GradCAMPlusPlus(relu=False).signed_map(Evidence(torch.empty(0), a, g))
    # w_1 = 12 * .5 / (2 + 12 * .5) = .75, w_2 = .5 / 2.5 = .2
    assert float(found[0, 0, 0]) == pytest.approx(0.75)
    assert float(found[0, 5, 5]) == pytest.approx(0.2)


def test_small_gradients_keep_their_shares(close):
    """An absolute epsilon of 1e-6 decides everything where g^2 is smaller (grad-cam): here only the formula does."""
    r = torch.Generator().manual_seed(0)
    a = torch.rand(1, 4, 5, 5, generator=r)
    g = torch.randn(1, 4, 5, 5, generator=r) * 1e-12
    found = GradCAMPlusPlus().signed_map(Evidence(torch.empty(0), a, g))
    close(found[0], plus_plus_twin(a[0].double().numpy(), g[0].double().numpy()))
    assert float(found.max()) > 0


def test_a_denominator_of_zero_gives_no_share():
    a = torch.full((1, 1, 2, 2), -0.5)  # sum -2
    g = torch.tensor(
        [[[[1.0, 0.5], [0.0, -1.0]]]]
    )  # 2 + g sum: 0 for the first cell, 1 for the second
    found = GradCAMPlusPlus().signed_map(Evidence(torch.empty(0), a, g))
    assert found.flatten().tolist() == pytest.approx([-0.25] * 4)


def test_a_channel_that_sums_to_zero_within_rounding_gets_no_weight():
    a = torch.tensor([0.1, 0.2, -0.3, 0.7, -0.7, 0.0]).view(1, 1, 2, 3).repeat(1, 2, 1, 1)
    assert float(a[0, 0].sum()) != 0 or float(a[0, 0].double().sum()) != 0, "only nearly zero"
    a[0, 1] = a[0, 1].abs()
    g = torch.ones_like(a)
    found = XGradCAM().signed_map(Evidence(torch.empty(0), a, g))
    torch.testing.assert_close(found[0], a[0, 1])


def test_xgrad_conserves(nets, batch, by_hand):
    """Its axiom: the map's sum is the sum of gradient times activation, whatever the network."""
    net = nets.deep_head()
    hand = by_hand(net, batch, "features.1", lambda z: z[:, 1])
    found = sc.attribute(net, batch, 1, method="xgrad-cam@features.1:relu=false")
    expected = torch.from_numpy((hand.a * hand.g).sum((1, 2, 3)))
    torch.testing.assert_close(found.sum((1, 2)).double(), expected, rtol=1e-4, atol=1e-6)
