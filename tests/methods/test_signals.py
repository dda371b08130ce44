"""Signals (B, C, L) and volumes (B, C, D, H, W) through `attribute`: the formulas cell by cell, in place."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import saliscope as sc
from saliscope.methods import METHODS

SIZES = {1: (40,), 3: (6, 8, 12)}
GRIDS = {1: (20,), 3: (3, 4, 6)}
CONV, POOL = {1: nn.Conv1d, 3: nn.Conv3d}, {1: F.max_pool1d, 3: F.max_pool3d}
MAPS = [n for n, k in METHODS.items() if k.family == "one capture" and k.reads != "head"]


class Net(nn.Module):
    """Two convolutions, a pooling, a hidden layer: gradients differ from cell to cell."""

    def __init__(self, dims):
        super().__init__()
        self.dims = dims
        self.conv1 = CONV[dims](2, 5, 3, stride=2, padding=1)
        self.conv2 = CONV[dims](5, 6, 3, padding=1)
        cells = 10 if dims == 1 else 1 * 2 * 3
        self.hidden, self.fc = nn.Linear(6 * cells, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.behind(F.relu(self.conv1(x)))

    def behind(self, a):
        a = POOL[self.dims](F.relu(self.conv2(a)), 2)
        return self.fc(self.hidden(a.flatten(1)).tanh())


class Pooled(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.conv, self.fc = CONV[dims](2, 5, 3, stride=2, padding=1), nn.Linear(5, 4)

    def forward(self, x):
        return self.fc(self.conv(x).relu().flatten(2).mean(2))


@pytest.fixture(params=[1, 3])
def dims(request):
    return request.param


@pytest.fixture
def x(dims):
    return torch.randn(2, 2, *SIZES[dims])


def by_hand(net, x):
    net = copy.deepcopy(net).double()
    a = net.conv1(x.double()).detach().requires_grad_(True)
    (g,) = torch.autograd.grad(net.behind(F.relu(a))[:, 1].sum(), a)
    return a.detach(), g


def cells(shape):
    return [(i,) for i in range(shape[0])] if len(shape) == 1 else [
        (d, y, z) for d in range(shape[0]) for y in range(shape[1]) for z in range(shape[2])
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "layer-cam"])
def test_slow_twins(dims, x, close, method):
    net = Net(dims).eval()
    a, g = by_hand(net, x)
    found = sc.attribute(net, x, 1, method=method, layer="conv1", relu=False)
    assert found.shape == (2, *GRIDS[dims])
    for b in range(2):
        expected = torch.zeros(GRIDS[dims], dtype=torch.float64)
        for c in range(5):
            weight = sum(float(g[b, c][p]) for p in cells(GRIDS[dims])) / len(cells(GRIDS[dims]))
            for p in cells(GRIDS[dims]):
                one = float(g[b, c][p])
                w = {"grad-cam": weight, "hires-cam": one, "layer-cam": max(one, 0)}[method]
                expected[p] += w * float(a[b, c][p])
        close(found[b].flatten(), expected.flatten())


@pytest.mark.parametrize("method", MAPS)
def test_every_map_has_the_grid(dims, x, method):
    net = Net(dims).eval()
    found = sc.attribute(net, x, torch.tensor([[0, 1], [2, 2]]), method=method, layer="conv1")
    assert found.shape == (2, 2, *GRIDS[dims])
    assert found.isfinite().all()
    alone = sc.attribute(net, x[1:], 2, method=method, layer="conv1")
    torch.testing.assert_close(found[1, :1], alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max()))
    assert float(found.std()) > 0


def test_the_recommended_layer(dims, x):
    net = Net(dims).eval()
    found = sc.attribute(net, x, 1, relu=False)
    assert found.shape == (2, *GRIDS[dims])
    assert torch.equal(found, sc.attribute(net, x, 1, relu=False, layer="conv2"))


def test_cam_of_a_pooled_head(dims, x):
    net = Pooled(dims).eval()
    found = sc.attribute(net, x, 1, method="cam")
    expected = torch.einsum("c,bc...->b...", net.fc.weight[1], net.conv(x).relu()).detach()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert found.shape == (2, *GRIDS[dims])


def test_noise_smooths_them(dims, x):
    net = Net(dims).eval()
    plain = sc.attribute(net, x, 1, layer="conv1", relu=False)
    found = sc.attribute(net, x, 1, layer="conv1", relu=False, smooth=3, noise=0.1)
    assert found.shape == plain.shape
    assert not torch.equal(found, plain)
    still = sc.attribute(net, x, 1, layer="conv1", relu=False, smooth=3, noise=0.0)
    torch.testing.assert_close(still, plain, rtol=1e-4, atol=1e-6)


def test_several_layers(dims, x):
    net = Net(dims).eval()
    one = sc.attribute(net, x, 1, layer=["conv1", "conv2"], relu=False)
    both = sc.attribute(net, x, 1, layer="conv1+conv2", relu=False)
    scaled = [m / m.flatten(1).abs().amax(1).view(-1, *[1] * dims) for m in one.values()]
    torch.testing.assert_close(both, sum(scaled) / 2, rtol=1e-4, atol=1e-6)


class Deep(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.conv1 = CONV[dims](2, 5, 3, padding=1)
        self.conv2 = CONV[dims](5, 6, 2, stride=2)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(self.conv2(self.conv1(x).tanh()).square().flatten(2).mean(2))


def test_layers_of_other_grids():
    signal = sc.attribute(Deep(1).eval(), torch.randn(2, 2, 40), 1, layer="conv1+conv2")
    assert signal.shape == (2, 40)
    with pytest.raises(sc.MethodError, match=r"the layers conv1 and conv2 return volumes of \(6, 8, 12\) and \(3, 4, 6\) cells, and maps"):  # fmt: skip
        sc.attribute(Deep(3).eval(), torch.randn(2, 2, 6, 8, 12), 1, layer="conv1+conv2")


class Tokens(nn.Module):
    """A transformer's way with a signal or a volume: a class token in front of the patches."""

    def __init__(self, dims):
        super().__init__()
        self.patches = CONV[dims](2, 8, 2, stride=2)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 8))
        self.norm, self.attn = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = self.norm(torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1))
        return self.head((x + self.attn(x, x, x)[0])[:, 0])


def test_tokens(dims, x):
    net = Tokens(dims).eval()
    kept = {}
    hook = net.norm.register_forward_hook(lambda *a: kept.update(a=a[2]))
    (g,) = torch.autograd.grad(net(x)[:, 1].sum(), kept["a"])
    hook.remove()
    product = (g * kept["a"]).sum(2).detach()[:, 1:]
    found = sc.attribute(net, x, 1, method="hires-cam", relu=False)  # at the norm
    torch.testing.assert_close(
        found, product.reshape(2, *(s // 2 for s in SIZES[dims])), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("method", ["edges", "random", "centre", "attention-rollout"])
def test_methods_of_pictures_are_refused(dims, x, method):
    with pytest.raises(sc.MethodError, match=r"looks at the picture itself; the inputs hold no \(B, C, H, W\) tensor. The methods of one capture"):  # fmt: skip
        sc.attribute(Net(dims).eval(), x, 1, method=method)


def test_noise_needs_something_to_copy():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.conv = nn.Linear(6, 48), nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return self.conv(self.up(x).reshape(-1, 3, 4, 4)).mean((2, 3))

    assert sc.attribute(Table().eval(), torch.randn(2, 6), 1, layer="conv").shape == (2, 4, 4)
    with pytest.raises(sc.MethodError, match=r"noisy copies are made of the picture; the inputs hold no"):  # fmt: skip
        sc.attribute(Table().eval(), torch.randn(2, 6), 1, layer="conv", smooth=2)


@pytest.mark.parametrize("shape", [(2, 2, 40), (2, 2, 8, 10, 12)])
@pytest.mark.parametrize("name", ["gradient", "smoothgrad:smooth=3", "vargrad:smooth=3", "gradient:smooth=2", "input-x-gradient"])  # fmt: skip
def test_gradients_at_signals_and_volumes(shape, name):
    """Against autograd, over the noisy copies that the method itself looks at."""
    from saliscope.methods.noise import noisy_copies

    torch.manual_seed(0)
    kind = nn.Conv1d if len(shape) == 3 else nn.Conv3d
    net = nn.Sequential(kind(2, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.LazyLinear(4)).eval()
    x = torch.randn(shape)
    net(x)

    def slope(values, target):
        leaf = values.clone().requires_grad_(True)
        return torch.autograd.grad(net(leaf)[:, target].sum(), leaf)[0]

    count = {"smoothgrad:smooth=3": 3, "vargrad:smooth=3": 3, "gradient:smooth=2": 2}.get(name, 0)
    copies = list(noisy_copies(x, count, level=0.15, seed=0)) if count else [x]
    for channels in ("sum", "absmax", "keep"):
        found = sc.attribute(net, x, torch.tensor([[1, 3], [0, 2]]), method=name, channels=channels)
        for k, targets in enumerate(([1, 0], [3, 2])):
            for i, target in enumerate(targets):
                each = torch.stack([slope(c[i : i + 1], target)[0] for c in copies])
                if name == "input-x-gradient":
                    each = each * x[i]
                values = each.var(0, correction=0) if name.startswith("vargrad") else each.mean(0)
                expected = {"sum": values.sum(0), "absmax": values.abs().amax(0), "keep": values}[channels]  # fmt: skip
                torch.testing.assert_close(found[i, k], expected, rtol=1e-4, atol=1e-6)
