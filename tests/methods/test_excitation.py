"""MWP and c-MWP against loops from the paper, their mass, and what they refuse."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import saliscope as sc
from saliscope.engine.linear_maps import linear_map
from saliscope.methods.excitation import Winners

_spec = importlib.util.spec_from_file_location(
    "propagation_twins", Path(__file__).with_name("propagation_twins.py")
)
twins = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(twins)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LINEAR = {
    "conv1d": (F.conv1d, (2, 7), lambda: {"weight": draw(3, 2, 3), "stride": 2, "padding": 1}),
    "conv2d": (F.conv2d, (2, 5, 4), lambda: {"weight": draw(3, 2, 3, 3), "padding": 1}),
    "conv2d stride": (F.conv2d, (2, 5, 5), lambda: {"weight": draw(3, 2, 3, 2), "stride": (2, 1)}),
    "conv2d dilated": (F.conv2d, (2, 6, 6), lambda: {"weight": draw(3, 2, 2, 2), "dilation": 2}),
    "conv2d groups": (F.conv2d, (4, 4, 4), lambda: {"weight": draw(6, 2, 3, 3), "groups": 2}),
    "conv2d same": (F.conv2d, (2, 4, 4), lambda: {"weight": draw(3, 2, 3, 3), "padding": "same"}),
    "conv3d": (F.conv3d, (2, 3, 3, 3), lambda: {"weight": draw(2, 2, 2, 2, 2)}),
    "linear": (F.linear, (5,), lambda: {"weight": draw(3, 5)}),
    "matmul": (torch.matmul, (5,), lambda: {"other": draw(5, 3)}),
    "avg_pool2d": (F.avg_pool2d, (2, 5, 5), lambda: {"kernel_size": 3, "padding": 1}),
    "adaptive_avg_pool2d": (F.adaptive_avg_pool2d, (2, 5, 4), lambda: {"output_size": (3, 2)}),
    "mean": (torch.mean, (3, 4, 4), lambda: {"dim": (2, 3)}),
    "sum": (torch.sum, (3, 4, 4), lambda: {"dim": (2, 3), "keepdim": True}),
    "interpolate": (F.interpolate, (2, 3, 3), lambda: {"scale_factor": 2, "mode": "bilinear"}),
}  # fmt: skip


def called(case):
    func, shape, kwargs = LINEAR[case]
    return func, shape, kwargs()


@pytest.mark.parametrize("case", LINEAR)
@pytest.mark.parametrize("signed", [False, True])
def test_shares_of_a_linear_function(case, signed):
    func, shape, kwargs = called(case)
    name = case.split()[0]
    a = draw(1, *shape, seed=1)
    a = a if signed else a.relu()
    args = (a, kwargs.pop("other")) if name == "matmul" else (a,)
    _, op = linear_map(name, func, args, kwargs)
    out = op.run(a, op.weight, None)
    up, down = draw(*out.shape, seed=2).abs(), draw(*out.shape, seed=3).abs()
    found = Winners("MWP").through(op, torch.cat([a, a]), torch.cat([up, down]))
    m = twins.matrix(lambda x: op.run(x, op.weight, None), shape)
    expected = twins.winners(m, a.numpy().ravel(), up.numpy().ravel(), down.numpy().ravel())
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got.ravel(), torch.from_numpy(want), rtol=1e-9, atol=1e-12)


def test_a_linear_function_with_weights_of_the_networks_own_is_none():
    w = draw(3, 2, 3, 3).requires_grad_(True)
    assert linear_map("conv2d", F.conv2d, (draw(1, 2, 5, 5), w), {}) is None
    assert linear_map("interpolate", F.interpolate, (draw(1, 2, 5, 5),), {"scale_factor": 2, "mode": "bicubic"}) is None  # fmt: skip
    assert linear_map("relu", F.relu, (draw(1, 2),), {}) is None


def by_hand(net, x, c, *, opposite=False):
    """Masses (up) behind the max pooling and behind conv1 of a Tiny network for one image, by loops."""
    net = net.double()
    a1 = net.relu(net.conv1(x))
    p = net.pool(a1)
    y = net.norm(net.conv2(p))
    s = net.relu(y + p)
    f = s.mean((2, 3))
    h = net.relu(net.fc1(f))
    n = [t.detach().numpy().ravel() for t in (f, h, s, y, p)]
    one, none = np.eye(3)[c], np.zeros(3)
    up, _ = twins.winners(net.fc2.weight.numpy(), n[1], *((none, one) if opposite else (one, none)))
    up, _ = twins.winners(net.fc1.weight.numpy(), n[0], up, up * 0)
    mean = twins.matrix(lambda v: v.mean((2, 3)), s.shape[1:])
    up, _ = twins.winners(mean, n[2], up, up * 0)
    through = np.zeros(up.size)
    skip = np.zeros(up.size)
    for i in range(up.size):
        total = max(n[3][i], 0) + n[4][i]
        if total > 0:
            through[i], skip[i] = up[i] * max(n[3][i], 0) / total, up[i] * n[4][i] / total
    scale = (net.norm.weight / (net.norm.running_var + net.norm.eps).sqrt()).detach()
    folded = net.conv2.weight * scale.view(-1, 1, 1, 1)
    m = twins.matrix(lambda v: F.conv2d(v, folded, padding=1), p.shape[1:])
    down, _ = twins.winners(m, n[4], through, through * 0)
    pooled = (skip + down).reshape(p.shape)
    before = np.zeros(a1.shape)
    for k, i, j in np.ndindex(*p.shape[1:]):
        window = a1[0, k, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].numpy()
        y0, x0 = np.unravel_index(window.argmax(), (2, 2))
        before[0, k, 2 * i + y0, 2 * j + x0] += pooled[0, k, i, j]
    return pooled.sum(1)[0], before.sum(1)[0]


@pytest.fixture
def tiny(nets):
    net = nets.lively(twins.Tiny()).eval().requires_grad_(False)
    net.norm.weight[1] *= -1  # a unit that its negative weights excite
    return net


def test_a_whole_network_is_walked_as_by_hand(tiny):
    x = torch.randn(2, 3, 8, 6)
    for c in range(3):
        found = sc.attribute(tiny, x, c, method="mwp", layer=["pool", "relu", "conv1"][::2])
        for i in range(2):
            pooled, conv1 = by_hand(tiny, x[i : i + 1].double(), c)
            tiny.float()
            torch.testing.assert_close(found["pool"][i].double(), torch.from_numpy(pooled), rtol=1e-5, atol=1e-7)  # fmt: skip
            torch.testing.assert_close(found["conv1"][i].double(), torch.from_numpy(conv1), rtol=1e-5, atol=1e-7)  # fmt: skip


@pytest.mark.parametrize("relu", [True, False])
def test_the_contrast_is_the_difference_of_two_distributions(tiny, relu):
    x = torch.randn(1, 3, 8, 6)
    for c in range(3):
        found = sc.attribute(tiny, x, c, method="c-mwp", layer="pool", relu=relu)
        own, _ = by_hand(tiny, x.double(), c)
        other, _ = by_hand(tiny, x.double(), c, opposite=True)
        tiny.float()
        expected = own / own.sum() - other / other.sum()
        expected = np.maximum(expected, 0) if relu else expected
        torch.testing.assert_close(found[0].double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-7)  # fmt: skip
        if not relu:
            assert abs(float(found.sum())) < 1e-5


def test_a_prepared_copy_walks_the_same(tiny):
    """Its batch norm is folded into the convolution, one scale of it negative."""
    x = torch.randn(2, 3, 8, 6)
    model = sc.Model(tiny, (8, 6))
    assert model.network(["pool"]).module.get_submodule("norm").__class__ is nn.Identity
    for method in ("mwp@pool", "c-mwp@pool"):
        plain = sc.attribute(tiny, x, 1, method=method)
        torch.testing.assert_close(sc.attribute(model, x, 1, method=method), plain, rtol=1e-4, atol=1e-6)  # fmt: skip


class Only(nn.Module):
    """A convolution, ReLU, what is given, mean and a linear layer."""

    def __init__(self, between, channels=4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 1, 1)
        self.between, self.fc = between, nn.Linear(channels, 3)

    def forward(self, x):
        return self.fc(self.between(F.relu(self.conv(x))).mean((2, 3)))


class Gate(nn.Module):
    def __init__(self, squash) -> None:
        super().__init__()
        self.fc, self.squash = nn.Conv2d(4, 4, 1), squash

    def forward(self, x):
        return self.squash(self.fc(F.adaptive_avg_pool2d(x, 1))) * x


class Do(nn.Module):
    def __init__(self, do) -> None:
        super().__init__()
        self.do = do

    def forward(self, x):
        return self.do(x)


def shuffled(x):
    return x.view(len(x), 2, 2, *x.shape[2:]).transpose(1, 2).contiguous().view(x.shape)


KEEPS = {
    "gate": lambda: Gate(nn.Sigmoid()),
    "hard gate": lambda: Gate(nn.Hardsigmoid(inplace=True)),
    "shuffle": lambda: Do(shuffled),
    "slices": lambda: Do(lambda x: torch.cat([x[:, 2:], x.chunk(2, 1)[0]], 1)),
    "split": lambda: Do(lambda x: torch.stack(x.split(2, 1), 2).flatten(1, 2)),
    "in place": lambda: Do(lambda x: F.relu_(x.add_(x.flip(1)).mul_(0.5))),
    "permute": lambda: Do(lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2)),
    "dropout": lambda: nn.Dropout(0.5, inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "silu": lambda: nn.SiLU(inplace=True),
    "gelu": lambda: nn.GELU(),
    "hardswish": lambda: nn.Hardswish(),
    "leaky": lambda: nn.LeakyReLU(0.1),
    "max pool": lambda: nn.MaxPool2d(3, 1, 1),
    "lowest pool": lambda: Do(lambda x: F.adaptive_max_pool2d(x, 3)),
    "average": lambda: nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
    "weighted sum": lambda: Do(lambda x: torch.add(x, x.flip(1), alpha=0.5)),
    "difference with less": lambda: Do(lambda x: 2 * x - 0.5 * x),
    "divided": lambda: Do(lambda x: x / 3),
    "pad": lambda: Do(lambda x: F.pad(x, (1, 1, 0, 2))),
    "up": lambda: nn.Upsample(scale_factor=2, mode="nearest"),
    "norm": lambda: nn.BatchNorm2d(4),
    "linear bottleneck": lambda: nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 4, 1, bias=False)),
}  # fmt: skip


@pytest.mark.parametrize("case", KEEPS)
def test_the_mass_is_one_behind_the_first_convolution(case):
    torch.manual_seed(3)
    net = Only(KEEPS[case]()).eval()
    x = torch.randn(2, 3, 6, 6)
    assert net(x).isfinite().all()
    found = sc.attribute(net, x, 1, method="mwp", layer="conv")
    torch.testing.assert_close(found.sum((1, 2)), torch.ones(2), rtol=0, atol=1e-5)
    assert float(found.min()) >= 0


def test_a_residual_branch_has_its_share_and_no_more():
    """Read inside a branch: the skip connection beside it is no constant, although nothing before the layer is asked."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Conv2d(4, 4, 1, bias=False)

        def forward(self, x):
            return F.relu(x + self.inner(x))

    net = Only(Both()).eval().requires_grad_(False)
    net.fc.weight[1] = 1
    x = torch.randn(1, 3, 6, 6)
    a = F.relu(net.conv(x))
    y, s = net.between.inner(a), F.relu(a + net.between.inner(a))
    expected = float((torch.nan_to_num(s * y.relu() / (a + y.relu()))).sum() / s.sum())
    assert 0.05 < expected < 0.95
    found = sc.attribute(net, x, 1, method="mwp", layer="between.inner")
    assert float(found.sum()) == pytest.approx(expected, abs=1e-5)


def test_what_only_a_bias_excites_passes_nothing_on():
    net = Only(nn.Identity()).eval()
    with torch.no_grad():
        net.conv.bias.fill_(100.0)
        net.fc.weight.copy_(torch.tensor([[1.0, -1, -1, -1]] * 3))
        net.fc.weight[0] = -1
    x = torch.randn(1, 3, 6, 6)
    found = sc.attribute(net, x, torch.tensor([[0, 1]]), method="mwp", layer="conv")[0]
    assert float(found[0].abs().max()) == 0
    assert float(found[1].sum()) == pytest.approx(1)
    assert bool(sc.attribute(net, x, 0, method="c-mwp", layer="conv").isnan().all())


def test_units_that_see_nothing_drop_their_mass():
    """Where the picture of a layer is dark, the bias alone makes the next layer active."""
    net = Only(nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())).eval()
    with torch.no_grad():
        net.conv.bias.fill_(-1e3)
        net.between[0].bias.fill_(1)
        net.fc.weight.fill_(1)
    found = sc.attribute(net, torch.randn(1, 3, 6, 6), 1, method="mwp", layer="conv")
    assert float(found.abs().max()) == 0


REFUSED = {
    "layer_norm": Do(lambda x: F.layer_norm(x, x.shape[1:])),
    "group_norm": nn.GroupNorm(2, 4),
    "sigmoid": nn.Sigmoid(),
    "mul": Do(lambda x: x * x.flip(1)),
    "max": Do(lambda x: x.max(1, keepdim=True).values.expand_as(x)),
    "batch_norm of each batch's own mean": nn.BatchNorm2d(4, track_running_stats=False),
    "exp": Do(torch.exp_),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("method", ["mwp", "lrp"])
def test_a_function_without_a_rule_is_named(name, method):
    net = Only(REFUSED[name]).eval()
    with pytest.raises(sc.MethodError, match=rf'has no rule for "{name}", through which'):
        sc.attribute(net, torch.randn(2, 3, 6, 6), 1, method=method, layer="conv")


class OwnBackward(torch.autograd.Function):
    """As networks have them to save memory: no function mode is told of it."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


def scripted():
    def silu(x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x) * x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that TorchScript is given up
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(silu)


@pytest.mark.parametrize("name", ["OwnBackward", "scripted"])
@pytest.mark.parametrize("method", ["mwp", "lrp"])
def test_a_function_that_no_rule_sees_is_refused_too(name, method):
    net = Only(Do(OwnBackward.apply if name == "OwnBackward" else scripted())).eval()
    with pytest.raises(
        sc.MethodError, match=r'has no rule for "(OwnBackward|Mul|.*Graph)", through'
    ):
        sc.attribute(net, torch.randn(2, 3, 6, 6), 1, method=method, layer="conv")
    sc.attribute(net, torch.randn(2, 3, 6, 6), 1, method=method, layer="between")


def test_a_function_without_a_rule_in_front_of_the_layer_does_not_matter():
    net = Only(nn.Sequential(nn.GroupNorm(2, 4), nn.ReLU(inplace=True))).eval()
    found = sc.attribute(net, torch.randn(2, 3, 6, 6), 1, method="mwp", layer="between")
    torch.testing.assert_close(found.sum((1, 2)), torch.ones(2))


@pytest.mark.parametrize("method", ["mwp", "lrp"])
def test_a_layer_that_gets_nothing_is_refused(method):
    net = Only(Gate(nn.Sigmoid())).eval()
    with pytest.raises(sc.MethodError, match=r"to one of the layers between\.fc: it stands behind the class, or in a gate"):  # fmt: skip
        sc.attribute(net, torch.randn(2, 3, 6, 6), 1, method=method, layer="between.fc")


def test_a_classifier_in_front_of_a_relu_has_no_opposite(nets, batch):
    net = nets.conv_head()
    with pytest.raises(sc.MethodError, match=r'contrasts a class with its negated weights, and here "adaptive_avg_pool2d"'):  # fmt: skip
        sc.attribute(net, batch, 1, method="c-mwp@features")
    assert sc.attribute(net, batch, 1, method="mwp@features").shape[0] == 3


@pytest.mark.parametrize("method", ["mwp", "c-mwp", "lrp"])
def test_only_a_class_is_explained(nets, batch, method):
    with pytest.raises(sc.MethodError, match=r"so it explains a class logit, not a probability"):
        sc.attribute(nets.gap(), batch, 1, method=method, target_space="probability")
    with pytest.raises(sc.MethodError, match=r"so it explains a class logit, not a function"):
        sc.attribute(nets.gap(), batch, lambda y: y[:, 0], method=method)


def test_where_no_layer_is_named_it_is_the_recommended_one(nets, batch):
    net = nets.gap()
    plain = sc.attribute(net, batch, 1, method="mwp")
    torch.testing.assert_close(plain, sc.attribute(net, batch, 1, method="mwp@act2"))


def test_tiny_and_huge_activations_have_shares():
    """No epsilon: the same network with its activations a billion times smaller has the same map."""
    net = Only(nn.Identity()).eval()
    x = torch.randn(2, 3, 6, 6)
    plain = sc.attribute(net, x, 1, method="mwp", layer="conv")
    for factor in (1e-15, 1e15):
        with torch.no_grad():
            other = Only(nn.Identity()).eval()
            other.load_state_dict(net.state_dict())
            other.conv.weight *= factor
            other.conv.bias *= factor
        found = sc.attribute(other, x, 1, method="mwp", layer="conv")
        torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-7)


def test_several_layers_and_several_classes_at_once(nets, batch):
    net = nets.gap()
    targets = torch.tensor([[0, 3], [1, 1], [2, 4]])
    for method in ("mwp@act2+act1", "c-mwp@act2+act1"):
        both = sc.attribute(net, batch, targets, method=method)
        assert both.shape == (3, 2, 12, 8)
        for k in range(2):
            torch.testing.assert_close(both[:, k], sc.attribute(net, batch, targets[:, k], method=method))  # fmt: skip
