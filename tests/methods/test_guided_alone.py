"""Guided methods beside others: in threads, in modes of the user's own, under autocast; nothing else notices them."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

import saliscope as sc

RULES = ["deconvnet", "guided-backprop"]


def test_one_thread_guided_another_plain(nets, batch):
    """The results of both are those of the serial calls, on the same model."""
    model = sc.Model(nets.gap("inplace"), (24, 16))
    names = [
        "guided-backprop",
        "gradient",
        "deconvnet",
        "guided-grad-cam@conv2",
        "gradient",
        "grad-cam@conv1",
    ]
    serial = {name: sc.attribute(model, batch, 1, method=name) for name in names}
    start, errors, found = threading.Barrier(len(names)), [], []

    def work(name):
        try:
            start.wait()
            for _ in range(15):
                found.append((name, sc.attribute(model, batch, 1, method=name)))
        except Exception as err:
            errors.append(err)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(found) == 15 * len(names)
    for name, maps in found:
        torch.testing.assert_close(maps, serial[name])


def test_the_module_keeps_its_relus(nets, batch, unchanged):
    net = nets.gap("inplace")
    inputs = batch.clone().requires_grad_(True)
    before = [F.relu, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, torch.clamp]
    with unchanged(net, inputs):
        sc.attribute(net, inputs, 1, method="guided-backprop")
        with pytest.raises(sc.TargetError):
            sc.attribute(net, inputs, 99, method="guided-backprop")
    assert before == [F.relu, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, torch.clamp]  # fmt: skip
    assert inputs.grad is None


class Watching(TorchFunctionMode):
    """A user's own mode, which looks at what is called."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", RULES)
def test_inside_a_mode_of_the_users_own(nets, batch, name):
    net = nets.gap("functional")
    plain = sc.attribute(net, batch, 1, method=name)
    with Watching() as own:
        found = sc.attribute(net, batch, 1, method=name)
    assert torch.equal(found, plain)
    assert own.seen.count(F.relu) == 4, (
        "two in the network, asked for the scores and under the rule"
    )


@pytest.mark.parametrize("name", [*RULES, "guided-grad-cam@conv2"])
def test_functions_probabilities_and_smooth(nets, batch, name):
    net = nets.gap("inplace")
    as_class = sc.attribute(net, batch, 1, method=name)
    torch.testing.assert_close(sc.attribute(net, batch, lambda o: o[:, 1], method=name), as_class)
    p = sc.attribute(net, batch, 1, method=name, target_space="probability")
    assert not torch.allclose(p / p.amax(), as_class / as_class.amax())
    from saliscope.methods.noise import noisy_copies

    smooth = sc.attribute(net, batch, 1, method=name, smooth=3)
    each = [sc.attribute(net, c, 1, method=name, channels="keep") for c in noisy_copies(batch, 3, level=0.15, seed=0)]  # fmt: skip
    torch.testing.assert_close(
        smooth, torch.stack(each).mean(0).abs().amax(1), rtol=1e-4, atol=1e-7
    )


def test_autocast_reaches_the_network_and_not_our_sums(nets, batch):
    net = nets.deep_head()
    with torch.autocast("cpu", torch.bfloat16):
        found = sc.attribute(net, batch, 1, method="guided-grad-cam@features.2", channels="keep")
        signal = sc.attribute(net, batch, 1, method="guided-backprop", channels="keep")
        cam = sc.attribute(net, batch, 1, method="grad-cam@features.2")
    where = F.interpolate(cam[:, None], (24, 16), mode="bilinear", align_corners=False)
    assert torch.equal(found, where * signal)
    assert found.dtype == torch.float32


def test_the_caveat_is_a_fact():
    from saliscope.methods import METHODS

    for name in [*RULES, "guided-grad-cam"]:
        assert "sanity check" in METHODS[name].caveat
        assert "class" in METHODS[name].caveat
    assert METHODS["gradient"].caveat == ""
