"""Activations and gradients by plain autograd in float64, for the slow twins."""

import copy
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYERS = (
    "features.0",
    "features.1",
    "features.2",
    "features.4",
)  # of a DeepHead: signed, positive, signed, pooled


def behind(net: nn.Module, layer: str, a: Tensor) -> Tensor:
    """The logits of a DeepHead from the output of one of its layers."""
    f, start = net.features, LAYERS.index(layer)
    if start < 1:
        a = F.relu(a)
    if start < 2:
        a = f[2](a)
    if start < 3:
        a = f[4](F.relu(a))
    h = F.adaptive_avg_pool2d(a, 4).flatten(1)
    return net.classifier[2](F.relu(net.classifier[0](h)))


def before(net: nn.Module, layer: str, x: Tensor) -> Tensor:
    f, stop = net.features, LAYERS.index(layer)
    x = f[0](x)
    if stop > 0:
        x = F.relu(x)
    if stop > 1:
        x = f[2](x)
    if stop > 2:
        x = f[4](F.relu(x))
    return x


@pytest.fixture
def by_hand() -> Callable[..., SimpleNamespace]:
    """`by_hand(net, x, layer, scores)`: a, g (numpy, float64), and `score(a)`, the scalar from the layer's output on."""

    def make(net, x, layer, scores):
        net = copy.deepcopy(net).double()
        a = before(net, layer, x.double()).detach().requires_grad_(True)
        (g,) = torch.autograd.grad(scores(behind(net, layer, a)).sum(), a)
        return SimpleNamespace(
            a=a.detach().numpy(), g=g.numpy(), score=lambda a: scores(behind(net, layer, a))
        )

    return make


def random_pairs() -> dict[str, tuple[Tensor, Tensor]]:
    """Activations and gradients (2, C, h, w) in float64: positive, signed, with dead channels, wide, and tall."""
    r = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=r, dtype=torch.float64)

    dead = draw(2, 6, 4, 3).relu()
    dead[:, 1], dead[0, 3], dead[1] = 0, 0, dead[1] * 1e-3
    sparse = draw(2, 6, 4, 3)
    sparse[:, :, 1:3] = 0
    return {
        "positive": (draw(2, 5, 4, 3).abs(), draw(2, 5, 4, 3)),
        "signed": (draw(2, 5, 4, 3) + 0.3, draw(2, 5, 4, 3)),
        "dead": (dead, draw(2, 6, 4, 3)),
        "no gradient in parts": (draw(2, 6, 4, 3).relu(), sparse),
        "more channels than cells": (draw(2, 40, 3, 2).relu(), draw(2, 40, 3, 2) * 1e-3),
        "many cells": (draw(2, 5, 12, 11).relu(), draw(2, 5, 12, 11)),
        "large Gram matrix": (draw(2, 90, 10, 9).relu(), draw(2, 90, 10, 9)),
    }


PAIRS = random_pairs()


@pytest.fixture(params=PAIRS)
def pair(request) -> tuple[Tensor, Tensor]:
    a, g = PAIRS[request.param]
    return a.clone(), g.clone()


@pytest.fixture
def close() -> Callable[..., None]:
    """`close(found, expected)`: maps (h, w) equal to 1e-5 of the largest expected value."""

    def check(found, expected, atol=1e-5):
        expected = torch.as_tensor(expected, dtype=torch.float64)
        found = torch.as_tensor(found).double()
        assert found.shape == expected.shape
        scale = float(expected.abs().max()) or 1.0
        torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=atol)

    return check
