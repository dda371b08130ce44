"""LIME and Kernel SHAP against loops in float64: weighted least squares by hand, and Shapley values by their definition."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.methods import LIME, KernelSHAP
from saliscope.methods.fills import filled
from saliscope.methods.noise import own_generator
from saliscope.methods.superpixels import superpixels

TARGETS = torch.tensor([[0, 3], [2, 2], [4, 1]])


def cut(image, method):
    return superpixels(image.float(), method.segments, compactness=method.compactness).numpy()


def game(net, image, method, c):
    """The score of the picture with some segments as they are, the others filled."""
    labels, base = cut(image, method), filled(image[None].float(), method.fill)[0].double()

    def value(seen):
        picture = base.clone()
        for y, x in np.ndindex(*labels.shape):
            if seen[labels[y, x]]:
                picture[:, y, x] = image[:, y, x]
        return float(net(picture[None])[0, c].detach())

    return value, labels


def painted(labels, values):
    return np.array([[values[k] for k in row] for row in labels])


def lime_twin(value, plan, method):
    """Normal equations of the weighted ridge regression, with an intercept that is not penalised."""
    s = plan.shape[1]
    left, right = np.zeros((s + 1, s + 1)), np.zeros(s + 1)
    for z in plan:
        share = sum(z) / s
        if method.distance == "cosine":
            dot, length = sum(z), math.sqrt(sum(z)) * math.sqrt(s)
            distance = 1 - (dot / length if length else 0)
        else:
            distance = math.sqrt(1 - share)
        weight = math.exp(-(distance**2) / method.width**2)
        row = np.array([1.0, *z])
        left += weight * np.outer(row, row)
        right += weight * row * value(z)
    left += method.ridge * np.diag([0.0] + [1.0] * s)
    return np.linalg.solve(left, right)[1:]


@pytest.mark.parametrize(
    "method",
    [
        LIME(samples=40, segments=6),
        LIME(samples=60, segments=9, distance="l2", width=0.6, ridge=0.3, fill="mean"),
        LIME(samples=50, segments=5, ridge=0.0, width=1.0, seed=3, compactness=40.0, fill="blur"),
    ],
)
def test_lime(nets, batch, close, method):
    net, x = nets.deep_head().double(), batch.double()
    found = sc.attribute(net, x, TARGETS, method=method)
    assert found.shape == (3, 2, 24, 16)
    for i, k in np.ndindex(3, 2):
        value, labels = game(net, x[i], method, TARGETS[i, k])
        plan = method.plan(labels.max() + 1, own_generator(x[i].float(), method.seed))
        close(found[i, k], painted(labels, lime_twin(value, plan.int().numpy(), method)))  # fmt: skip


def test_what_lime_samples():
    plan = LIME(samples=4000).plan(20, torch.Generator().manual_seed(0))
    assert plan.shape == (4000, 20)
    assert plan[0].all()
    assert float(plan.float().mean()) == pytest.approx(0.5, abs=0.01)
    again = LIME(samples=4000).plan(20, torch.Generator().manual_seed(0))
    assert torch.equal(plan, again)


def test_lime_of_an_additive_score_without_a_penalty_is_exact():
    """The coefficients are what each segment adds, whatever the kernel and the samples."""
    image = torch.randn(1, 3, 12, 9)
    weights = torch.randn(3, 12, 9)

    class Additive(nn.Module):
        def forward(self, x):
            return (x * weights).sum((1, 2, 3))[:, None]

    labels = superpixels(image[0], 8)
    expected = torch.zeros(12, 9)
    for k in range(int(labels.max()) + 1):
        inside = labels == k
        expected[inside] = (image[0] * weights)[:, inside].sum()
    for spec in ("lime:ridge=0:samples=60:segments=8", "kernel-shap:samples=60:segments=8", "kernel-shap:segments=8"):  # fmt: skip
        found = sc.attribute(Additive(), image, 0, method=spec)
        torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-4)


def shapley_twin(value, s):
    """φ_i = sum over coalitions without i of |z|! (S - |z| - 1)! / S! (v(z with i) - v(z))."""
    known = {z: value(z) for z in itertools.product((0, 1), repeat=s)}
    found = np.zeros(s)
    for i in range(s):
        for z, v in known.items():
            if z[i]:
                continue
            size = sum(z)
            weight = math.factorial(size) * math.factorial(s - size - 1) / math.factorial(s)
            joined = (*z[:i], 1, *z[i + 1 :])
            found[i] += weight * (known[joined] - v)
    return found


@pytest.mark.parametrize("segments", [1, 2, 4, 6])
def test_kernel_shap_of_few_segments_is_shapley(nets, batch, close, segments):
    net, x = nets.deep_head().double(), batch.double() * 2
    method = KernelSHAP(segments=segments, samples=64, fill="mean")
    found = sc.attribute(net, x, TARGETS, method=method)
    for i, k in np.ndindex(3, 2):
        value, labels = game(net, x[i], method, TARGETS[i, k])
        s = labels.max() + 1
        assert 2**s <= 64
        close(found[i, k], painted(labels, shapley_twin(value, s)))


def sampled_twin(value, plan, s):
    """Least squares under the constraint, by Lagrange's multiplier."""
    none, all_ = value([0] * s), value([1] * s)
    system, right = np.zeros((s + 1, s + 1)), np.zeros(s + 1)
    for z in plan[1:-1]:
        system[:s, :s] += 2 * np.outer(z, z)
        right[:s] += 2 * np.array(z) * (value(z) - none)
    system[:s, s] = system[s, :s] = 1
    right[s] = all_ - none
    return np.linalg.solve(system, right)[:s]


def test_kernel_shap_of_samples(nets, batch, close):
    net, x = nets.deep_head().double(), batch.double()
    method = KernelSHAP(segments=8, samples=60, seed=2)
    found = sc.attribute(net, x, TARGETS, method=method)
    for i, k in np.ndindex(3, 2):
        value, labels = game(net, x[i], method, TARGETS[i, k])
        s = labels.max() + 1
        plan = method.plan(s, own_generator(x[i].float(), 2)).int().numpy()
        assert len(plan) == 60
        close(found[i, k], painted(labels, sampled_twin(value, plan, s)))


def test_how_coalitions_are_drawn():
    """Sizes by 1 / (s (S - s)), every segment alike, each coalition beside its complement."""
    s = 7
    plan = KernelSHAP(samples=100).plan(s, torch.Generator().manual_seed(0))
    assert len(plan) == 100
    assert not plan[0].any()
    assert plan[-1].all()
    assert torch.equal(plan[1:-1:2], ~plan[2:-1:2])
    many = KernelSHAP(samples=127).plan(s, torch.Generator().manual_seed(0))
    assert len(many) == 126, "pairs: an odd one is left out"
    assert len(KernelSHAP(samples=128).plan(s, torch.Generator())) == 128
    big = KernelSHAP(samples=40002).plan(20, torch.Generator().manual_seed(0))[1:-1]
    size = big.sum(1)
    kernel = np.array([1 / (k * (20 - k)) for k in range(1, 20)])
    share = size.bincount(minlength=20)[1:20].numpy() / len(big)
    np.testing.assert_allclose(share, kernel / kernel.sum(), rtol=0.12)
    pairs = big[::2].float()
    assert float((pairs.mean(0) - pairs.mean()).abs().max()) < 0.015


@pytest.mark.parametrize("samples", [4, 5, 9, 30, 400])
def test_the_values_add_up(nets, batch, samples):
    """Also with far fewer coalitions than segments."""
    net, x = nets.deep_head().double(), batch.double()
    found = sc.attribute(net, x, 1, method=f"kernel-shap:samples={samples}:segments=15")
    for i in range(3):
        labels = superpixels(x[i].float(), 15)
        each = [float(found[i][labels == k][0]) for k in range(int(labels.max()) + 1)]
        with torch.no_grad():
            fall = float((net(x[i : i + 1]) - net(torch.zeros_like(x[:1])))[0, 1])
        assert sum(each) == pytest.approx(fall, rel=1e-5, abs=1e-6)


def test_more_samples_come_closer(nets, batch):
    net, x = nets.deep_head(), batch * 2
    exact = sc.attribute(net, x, 1, method="kernel-shap:segments=9")
    assert all(2 ** int(superpixels(one, 9).max() + 1) <= 1024 for one in x)
    errors = [
        float((sc.attribute(net, x, 1, method=f"kernel-shap:segments=9:samples={n}") - exact).square().mean())
        for n in (20, 200)
    ]  # fmt: skip
    assert errors[1] < errors[0] / 4


def test_images_of_different_numbers_of_segments_share_a_batch(nets, batch, monkeypatch):
    """One has few enough for all coalitions, the other does not."""
    from saliscope.methods import coalitions

    def stripes(image, segments, *, compactness):
        width = 5 if torch.equal(image, batch[0]) else 2
        return (torch.arange(16) // width).expand(24, 16)

    monkeypatch.setattr(coalitions, "superpixels", stripes)
    net = nets.gap()
    for spec in ("kernel-shap:samples=16", "kernel-shap:samples=21", "kernel-shap:samples=300", "lime:samples=30"):  # fmt: skip
        found = sc.attribute(net, batch, TARGETS, method=spec)
        for i in range(3):
            alone = sc.attribute(net, batch[i : i + 1], TARGETS[i : i + 1], method=spec)
            torch.testing.assert_close(alone[0], found[i], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("spec", ["lime:samples=30", "kernel-shap:samples=30"])
def test_each_segment_has_one_value_and_another_seed_other_coalitions(nets, batch, spec):
    net = nets.gap()
    found = sc.attribute(net, batch, 1, method=f"{spec}:segments=10")
    for i in range(3):
        labels = superpixels(batch[i], 10)
        for k in range(int(labels.max()) + 1):
            assert len(found[i][labels == k].unique()) == 1
    other = sc.attribute(net, batch, 1, method=f"{spec}:segments=10:seed=1")
    assert not torch.allclose(other, found, rtol=1e-3)


def test_a_score_that_is_nan_is_shown():
    class Picky(nn.Module):
        def forward(self, x):
            score = x.sum((1, 2, 3))
            return torch.stack([score, score / (x[:, 0, 0, 0] != 0)], 1)

    x = torch.ones(1, 3, 8, 8)
    for spec in ("lime:samples=20:segments=4", "kernel-shap:segments=4"):
        found = sc.attribute(Picky(), x, torch.tensor([[0, 1]]), method=spec)
        assert found[0, 0].isfinite().all()
        assert found[0, 1].isnan().all()


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (LIME, {"segments": 0}, r"lime:segments is at least 1; got 0"),
        (KernelSHAP, {"segments": -1}, r"kernel-shap:segments is at least 1; got -1"),
        (LIME, {"compactness": 0.0}, r"lime:compactness weighs place against colour and is positive; got 0.0"),
        (LIME, {"compactness": float("nan")}, r"lime:compactness"),
        (LIME, {"samples": 1}, r"lime:samples is at least 2, the picture and another; got 1"),
        (LIME, {"width": 0.0}, r"lime:width is that of the kernel and positive; got 0.0"),
        (LIME, {"ridge": -1.0}, r"lime:ridge is a penalty, 0 for none; got -1.0"),
        (KernelSHAP, {"samples": 3}, r"kernel-shap:samples is at least 4: .* got 3"),
    ],
)  # fmt: skip
def test_settings_they_cannot_have(kind, options, message):
    with pytest.raises(sc.MethodError, match=message):
        kind(**options)
