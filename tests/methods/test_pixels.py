"""The gradient at the image against loops in float64, and the one pass it shares with all other methods."""

import copy

import numpy as np
import pytest
import torch

import saliscope as sc
from saliscope.explainer import resolve_specs
from saliscope.methods import map_batch, parse_method
from saliscope.methods.noise import noisy_copies
from saliscope.methods.pixels import one_map

PLAIN = ["gradient", "input-x-gradient", "smoothgrad", "vargrad"]


def gradients(net, x, target):
    """dy/dx in float64 (B, C, H, W), numpy."""
    net = copy.deepcopy(net).double()
    leaf = x.double().requires_grad_(True)
    (found,) = torch.autograd.grad(net(leaf)[:, target].sum(), leaf)
    return found.numpy()


def over_channels(values, channels):
    """(C, H, W) to (H, W), pixel by pixel."""
    out = np.zeros(values.shape[1:])
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            column = [float(values[c, i, j]) for c in range(values.shape[0])]
            out[i, j] = sum(column) if channels == "sum" else max(abs(v) for v in column)
    return out


@pytest.fixture
def net(nets):
    return nets.deep_head()


@pytest.mark.parametrize("channels", ["sum", "absmax"])
@pytest.mark.parametrize("method", ["gradient", "input-x-gradient"])
def test_against_loops(net, batch, close, method, channels):
    found = sc.attribute(net, batch, 2, method=method, channels=channels)
    g = gradients(net, batch, 2)
    values = g if method == "gradient" else g * batch.double().numpy()
    for i in range(3):
        close(found[i], over_channels(values[i], channels))
    kept = sc.attribute(net, batch, 2, method=method, channels="keep")
    assert kept.shape == batch.shape
    for i in range(3):
        for c in range(3):
            close(kept[i, c], values[i, c])


def test_the_gradient_by_finite_differences(net, batch):
    """Independent of autograd altogether."""
    net64, x = copy.deepcopy(net).double(), batch[:1].double()
    found = sc.attribute(net64, x, 1, method="gradient", channels="keep")[0]
    for place in [(0, 3, 5), (1, 20, 2), (2, 11, 11)]:
        step = torch.zeros_like(x)
        step[0][place] = 1e-6
        with torch.no_grad():
            slope = (net64(x + step) - net64(x - step))[0, 1] / 2e-6
        assert float(found[place]) == pytest.approx(float(slope), rel=1e-5, abs=1e-9)


def test_the_papers_defaults(net, batch):
    """Simonyan: the largest absolute value; input times gradient: the sum."""
    for method, channels in [("gradient", "absmax"), ("smoothgrad", "absmax"), ("vargrad", "absmax"),
                             ("input-x-gradient", "sum")]:  # fmt: skip
        plain = sc.attribute(net, batch, 1, method=method)
        assert torch.equal(plain, sc.attribute(net, batch, 1, method=method, channels=channels))
        assert bool((plain >= 0).all()) is (channels == "absmax")
        assert plain.shape == (3, 24, 16)
    assert len(noise_of("smoothgrad")) == len(noise_of("vargrad")) == 50


def noise_of(method):
    return range(parse_method(method).method.smooth)


@pytest.mark.parametrize("channels", ["sum", "absmax", "keep"])
@pytest.mark.parametrize("method", ["smoothgrad", "vargrad", "gradient"])
def test_copies_by_hand(net, batch, close, method, channels):
    """Averaged with their signs, channel by channel; the channels become one afterwards."""
    found = sc.attribute(net, batch, 3, method=method, smooth=7, noise=0.3, seed=4, channels=channels)  # fmt: skip
    copies = [gradients(net, c, 3) for c in noisy_copies(batch, 7, level=0.3, seed=4)]
    for i in range(3):
        mean = sum(c[i] for c in copies) / 7
        values = sum((c[i] - mean) ** 2 for c in copies) / 7 if method == "vargrad" else mean
        if channels == "keep":
            for c in range(3):
                close(found[i, c], values[c])
        else:
            close(found[i], over_channels(values, channels))


def test_the_mean_comes_before_the_size(net, batch):
    """A mean of absolute gradients is another map, which grows with the noise."""
    found = sc.attribute(net, batch, 3, method="smoothgrad", smooth=7, noise=0.3)
    sizes = [over_channels(gradients(net, c, 3)[0], "absmax") for c in noisy_copies(batch, 7, level=0.3, seed=0)]  # fmt: skip
    other = torch.from_numpy(sum(sizes) / 7)
    assert float((found[0] - other).abs().max() / other.max()) > 0.05


def test_smoothgrad_is_a_smooth_gradient(net, batch):
    smooth = sc.attribute(net, batch, 1, method="gradient", smooth=5)
    assert torch.equal(smooth, sc.attribute(net, batch, 1, method="smoothgrad", smooth=5))
    quiet = sc.attribute(net, batch, 1, method="smoothgrad", smooth=2, noise=0.0)
    torch.testing.assert_close(quiet, sc.attribute(net, batch, 1, method="gradient"))
    assert float(sc.attribute(net, batch, 1, method="vargrad", smooth=3, noise=0.0).max()) == 0


@pytest.mark.parametrize("door", ["raw", "prepared", "inference"])
def test_a_probability_and_a_function(nets, batch, close, door):
    net = nets.gap("inplace")
    thing = sc.Model(net, (24, 16)) if door == "prepared" else net
    with torch.inference_mode(door == "inference"):
        p = sc.attribute(thing, batch, 2, method="gradient", channels="sum", target_space="probability")  # fmt: skip
        f = sc.attribute(thing, batch, lambda o: o[:, 0] - o[:, 1], method="gradient", channels="sum")  # fmt: skip
    twin = copy.deepcopy(net).double()
    leaf = batch.double().requires_grad_(True)
    (gp,) = torch.autograd.grad(twin(leaf).softmax(1)[:, 2].sum(), leaf)
    leaf = batch.double().requires_grad_(True)
    z = twin(leaf)
    (gf,) = torch.autograd.grad((z[:, 0] - z[:, 1]).sum(), leaf)
    for i in range(3):
        close(p[i], gp[i].sum(0))
        close(f[i], gf[i].sum(0))


def test_several_classes_and_kept_channels(net, batch):
    targets = torch.tensor([[0, 4], [1, 1], [2, 0]])
    for method in PLAIN:
        kept = sc.attribute(net, batch, targets, method=method, channels="keep", smooth=4)
        assert kept.shape == (3, 2, 3, 24, 16)
        alone = sc.attribute(net, batch[:1], 4, method=method, channels="keep", smooth=4)
        torch.testing.assert_close(kept[0, 1], alone[0], rtol=1e-4, atol=1e-7)
        assert torch.equal(kept[1, 0], kept[1, 1])
        assert not torch.equal(kept[0, 0], kept[0, 1])


def test_one_backward_pass_for_pixels_and_layers(nets, batch, monkeypatch):
    network = sc.Model(nets.gap("inplace"), (24, 16)).network()
    calls, real = [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: calls.append(a) or real(*a, **k))
    specs = ["gradient", "input-x-gradient", "gradient:channels=keep", "grad-cam@conv2", "layer-cam@act1"]  # fmt: skip
    together = map_batch(network, batch, [parse_method(s) for s in specs], target=1)
    assert len(calls) == 1
    assert len(calls[0][1]) == 3, "the image and two layers"
    calls.clear()
    specs = ["smoothgrad:smooth=4", "vargrad:smooth=4"]
    map_batch(network, batch, [parse_method(s) for s in specs], target=1)
    assert len(calls) == 2, "a copy that shows what a pass takes, and the other three in one pass"
    monkeypatch.undo()
    alone = map_batch(network, batch, [parse_method("gradient")], target=1)
    torch.testing.assert_close(together.signed[0], alone.signed[0])


def test_a_network_that_changes_its_input(nets, batch, close):
    """The gradient is at the image as it was given."""

    class Shifting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nets.deep_head()

        def forward(self, x):
            return self.net(x.mul_(2).add_(1))

    own = Shifting().eval()
    for thing in (own, sc.Model(own, (24, 16))):
        kept = batch.clone()
        found = sc.attribute(thing, batch, 1, method="input-x-gradient")
        assert torch.equal(batch, kept)
        g = gradients(own.net, batch * 2 + 1, 1) * 2 * batch.double().numpy()
        for i in range(3):
            close(found[i], over_channels(g[i], "sum"))


def test_named_inputs_and_more_than_three_channels(close):
    torch.manual_seed(0)

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(5, 4, 3)

        def forward(self, pixel_values, shift):
            return self.conv(pixel_values).relu().mean((2, 3)) + shift

    net, x = Two().eval(), torch.randn(2, 5, 9, 8)
    found = sc.attribute(net, {"shift": torch.zeros(2, 4), "pixel_values": x}, 1, method="gradient")
    leaf = x.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(net(leaf, 0)[:, 1].sum(), leaf)
    assert torch.equal(found, g.abs().amax(1))


def test_one_map_of_channels():
    x = torch.tensor([[[1.0, -3.0]], [[-2.0, 1.0]]])
    assert one_map(x, "sum").tolist() == [[-1, -2]]
    assert one_map(x, "absmax").tolist() == [[2, 3]]
    assert one_map(x, "keep") is x


# --- refused ---------------------------------------------------------------------------------------------------------


def test_kept_channels_are_no_explanation(nets, photos):
    model = sc.Model(nets.gap(), 32)
    says = r"gradient with channels=keep makes a map for each colour, and an explanation has one; use channels=sum"
    with pytest.raises(sc.MethodError, match=says):
        sc.explain(model, photos[0], "gradient:channels=keep")
    with pytest.raises(sc.MethodError, match=says):
        sc.compare(model, photos[0], ["grad-cam", "gradient:channels=keep"])
    with pytest.raises(sc.MethodError, match=says):
        resolve_specs(model, [parse_method("gradient:channels=keep")])


def test_options_refused(net, batch):
    with pytest.raises(sc.MethodError, match=r"gradient:channels is one of 'sum', 'absmax', 'keep'; got 'mean'"):  # fmt: skip
        sc.attribute(net, batch, 1, method="gradient", channels="mean")
    with pytest.raises(sc.MethodError, match=r"smoothgrad is the mean over noisy copies: smooth is at least 1; got 0"):  # fmt: skip
        parse_method("smoothgrad:smooth=0")
    with pytest.raises(sc.MethodError, match=r"vargrad is a variance among noisy copies: smooth is at least 2; got 1"):  # fmt: skip
        parse_method("vargrad:smooth=1")
    with pytest.raises(sc.MethodError, match=r"gradient is not read from a layer"):
        parse_method("gradient@layer4")
    with pytest.raises(sc.LayerError, match=r"looks at the picture itself; the inputs hold no \(B, C, H, W\) tensor"):  # fmt: skip
        sc.attribute(torch.nn.Linear(3, 2), torch.randn(2, 3), 1, method="gradient")
