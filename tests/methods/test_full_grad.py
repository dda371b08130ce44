"""FullGrad: the decomposition is complete, in every network that is let in; psi by loops; what has no shares is refused."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import saliscope as sc
from saliscope.engine import PIXELS, Network, biases, shadow, undecomposed
from saliscope.models import logits_of


def shares(network, x, target):
    """What the input and each bias add to the score of each image, float64: a list of (B, ...), the input's first."""
    heard = []
    capture = network.capture(x, (PIXELS,), rules=biases(lambda b, g: heard.append(b * g)))
    score = capture.logits[:, target]
    gradient = capture.gradients(score)[PIXELS]
    assert undecomposed((capture.output, capture.logits)) == []
    return [capture.activations[PIXELS] * gradient, *heard], score.detach()


def left_over(network, x, target=1):
    found, score = shares(network, x, target)
    total = sum(share.flatten(1).sum(1) for share in found)
    return float((total - score).abs().max()), float(score.abs().max())


class Kept(nn.Module):
    def __init__(self, *parts, head=6):
        super().__init__()
        self.parts, self.fc = nn.Sequential(*parts), nn.Linear(head, 4)

    def forward(self, x):
        return self.fc(self.parts(x).mean((2, 3)))


class Residual(nn.Module):
    def __init__(self, body, join):
        super().__init__()
        self.body, self.join = body, join

    def forward(self, x):
        return self.join(x, self.body(x))


class Shifted(nn.Module):
    """Numbers and tensors added, subtracted and multiplied in every way."""

    def __init__(self):
        super().__init__()
        self.register_buffer("shift", torch.linspace(-1, 1, 6).view(6, 1, 1))

    def forward(self, x):
        x = (x + 0.5) * 2 - self.shift
        x = 1.5 - x
        x = torch.sub(x, self.shift, alpha=3).add(self.shift, alpha=0.5)
        x = torch.rsub(x, 0.25)
        x = self.shift.expand_as(x).clone().add_(x)
        x += 0.3
        x -= self.shift
        return (self.shift + x) / 3


class Normed(nn.Module):
    """A batch norm called without its module."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x):
        n = self.norm
        return torch.batch_norm(x, n.weight, n.bias, n.running_mean, n.running_var, False, 0.1, n.eps, False)  # fmt: skip


class Squeeze(nn.Module):
    def __init__(self, gate):
        super().__init__()
        self.fc, self.gate = nn.Conv2d(6, 6, 1), gate

    def forward(self, x):
        return x * self.gate(self.fc(F.adaptive_avg_pool2d(x, 1)))


def conv():
    return nn.Conv2d(6, 6, 3, padding=1)


NETS = {
    "biases": lambda: [nn.ReLU(), conv(), nn.ReLU(inplace=True), nn.MaxPool2d(2)],
    "no biases": lambda: [nn.ReLU(), nn.Conv2d(6, 6, 3, bias=False), nn.AvgPool2d(2)],
    "batch norm": lambda: [nn.BatchNorm2d(6), nn.ReLU(inplace=True), conv(), nn.BatchNorm2d(6), nn.ReLU()],
    "plain batch norm": lambda: [nn.BatchNorm2d(6, affine=False), nn.ReLU()],
    "batch norm by itself": lambda: [Normed(), nn.ReLU()],
    "residual": lambda: [Residual(nn.Sequential(conv(), nn.ReLU()), torch.add), nn.ReLU(inplace=True)],
    "dense": lambda: [Residual(conv(), lambda a, b: torch.cat([a, b], 1)), nn.Conv2d(12, 6, 1)],
    "squeeze and excitation": lambda: [nn.ReLU(), Squeeze(nn.Sigmoid())],
    "hard gate": lambda: [nn.ReLU(), Squeeze(nn.Hardsigmoid(inplace=True))],
    "constants": lambda: [nn.ReLU(), Shifted()],
    "transposed": lambda: [nn.ConvTranspose2d(6, 6, 2, stride=2), nn.ReLU()],
    "ReLU6": lambda: [nn.ReLU6(inplace=True), conv(), nn.Hardtanh(-0.1, 0.1)],
    "clamp": lambda: [Residual(nn.Identity(), lambda a, _: a.clamp(0.1, 0.5))],
    "SiLU": lambda: [nn.SiLU(inplace=True), conv(), nn.GELU()],
    "Hardswish": lambda: [nn.Hardswish(), conv(), nn.Mish(), nn.ELU(inplace=True)],
    "leaky": lambda: [nn.LeakyReLU(), nn.PReLU(), nn.Softplus(), nn.Tanh()],
    "product": lambda: [Residual(conv(), torch.mul), Residual(conv(), lambda a, b: a.clone().mul_(b.sigmoid()))],
    "layer norm": lambda: [nn.GroupNorm(2, 6), nn.LayerNorm(10)],
    "instance norm": lambda: [nn.InstanceNorm2d(6, affine=True), nn.Threshold(0.1, 0.0)],
}  # fmt: skip


def network(name, lively):
    torch.manual_seed(5)
    first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
    return lively(Kept(first, *NETS[name]())).double().eval()


@pytest.mark.parametrize("name", NETS)
def test_shares_sum_to_the_score(nets, name):
    """Each kind of layer adds b = f(z) - J z; nothing else is left."""
    net = network(name, nets.lively)
    x = torch.randn(3, 3, 20, 20, dtype=torch.float64)
    error, size = left_over(Network(shadow(net), read=logits_of), x)
    assert size > 1e-3
    assert error < 1e-12 * max(1, size)


def test_a_norm_over_the_batch_is_complete_for_the_batch(nets):
    """Images change each other's scores there; the shares of all sum to the scores of all."""
    torch.manual_seed(5)
    first = nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6, track_running_stats=False), nn.ReLU()
    net, x = Kept(*first).double().eval(), torch.randn(3, 3, 20, 20, dtype=torch.float64)
    found, score = shares(Network(shadow(net), read=logits_of), x, 1)
    assert float(sum(s.sum() for s in found) - score.sum()) == pytest.approx(0, abs=1e-12)


def test_without_the_biases_the_sum_is_another(nets):
    net = network("batch norm", nets.lively)
    x = torch.randn(3, 3, 20, 20, dtype=torch.float64)
    found, score = shares(Network(shadow(net), read=logits_of), x, 1)
    assert len(found) == 6, "input, two convolutions, two batch norms, one linear layer"
    for gone in range(len(found)):
        rest = sum(s.flatten(1).sum(1) for i, s in enumerate(found) if i != gone)
        assert float((rest - score).abs().max()) > 1e-3


@pytest.mark.parametrize("name", ["batch norm", "residual", "biases"])
def test_a_prepared_copy_is_complete_too(nets, name):
    """Folding moves what a batch norm adds into its convolution: fewer shares, the same sum."""
    net = network(name, nets.lively).float()
    model = sc.Model(net, (20, 20))
    x = torch.randn(3, 3, 20, 20)
    folded = model.prepared([PIXELS])
    twin = folded.network
    assert folded.folded == (2 if name == "batch norm" else 0)
    twin.module.double()
    twin.dtype = torch.float64
    error, size = left_over(twin, x.double())
    assert error < 1e-12 * max(1, size)
    maps = sc.attribute(sc.Model(net, (20, 20)), x, 1, method="full-grad")
    assert maps.shape == (3, 20, 20)


def psi(values, rescale, size):
    """|v|, scaled to [0, 1], upsampled: one channel at a time, (C, h, w) to (C, H, W)."""
    values = np.abs(values)
    out = np.zeros((len(values), *size))
    for c, channel in enumerate(values):
        of = channel if rescale == "channel" else values
        low, high = of.min(), of.max()
        unit = np.zeros_like(channel) if high == low else (channel - low) / (high - low)
        h, w = unit.shape
        for y in range(size[0]):
            for x in range(size[1]):
                u = min(max((y + 0.5) * h / size[0] - 0.5, 0), h - 1)
                v = min(max((x + 0.5) * w / size[1] - 0.5, 0), w - 1)
                i, j = int(u), int(v)
                a, b, i2, j2 = u - i, v - j, min(i + 1, h - 1), min(j + 1, w - 1)
                out[c, y, x] = (1 - a) * ((1 - b) * unit[i, j] + b * unit[i, j2]) + a * (
                    (1 - b) * unit[i2, j] + b * unit[i2, j2]
                )
    return out


def by_hand(net, x, target):
    """The shares of a GapNet of the fixtures with a grid: input, convolutions, batch norm; from plain autograd."""
    net = copy.deepcopy(net).double().eval()
    leaf = x.double()[None].requires_grad_(True)
    z1 = net.conv1(leaf)
    n1 = net.bn1(z1)
    z2 = net.conv2(n1.relu())
    y = net.fc(z2.relu().mean((2, 3)))[0, target]
    g = torch.autograd.grad(y, [leaf, z1, n1, z2])
    bn = net.bn1
    shift = bn.bias - bn.weight * bn.running_mean / (bn.running_var + bn.eps).sqrt()
    column = [b.detach()[:, None, None] for b in (net.conv1.bias, shift, net.conv2.bias)]
    return [(v * d[0]).detach().numpy() for v, d in zip([leaf[0], *column], g, strict=True)]


@pytest.mark.parametrize("rescale", ["layer", "channel"])
def test_against_loops(nets, close, rescale):
    net, x = nets.gap("inplace"), torch.randn(2, 3, 12, 10)
    targets = torch.tensor([[0, 3], [2, 2]])
    found = sc.attribute(net, x, targets, method="full-grad", rescale=rescale)
    for i in range(2):
        for k in range(2):
            parts = by_hand(net, x[i], int(targets[i, k]))
            close(found[i, k], sum(psi(p, rescale, (12, 10)).sum(0) for p in parts))


def test_folded_batch_norms_give_the_same_map_where_convolutions_have_no_bias(batch):
    torch.manual_seed(0)
    parts = (
        nn.Conv2d(3, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3),
        nn.ReLU(),
    )
    net = Kept(*parts).eval()
    parts[1].running_mean.normal_()
    raw = sc.attribute(net, batch, 1, method="full-grad")
    model = sc.Model(net, (24, 16))
    assert model.prepared().folded == 1
    torch.testing.assert_close(sc.attribute(model, batch, 1, method="full-grad"), raw, rtol=1e-4, atol=1e-5)  # fmt: skip


def test_channels_last_layers_lie_where_they_belong():
    """As in ConvNeXt: a linear layer over (B, h, w, C)."""

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.fc = nn.Linear(3, 16), nn.Linear(16, 4)

        def forward(self, x):
            return self.fc(F.relu(self.linear(x.permute(0, 2, 3, 1))).mean((1, 2)))

    torch.manual_seed(1)
    net, x = Last().eval(), torch.randn(2, 3, 12, 9)
    same = nn.Sequential(
        nn.Conv2d(3, 16, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.fc
    )
    with torch.no_grad():
        same[0].weight.copy_(net.linear.weight[..., None, None])
        same[0].bias.copy_(net.linear.bias)
    found = sc.attribute(net, x, 1, method="full-grad")
    torch.testing.assert_close(found, sc.attribute(same, x, 1, method="full-grad"))


@pytest.mark.parametrize(("layer", "word"), [
    (lambda x: x.softmax(1), "softmax"), (lambda x: x**3, "powers"), (lambda x: x / (x.abs().sum() + 1), "quotients of signals"),
    (lambda x: 1 / (x.abs() + 1), "reciprocals"), (lambda x: torch.exp(-x), "exp"), (lambda x: x @ x.transpose(2, 3) @ x, "products of signals"),
    (lambda x: F.scaled_dot_product_attention(x, x, x), "softmax attention"),
    (lambda x: torch.div(1.0, x.abs() + 1), "quotients of signals|reciprocals"), (lambda x: F.glu(torch.cat([x, x], 1), 1), "GLU"),
])  # fmt: skip
def test_what_has_no_shares_is_refused(batch, layer, word):
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

        def forward(self, x):
            return self.fc(layer(self.conv(x)).mean((2, 3)))

    says = rf"FullGrad needs a network whose score is the sum .* this network has .*({word}).*; use input-x-gradient"
    with pytest.raises(sc.MethodError, match=says):
        sc.attribute(Other().eval(), batch, 1, method="full-grad")


def test_functions_and_smooth(nets, batch):
    from saliscope.methods.noise import noisy_copies

    net = nets.gap("inplace")
    found = sc.attribute(net, batch, lambda o: o[:, 0] - o[:, 1], method="full-grad")
    assert not torch.allclose(found, sc.attribute(net, batch, 0, method="full-grad"))
    smooth = sc.attribute(net, batch, 1, method="full-grad", smooth=3)
    each = [sc.attribute(net, c, 1, method="full-grad") for c in noisy_copies(batch, 3, level=0.15, seed=0)]  # fmt: skip
    torch.testing.assert_close(smooth, torch.stack(each).mean(0), rtol=1e-4, atol=1e-5)


def test_one_backward_pass_a_target(nets, batch, monkeypatch):
    calls, real = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: calls.append(a) or real(*a, **k))
    sc.attribute(nets.gap(), batch, torch.tensor([[0, 1]] * 3), method="full-grad")
    assert len(calls) == 2


@pytest.mark.parametrize("side", [16, 64, 96, 256])
def test_no_share_is_lost_at_any_size(side):
    """A square input of 64 pixels has as many rows as a grid of 8 x 8 has cells: attention heads have that shape too."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1, bias=False), nn.ReLU(), nn.MaxPool2d(2, 2, 0), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3, bias=False)).eval()  # fmt: skip
    x = torch.randn(1, 3, side, side)
    found = sc.attribute(net, x, 1, method="full-grad")
    leaf = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(net(leaf)[0, 1], leaf)
    share = (x * gradient).abs()[0]
    expected = sum((c - c.min()) / (c.max() - c.min()) for c in share)
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)


def test_a_layer_that_only_changes_the_picture_has_its_grid():
    class Normalise(nn.Module):
        def forward(self, x):
            return (x - 0.5) * 2

    net = nn.Sequential(Normalise(), nn.Conv2d(3, 4, 3, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()  # fmt: skip
    assert sc.attribute(net, torch.randn(2, 3, 64, 64), 1, method="hires-cam@0").shape == (
        2,
        64,
        64,
    )
