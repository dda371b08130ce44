"""Which layers learn, in which order, and what they are after they forgot."""

import math
from types import SimpleNamespace

import pytest
import torch
import torchvision
from scipy import stats
from torch import nn

from saliscope.engine import few_stages, reinitialised, stages
from saliscope.errors import LayerError, ModelError, OptionError


def names(module, inputs, **more):
    return [s.name for s in stages(module, inputs, read=lambda out: out, **more)]


class Odd(nn.Module):
    """Layers declared in another order than they run, one unused, one under no_grad, a token, an attention."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.aux = nn.Linear(8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.BatchNorm1d(8, affine=False)
        self.frozen = nn.Conv2d(3, 8, 4, 4)
        self.spare = nn.Parameter(torch.randn(2, 2))
        self.body = Body()

    def forward(self, x):
        with torch.no_grad():
            x = self.frozen(x)
        x = self.body(x.flatten(2).transpose(1, 2))
        x = self.attention(x, x, x)[0].mean(1)
        return self.head(self.norm(x))


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, 24, 8) * 0.02)
        self.inner = nn.Linear(8, 8)

    def forward(self, x):
        return self.inner(x + self.position)


def test_layers_from_the_top_down(nets, batch):
    assert names(nets.gap(), batch) == ["fc", "conv2", "bn1", "conv1"]
    net = nets.deep_head()
    assert names(net, batch) == ["classifier.2", "classifier.0", "features.2", "features.0"]
    grouped = stages(net, batch, read=lambda out: out, depth=1)
    assert [(s.name, s.layers) for s in grouped] == [
        ("classifier", ("classifier.2", "classifier.0")),
        ("features", ("features.2", "features.0")),
    ]
    assert names(net, batch, depth=2) == names(net, batch)


def test_the_order_is_that_of_the_pass_and_only_what_matters_is_a_stage(batch):
    x = torch.randn(2, 3, 24, 16)
    found = names(Odd().eval(), x)
    assert found[:2] == ["head", "norm"]
    assert set(found[2:4]) == {"attention", "attention.out_proj"}
    assert found[4:] == ["body.inner", "body", "frozen"]  # no aux, and no spare parameter


def test_a_layer_used_twice_stands_where_it_runs_last():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.a(self.b(self.a(x)))

    assert names(Twice(), torch.randn(2, 4)) == ["a", "b"]


def test_the_root_has_a_name():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3))

        def forward(self, x):
            return x @ self.weight

    (stage,) = stages(Root(), torch.randn(2, 4), read=lambda out: out)
    assert (stage.name, stage.layers) == ("Root", ("",))
    net = Root()
    assert not torch.equal(reinitialised(net, stage.layers, seed=0).weight, net.weight)


def few(module, inputs, **more):
    return few_stages(module, inputs, read=lambda out: out, **more)


class Boxes(nn.Sequential):
    """Linear layers in a row, in boxes of so many."""

    def __init__(self, *sizes):
        super().__init__()
        for number, size in enumerate(sizes):
            row = [nn.Linear(4, 4) for _ in range(size)]
            self.add_module(f"b{number}", nn.Sequential(*row) if size > 1 else row[0])


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [
        # Three boxes, none with more than half of the layers: one stage each.
        ((2, 2, 2), 8, ["b2", "b1", "b0"]),
        # One box has more than half: one step further down, all layers then.
        ((3, 1), 8, ["b1", "b0.2", "b0.1", "b0.0"]),
        # Too many: the lowest of the smallest neighbours first, never the top.
        ((1, 1, 1, 1, 1), 4, ["b4", "b3", "b2", "b1 to b0"]),
        ((1, 1, 1, 1, 1), 3, ["b4", "b3 to b2", "b1 to b0"]),
        ((1, 1, 1, 1, 1), 2, ["b4", "b3 to b0"]),
        ((3, 1, 1, 3), 3, ["b3", "b2 to b1", "b0"]),
        ((3, 1, 1, 3), 2, ["b3", "b2 to b0"]),
    ],
)
def test_few_stages(sizes, most, expected):
    net, x = Boxes(*sizes), torch.randn(2, 4)
    found = few(net, x, most=most)
    assert [stage.name for stage in found] == expected
    layers = [layer for stage in found for layer in stage.layers]
    assert layers == names(net, x)  # each once, from the top down


def test_few_stages_of_a_network_that_cannot_be_divided():
    assert [s.name for s in few(nn.Linear(4, 4), torch.randn(2, 4))] == ["Linear"]


def test_few_stages_are_two_at_least():
    with pytest.raises(
        OptionError, match=r"most is the largest number of stages, at least 2; got 1"
    ):
        few(Boxes(1, 1), torch.randn(2, 4), most=1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", ["fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"]),
        ("vgg11", 8),
        ("vit_b_32", 8),
        ("mobilenet_v3_small", 8),
    ],
)
def test_few_stages_of_known_networks(name, expected):
    net = getattr(torchvision.models, name)(weights=None).eval()
    found = few(net, torch.zeros(1, 3, 224, 224))
    if isinstance(expected, int):
        assert len(found) == expected
        total = sum(len(stage.layers) for stage in found)
        assert max(len(stage.layers) for stage in found) <= total / 2
    else:
        assert [stage.name for stage in found] == expected


def test_nothing_is_left_behind(nets, batch, unchanged):
    net = nets.gap("inplace").train()
    net.conv2.weight.requires_grad_(requires_grad=False)
    with unchanged(net, batch):
        order = stages(net, batch, read=lambda out: out)
        reinitialised(net, [n for s in order for n in s.layers], seed=3)
    with torch.inference_mode(), unchanged(net, batch):
        assert stages(net, batch, read=lambda out: out) == order
        fresh = reinitialised(net, ["fc"], seed=3)
    assert not fresh.training
    assert not fresh.fc.weight.is_inference()


def test_only_the_layers_named_forget(nets):
    net = nets.gap()
    fresh = reinitialised(net, ["conv2", "bn1"], seed=0)
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        other = (
            fresh.get_parameter(name)
            if name in dict(net.named_parameters())
            else fresh.get_buffer(name)
        )
        assert other.data_ptr() != tensor.data_ptr()
        forgot = name.startswith(("conv2", "bn1")) and "tracked" not in name
        assert torch.equal(tensor, other) != forgot, name


def test_normalisations_return_to_their_initial_state(nets):
    net = nets.gap()
    net.bn1.num_batches_tracked.fill_(7)
    bn = reinitialised(net, ["bn1"], seed=0).bn1
    assert bn.weight.eq(1).all()
    assert bn.bias.eq(0).all()
    assert bn.running_mean.eq(0).all()
    assert bn.running_var.eq(1).all()
    for norm in (nn.LayerNorm(6), nn.GroupNorm(2, 6), nn.RMSNorm(6)):
        with torch.no_grad():
            norm.weight.mul_(3)
        assert reinitialised(norm, [""], seed=0).weight.eq(1).all()


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (nn.Conv2d(32, 64, 3), 32 * 9),
        (nn.Conv2d(32, 64, 5, groups=4), 8 * 25),
        (nn.ConvTranspose2d(64, 32, 3), 64 * 9),
        (nn.ConvTranspose2d(64, 32, 3, groups=4), 16 * 9),
        (nn.Linear(300, 100), 300),
        (nn.MultiheadAttention(64, 4), 64),
    ],
)
def test_weights_are_a_cut_normal_of_variance_2_over_fan_in(layer, fan_in):
    fresh = reinitialised(layer, [""], seed=1)
    for name, parameter in fresh.named_parameters(recurse=False):
        if parameter.ndim < 2:
            assert parameter.eq(0).all(), name
            continue
        sd = math.sqrt(2 / fan_in)
        values = parameter.double().flatten().numpy()
        assert values.std() == pytest.approx(sd, rel=0.03)
        cut = sd / stats.truncnorm(-2, 2).std()
        assert abs(values).max() <= 2 * cut * 1.0001
        assert stats.kstest(values / cut, stats.truncnorm(-2, 2).cdf).pvalue > 1e-3


def test_other_parameters_keep_their_scale_and_zero_stays_zero():
    module = nn.Module()
    module.token = nn.Parameter(torch.full((1, 1, 5000), 0.3))
    module.zero = nn.Parameter(torch.zeros(7))
    module.none = nn.Parameter(torch.zeros(0))
    fresh = reinitialised(module, [""], seed=0)
    assert fresh.token.std().item() == pytest.approx(0.3, rel=0.03)
    assert abs(fresh.token.mean().item()) < 0.02
    assert fresh.zero.eq(0).all()


def test_the_same_seed_and_layer_forget_to_the_same_values(nets):
    net = nets.deep_head()
    alone = reinitialised(net, ["features.2"], seed=4)
    together = reinitialised(net, ["classifier.2", "features.2"], seed=4)
    assert torch.equal(alone.features[2].weight, together.features[2].weight)
    other = reinitialised(net, ["features.2"], seed=5)
    assert not torch.equal(alone.features[2].weight, other.features[2].weight)
    twins = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    fresh = reinitialised(twins, ["0", "1"], seed=0)
    assert not torch.equal(fresh[0].weight, fresh[1].weight)


def test_two_parameters_of_one_layer_forget_to_different_values():
    module = nn.Module()
    module.one, module.two = (nn.Parameter(torch.ones(50)) for _ in range(2))
    fresh = reinitialised(module, [""], seed=0)
    assert not torch.equal(fresh.one, fresh.two)


def test_statistics_are_forgotten_without_weights_too():
    norm = nn.BatchNorm2d(4, affine=False)
    norm.running_var.fill_(9)
    assert reinitialised(norm, [""], seed=0).running_var.eq(1).all()
    assert norm.running_var.eq(9).all()


def test_precision_is_kept_and_values_agree_across_it(nets):
    net = nets.gap()
    half = reinitialised(nets.gap().bfloat16(), ["conv2"], seed=0).conv2.weight
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(
        half.float(), reinitialised(net, ["conv2"], seed=0).conv2.weight, rtol=1e-2, atol=1e-3
    )


def test_shared_weights_stay_shared():
    net = SimpleNamespace(a=nn.Linear(4, 4))
    tied = nn.Sequential(net.a, nn.ReLU(), net.a)
    fresh = reinitialised(tied, ["0"], seed=0)
    assert fresh[0] is fresh[2]


def test_signals_keep_their_scale_through_many_forgetful_layers():
    deep = nn.Sequential(
        *[
            m
            for _ in range(40)
            for m in (
                nn.Conv2d(16, 16, 3, padding=1, padding_mode="circular"),
                nn.BatchNorm2d(16),
                nn.ReLU(),
            )
        ]
    )
    with torch.no_grad():
        for part in deep:
            if isinstance(part, nn.Conv2d):
                part.weight.mul_(1e3)  # a batch norm behind it would have made up for this
    fresh = reinitialised(deep.eval(), [n for n, m in deep.named_modules() if n], seed=0)
    out = fresh(torch.randn(1, 16, 8, 8))
    assert 0.01 < out.std().item() < 100


def test_what_cannot_be_done_is_refused(nets, batch):
    with pytest.raises(LayerError, match=r'layer "conv9" is not in GapNet; nearest: "conv'):
        reinitialised(nets.gap(), ["conv9"], seed=0)
    with pytest.raises(
        OptionError, match=r"depth is a number of parts .* at least 1, or None; got 0"
    ):
        stages(nets.gap(), batch, read=lambda out: out, depth=0)
    with pytest.raises(ModelError, match=r"no layer of the network learns"):
        stages(nn.Sequential(nn.ReLU(), nn.Flatten()), batch, read=lambda out: out)
