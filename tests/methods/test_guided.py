"""Deconvolution, guided backpropagation and Guided Grad-CAM: by hand, in every kind of network, or refused."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import saliscope as sc

RULES = ["deconvnet", "guided-backprop"]


def rule(name, signal, forward, upper=None):
    """What one ReLU passes on, cell by cell."""
    out, flat, values = torch.zeros_like(signal), signal.flatten(), forward.flatten()
    for i in range(len(flat)):
        is_open = values[i] > 0 and (upper is None or values[i] < upper)
        if flat[i] > 0 and (name == "deconvnet" or is_open):
            out.view(-1)[i] = flat[i]
    return out


def by_hand(net, x, target, name):
    """A DeepHead walked back step by step, each step the transpose of its own; no autograd. One image, (3, H, W)."""
    net = copy.deepcopy(net).double()
    f, c = net.features, net.classifier
    x = x.double()[None]
    with torch.no_grad():
        z1 = f[0](x)
        z2 = f[2](z1.relu())
        pooled, where = F.max_pool2d(z2.relu(), 2, return_indices=True)
        flat = F.adaptive_avg_pool2d(pooled, 4).flatten(1)
        z3 = c[0](flat)
        r = c[2].weight[target][None]
        r = rule(name, r, z3.relu()) @ c[0].weight
        r = spread(r.view(1, 8, 4, 4), pooled.shape[2:])
        r = F.max_unpool2d(r, where, 2, output_size=z2.shape[2:])
        r = F.conv_transpose2d(rule(name, r, z2.relu()), f[2].weight, padding=1)
        r = rule(name, r, z1.relu())
        return F.conv_transpose2d(r, f[0].weight, stride=2, padding=1, output_padding=1)[0]


def spread(r, size):
    """The transpose of adaptive average pooling: each mean is given back in equal parts to the cells it came from."""
    out = torch.zeros(*r.shape[:2], *size, dtype=r.dtype)
    n = r.shape[-1]
    for i in range(n):
        for j in range(n):
            rows = slice(i * size[0] // n, -(-(i + 1) * size[0] // n))
            columns = slice(j * size[1] // n, -(-(j + 1) * size[1] // n))
            cells = (rows.stop - rows.start) * (columns.stop - columns.start)
            out[:, :, rows, columns] += r[:, :, i : i + 1, j : j + 1] / cells
    return out


@pytest.mark.parametrize("door", ["raw", "prepared"])
@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("name", RULES)
def test_against_every_step_by_hand(nets, batch, close, name, inplace, door):
    """Every image of the batch, not only the first, and a second call gives what the first gave."""
    net = nets.deep_head(inplace=inplace)
    thing = sc.Model(net, (24, 16)) if door == "prepared" else net
    targets = torch.tensor([[0, 3], [2, 2], [4, 1]])
    kept = sc.attribute(thing, batch, targets, method=name, channels="keep")
    again = sc.attribute(thing, batch, targets, method=name, channels="keep")
    assert torch.equal(kept, again), "nothing adds up from call to call"
    maps = sc.attribute(thing, batch, targets, method=name)
    for i in range(3):
        for k in range(2):
            expected = by_hand(net, batch[i], int(targets[i, k]), name)
            close(kept[i, k].flatten(1), expected.flatten(1))
            close(maps[i, k], expected.abs().amax(0))
    summed = sc.attribute(thing, batch, targets, method=name, channels="sum")
    close(summed[1, 0], by_hand(net, batch[1], 2, name).sum(0))


def test_the_two_rules_and_the_gradient_differ(nets, batch):
    net = nets.deep_head()
    maps = {m: sc.attribute(net, batch, 1, method=m) for m in [*RULES, "gradient"]}
    assert not torch.allclose(maps["deconvnet"], maps["guided-backprop"])
    assert not torch.allclose(maps["gradient"], maps["guided-backprop"])


class Written(nn.Module):
    """One network, whose two activations are written in many ways."""

    def __init__(self, act, *, shared=False):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.fc = nn.Linear(6, 4)
        self.act, self.act2 = act, act if shared else copy.deepcopy(act)
        torch.manual_seed(7)
        for part in (self.a, self.b, self.fc):
            nn.init.normal_(part.weight, std=0.3)

    def forward(self, x):
        x = self.act(self.a(x))
        return self.fc(self.act2(self.b(x)).mean((2, 3)))


@pytest.mark.parametrize("door", ["raw", "prepared"])
@pytest.mark.parametrize("name", RULES)
def test_one_map_however_the_relu_is_written(batch, name, door):
    ways = [Written(nn.ReLU()), Written(nn.ReLU(inplace=True)), Written(nn.ReLU(), shared=True),
        Written(nn.ReLU(inplace=True), shared=True), Written(F.relu), Written(torch.relu), Written(torch.Tensor.relu_),
        Written(lambda x: x.clamp(min=0)), Written(lambda x: x.clamp_(0)), Written(nn.Threshold(0, 0))]  # fmt: skip
    first = ways[0]
    maps = []
    for way in ways:
        way.load_state_dict(first.state_dict())
        maps.append(sc.attribute(sc.Model(way, (24, 16)) if door == "prepared" else way.eval(), batch, 1, method=name))  # fmt: skip
    for found in maps[1:]:
        torch.testing.assert_close(found, maps[0])
    assert not torch.allclose(maps[0], sc.attribute(first, batch, 1, method="gradient"))


@pytest.mark.parametrize(
    "act", [nn.ReLU6(), nn.ReLU6(inplace=True), F.relu6, lambda x: x.clamp(0, 6), nn.Hardtanh(0, 6)]
)
def test_a_relu6_is_shut_above(batch, act):
    """Where the input saturates the activation, guided backpropagation stops and deconvolution does not."""
    net = Written(act).eval()
    loud = batch * 40
    guided = sc.attribute(net, loud, 1, method="guided-backprop", channels="keep")
    plain = sc.attribute(Written(F.relu), loud, 1, method="guided-backprop", channels="keep")
    assert not torch.allclose(guided, plain)
    twin = copy.deepcopy(net).double()
    with torch.no_grad():
        z1 = twin.a(loud[:1].double())
        z2 = twin.b(z1.clamp(0, 6))
        r = (twin.fc.weight[1] / (24 * 16))[None, :, None, None].expand_as(z2)
        r = F.conv_transpose2d(rule("guided", r, z2.clamp(0, 6), 6), twin.b.weight, padding=1)
        r = F.conv_transpose2d(rule("guided", r, z1.clamp(0, 6), 6), twin.a.weight, padding=1)
    torch.testing.assert_close(guided[0].double(), r[0], rtol=1e-4, atol=1e-7)
    deconv = sc.attribute(net, loud, 1, method="deconvnet")
    torch.testing.assert_close(deconv, sc.attribute(Written(F.relu), loud, 1, method="deconvnet"))


class Excited(nn.Module):
    """Residual connection, batch norm, squeeze and excitation."""

    def __init__(self, gate=torch.sigmoid):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        )
        self.down, self.up = nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.fc, self.gate = nn.Linear(6, 4), gate

    def forward(self, x):
        x = self.stem(x)
        scale = self.gate(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))
        return self.fc(F.relu(x + x * scale).mean((2, 3)))


@pytest.mark.parametrize("gate", [torch.sigmoid, F.hardsigmoid, nn.Sigmoid(), nn.Hardsigmoid()])
@pytest.mark.parametrize("name", RULES)
def test_squeeze_and_excitation_is_a_product(nets, batch, name, gate):
    net = nets.lively(Excited(gate)).eval()
    raw = sc.attribute(net, batch, 1, method=name)
    torch.testing.assert_close(raw, sc.attribute(net, batch, 1, method=name, force=True))
    prepared = sc.attribute(sc.Model(net, (24, 16)), batch, 1, method=name)
    torch.testing.assert_close(prepared, raw, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", [*RULES, "guided-grad-cam@b"])
@pytest.mark.parametrize(("act", "word"), [
    (F.gelu, "GELU"), (nn.SiLU(), "SiLU"), (nn.Hardswish(), "Hardswish"), (torch.tanh, "tanh"),
    (lambda x: torch.sigmoid(x) + 0, "sigmoid"), (nn.LeakyReLU(), "leaky ReLU"), (nn.PReLU(), "PReLU"), (nn.ELU(), "ELU"),
    (lambda x: x * torch.sigmoid(x), "a signal times a function of itself, as in SiLU"),
    (nn.Hardtanh(), "hardtanh"), (lambda x: x.softmax(1) * 2 + x, "softmax"),
])  # fmt: skip
def test_activations_without_a_rule_are_refused_by_name(batch, name, act, word):
    net = Written(act).eval()
    net.act2 = nn.ReLU()
    says = rf"has a rule for ReLUs only, and this network has {word}; use integrated-gradients or smoothgrad, or force=true"
    with pytest.raises(sc.MethodError, match=says):
        sc.attribute(net, batch, 1, method=name)
    forced = sc.attribute(net, batch, 1, method=name, force=True)
    assert forced.isfinite().all()
    assert float(forced.max()) > 0


def test_force_leaves_all_but_the_relus_as_they_are(batch):
    net = Written(torch.tanh).eval()
    net.act2 = nn.ReLU()
    found = sc.attribute(net, batch, 1, method="guided-backprop", force=True, channels="keep")
    twin = copy.deepcopy(net).double()
    with torch.no_grad():
        a = torch.tanh(twin.a(batch.double()))
        z = twin.b(a).relu()
        r = (twin.fc.weight[1] / (24 * 16))[None, :, None, None] * (z > 0)
        r = F.conv_transpose2d(r.relu(), twin.b.weight, padding=1) * (1 - a**2)
        r = F.conv_transpose2d(r, twin.a.weight, padding=1)
    torch.testing.assert_close(found.double(), r, rtol=1e-4, atol=1e-7)


def test_several_activations_are_all_named(batch):
    net = Written(lambda x: F.gelu(x) + F.silu(x)).eval()
    net.act2 = nn.ReLU()
    with pytest.raises(sc.MethodError, match=r"this network has (GELU and SiLU|SiLU and GELU);"):
        sc.attribute(net, batch, 1, method="guided-backprop")


@pytest.mark.parametrize("name", [*RULES, "guided-grad-cam@b"])
@pytest.mark.parametrize("force", [False, True])
def test_a_network_without_a_relu_is_refused(batch, name, force):
    says = r"has a rule for ReLUs, and this network has none: the map would be the plain gradient; use gradient"
    with pytest.raises(sc.MethodError, match=says):
        sc.attribute(Written(lambda x: x + 1).eval(), batch, 1, method=name, force=force)
    if force:
        with pytest.raises(sc.MethodError, match=says):
            sc.attribute(Written(F.gelu).eval(), batch, 1, method=name, force=True)


def test_an_output_that_does_not_depend_on_the_image(batch):
    class Constant(nn.Module):
        def forward(self, x):
            return torch.zeros(len(x), 3)

    with pytest.raises(sc.LayerError, match=r"no gradient arrives at layer \"\(pixels\)\""):
        sc.attribute(Constant(), batch, 1, method="guided-backprop")


@pytest.mark.parametrize("door", ["raw", "prepared"])
@pytest.mark.parametrize("name", RULES)
def test_an_activation_inside_a_batch_norm(nets, batch, name, door):
    """As timm writes it: norm and ReLU are one module, and folding leaves the ReLU."""
    timm = pytest.importorskip("timm.layers")
    torch.manual_seed(0)
    fused = nn.Sequential(nn.Conv2d(3, 6, 3), timm.BatchNormAct2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))  # fmt: skip
    apart = nn.Sequential(fused[0], nn.Sequential(nn.BatchNorm2d(6), nn.ReLU()), *fused[2:])
    nets.lively(fused)
    apart[1][0].load_state_dict(fused[1].state_dict())
    thing = sc.Model(fused, (24, 16)) if door == "prepared" else fused.eval()
    found = sc.attribute(thing, batch, 1, method=name)
    torch.testing.assert_close(found, sc.attribute(apart.eval(), batch, 1, method=name), rtol=1e-4, atol=1e-6)  # fmt: skip
    assert not torch.allclose(found, sc.attribute(apart, batch, 1, method="gradient"))


@pytest.mark.parametrize(
    ("network", "word"),
    [("mobilenet_v3_small", "Hardswish"), ("regnet_y_400mf", None), ("mobilenet_v2", None), ("squeezenet1_1", None)],
)  # fmt: skip
def test_networks_of_others(network, word):
    """MobileNetV3 has Hardswish; RegNetY squeezes with a sigmoid, and every activation is a ReLU."""
    import torchvision

    torch.manual_seed(0)
    net, x = getattr(torchvision.models, network)(num_classes=5).eval(), torch.randn(1, 3, 64, 64)
    if word is None:
        assert sc.attribute(net, x, 1, method="guided-backprop").isfinite().all()
        return
    with pytest.raises(sc.MethodError, match=rf"this network has {word};"):
        sc.attribute(net, x, 1, method="guided-backprop")


# --- Guided Grad-CAM ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["features.0", "features.2", "features.4"])
def test_guided_grad_cam_by_hand(nets, batch, close, layer):
    net = nets.deep_head()
    targets = torch.tensor([[0, 3], [2, 2], [4, 1]])
    found = sc.attribute(net, batch, targets, method="guided-grad-cam", layer=layer, channels="keep")  # fmt: skip
    cam = sc.attribute(net, batch, targets, method="grad-cam", layer=layer)
    for i in range(3):
        for k in range(2):
            where = upsampled(cam[i, k].double(), (24, 16))
            signal = by_hand(net, batch[i], int(targets[i, k]), "guided")
            close(found[i, k].flatten(1), (signal * where).flatten(1))
    one = sc.attribute(net, batch, targets, method="guided-grad-cam", layer=layer)
    assert torch.equal(one, found.abs().amax(2))
    assert (cam >= 0).all()


def upsampled(grid, size):
    """Bilinear with half-pixel centres, pixel by pixel."""
    out = torch.zeros(size, dtype=torch.float64)
    (h, w), (height, width) = grid.shape, size
    for y in range(height):
        for x in range(width):
            u = min(max((y + 0.5) * h / height - 0.5, 0), h - 1)
            v = min(max((x + 0.5) * w / width - 0.5, 0), w - 1)
            i, j = int(u), int(v)
            a, b, i2, j2 = u - i, v - j, min(i + 1, h - 1), min(j + 1, w - 1)
            out[y, x] = (1 - a) * ((1 - b) * grid[i, j] + b * grid[i, j2]) + a * (
                (1 - b) * grid[i2, j] + b * grid[i2, j2]
            )
    return out


def test_guided_grad_cam_of_several_layers_and_the_recommended_one(nets, batch):
    net = nets.gap("inplace")
    both = sc.attribute(net, batch, 1, method="guided-grad-cam@conv1+conv2", channels="keep")
    cam = sc.attribute(net, batch, 1, method="grad-cam@conv1+conv2")
    guided = sc.attribute(net, batch, 1, method="guided-backprop", channels="keep")
    where = F.interpolate(cam[:, None], (24, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(both, where * guided)
    usual = sc.attribute(net, batch, 1, method="guided-grad-cam")
    torch.testing.assert_close(usual, sc.attribute(net, batch, 1, method="guided-grad-cam@act2"))


def test_a_network_without_logits_and_without_a_relu(batch):
    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x):
            return {"mask": self.conv(x)}

    with pytest.raises(sc.MethodError, match=r"and this network has none"):
        sc.attribute(Dense(), batch, lambda o: o["mask"].mean((1, 2, 3)), method="deconvnet")
