"""What a map is made from: the layer's own output, and the gradient of the target with respect to it."""

from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import saliscope as sc
from saliscope.engine import Network, shadow, survey
from saliscope.errors import LayerError, ModelError
from saliscope.models import logits_of


def capture(module, inputs, *layers, scores=None, **options):
    network = Network(shadow(module), read=logits_of)
    found = network.capture(inputs, layers, **options)
    if scores is None:
        return found, None
    with torch.enable_grad():
        return found, found.gradients(scores(found.output))


def by_hand(module, x, split, target):
    """Activation and gradient behind the first `split` parts of a sequence of functions, in float64."""
    parts = module
    activation = x.double()
    for part in parts[:split]:
        activation = part(activation)
    leaf = activation.detach().clone().requires_grad_(True)
    out = leaf
    for part in parts[split:]:
        out = part(out)
    (gradient,) = torch.autograd.grad(out[:, target].sum(), leaf)
    return activation.detach(), gradient


def pieces(net):
    """A DeepHead as a list of functions without in-place operations, in float64."""
    import copy

    net = copy.deepcopy(net).double()
    f, c = net.features, net.classifier
    return [
        f[0], F.relu, f[2], F.relu, f[4], lambda x: F.adaptive_avg_pool2d(x, 4).flatten(1),
        c[0], F.relu, c[2],
    ]  # fmt: skip


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize(
    ("layer", "split"), [("features.0", 1), ("features.1", 2), ("features.2", 3), ("features.3", 4)]
)
def test_the_layers_own_output_and_gradient(nets, batch, inplace, layer, split):
    net = nets.deep_head(inplace=inplace)
    activation, gradient = by_hand(pieces(net), batch, split, 2)
    found, gradients = capture(net, batch, layer, scores=lambda o: o[:, 2])
    torch.testing.assert_close(found.activations[layer].double(), activation, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradients[layer].double(), gradient, rtol=1e-4, atol=1e-8)
    if layer in ("features.0", "features.2"):
        assert float(activation.min()) < 0, "the in-place ReLU behind the layer must have been seen"


def test_layers_before_and_behind_an_in_place_operation_together(nets, batch):
    net = nets.deep_head(inplace=True)
    layers = ["features.0", "features.1", "features.2", "features.3", "features"]
    together, gradients = capture(net, batch, *layers, scores=lambda o: o[:, 1])
    for layer in layers:
        alone, gradient = capture(net, batch, layer, scores=lambda o: o[:, 1])
        torch.testing.assert_close(together.activations[layer], alone.activations[layer])
        torch.testing.assert_close(gradients[layer], gradient[layer])
    assert float(together.activations["features.0"].min()) < 0
    assert float(together.activations["features.1"].min()) == 0


def test_nested_layers_together():
    net = torchvision.models.resnet18(num_classes=7).eval()
    x = torch.randn(1, 3, 64, 64)
    layers = ["layer4", "layer4.1", "layer4.0", "layer3"]
    together, gradients = capture(net, x, *layers, scores=lambda o: o[:, 1])
    assert torch.equal(together.activations["layer4"], together.activations["layer4.1"])
    assert torch.equal(gradients["layer4"], gradients["layer4.1"])
    for layer in layers:
        _, gradient = capture(net, x, layer, scores=lambda o: o[:, 1])
        torch.testing.assert_close(gradients[layer], gradient[layer])
        assert gradients[layer].abs().max() > 0


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 5, 1)

    def forward(self, x):
        return self.last(self.left(x).relu() * self.right(x)).mean((2, 3))


def test_parallel_branches_each_become_leaves(batch):
    net = Branches()
    found, gradients = capture(net, batch, "left", "right", scores=lambda o: o[:, 3])
    left, right = net.left(batch).detach(), net.right(batch).detach()
    weight = net.last.weight[3, :, 0, 0].detach()[None, :, None, None] / (24 * 16)
    torch.testing.assert_close(gradients["left"], weight * right * (left > 0))
    torch.testing.assert_close(gradients["right"], weight * left.relu())
    torch.testing.assert_close(found.activations["left"], left)


class Skip(nn.Module):
    """The layer's output also goes round the next one; its gradient is of both ways."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = self.first(x)
        y = self.second(x)
        y += x
        return y.mean((2, 3))


def test_a_skip_connection_in_place(batch):
    net = Skip()
    found, gradients = capture(net, batch, "first", scores=lambda o: o[:, 0])
    expected = torch.eye(4)[0] + net.second.weight[0, :, 0, 0].detach()
    expected = (expected / (24 * 16))[None, :, None, None].expand(3, 4, 24, 16)
    torch.testing.assert_close(gradients["first"], expected)
    torch.testing.assert_close(found.activations["first"], net.first(batch).detach())


def test_a_layer_that_runs_twice_raises(batch):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv(self.conv(x)).mean((2, 3))

    with pytest.raises(LayerError, match='layer "conv" runs more than once'):
        sc.attribute(Twice(), batch, 0, layer="conv")


def test_a_layer_that_never_runs_raises(batch):
    net = Branches()
    net.spare = nn.Conv2d(3, 4, 1)
    with pytest.raises(LayerError, match='layer "spare" never ran'):
        sc.attribute(net, batch, 0, layer="spare")


def test_a_layer_without_a_grid_raises(nets, batch):
    with pytest.raises(LayerError, match=r'layer "fc" returns a tensor of shape \(3, 5\), not a'):
        sc.attribute(nets.gap(), batch, 0, layer="fc")


Both = namedtuple("Both", "map rest")


class Tupled(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.conv, self.kind = nn.Conv2d(3, 4, 1), kind

    def forward(self, x):
        pair = (self.conv(x), "rest")
        return Both(*pair) if self.kind is Both else self.kind(pair)


@pytest.mark.parametrize("kind", [tuple, list, Both])
def test_a_layer_that_returns_a_tuple(batch, kind):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Tupled(kind)

        def forward(self, x):
            out = self.inner(x)
            assert type(out) is kind
            return (out[0] ** 2).mean((2, 3))

    net = Net()
    found, gradients = capture(net, batch, "inner", scores=lambda o: o[:, 1])
    activation = net.inner.conv(batch).detach()
    expected = torch.zeros_like(activation)
    expected[:, 1] = 2 * activation[:, 1] / (24 * 16)
    torch.testing.assert_close(found.activations["inner"], activation)
    torch.testing.assert_close(gradients["inner"], expected)


@pytest.mark.parametrize("kind", ["tuple", "dict", "object", "list"])
def test_outputs_of_all_kinds_give_the_same_map(nets, batch, kind):
    class Out(dict):
        logits = property(lambda self: self["logits"])

    net = nets.deep_head()

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            y = self.net(x)
            return {
                "tuple": (y, x), "dict": {"aux": x, "logits": y}, "list": [y],
                "object": Out(other=x, logits=y),
            }[kind]  # fmt: skip

    expected = sc.attribute(net, batch, 2, layer="features.2", relu=False)
    found = sc.attribute(Wrapped(), batch, 2, layer="net.features.2", relu=False)
    torch.testing.assert_close(found, expected)
    assert found.abs().max() > 0


def test_an_output_without_logits(batch):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    with pytest.raises(ModelError, match="no logits"):
        sc.attribute(net, batch, 0, layer="0")
    maps = sc.attribute(net, batch, lambda o: o[:, 1].sum((1, 2)), layer="0", relu=False)
    activation = net[0](batch).detach()
    alpha = (activation > 0).float().mean((2, 3)) * net[2].weight[1, :, 0, 0].detach()
    torch.testing.assert_close(maps, torch.einsum("bc,bchw->bhw", alpha, activation))


@pytest.mark.parametrize("form", ["tuple", "list", "dict"])
def test_inputs_of_all_kinds(nets, batch, form):
    inner = nets.deep_head()

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def forward(self, image, factor):
            return self.inner(image) * factor[:, None]

    factor = torch.tensor([1.0, -2.0, 0.5])
    given = {"tuple": (batch, factor), "list": [batch, factor]}.get(
        form, {"factor": factor, "image": batch}
    )
    plain = sc.attribute(inner, batch, 2, layer="features.2", relu=False)
    found = sc.attribute(Two(), given, 2, layer="inner.features.2", relu=False)
    torch.testing.assert_close(found, plain * factor[:, None, None])


class Cut(nn.Module):
    """A network that cuts the graph behind its first layer in one of the ways networks do."""

    def __init__(self, how):
        super().__init__()
        self.conv, self.fc, self.how = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), how

    def forward(self, x):
        x = self.conv(x)
        if self.how == "detach":
            x = x.detach()
        if self.how == "inference":
            with torch.inference_mode():
                x = x * 2
            x = x.clone()
        if self.how == "no_grad":
            with torch.no_grad():
                x = x * 2
        if self.how == "round":
            x = x.round()
        if self.how == "constant":
            x = torch.ones_like(x)
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("how", ["detach", "no_grad", "inference", "constant"])
def test_a_gradient_that_never_arrives_raises(batch, how):
    with pytest.raises(LayerError, match='no gradient arrives at layer "conv"'):
        sc.attribute(Cut(how), batch, 0, layer="conv")


def test_one_of_two_gradients_that_never_arrives_raises(batch):
    class Half(Branches):
        def forward(self, x):
            return self.last(self.left(x) + self.right(x).detach()).mean((2, 3))

    sc.attribute(Half(), batch, 0, layer="left")
    with pytest.raises(LayerError, match='no gradient arrives at layer "right"'):
        sc.attribute(Half(), batch, 0, layer=["left", "right"])


def test_a_gradient_of_zero_is_a_zero_map_not_an_error(batch):
    maps = sc.attribute(Cut("round"), batch, 0, layer="conv", relu=False)
    assert maps.abs().max() == 0


def test_a_frozen_trunk_run_under_no_grad_inside_the_network(nets, batch):
    net = nets.deep_head()

    class Frozen(nn.Module):
        def __init__(self, guard):
            super().__init__()
            self.trunk, self.head, self.guard = net.features, net.classifier, guard

        def forward(self, x):
            with torch.no_grad() if self.guard else torch.enable_grad():
                x = self.trunk(x)
            return self.head(F.adaptive_avg_pool2d(x, 4).flatten(1))

    expected = sc.attribute(Frozen(guard=False), batch, 1, layer="trunk", relu=False)
    found = sc.attribute(Frozen(guard=True), batch, 1, layer="trunk", relu=False)
    torch.testing.assert_close(found, expected)
    assert expected.abs().max() > 0


def test_channels_last_layers_equal_a_permuted_reference():
    net = torchvision.models.swin_t(num_classes=6).eval()
    x = torch.randn(2, 3, 96, 64)
    kept = {}
    for name in ("features.5", "features.7", "norm"):
        part = net.get_submodule(name)

        def hook(module, given, output, name=name):
            kept[name] = output.detach().requires_grad_(True)
            return kept[name]

        handle = part.register_forward_hook(hook)
        score = net(x)[:, 4].sum()
        (gradient,) = torch.autograd.grad(score, kept[name])
        handle.remove()
        alpha = gradient.mean((1, 2))
        expected = torch.einsum("bc,bhwc->bhw", alpha, kept[name].detach())
        found = sc.attribute(net, x, 4, layer=name, relu=False)
        scale = expected.abs().max()
        torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-5)
        assert expected.shape[1] > expected.shape[2]


def test_the_graph_starts_at_the_earliest_layer(nets, batch):
    found, _ = capture(nets.deep_head(), batch, "features.2")
    steps, seen = [found.output.grad_fn], 0
    while steps:
        step = steps.pop()
        seen += 1
        assert "Convolution" not in type(step).__name__, "the part before the layer has no graph"
        steps += [s for s, _ in step.next_functions if s is not None]
    assert seen > 4


def test_layers_asked_for_before_do_not_linger(batch):
    """One copy serves many calls: a layer of an earlier one is neither recorded nor checked again."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.first, self.last = nn.ReLU(), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return self.act(self.last(self.act(self.first(x)))).mean((2, 3))

    model = sc.Model(Net(), (24, 16))
    with pytest.raises(LayerError, match='layer "act" runs more than once'):
        sc.attribute(model, batch, 0, layer="act")
    assert sc.attribute(model, batch, 0, layer="last").shape == (3, 24, 16)


def test_without_gradients_nothing_is_recorded_for_autograd(nets, batch):
    found, _ = capture(nets.deep_head(), batch, "features.2", gradients=False)
    assert not found.output.requires_grad
    with pytest.raises(LayerError, match="no gradient arrives"):
        found.gradients(found.logits[:, 0])


def test_gradients_can_be_asked_again(nets, batch):
    net = Network(shadow(nets.deep_head()), read=logits_of)
    found = net.capture(batch, ["features.2"])
    first = found.gradients(found.logits[:, 0])["features.2"].clone()
    other = found.gradients(found.logits[:, 1])["features.2"]
    again = found.gradients(found.logits[:, 0], last=True)["features.2"]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_input_that_the_network_changes_in_place_is_not_the_users(batch):
    class Doubles(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            x *= 2
            return self.conv(x).mean((2, 3))

    before = batch.clone()
    sc.attribute(Doubles(), batch, 0, layer="conv")
    assert torch.equal(batch, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_networks_give_finite_maps_close_to_float32(nets, batch, dtype):
    net = nets.deep_head()
    expected = sc.attribute(net, batch, 2, layer="features.2", relu=False)
    found = sc.attribute(net.to(dtype), batch.to(dtype), 2, layer="features.2", relu=False)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert float((found - expected).abs().max() / expected.abs().max()) < 0.05


def test_float16_sums_do_not_overflow():
    """2,048 cells of 100: their sum is beyond float16, their mean is not."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 64 * 32, 2)).half()
    with torch.no_grad():
        net[2].weight.fill_(100.0)
        net[0].weight.fill_(1e-3)
        net[0].bias.fill_(1e-3)
    maps = sc.attribute(
        net, torch.randn(1, 3, 64, 32).half() * 0.01, lambda o: o[:, 0] * 1, layer="0"
    )
    assert maps.isfinite().all()
    assert 0.35 < float(maps.mean()) < 0.45  # 4 channels x 100 x 1e-3


def test_gradients_of_some_layers_are_those_of_all(nets, batch):
    net = Network(shadow(nets.deep_head()), read=logits_of)
    with torch.enable_grad():
        found = net.capture(batch, ["features.0", "features.2"])
        every = found.gradients(found.logits[:, 1])
        one = found.gradients(found.logits[:, 1], layers=["features.2"], last=True)
    assert list(one) == ["features.2"]
    assert torch.equal(one["features.2"], every["features.2"])


def test_curvature_is_the_hessian_times_the_activation(nets, batch):
    """Of each layer by itself, though the layers lie behind one another."""
    module = nets.deep_head().double()
    net = Network(shadow(module), read=logits_of)
    layers = ["features.2", "features.4"]
    with torch.enable_grad():
        found = net.capture(batch.double(), layers, curvature=True)
        scores = found.logits.log_softmax(1)[:, 1]
        gradients, bent = found.curvature(scores)
        again, _ = found.curvature(scores, layers=["features.4"], last=True)
    assert list(bent) == list(gradients) == layers
    assert torch.equal(again["features.4"], gradients["features.4"])
    a = found.activations["features.4"][:1]

    def score(flat):
        h = F.adaptive_avg_pool2d(flat.view(a.shape), 4).flatten(1)
        return module.classifier(h).log_softmax(1)[0, 1]

    hessian = torch.autograd.functional.hessian(score, a.flatten())
    expected = (hessian @ a.flatten()).view(a.shape)[0]
    torch.testing.assert_close(bent["features.4"][0], expected)
    assert float(expected.abs().max()) > 0
    assert not bent["features.4"].requires_grad


def test_a_capture_for_curvature_keeps_its_graph_at_a_pooling_and_linear_head(nets, batch):
    net = nets.gap()
    network = Network(shadow(net), read=logits_of, survey=survey(net, batch, read=logits_of))
    with torch.enable_grad():
        found = network.capture(batch, ["act2"], of_logits=True, curvature=True)
        _, bent = found.curvature(found.logits[:, 1])
    assert float(bent["act2"].abs().max()) == 0


# --- only what will be differentiated ----------------------------------------------------------------------------------


@pytest.mark.parametrize("inplace", [True, False])
def test_a_layer_that_is_only_looked_at_does_not_start_the_graph(nets, batch, inplace):
    """As little is kept for the way back as if the early layer were not asked for, and the late gradient is the same."""
    net = nets.deep_head(inplace=inplace)
    early, late = "features.0", "features.2"

    def saved(layers, gradients):
        kept = []
        network = Network(shadow(net), read=logits_of)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
            found = network.capture(batch, layers, gradients=gradients)
        return len(kept), found

    alone, only = saved([late], True)
    both, mixed = saved([early, late], [late])
    whole, every = saved([early, late], True)
    assert both == alone < whole
    with torch.enable_grad():
        (expected,) = only.gradients(only.logits[:, 1]).values()
        found = mixed.gradients(mixed.logits[:, 1], layers=[late])
    torch.testing.assert_close(found[late], expected)
    for name in (early, late):
        assert torch.equal(mixed.activations[name], every.activations[name])
    assert float(mixed.activations[early].min()) < 0, (
        "as the layer returned it, before the ReLU in place"
    )


def test_a_head_needs_no_graph_for_what_is_only_looked_at(nets, batch):
    net = nets.gap("inplace")
    network = Network(shadow(net), read=logits_of, survey=survey(net, batch, read=logits_of))
    found = network.capture(batch, ["conv1", "act2"], gradients=["act2"], of_logits=True)
    assert found.logits.grad_fn is None
    with torch.enable_grad():
        gradients = found.gradients(found.logits[:, 2], layers=["act2"])
    expected, by_graph = capture(net, batch, "act2", scores=lambda o: o[:, 2])
    torch.testing.assert_close(gradients["act2"], by_graph["act2"])
    torch.testing.assert_close(found.activations["act2"], expected.activations["act2"])
