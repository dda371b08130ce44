import threading

import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.engine import shadow, unwrap
from saliscope.errors import ModelError


def test_wrappers_are_taken_off(nets):
    net = nets.gap()
    assert unwrap(net) is net
    assert unwrap(nn.DataParallel(net)) is net
    assert unwrap(torch.compile(net)) is net
    assert unwrap(nn.DataParallel(torch.compile(net))) is net


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrapped_networks_give_the_same_maps(nets, batch, wrap):
    net = nets.deep_head()
    expected = sc.attribute(net, batch, 1, layer="features.2", relu=False)
    assert torch.equal(sc.attribute(wrap(net), batch, 1, layer="features.2", relu=False), expected)
    found = sc.attribute(sc.Model(wrap(net), (24, 16)), batch, 1, layer="features.2", relu=False)
    torch.testing.assert_close(found, expected)


def test_a_module_compiled_in_place_is_run_uncompiled(nets, batch):
    net = nets.deep_head()
    expected = sc.attribute(net, batch, 1, layer="features.2", relu=False)

    def backend(graph, inputs):
        raise AssertionError("the compiled original must not run")

    net.compile(backend=backend)
    assert torch.equal(sc.attribute(net, batch, 1, layer="features.2", relu=False), expected)


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused(nets, batch):
    scripted = torch.jit.trace(nets.gap(), batch)
    with pytest.raises(
        ModelError, match=r"TorchScript network hides its layers; give the torch\.nn"
    ):
        sc.attribute(scripted, batch, 0)
    with pytest.raises(ModelError, match="TorchScript"):
        sc.Model(scripted)


def test_what_is_no_module_is_refused(batch):
    with pytest.raises(ModelError, match=r"a network is a torch\.nn\.Module; got function"):
        sc.attribute(lambda x: x, batch)
    with pytest.raises(ModelError, match="got str"):
        unwrap("resnet50")


def test_lazy_layers_that_never_ran_are_refused(batch):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(ModelError, match="lazy layers that were never run"):
        sc.attribute(net, batch, 0, layer="0")


def test_a_shadow_shares_parameters_and_nothing_else(nets):
    net = nets.gap().train()
    twin = shadow(net)
    assert type(twin) is type(net)
    assert not any(part.training for part in twin.modules())
    assert all(part.training for part in net.modules())
    ours, theirs = dict(net.named_parameters()), dict(twin.named_parameters())
    assert ours.keys() == theirs.keys()
    for name, parameter in theirs.items():
        assert parameter is not ours[name]
        assert parameter.data_ptr() == ours[name].data_ptr()
        assert not parameter.requires_grad
    for name, buffer in twin.named_buffers():
        assert buffer.data_ptr() != dict(net.named_buffers())[name].data_ptr()
    assert {id(m) for m in net.modules()}.isdisjoint({id(m) for m in twin.modules()})
    own = shadow(net, share=False)
    for name, parameter in own.named_parameters():
        assert parameter.data_ptr() != ours[name].data_ptr()
        assert torch.equal(parameter, ours[name])


def test_shared_modules_and_parameters_stay_shared():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    net.append(net[0])
    net[2].weight = net[0].weight
    twin = shadow(net)
    assert twin[3] is twin[0]
    assert twin[2].weight is twin[0].weight
    assert twin[0].weight is not net[0].weight


def test_attributes_that_cannot_be_copied_are_shared(batch):
    class Locked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.lock = nn.Conv2d(3, 4, 1), threading.Lock()
            self.scale = self.conv.weight.sum()  # not a leaf: deepcopy refuses it
            self.me = [self.conv]

        def forward(self, x):
            with self.lock:
                return (self.me[0](x) * self.scale).mean((2, 3))

    net = Locked()
    twin = shadow(net)
    assert twin.lock is net.lock
    assert twin.me[0] is twin.conv
    assert sc.attribute(net, batch, 0, layer="conv").shape == (3, 24, 16)


class Listener:
    def __init__(self):
        self.lock, self.seen = threading.Lock(), 0

    def hear(self, module, given, output):
        self.seen += 1


def test_hooks_that_cannot_be_copied_stay_the_users(nets, batch):
    """A table of hooks that is shared for want of a copy would take our own hooks into the user's network."""
    net, listener = nets.gap("inplace"), Listener()
    net.conv2.register_forward_hook(listener.hear)
    for thing in (net, sc.Model(net, (24, 16))):
        sc.attribute(thing, batch, 1, layer="conv2")
        assert len(net.conv2._forward_hooks) == 1


def test_backward_hooks_of_the_user_are_not_run(nets, batch):
    net = nets.deep_head(inplace=False)
    expected = sc.attribute(net, batch, 1, layer="features.0", relu=False)
    calls = []

    def guided(module, by_input, by_output):
        calls.append(module)
        return (by_input[0].clamp(min=0),)

    net.features[1].register_full_backward_hook(guided)
    net.features[1].register_full_backward_pre_hook(lambda m, g: calls.append(m))
    found = sc.attribute(net, batch, 1, layer="features.0", relu=False)
    assert torch.equal(found, expected)
    assert calls == []


def test_forward_hooks_of_the_user_are_part_of_the_network(nets, batch):
    net = nets.deep_head()
    plain = sc.attribute(net, batch, 1, layer="features.2", relu=False)
    net.features[2].register_forward_hook(lambda m, i, o: o * 2)
    doubled = nets.deep_head()
    doubled.load_state_dict(net.state_dict())
    with torch.no_grad():
        doubled.features[2].weight.mul_(2)
        doubled.features[2].bias.mul_(2)
    expected = sc.attribute(doubled, batch, 1, layer="features.2", relu=False)
    torch.testing.assert_close(
        sc.attribute(net, batch, 1, layer="features.2", relu=False), expected
    )
    assert not torch.allclose(plain, expected)


@pytest.mark.parametrize("wrap", ["weight_norm", "spectral_norm"])
def test_parametrised_layers_follow_their_parameters(batch, wrap):
    from torch.nn.utils import parametrizations

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    expected_net = nn.Sequential(*net)
    net[0] = getattr(parametrizations, wrap)(net[0]).eval()
    with torch.no_grad():
        plain = nn.Conv2d(3, 4, 3)
        plain.weight.copy_(net[0].weight)
        plain.bias.copy_(net[0].bias)
    expected_net[0] = plain
    found = sc.attribute(net, batch, 2, layer="0", relu=False)
    expected = sc.attribute(expected_net, batch, 2, layer="0", relu=False)
    torch.testing.assert_close(found, expected)
