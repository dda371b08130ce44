"""Smooth Grad-CAM++: mean derivatives of noisy copies, the activations of the image itself."""

import copy

import numpy as np
import pytest
import torch

import saliscope as sc
from saliscope.methods.noise import noisy_copies

LAYERS = ["features.1", "features.2", "features.4"]


def twin(a, gradients):
    """The paper's equations on activations (C, h, w) and the gradients (n, C, h, w) of n copies, in loops."""
    n, channels, h, w = gradients.shape
    out = np.zeros((h, w))
    for k in range(channels):
        weight = 0.0
        total = sum(a[k, i, j] for i in range(h) for j in range(w))
        for i in range(h):
            for j in range(w):
                d1 = sum(gradients[m, k, i, j] for m in range(n)) / n
                d2 = sum(gradients[m, k, i, j] ** 2 for m in range(n)) / n
                d3 = sum(gradients[m, k, i, j] ** 3 for m in range(n)) / n
                bottom = 2 * d2 + total * d3
                weight += (d2 / bottom if bottom else 0.0) * max(d1, 0)
        out += weight * a[k]
    return out


def derivatives(by_hand, net, x, layer, target, copies, **noise):
    found = [
        by_hand(net, c, layer, lambda z: z[:, target]).g for c in noisy_copies(x, copies, **noise)
    ]
    return np.stack(found, 1)


@pytest.mark.parametrize("layer", LAYERS)
def test_against_loops(nets, batch, by_hand, close, layer):
    net = nets.deep_head()
    clean = by_hand(net, batch, layer, lambda z: z[:, 2])
    g = derivatives(by_hand, net, batch, layer, 2, 6, level=0.4, seed=3)
    found = sc.attribute(net, batch, 2, method="smooth-grad-cam++", layer=layer, copies=6, noise=0.4, seed=3, relu=False)  # fmt: skip
    cut = sc.attribute(net, batch, 2, method="smooth-grad-cam++", layer=layer, copies=6, noise=0.4, seed=3)  # fmt: skip
    for i in range(3):
        close(found[i], twin(clean.a[i], g[i]))
        close(cut[i], np.maximum(twin(clean.a[i], g[i]), 0))


@pytest.mark.parametrize("layer", LAYERS)
def test_neither_the_last_copys_activations_nor_its_gradient(nets, batch, by_hand, layer):
    """What another library does: its hook is overwritten by each copy."""
    net = nets.deep_head()
    found = sc.attribute(net, batch, 2, method="smooth-grad-cam++", layer=layer, copies=4, noise=0.4, relu=False)  # fmt: skip
    last = list(noisy_copies(batch, 4, level=0.4, seed=0))[-1]
    noisy = by_hand(net, last, layer, lambda z: z[:, 2])
    g = derivatives(by_hand, net, batch, layer, 2, 4, level=0.4, seed=0)
    for i in range(3):
        other = torch.from_numpy(twin(noisy.a[i], g[i]))
        assert float((found[i] - other).abs().max() / other.abs().max()) > 0.02


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("copies", [1, 3])
def test_without_noise_it_is_grad_cam_plus_plus(nets, batch, close, layer, copies):
    net = nets.deep_head()
    targets = torch.tensor([[0, 3], [2, 2], [4, 1]])
    found = sc.attribute(net, batch, targets, method="smooth-grad-cam++", layer=layer, noise=0.0, copies=copies, relu=False)  # fmt: skip
    expected = sc.attribute(net, batch, targets, method="grad-cam++", layer=layer, relu=False)
    for i in range(3):
        for k in range(2):
            close(found[i, k], expected[i, k])


def test_seeds_and_images_decide_the_noise(nets, batch):
    net, method = nets.deep_head(), "smooth-grad-cam++@features.2:copies=3"
    first = sc.attribute(net, batch, 1, method=method)
    assert torch.equal(first, sc.attribute(net, batch, 1, method=method))
    assert not torch.allclose(first, sc.attribute(net, batch, 1, method=method, seed=1))
    alone = torch.cat([sc.attribute(net, batch[i : i + 1], 1, method=method) for i in range(3)])
    torch.testing.assert_close(first, alone, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("factor", [1e-15, 1e12])
def test_small_and_large_gradients(nets, batch, factor):
    """Cubes of either leave float32."""
    net = copy.deepcopy(nets.deep_head())
    with torch.no_grad():
        net.classifier[2].weight.mul_(factor)
    found = sc.attribute(net, batch, 1, method="smooth-grad-cam++@features.2:copies=3")
    assert found.isfinite().all()
    assert float(found.max()) > 0


def test_several_layers_functions_and_a_dead_layer(nets, batch):
    net = nets.deep_head()
    both = sc.attribute(net, batch, 1, method="smooth-grad-cam++@features.2+features.4:copies=3,noise=0".replace(",", ":"), relu=False)  # fmt: skip
    expected = sc.attribute(net, batch, 1, method="grad-cam++@features.2+features.4", relu=False)
    torch.testing.assert_close(both, expected, rtol=1e-4, atol=1e-5)
    as_function = sc.attribute(net, batch, lambda z: z[:, 1], method="smooth-grad-cam++@features.2:copies=3")  # fmt: skip
    as_class = sc.attribute(net, batch, 1, method="smooth-grad-cam++@features.2:copies=3")
    torch.testing.assert_close(as_function, as_class, rtol=1e-4, atol=1e-7)
    with torch.no_grad():
        net.classifier[2].weight.zero_()
    assert (
        float(sc.attribute(net, batch, 1, method="smooth-grad-cam++@features.2").abs().max()) == 0
    )


def test_copies_refused(nets, batch):
    with pytest.raises(sc.MethodError, match=r"smooth-grad-cam\+\+:copies is at least 1, a number of noisy copies; got 0"):  # fmt: skip
        sc.attribute(nets.deep_head(), batch, 1, method="smooth-grad-cam++@features.2:copies=0")
