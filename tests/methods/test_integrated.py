"""Integrated gradients: loops in float64, completeness, baselines, and points that go several in a pass."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.methods.integrated import blurred, quadrature


class Smooth(nn.Module):
    """A network without kinks, so that a few points integrate it to rounding."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=2)
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        return self.fc(torch.tanh(torch.nn.functional.softplus(self.conv(x))).mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(3)
    return Smooth().eval()


def by_loops(net, x, start, target, points, weights):
    """sum_m w_m dF/dx(x' + a_m (x - x')) (x - x'), one point at a time, float64."""
    net = copy.deepcopy(net).double()
    total = np.zeros(x.shape)
    for a, w in zip(points, weights, strict=True):
        leaf = (start + a * (x - start)).double().requires_grad_(True)
        (g,) = torch.autograd.grad(net(leaf)[:, target].sum(), leaf)
        total += w * g.numpy()
    return total * (x - start).double().numpy()


RULES = {
    "trapezoid": lambda n: [(i / (n - 1), (0.5 if i in (0, n - 1) else 1) / (n - 1)) for i in range(n)],
    "midpoint": lambda n: [((2 * i + 1) / (2 * n), 1 / n) for i in range(n)],
    "gauss-legendre": lambda n: {  # from tables
        1: [(0.5, 1.0)],
        2: [(0.5 - 0.5 / 3**0.5, 0.5), (0.5 + 0.5 / 3**0.5, 0.5)],
        3: [(0.5 - 0.5 * 0.6**0.5, 5 / 18), (0.5, 8 / 18), (0.5 + 0.5 * 0.6**0.5, 5 / 18)],
    }[n],
}  # fmt: skip


@pytest.mark.parametrize(("rule", "steps"), [("trapezoid", 2), ("trapezoid", 9), ("midpoint", 1),
    ("midpoint", 7), ("gauss-legendre", 1), ("gauss-legendre", 2), ("gauss-legendre", 3)])  # fmt: skip
def test_against_loops(nets, batch, close, rule, steps):
    net = nets.deep_head()
    points, weights = zip(*RULES[rule](steps), strict=True)
    np.testing.assert_allclose(quadrature(rule, steps), (points, weights), atol=1e-12)
    expected = by_loops(net, batch, torch.zeros_like(batch), 2, points, weights)
    found = sc.attribute(net, batch, 2, method="integrated-gradients", rule=rule, steps=steps)
    kept = sc.attribute(net, batch, 2, method="integrated-gradients", rule=rule, steps=steps, channels="keep")  # fmt: skip
    for i in range(3):
        close(found[i], expected[i].sum(0))
        close(kept[i].flatten(1), expected[i].reshape(3, -1))


@pytest.mark.parametrize("steps", [1, 2, 5, 50])
@pytest.mark.parametrize("rule", ["trapezoid", "midpoint", "gauss-legendre"])
def test_weights_sum_to_one_and_straight_lines_are_exact(rule, steps):
    if rule == "trapezoid" and steps == 1:
        return
    points, weights = quadrature(rule, steps)
    assert weights.sum() == pytest.approx(1)
    assert (weights * points).sum() == pytest.approx(0.5)


@pytest.mark.parametrize("baseline", ["mean", "black", "white", "blur"])
@pytest.mark.parametrize(("rule", "steps", "limit"), [("gauss-legendre", 12, 1e-6), ("trapezoid", 200, 1e-4), ("midpoint", 200, 1e-4)])  # fmt: skip
def test_completeness(net, batch, baseline, rule, steps, limit):
    """The values sum to f(x) - f(x'), for each baseline as it is in the network's own units."""
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    model = sc.Model(net, (24, 16), mean=mean, std=std)
    found = sc.attribute(model, batch, torch.tensor([[1, 3]] * 3), method="integrated-gradients",
                         baseline=baseline, rule=rule, steps=steps)  # fmt: skip
    colour = {"mean": mean, "black": (0, 0, 0), "white": (1, 1, 1)}.get(baseline)
    if colour is None:
        start = blurred(batch, 0.05)
    else:
        start = torch.tensor([(c - m) / s for c, m, s in zip(colour, mean, std, strict=True)])
        start = start[:, None, None].expand_as(batch)
    with torch.no_grad():
        expected = (net(batch) - net(start))[:, [1, 3]]
    scale = float(expected.abs().max())
    assert float((found.sum((2, 3)) - expected).abs().max()) < limit * max(scale, 1)
    assert scale > 1e-4


def test_blur_by_loops(batch):
    x = batch[:1, :1, :7, :5]
    found = blurred(x, 0.3)
    for i in range(7):
        for j in range(5):
            total = weight = 0.0
            for a in range(7):
                for b in range(5):
                    w = np.exp(
                        -((a - i) ** 2) / (2 * (0.3 * 7) ** 2) - (b - j) ** 2 / (2 * (0.3 * 5) ** 2)
                    )
                    total, weight = total + w * float(x[0, 0, a, b]), weight + w  # fmt: skip
            assert float(found[0, 0, i, j]) == pytest.approx(total / weight, abs=1e-5)
    torch.testing.assert_close(blurred(torch.full((1, 3, 9, 4), 0.3), 0.2), torch.full((1, 3, 9, 4), 0.3))  # fmt: skip
    assert torch.equal(blurred(x, 1e-6), x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(blurred(x, 0.3), found)


def test_a_wider_blur_is_another_baseline(net, batch):
    near = sc.attribute(net, batch, 1, method="integrated-gradients", baseline="blur", sigma=0.01)
    far = sc.attribute(net, batch, 1, method="integrated-gradients", baseline="blur", sigma=0.3)
    assert float(far.abs().sum()) > 2 * float(near.abs().sum())


class Counting(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.sizes = net, []

    def forward(self, x):
        self.sizes.append(len(x))
        return self.net(x)


@pytest.mark.parametrize("target", [1, torch.tensor([[0, 1]] * 3), lambda o: o[:, 1]])
def test_several_points_in_one_pass(net, batch, target):
    twin = sc.Model(Counting(net), (24, 16), prepare=False).network()
    from saliscope.methods import map_batch, parse_method

    seen = twin.module.sizes
    seen.clear()
    spec = parse_method("integrated-gradients:steps=12")
    (found,) = map_batch(twin, batch, [spec], target=target).signed
    asked = [n for n in seen[1:] if n != 2]  # two images show what a pass takes
    assert sum(asked) == 12 * 3
    assert max(asked) == (3 if callable(target) else 36), (
        "a function sees the batch it was written for"
    )
    alone = [map_batch(twin, batch[i : i + 1], [spec], target=target if not isinstance(target, torch.Tensor) else target[i : i + 1]).signed[0] for i in range(3)]  # fmt: skip
    torch.testing.assert_close(found, torch.cat(alone), rtol=1e-4, atol=1e-7)


def test_points_are_weighed_in_order(net, batch):
    """Chunks of another size change nothing: five images leave room for fewer points in a pass."""
    many = torch.cat([batch, batch.flip(3)[:2]])
    a = sc.attribute(net, many, 1, method="integrated-gradients", rule="trapezoid", steps=7)
    b = sc.attribute(net, batch, 1, method="integrated-gradients", rule="trapezoid", steps=7)
    torch.testing.assert_close(a[:3], b, rtol=1e-4, atol=1e-7)


def test_smooth_copies(net, batch):
    from saliscope.methods.noise import noisy_copies

    found = sc.attribute(net, batch, 1, method="integrated-gradients", smooth=3, steps=4, channels="absmax")  # fmt: skip
    each = [sc.attribute(net, c, 1, method="integrated-gradients", steps=4, channels="keep") for c in noisy_copies(batch, 3, level=0.15, seed=0)]  # fmt: skip
    torch.testing.assert_close(found, torch.stack(each).mean(0).abs().amax(1), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("baseline", ["black", "white"])
def test_a_bare_module_does_not_know_black(net, batch, baseline):
    says = rf"baseline={baseline} needs to know what {baseline} is in the network's units, .* take baseline=mean or blur"
    with pytest.raises(sc.MethodError, match=says):
        sc.attribute(net, batch, 1, method="integrated-gradients", baseline=baseline)
    for prepare in (True, False):
        model = sc.Model(net, (24, 16), prepare=prepare)
        maps = sc.attribute(model, batch, 1, method="integrated-gradients", baseline=baseline)
        assert maps.isfinite().all()


@pytest.mark.parametrize(("option", "value", "says"), [
    ("steps", 0, r"integrated-gradients:steps is at least 1 with gauss-legendre; got 0"),
    ("sigma", 0.0, r"integrated-gradients:sigma is a positive share of the side; got 0.0"),
    ("sigma", float("nan"), r"sigma is a positive share of the side; got nan"),
    ("rule", "simpson", r"rule is one of 'gauss-legendre', 'trapezoid', 'midpoint'; got 'simpson'"),
    ("baseline", "grey", r"baseline is one of 'mean', 'black', 'white', 'blur'; got 'grey'"),
])  # fmt: skip
def test_refused(net, batch, option, value, says):
    with pytest.raises(sc.MethodError, match=says):
        sc.attribute(net, batch, 1, method="integrated-gradients", **{option: value})


def test_a_trapezoid_has_two_ends(net, batch):
    with pytest.raises(sc.MethodError, match=r"steps is at least 2 with trapezoid; got 1"):
        sc.attribute(net, batch, 1, method="integrated-gradients", rule="trapezoid", steps=1)
