"""A call leaves no trace on the network, the inputs or torch, also when it raises; and works in any mode."""

import threading
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.errors import LayerError, MethodError, SaliscopeError, TargetError

LAYERS = ["conv1", "bn1", "act1", "conv2", "act2"]


def maps_of(thing, x, **options):
    found = sc.attribute(
        thing, x, torch.tensor([[0, 3]] * len(x)), layer=LAYERS, relu=False, **options
    )
    return torch.cat([m.flatten(2) for m in found.values()], 2)


def make_frozen(net):
    net.requires_grad_(requires_grad=False)


def make_training(net):
    net.train()


def make_mixed(net):
    net.train()
    net.bn1.eval()
    net.conv1.weight.requires_grad_(requires_grad=False)
    net(torch.randn(4, 3, 24, 16)).sum().backward()  # leaves .grad


def make_hooked(net):
    net.conv2.register_forward_hook(lambda m, i, o: o * 1)
    net.conv1.register_full_backward_hook(lambda m, i, o: None)
    net.fc.register_forward_pre_hook(lambda m, i: None)


@pytest.mark.parametrize("state", [make_frozen, make_training, make_mixed, make_hooked])
@pytest.mark.parametrize("prepared", [True, False])
def test_nothing_changes(nets, batch, unchanged, state, prepared):
    net = nets.gap("inplace")
    expected = maps_of(net, batch)
    state(net)
    statistics = net.bn1.running_mean.clone(), net.bn1.running_var.clone()
    if state is make_mixed:
        net.load_state_dict(nets.gap("inplace").state_dict() | net.state_dict())
        expected = maps_of(net, batch)
    thing = sc.Model(net, (24, 16), prepare=prepared)
    inputs = batch.clone().requires_grad_(True)
    with unchanged(net, inputs):
        raw, through_model = maps_of(net, inputs), maps_of(thing, inputs)
    torch.testing.assert_close(raw, expected)
    torch.testing.assert_close(through_model, expected, rtol=1e-4, atol=1e-6)
    if state is make_training:
        assert torch.equal(net.bn1.running_mean, statistics[0])
        assert torch.equal(net.bn1.running_var, statistics[1])
        assert int(net.bn1.num_batches_tracked) == 0


def bad_target(output):
    raise KeyError("mine")


class Explodes(nn.Module):
    def forward(self, x):
        raise ZeroDivisionError("half-way")


CALLS = {
    "unknown layer": (LayerError, {"layer": "nope"}),
    "no grid": (LayerError, {"layer": "fc"}),
    "class outside": (TargetError, {"target": 99, "layer": "conv1"}),
    "few targets": (TargetError, {"target": [1], "layer": "conv1"}),
    "own error": (KeyError, {"target": bad_target, "layer": "conv1"}),
    "wrong scalars": (TargetError, {"target": lambda o: o, "layer": "conv1"}),
    "detached scalars": (LayerError, {"target": lambda o: o.detach()[:, 0], "layer": "conv1"}),
    "cam elsewhere": (MethodError, {"method": "cam", "layer": "conv1"}),
    "option": (MethodError, {"layer": "conv1", "colour": 3}),
    "network": (ZeroDivisionError, {"layer": "conv1", "explode": True}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("door", ["raw", "model"])
def test_nothing_changes_when_the_call_raises(nets, batch, unchanged, call, door):
    error, options = CALLS[call]
    options = dict(options)
    net = nets.gap("inplace").train()
    if options.pop("explode", False):
        net.act2 = Explodes()
    thing = sc.Model(net, (24, 16)) if door == "model" else net
    target = options.pop("target", 0)
    with unchanged(net, batch), pytest.raises(error):
        sc.attribute(thing, batch, target, **options)
    if error is not ZeroDivisionError:
        assert maps_of(thing, batch).isfinite().all(), "the next call works"


def test_the_users_error_reaches_him_unchanged(nets, batch):
    with pytest.raises(KeyError, match="mine"):
        sc.attribute(nets.gap(), batch, bad_target, layer="conv1")


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "enable_grad": torch.enable_grad,
    "both": lambda: torch.autograd.set_grad_enabled(False),
}


@pytest.mark.parametrize("mode", MODES)
def test_the_callers_grad_mode_does_not_matter(nets, batch, unchanged, mode):
    net = nets.gap("inplace")
    expected = maps_of(net, batch)
    with MODES[mode]():
        inside = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        model = sc.Model(net, (24, 16))
        private = batch.clone()  # an inference tensor in inference mode
        with unchanged(net):
            raw, found = maps_of(net, private), maps_of(model, private)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == inside
    torch.testing.assert_close(raw, expected)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(maps_of(model, batch), expected, rtol=1e-4, atol=1e-6)


def test_a_network_built_in_inference_mode(nets, batch):
    with torch.inference_mode():
        torch.manual_seed(3)
        net = nets.gap("inplace")
    torch.manual_seed(3)
    twin = nets.gap("inplace")
    expected = maps_of(twin, batch)
    torch.testing.assert_close(maps_of(net, batch), expected)
    torch.testing.assert_close(
        maps_of(sc.Model(net, (24, 16)), batch), expected, rtol=1e-4, atol=1e-6
    )
    assert next(net.parameters()).is_inference()


def test_under_autocast(nets, batch, unchanged):
    net = nets.gap("inplace")
    expected = maps_of(net, batch)
    model = sc.Model(net, (24, 16))
    with torch.autocast("cpu", torch.bfloat16), unchanged(net, batch):
        raw, found = maps_of(net, batch), maps_of(model, batch)
        cam = sc.attribute(net, batch, 0, method="cam")
    for maps in (raw, found):
        assert maps.dtype == torch.float32
        assert float((maps - expected).abs().max() / expected.abs().max()) < 0.05
    # a Model has a precision of its own
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert cam.isfinite().all()
    assert model.survey.head is not None, (
        "what the network is does not depend on the first call's mode"
    )
    assert model.survey.logits.dtype == torch.float32
    assert model.prepared().folded == 1
    torch.testing.assert_close(maps_of(model, batch), expected, rtol=1e-4, atol=1e-6)


def in_threads(work, count=8):
    results, errors = [None] * count, []
    start = threading.Barrier(count)

    def run(i):
        start.wait()
        try:
            results[i] = [work(i) for _ in range(3)]
        except Exception as err:
            errors.append(err)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return results


@pytest.mark.parametrize("door", ["model", "raw"])
def test_eight_threads_on_one_network(nets, unchanged, door):
    """Different inputs, classes and layers at once, some of which need a copy without folding."""
    net = nets.gap("inplace").train()
    inputs = [torch.randn(2, 3, 24, 16) for _ in range(8)]
    thing = sc.Model(net, (24, 16)) if door == "model" else net

    def one(thing, i):
        layer = LAYERS[i % 5]
        return sc.attribute(thing, inputs[i], i % 5, layer=layer, relu=False)

    single = [one(sc.Model(net, (24, 16)) if door == "model" else net, i) for i in range(8)]
    with unchanged(net, *inputs):
        results = in_threads(lambda i: one(thing, i))
    for expected, found in zip(single, results, strict=True):
        for again in found:
            torch.testing.assert_close(again, expected)


def test_eight_threads_on_photographs(nets, photos):
    net = nets.gap("inplace")
    model = sc.Model(net, 32)
    single = [sc.explain(sc.Model(net, 32), photos[i % 5], "cam").map for i in range(8)]
    results = in_threads(lambda i: sc.explain(model, photos[i % 5], "cam").map)
    for expected, found in zip(single, results, strict=True):
        for again in found:
            np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-6)


def test_grad_modes_of_threads_do_not_mix(nets, batch):
    net = nets.gap("inplace")
    expected = maps_of(net, batch)
    modes = [torch.no_grad, torch.inference_mode, nullcontext, torch.enable_grad]

    def work(i):
        with modes[i % 4]():
            before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
            found = maps_of(net, batch)
            assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
        return found

    for found in in_threads(work):
        torch.testing.assert_close(found[0], expected)


def test_explain_and_compare_leave_nothing(nets, photos, unchanged):
    net = nets.gap("inplace").train()
    model = sc.Model(net, 32)
    copies = [p.copy() for p in photos]
    with unchanged(net):
        sc.explain(model, photos, "grad-cam@conv2")
        sc.compare(model, photos[0], ["cam", "grad-cam", "random", "edges", "centre"]).table()
        with pytest.raises(SaliscopeError):
            sc.explain(model, photos, "grad-cam@nope")
        with pytest.raises(SaliscopeError):
            sc.explain(model, photos, target=77)
    for photo, copy in zip(photos, copies, strict=True):
        assert np.array_equal(photo, copy)


def test_no_tensor_is_kept_after_the_call(nets, batch):
    import gc
    import weakref

    net = nets.gap("inplace")
    model = sc.Model(net, (24, 16))
    maps = maps_of(model, batch)
    inputs = batch.clone()
    watched = weakref.ref(inputs)
    maps_of(model, inputs)
    del inputs
    gc.collect()
    before = sum(type(o) is torch.Tensor for o in gc.get_objects())
    for _ in range(3):
        maps_of(model, batch)
    gc.collect()
    after = sum(type(o) is torch.Tensor for o in gc.get_objects())
    assert watched() is None
    assert after <= before
    assert maps.isfinite().all()
