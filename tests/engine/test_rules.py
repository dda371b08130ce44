"""Another way back through every form of ReLU, seen call by call; what has no rule is found in the graph."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from saliscope.engine import relu_rule, unruled

FORMS = {
    "module": (nn.ReLU(), None),
    "module in place": (nn.ReLU(inplace=True), None),
    "F.relu": (F.relu, None),
    "F.relu in place": (lambda x: F.relu(x, inplace=True), None),
    "F.relu in place by position": (lambda x: F.relu(x, True), None),
    "F.relu by name": (lambda x: F.relu(input=x), None),
    "torch.relu": (torch.relu, None),
    "torch.relu_": (torch.relu_, None),
    "Tensor.relu": (lambda x: x.relu(), None),
    "Tensor.relu_": (lambda x: x.relu_(), None),
    "module 6": (nn.ReLU6(), 6),
    "module 6 in place": (nn.ReLU6(inplace=True), 6),
    "F.relu6": (F.relu6, 6),
    "F.relu6 in place": (lambda x: F.relu6(x, inplace=True), 6),
    "hardtanh": (lambda x: F.hardtanh(x, 0, 4), 4),
    "hardtanh by name": (lambda x: F.hardtanh(x, min_val=0.0, max_val=4.0), 4),
    "hardtanh_": (lambda x: F.hardtanh_(x, 0, 4), 4),
    "module hardtanh": (nn.Hardtanh(0, 2), 2),
    "clamp": (lambda x: x.clamp(0, 5), 5),
    "clamp min": (lambda x: x.clamp(min=0), None),
    "clamp by tensors": (lambda x: torch.clamp(x, torch.tensor(0.0), torch.tensor(5.0)), 5),
    "clamp_": (lambda x: x.clamp_(0), None),
    "torch.clamp": (lambda x: torch.clamp(x, 0.0), None),
    "clip": (lambda x: torch.clip(x, min=0.0), None),
    "clamp_min": (lambda x: x.clamp_min(0), None),
    "clamp_min_": (lambda x: torch.clamp_min_(x, 0), None),
    "threshold": (lambda x: F.threshold(x, 0, 0), None),
    "threshold in place": (lambda x: F.threshold(x, 0, 0, inplace=True), None),
    "module threshold": (nn.Threshold(0, 0), None),
    "maximum": (lambda x: torch.maximum(x, torch.zeros(())), None),
    "maximum, zeros first": (lambda x: torch.maximum(torch.zeros_like(x), x), None),
    "Tensor.max": (lambda x: x.max(torch.zeros(1)), None),
    "part of a tensor": (lambda x: torch.cat([x[:, :2].relu_(), x[:, 2:].relu()], 1), None),
    "statement in place": (lambda x: (x.relu_(), x)[1], None),
}


def signal():
    r = torch.Generator().manual_seed(1)
    x = torch.randn(3, 5, 4, generator=r, dtype=torch.float64) * 4
    g = torch.randn(3, 5, 4, generator=r, dtype=torch.float64)
    x[0, 0, 0] = x[1, 2, 3] = 0  # neither open nor shut
    return x, g


def back(form, rule, x, g):
    """What arrives at x when g is sent back through the form, and what it gave forward."""
    leaf = x.clone().requires_grad_(True)
    with relu_rule(rule)():
        out = form(leaf * 1)
    (arrived,) = torch.autograd.grad(out, leaf, g)
    return arrived, out.detach()


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
def test_every_form_follows_the_rule(name, rule):
    form, upper = FORMS[name]
    x, g = signal()
    found, out = back(form, rule, x, g)
    expected = torch.zeros_like(x)
    for place in zip(*(i.tolist() for i in torch.ones_like(x).nonzero(as_tuple=True)), strict=True):
        value, sent = float(x[place]), float(g[place])
        is_open = value > 0 and (upper is None or value < upper)
        if sent > 0 and (rule == "deconvnet" or is_open):
            expected[place] = sent
    assert torch.equal(found, expected)
    top = float("inf") if upper is None else upper
    assert torch.equal(out, x.clamp(0, top)), "forward nothing changes"
    plain = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(form(plain * 1), plain, g)
    assert not torch.equal(gradient, found), "behind the context all is as before"


OTHERS = {
    "hardtanh": lambda x: F.hardtanh(x),
    "clamp as a guard": lambda x: x.clamp(min=1e-6),
    "clamp above": lambda x: x.clamp(max=1.0),
    "clamp by a tensor of many": lambda x: torch.clamp(x, torch.zeros(4, dtype=x.dtype)),
    "clamp by a signal": lambda x: torch.clamp(x, (x.mean() * 0)),
    "clamp to nothing": lambda x: x.clamp(0, 0),
    "threshold elsewhere": lambda x: F.threshold(x, 1.0, 0.0),
    "threshold to another value": lambda x: F.threshold(x, 0.0, -1.0),
    "largest along an axis": lambda x: x.max(1, keepdim=True).values.expand_as(x),
    "larger of two signals": lambda x: torch.maximum(x, -x),
    "maximum with ones": lambda x: torch.maximum(x, torch.ones_like(x)),
    "maximum that grows": lambda x: torch.maximum(x[:1], torch.zeros_like(x)),
    "leaky": F.leaky_relu,
    "gelu": F.gelu,
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_relu_is_left_alone(name):
    x, g = signal()
    found, out = back(OTHERS[name], "guided", x, g)
    plain = x.clone().requires_grad_(True)
    expected = OTHERS[name](plain * 1)
    assert torch.equal(out, expected.detach())
    assert torch.equal(found, torch.autograd.grad(expected, plain, g)[0])


def test_whole_numbers_and_results_into_a_tensor_are_left_alone():
    with relu_rule("guided")():
        assert torch.relu(torch.tensor([-1, 2])).tolist() == [0, 2]
        room = torch.empty(2)
        torch.clamp(torch.tensor([-1.0, 2.0]), 0, out=room)
        torch.maximum(torch.tensor([-1.0, 2.0]), torch.zeros(2), out=room)
    assert room.tolist() == [0, 2]


def test_nan_and_infinity_pass_as_in_a_relu():
    x = torch.tensor([1.0, 1.0, -1.0, -1.0])
    g = torch.tensor([float("nan"), float("inf"), float("nan"), float("inf")])
    found, _ = back(F.relu, "guided", x, g)
    assert found[0].isnan()
    assert found[1:].tolist() == [float("inf"), 0, 0]


def test_several_targets_go_back_through_one_graph():
    x, g = signal()
    leaf = x.clone().requires_grad_(True)
    with relu_rule("guided")():
        out = (leaf * 1).relu()
    first = torch.autograd.grad(out, leaf, g, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(out, leaf, g, retain_graph=True)[0]), (
        "nothing adds up"
    )
    assert torch.equal(torch.autograd.grad(out, leaf, -g)[0], back(F.relu, "guided", x, -g)[0])


class Seen(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls.append(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


def test_inside_and_outside_a_mode_of_the_users_own():
    x, g = signal()
    expected, _ = back(F.relu, "guided", x, g)
    outer, inner = Seen(), Seen()
    with outer:
        found, _ = back(F.relu, "guided", x, g)
    assert torch.equal(found, expected)
    assert "relu" in outer.calls, "the network's own call still reaches it"

    def form(value):
        with inner:
            return F.relu(value)

    assert torch.equal(back(form, "guided", x, g)[0], expected)
    assert "relu" in inner.calls


def test_other_threads_do_not_see_the_rule():
    x, g = signal()
    plain, found = x.clone().requires_grad_(True), []

    def other():
        found.append(torch.autograd.grad((plain * 1).relu(), plain, g)[0])

    with relu_rule("guided")():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert torch.equal(found[0], g * (x > 0))
    assert F.relu.__module__ == "torch.nn.functional"


def test_an_error_in_the_network_closes_the_rule():
    x, g = signal()

    def fails(_):
        raise ValueError("own")

    with pytest.raises(ValueError, match="own"):
        back(fails, "guided", x, g)
    plain = x.clone().requires_grad_(True)
    assert torch.equal(torch.autograd.grad((plain * 1).relu(), plain, g)[0], g * (x > 0))


# --- what else is there ----------------------------------------------------------------------------------------------


def others(make):
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    with relu_rule("guided")():
        found = unruled(make(x))
    return found.others, found.rectifiers


GATE = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1))


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


ATTENTION = nn.MultiheadAttention(6, 2, batch_first=True)

NAMED = {
    "GELU": F.gelu, "SiLU": F.silu, "Hardswish": F.hardswish, "Mish": F.mish, "tanh": torch.tanh,
    "softplus": F.softplus, "log-sigmoid": lambda x: F.logsigmoid(x) + 1, "leaky ReLU": F.leaky_relu,
    "PReLU": lambda x: F.prelu(x, torch.tensor([0.1])), "RReLU": lambda x: F.rrelu(x, training=True),
    "ELU": F.elu, "CELU": F.celu, "GLU": F.glu, "softshrink": F.softshrink, "hardshrink": F.hardshrink,
    "hardtanh": F.hardtanh, "threshold": lambda x: F.threshold(x, 1, 0), "sigmoid": lambda x: torch.sigmoid(x) + x,
    "hardsigmoid": lambda x: F.hardsigmoid(x) + x, "erf": torch.erf, "exp": lambda x: torch.exp(x).sum(1),
    "sine": torch.sin, "cosine": torch.cos, "softmax": lambda x: x.softmax(-1) @ x,
    "softmax attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    "ReLU inside compiled code": torch.ops.aten.relu,
    "torch.where": lambda x: torch.where(x > 0, x, 0.0),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0),
    "absolute value": lambda x: x.abs(),
    "the custom function Doubled": Doubled.apply,
    "log-softmax": lambda x: x.log_softmax(1) + x,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_activations_are_named(name):
    assert others(lambda x: NAMED[name](x.relu())) == ([name], 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.relu() * torch.sigmoid(GATE(x)),
        lambda x: torch.sigmoid(GATE(x)) * x.relu(),
        lambda x: x.relu() * F.hardsigmoid(GATE(x)).expand_as(x),
        lambda x: x.relu() * torch.sigmoid(GATE(x).flatten(1)).view(2, 4, 1, 1),
        lambda x: torch.sigmoid(x.relu().mean((1, 2, 3))),
        lambda x: x.relu().mean((2, 3)).softmax(1),
        lambda x: x.relu().mean((2, 3)).log_softmax(1)[:, :2],
        lambda x: F.layer_norm(x.relu(), (6,)),
        lambda x: F.normalize(x.relu()),
    ],
)
def test_gates_and_answers_are_no_activations(make):
    assert others(make) == ([], 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x * torch.sigmoid(x),
        lambda x: torch.sigmoid(1.702 * x) * x,
        lambda x: x * F.relu6(x + 3) / 6,
        lambda x: x * (F.relu6(x + 3) / 6),
        lambda x: x * F.hardsigmoid(x),
        lambda x: x * (x + 3).clamp(0, 6) * 0.2,
    ],
)
def test_activations_written_out_are_found(make):
    found, _ = others(lambda x: make(x.relu()))
    assert found == ["a signal times a function of itself, as in SiLU"]


def test_mish_written_out_is_named_by_its_parts():
    assert "tanh" in others(lambda x: x * torch.tanh(F.softplus(x)))[0]


def test_attention_of_a_module():
    found, _ = others(lambda x: ATTENTION(x[:, 0], x[:, 0], x[:, 0])[0])
    assert found in (["softmax attention"], ["softmax"])


def test_outputs_of_any_kind_and_without_a_graph():
    assert others(lambda x: {"a": x.relu(), "b": (F.gelu(x), 3)}) == (["GELU"], 1)
    assert others(lambda x: x.detach().relu()) == ([], 0)
    assert others(lambda x: x.mean()) == ([], 0)
    assert others(lambda x: x.relu() + F.relu6(x)) == ([], 2)
