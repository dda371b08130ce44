"""Gradient SHAP against loops over samples and targets in float64."""

import numpy as np
import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.engine import Network, Question
from saliscope.methods import GradientSHAP
from saliscope.methods.fills import filled
from saliscope.methods.noise import own_generator
from saliscope.methods.pixels import one_map

TARGETS = torch.tensor([[0, 3], [2, 2], [4, 1]])


def twin(net, image, c, method):
    """The mean of (x - x') times the gradient between; what is drawn comes in the order point, baseline, noise."""
    r = own_generator(image.float(), method.seed)
    total = np.zeros(image.shape)
    for i in range(method.samples):
        share = (i + float(torch.rand((), generator=r))) / method.samples
        base, x = image * 0, image
        if method.baseline == "uniform":
            u = torch.rand(image.shape, generator=r).double()
            for ch in range(len(image)):
                base[ch] = image[ch].min() + (image[ch].max() - image[ch].min()) * u[ch]
        else:
            base = filled(image[None].float(), method.baseline)[0].double()
        if method.deviation:
            spread = method.deviation * (image.max() - image.min())
            x = image + spread * torch.randn(image.shape, generator=r).double()
        point = (base + share * (x - base))[None].requires_grad_(True)
        (g,) = torch.autograd.grad(net(point)[0, c], point)
        total += ((x - base) * g[0]).detach().numpy()
    return total / method.samples


@pytest.mark.parametrize(
    "method",
    [
        GradientSHAP(samples=5),
        GradientSHAP(samples=4, deviation=0.2, seed=3),
        GradientSHAP(samples=3, baseline="blur", channels="absmax"),
        GradientSHAP(samples=3, baseline="grey", deviation=0.1, channels="keep"),
    ],
)
def test_samples(nets, batch, close, method):
    net, x = nets.deep_head(inplace=False).double(), batch.double()
    found = sc.attribute(net, x, TARGETS, method=method)
    assert found.dtype == torch.float32
    for i, k in np.ndindex(3, 2):
        expected = twin(net, x[i], TARGETS[i, k], method)
        if method.channels == "sum":
            expected = expected.sum(0)
        elif method.channels == "absmax":
            expected = np.abs(expected).max(0)
        close(found[i, k], expected)


class Square(nn.Module):
    """The sum of squares: the gradient at x is 2 x, so from 0 the way gives x²."""

    def forward(self, x):
        return x.square().sum((1, 2, 3))[:, None]


@pytest.mark.parametrize("baseline", ["grey", "mean", "black", "white", "blur"])
def test_the_values_add_up(batch, baseline):
    """Points spread over the whole way make the sum nearly that of the integral, with few samples."""
    method = f"gradient-shap:samples=200:baseline={baseline}:channels=keep"
    found = sc.attribute(Square(), batch, 0, method=method)
    base = filled(batch, baseline)
    fall = batch.square().sum((1, 2, 3)) - base.square().sum((1, 2, 3))
    torch.testing.assert_close(found.sum((1, 2, 3)), fall, rtol=2e-3, atol=0.5)
    torch.testing.assert_close(found, batch.square() - base.square(), rtol=0.02, atol=0.05)


def test_uniform_baselines_in_the_mean(batch):
    """E of (x - b) (x + b) is x² - E b², with b uniform in [dark, light] of the channel."""
    found = sc.attribute(Square(), batch, 0, method="gradient-shap:samples=400:channels=keep")
    low, high = batch.amin((2, 3), keepdim=True), batch.amax((2, 3), keepdim=True)
    expected = batch.square() - (low**2 + low * high + high**2) / 3
    away = found.mean((2, 3)) - expected.mean((2, 3))
    assert float(away.abs().max()) < 0.05


def test_all_targets_share_the_passes(nets, batch, monkeypatch):
    monkeypatch.setattr(Question, "at_once", lambda self: 32)
    seen = []
    plain = Network.capture
    monkeypatch.setattr(Network, "capture", lambda self, x, *a, **k: seen.append(len(x)) or plain(self, x, *a, **k))  # fmt: skip
    sc.attribute(nets.gap(), batch, TARGETS, method="gradient-shap:samples=6")
    assert sum(seen[1:]) == 3 * 6


@pytest.mark.parametrize("limit", [1, 5, 8, 1000])
def test_how_many_at_once_does_not_matter(nets, batch, limit, monkeypatch):
    net = nets.gap()
    spec = "gradient-shap:samples=5:deviation=0.1"
    plain = sc.attribute(net, batch, TARGETS, method=spec)
    monkeypatch.setattr(Question, "at_once", lambda self: limit)
    torch.testing.assert_close(sc.attribute(net, batch, TARGETS, method=spec), plain)


def test_seeds(nets, batch):
    net = nets.gap()
    plain, same, other = (
        sc.attribute(net, batch, 1, method=f"gradient-shap:samples=3:seed={s}") for s in (0, 0, 1)
    )
    assert torch.equal(plain, same)
    assert not torch.allclose(plain, other, rtol=0.01)


def test_channels():
    maps = torch.tensor([[[[1.0, -3.0]], [[-2.0, 2.0]]]])
    assert one_map(maps, "sum").tolist() == [[[-1.0, -1.0]]]
    assert one_map(maps, "absmax").tolist() == [[[2.0, 3.0]]]
    assert torch.equal(one_map(maps, "keep"), maps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, r"gradient-shap:samples is at least 1; got 0"),
        ({"deviation": -0.1}, r"gradient-shap:deviation is a share of the range of an image's values; got -0.1"),
        ({"deviation": float("nan")}, r"gradient-shap:deviation"),
    ],
)  # fmt: skip
def test_settings_it_cannot_have(options, message):
    with pytest.raises(sc.MethodError, match=message):
        GradientSHAP(**options)
