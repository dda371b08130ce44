"""LRP against loops from the papers, against closed forms, and what it conserves."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import LRP as CaptumLRP
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule
from torch import nn

import saliscope as sc
from saliscope.engine.linear_maps import linear_map
from saliscope.methods import parse_method
from saliscope.methods.lrp_rules import COMPOSITES, Composite, Relevance

_spec = importlib.util.spec_from_file_location(
    "propagation_twins", Path(__file__).with_name("propagation_twins.py")
)
twins = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(twins)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CASES = {
    "conv2d": (F.conv2d, (2, 4, 3), lambda: {"weight": draw(3, 2, 3, 2), "bias": draw(3, seed=9), "padding": 1}),
    "conv2d groups": (F.conv2d, (4, 4, 4), lambda: {"weight": draw(4, 2, 2, 2), "bias": draw(4, seed=9), "groups": 2, "stride": 2}),
    "conv2d plain": (F.conv2d, (2, 4, 4), lambda: {"weight": draw(3, 2, 2, 2), "dilation": 2}),
    "linear": (F.linear, (5,), lambda: {"weight": draw(3, 5), "bias": draw(3, seed=9)}),
    "avg_pool2d": (F.avg_pool2d, (2, 4, 4), lambda: {"kernel_size": 2}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("rule", ["epsilon", "plus", "gamma", "flat", "squares", "box"])
def test_shares_of_a_linear_function(case, signed, rule):
    func, shape, make = CASES[case]
    kwargs = make()
    first = rule in ("flat", "squares", "box")
    if first and not case.startswith("conv"):
        return
    a = draw(1, *shape, seed=1)
    a = a if signed else a.relu()
    _, op = linear_map(case.split()[0], func, (a,), kwargs)
    out = op.run(a, op.weight, None)
    back = draw(*out.shape, seed=2)
    op.first = first
    conv = "plus" if first else rule
    carrier = Relevance("LRP", Composite(rule, conv, rule), epsilon=0.1, gamma=0.3)
    found = carrier.through(op, a, back).numpy().ravel()
    m = twins.matrix(lambda x: op.run(x, op.weight, None), shape)
    zero = torch.zeros(1, *shape, dtype=torch.float64)
    b = op.run(zero, op.weight, op.bias).numpy().ravel()
    values, r = a.numpy().ravel(), back.numpy().ravel()
    if rule == "epsilon":
        expected = twins.epsilon(m, b, values, r, 0.1)
    elif rule == "plus":
        expected = twins.favoured(m, b, values, r, 0, 1, biased=False)
    elif rule == "gamma":
        expected = twins.favoured(m, b, values, r, 1, 0.3, biased=True)
    elif rule == "flat":
        expected = twins.by_weight((m != 0).astype(float), r)
    elif rule == "squares":
        expected = twins.by_weight(m**2, r)
    else:
        low = a.amin((2, 3), keepdim=True).expand_as(a).numpy().ravel()
        high = a.amax((2, 3), keepdim=True).expand_as(a).numpy().ravel()
        expected = twins.box(m, values, low, high, r)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rule", ["epsilon", "plus", "gamma"])
def test_shares_of_a_sum(rule):
    """An addition is a linear function with weights 1 and -1."""
    a, b, r = draw(1, 2, 3, 3, seed=1), draw(1, 2, 3, 3, seed=2), draw(1, 2, 3, 3, seed=3)
    carrier = Relevance("LRP", Composite("epsilon", rule, rule), epsilon=0.1, gamma=0.3)
    found = torch.stack(carrier.summands([a, b], [1.0, -1.0], r)).numpy().ravel()
    m = np.concatenate([np.eye(18), -np.eye(18)], 1)
    x, r = np.concatenate([a.numpy().ravel(), b.numpy().ravel()]), r.numpy().ravel()
    none = np.zeros(18)
    if rule == "epsilon":
        expected = twins.epsilon(m, none, x, r, 0.1)
    else:
        more = (0, 1) if rule == "plus" else (1, 0.3)
        expected = twins.favoured(m, none, x, r, *more, biased=False)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


def input_x_gradient(net, x, c):
    x = x.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(net(x)[:, c].sum(), x)
    return (x * g).sum(1).detach()


def epsilon(net, x, c, **more):
    return sc.attribute(net, x, c, method="lrp", composite="epsilon", **{"epsilon": 0.0, **more})


def test_one_linear_layer():
    """R_i = x_i w_i: the closed form, whatever the bias."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 5, 3))
    x = torch.randn(2, 3, 4, 5)
    for c in range(3):
        expected = (x * net[1].weight[c].view(3, 4, 5)).sum(1)
        torch.testing.assert_close(epsilon(net, x, c), expected.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_epsilon_to_zero_is_input_times_gradient(nets, bias, norm):
    """On networks of ReLUs, with batch norms and biases too: each absorbs its own share."""
    net = nets.lively(twins.Tiny(bias=bias, norm=norm)).eval()
    x = torch.randn(2, 3, 8, 6)
    for c in range(3):
        expected = input_x_gradient(net, x, c)
        torch.testing.assert_close(epsilon(net, x, c), expected, rtol=1e-3, atol=1e-5)
        small = epsilon(net, x, c, epsilon=1e-6)
        torch.testing.assert_close(small, expected, rtol=1e-3, atol=1e-4)
        if not bias and not norm:
            torch.testing.assert_close(small.sum((1, 2)), net(x)[:, c].detach(), rtol=1e-3, atol=1e-5)  # fmt: skip


def test_a_norm_in_front_of_its_convolution(nets):
    """As in dense networks: it stands alone, and with epsilon 0 the map is still the gradient times the picture."""

    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.norm = nn.Conv2d(3, 4, 3, 1, 1), nn.BatchNorm2d(7)
            self.conv2, self.fc = nn.Conv2d(7, 4, 3), nn.Linear(4, 3)

        def forward(self, x):
            y = F.relu(self.norm(torch.cat([x, self.conv1(x)], 1)), inplace=True)
            return self.fc(F.adaptive_avg_pool2d(F.relu(self.conv2(y)), 1).flatten(1))

    net = nets.lively(Dense()).eval()
    x = torch.randn(2, 3, 8, 6)
    torch.testing.assert_close(epsilon(net, x, 1), input_x_gradient(net, x, 1), rtol=1e-3, atol=1e-5)  # fmt: skip


@pytest.mark.parametrize("composite", ["epsilon-plus", "epsilon-plus-flat", "epsilon-plus-squares"])
@pytest.mark.parametrize("norm", [True, False])
def test_relevance_is_conserved(nets, composite, norm):
    """Biases get nothing but in the linear layers, here without any: the map sums to the logit, at every cut."""
    net = nets.lively(twins.Tiny(bias=False, norm=norm)).eval()
    x = torch.randn(2, 3, 8, 6)
    for layer in (None, "conv1", "pool"):
        found = sc.attribute(
            net, x, 1, method="lrp", layer=layer, composite=composite, epsilon=1e-7
        )
        torch.testing.assert_close(found.sum((1, 2)), net(x)[:, 1].detach(), rtol=1e-3, atol=1e-6)


def test_gamma_and_box_conserve_without_biases(nets):
    net = twins.Tiny(bias=False, norm=False).eval()
    x = torch.randn(2, 3, 8, 6)
    found = sc.attribute(net, x, 1, method="lrp", composite="epsilon-gamma-box", epsilon=1e-7)
    torch.testing.assert_close(found.sum((1, 2)), net(x)[:, 1].detach(), rtol=1e-3, atol=1e-6)


def test_epsilon_takes_its_share():
    """Sum = z^2 / (z + epsilon |z|) on one linear unit: the share 1 / (1 + epsilon) of the logit."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 5, 1, bias=False))
    x = torch.randn(2, 3, 4, 5)
    found = epsilon(net, x, 0, epsilon=0.25).sum((1, 2))
    torch.testing.assert_close(found, net(x)[:, 0].detach() / 1.25, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("layer", [None, "pool"])
def test_a_prepared_copy_has_the_same_relevance(nets, composite, layer):
    """Batch norm folded into the convolution, or beside it: one linear map."""
    net = nets.lively(twins.Tiny()).eval()
    with torch.no_grad():
        net.norm.weight[1] *= -1
    x = torch.randn(2, 3, 8, 6)
    model = sc.Model(net, (8, 6))
    plain = sc.attribute(net, x, 1, method="lrp", layer=layer, composite=composite)
    found = sc.attribute(model, x, 1, method="lrp", layer=layer, composite=composite)
    torch.testing.assert_close(found, plain, rtol=1e-3, atol=1e-5)


def test_a_convolution_whose_result_has_another_reader_is_not_folded(nets):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)

        def forward(self, x):
            y = self.conv(x)
            return self.fc(F.relu(self.norm(y) - 0.5 * y).mean((2, 3)))

    net = nets.lively(Twice()).eval()
    x = torch.randn(2, 3, 8, 6)
    torch.testing.assert_close(epsilon(net, x, 1), input_x_gradient(net, x, 1), rtol=1e-3, atol=1e-5)  # fmt: skip


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1, self.pool = nn.Conv2d(3, 4, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)
        self.conv2, self.relu2, self.fc = nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Linear(5 * 2 * 2, 3)
        for layer in (self.conv1, self.conv2, self.fc):
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        x = self.pool(self.relu1(self.conv1(x)))
        return self.fc(self.relu2(self.conv2(x)).flatten(1))


@pytest.mark.parametrize("rule", ["epsilon", "plus", "gamma"])
def test_captum_agrees_on_a_plain_stack(rule):
    """With no biases, on a picture without negative values; its z+ rule counts biases, and knows no negative inputs."""
    net = Plain().eval()
    x = torch.rand(2, 3, 8, 8)
    theirs = {
        "epsilon": EpsilonRule,
        "plus": Alpha1_Beta0_Rule,
        "gamma": lambda: GammaRule(gamma=0.25, set_bias_to_zero=True),
    }
    net.conv1.rule, net.conv2.rule, net.fc.rule = theirs[rule](), theirs[rule](), EpsilonRule()
    expected = CaptumLRP(net).attribute(x.clone().requires_grad_(True), target=1).sum(1).detach()
    found = with_composite(Plain(), net, x, Composite("epsilon", rule, rule))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def with_composite(fresh, net, x, composite):
    from saliscope.engine import PIXELS, Network, Propagation, shadow
    from saliscope.models import logits_of

    fresh.load_state_dict(net.state_dict())
    carrier = Relevance("LRP", composite, epsilon=0, gamma=0.25)
    network = Network(shadow(fresh), read=logits_of)
    capture = network.capture(x, [PIXELS], rules=lambda: Propagation(carrier))
    score = capture.logits[:, 1]
    return capture.gradients(score * score.detach())[PIXELS].sum(1)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu = nn.Conv2d(3, 4, 3, bias=False), nn.ReLU()
        self.conv2 = nn.Conv2d(4, 4, 1, bias=False)
        self.fc = nn.Linear(4 * 6 * 6, 3, bias=False)

    def forward(self, x):
        x = self.relu(self.conv1(x))
        return self.fc((x + self.conv2(x)).flatten(1))


def test_captum_passes_a_gradient_through_a_residual_addition():
    """Both summands get all of the relevance there: the map sums to another number than the logit."""
    net = Residual().eval()
    x = torch.rand(2, 3, 8, 8)
    expected = input_x_gradient(net, x, 1)
    torch.testing.assert_close(epsilon(net, x, 1), expected, rtol=1e-3, atol=1e-5)
    theirs = CaptumLRP(net).attribute(x.clone().requires_grad_(True), target=1).sum(1).detach()
    gap = (theirs.sum((1, 2)) - net(x)[:, 1].detach()).abs() / net(x)[:, 1].detach().abs()
    assert float(gap.max()) > 0.5


def test_auto_names_what_it_takes(nets, photos):
    with_norms, without = nets.gap(), nets.deep_head()
    (found,) = sc.explain(sc.Model(with_norms, 32), photos[:1], "lrp")
    assert found.method == "lrp:composite=epsilon-plus-flat"
    assert found.map.shape == (32, 32)
    (found,) = sc.explain(sc.Model(without, 32), photos[:1], "lrp@features.2")
    assert found.spec == "lrp@features.2:composite=epsilon-gamma-box"
    assert found.map.shape == (16, 16)
    x = torch.randn(2, 3, 24, 16)
    auto = sc.attribute(with_norms, x, 1, method="lrp")
    torch.testing.assert_close(auto, sc.attribute(with_norms, x, 1, method="lrp:composite=epsilon-plus-flat"))  # fmt: skip


def test_channels(nets, batch):
    net = nets.gap()
    both = {c: sc.attribute(net, batch, 1, method="lrp", channels=c) for c in ("sum", "absmax")}
    assert bool((both["absmax"] >= both["sum"].abs() / 3 - 1e-7).all())
    assert float(both["sum"].min()) < 0 <= float(both["absmax"].min())


def test_a_scaled_network_has_the_same_map_scaled(nets, batch):
    net = nets.deep_head()
    plain = sc.attribute(net, batch, 1, method="lrp", composite="epsilon")
    with torch.no_grad():
        net.classifier[2].weight *= 1e-9
        net.classifier[2].bias *= 1e-9
    found = sc.attribute(net, batch, 1, method="lrp", composite="epsilon")
    torch.testing.assert_close(found * 1e9, plain, rtol=1e-3, atol=1e-6)


def test_options_are_checked():
    for option in ("epsilon", "gamma"):
        with pytest.raises(sc.MethodError, match=rf"lrp:{option} is 0 or more; got -1"):
            parse_method(f"lrp:{option}=-1")
    with pytest.raises(sc.MethodError, match=r"lrp:composite is one of 'auto', 'epsilon'"):
        parse_method("lrp:composite=alpha")
    assert parse_method("lrp").layers == ()
    assert parse_method("lrp@layer3").layers == ("layer3",)


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v3_small"])
@pytest.mark.slow
def test_networks_conserve_what_no_bias_takes(name):
    import torchvision

    net = torchvision.models.get_model(name, weights=None).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for part in net.modules():
            if getattr(part, "bias", None) is not None:
                part.bias.zero_()
    found = sc.attribute(net, x, 5, method="lrp", composite="epsilon-plus", epsilon=1e-7)
    torch.testing.assert_close(found.sum((1, 2)), net(x)[:, 5].detach(), rtol=1e-2, atol=1e-5)
