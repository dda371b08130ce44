"""The faster copy equals the original, and what may not be folded is not."""

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import saliscope as sc
from saliscope.engine import prepare, survey
from saliscope.engine.prepare import foldable
from saliscope.models import logits_of


def prepared(net, x, **options):
    facts = survey(net, x, read=logits_of)
    return prepare(net, x, facts, read=logits_of, **options)


def logits(network, x):
    return network.capture(x, [], gradients=False).logits


NETWORKS = {
    "resnet18": (lambda: torchvision.models.resnet18(), 20, "layer3"),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(), 52, "features.13"),
    "googlenet": (lambda: torchvision.models.googlenet(init_weights=False), 57, "inception4c"),
    "regnet": (lambda: torchvision.models.regnet_y_400mf(), None, "trunk_output.block3"),
    "densenet121": (lambda: torchvision.models.densenet121(), None, "features.denseblock3"),
    "timm resnet18": (lambda: timm.create_model("resnet18"), 20, "layer3"),
    "timm efficientnet": (lambda: timm.create_model("efficientnet_b0"), 49, "blocks.4"),
    "timm mobilenetv2 same": (
        lambda: timm.create_model("mobilenetv2_050", pad_type="same"), 52, "blocks.4"),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_folded_networks_equal_the_original(nets, name):
    make, folds, layer = NETWORKS[name]
    net = nets.lively(make()).eval()
    x = torch.randn(2, 3, 64, 64)
    made = prepared(net, x)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert made.folded == folds if folds is not None else 10 < made.folded <= norms
    assert made.notes == ()
    fresh = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        expected = logits_of(net(fresh))
    scale = float(expected.abs().max())
    found = logits(made.network, fresh)
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-4)
    assert made.network.channels_last
    model = sc.Model(net, 64)
    expected = sc.attribute(net, x, 3, layer=layer, relu=False)
    found = sc.attribute(model, x, 3, layer=layer, relu=False)
    scale = float(expected.abs().max())
    assert scale > 0
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=2e-3)


def test_folding_a_fresh_network_would_prove_nothing(nets):
    """That `lively` makes a wrong fold visible: the network without its batch norms answers otherwise."""
    net = nets.lively(torchvision.models.resnet18()).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = net(x)
        for name, part in list(net.named_modules()):
            if isinstance(part, nn.BatchNorm2d):
                net.set_submodule(name, nn.Identity())
        after = net(x)
    assert float((before - after).abs().max()) > 0.1 * float(before.abs().max())


@pytest.mark.parametrize("layer", ["conv1", "bn1", "layer2.0.conv2", "layer2.0.bn2", "layer2.0"])
def test_layers_of_a_prepared_network_return_what_they_did(nets, layer):
    net = nets.lively(torchvision.models.resnet18()).eval()
    x = torch.randn(1, 3, 64, 64)
    model = sc.Model(net, 64)
    network = model.network([layer])
    kept = {}
    handle = net.get_submodule(layer).register_forward_hook(
        lambda m, i, o: kept.update(o=o.detach().clone())
    )
    with torch.no_grad():
        net(x)
    handle.remove()
    found = network.capture(x, [layer]).activations[layer]
    torch.testing.assert_close(
        found, kept["o"], rtol=1e-4, atol=1e-4 * float(kept["o"].abs().max())
    )
    folds = model.prepared([layer]).folded
    assert folds == (19 if "conv" in layer else 20)


def test_a_container_that_holds_only_the_convolution_is_unfolded_too(nets, batch):
    class Apart(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 4, 3))
            self.norm = nn.BatchNorm2d(4)
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            return self.fc(self.norm(self.stem(x)).relu().mean((2, 3)))

    net = nets.lively(Apart()).eval()
    made = prepared(net, batch)
    assert made.folded == 1
    assert made.changed == {"stem", "stem.0"}
    model = sc.Model(net, (24, 16))
    for layer in ("stem", "stem.0", "norm"):
        expected = sc.attribute(net, batch, 1, layer=layer, relu=False)
        found = sc.attribute(model, batch, 1, layer=layer, relu=False)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    both = sc.attribute(model, batch, 1, layer=["stem", "norm"], relu=False)
    torch.testing.assert_close(
        both["stem"], sc.attribute(net, batch, 1, layer="stem", relu=False), rtol=1e-4, atol=1e-5
    )


class Standardised(nn.Conv2d):
    """The weight is standardised at each call, so a factor put into it would be divided out again."""

    def forward(self, x):
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias)


class OneBlock(nn.Module):
    def __init__(self, conv=None, norm=None, use="plain"):
        super().__init__()
        self.conv = conv or nn.Conv2d(3, 4, 3)
        self.norm = norm or nn.BatchNorm2d(4)
        self.fc, self.use = nn.Linear(4, 3), use
        if use == "alias":
            self.again = self.conv

    def forward(self, x):
        if self.use == "untraceable" and float(x.sum()) > 1e9:
            x = x * 0
        y = self.conv(x)
        if self.use == "two readers":
            z = self.norm(y) + y
        elif self.use == "twice":
            z = self.norm(y) + self.norm(self.conv(x * 2))
        elif self.use == "norm twice":
            z = self.norm(self.norm(y))
        elif self.use == "changed in place":
            y.mul_(2)
            z = self.norm(y)
        else:
            z = self.norm(y)
        out = self.fc(z.relu().mean((2, 3)))
        return (out, y) if self.use == "returned" else out


PLAIN = {
    "weight standardised": lambda: OneBlock(Standardised(3, 4, 3)),
    "used twice": lambda: OneBlock(use="twice"),
    "under two names": lambda: OneBlock(use="alias"),
    "read by another": lambda: OneBlock(use="two readers"),
    "returned by the network": lambda: OneBlock(use="returned"),
    "changed in place": lambda: OneBlock(use="changed in place"),
    "norm twice": lambda: OneBlock(use="norm twice"),
    "no statistics": lambda: OneBlock(norm=nn.BatchNorm2d(4, track_running_stats=False)),
    "parametrised": lambda: OneBlock(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_what_may_not_be_folded_is_not(nets, batch, kind):
    net = PLAIN[kind]()
    if kind != "no statistics":
        nets.lively(net)
    net.eval()
    assert foldable(net, batch) == ([], "")
    made = prepared(net, batch)
    assert made.folded == 0
    expected = (
        sc.attribute(net, batch, 1, layer="norm", relu=False) if "twice" not in kind else None
    )
    if expected is not None:
        found = sc.attribute(sc.Model(net, (24, 16)), batch, 1, layer="norm", relu=False)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"affine": False}, {"eps": 0.5}, {"momentum": None}],
    ids=["bare", "eps", "momentum"],
)
@pytest.mark.parametrize("bias", [True, False])
def test_all_kinds_of_batch_norm_fold_exactly(nets, batch, options, bias):
    net = OneBlock(nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4, **options))
    nets.lively(net).eval()
    made = prepared(net, batch)
    assert made.folded == 1
    assert isinstance(made.network.module.norm, nn.Identity)
    torch.testing.assert_close(
        logits(made.network, batch), net(batch).detach(), rtol=1e-5, atol=1e-6
    )


def test_networks_that_branch_on_their_data_are_folded_too(nets, batch):
    net = nets.lively(OneBlock(use="untraceable")).eval()
    made = prepared(net, batch)
    assert (made.folded, made.notes) == (1, ())
    torch.testing.assert_close(
        logits(made.network, batch), net(batch).detach(), rtol=1e-5, atol=1e-6
    )


def test_a_network_that_cannot_be_watched_is_noted_and_still_works(nets, batch):
    from torch.overrides import _get_current_function_mode

    class Shy(OneBlock):
        def forward(self, x):
            if _get_current_function_mode() is not None:
                raise ValueError("not while someone looks")
            return super().forward(x)

    net = nets.lively(Shy()).eval()
    made = prepared(net, batch)
    assert made.folded == 0
    assert made.notes == ("batch norms not folded: the network cannot be watched (ValueError)",)
    torch.testing.assert_close(logits(made.network, batch), net(batch).detach())


def test_a_wrong_folding_is_dropped_with_a_note(nets, batch, monkeypatch):
    import sys

    module = sys.modules["saliscope.engine.prepare"]
    right = module.fuse_conv_bn_eval

    def wrong(conv, norm):
        fused = right(conv, norm)
        with torch.no_grad():
            fused.bias.add_(0.3)
        return fused

    net = nets.lively(OneBlock()).eval()
    expected = sc.attribute(net, batch, 1, layer="norm", relu=False)
    monkeypatch.setattr(module, "fuse_conv_bn_eval", wrong)
    made = prepared(net, batch)
    assert made.folded == 0
    assert made.changed == frozenset()
    assert len(made.notes) == 1
    assert made.notes[0].startswith("batch norms kept: with them folded logits differ by ")
    found = sc.attribute(sc.Model(net, (24, 16)), batch, 1, layer="norm", relu=False)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_precision_that_is_too_coarse_is_noted(batch):
    class Fine(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            x = self.conv(x) * 0.001 + 1000
            return (x - 1000).mean((2, 3))

    made = prepared(Fine().eval(), batch, dtype=torch.bfloat16)
    assert len(made.notes) == 1
    assert made.notes[0].startswith("bfloat16 is too coarse for this network: logits differ by")
    assert prepared(OneBlock().eval(), batch, dtype=torch.bfloat16).notes == ()


def test_the_copy_is_private(nets, batch, unchanged):
    net = nets.gap()
    with unchanged(net, batch):
        made = prepared(net, batch)
    ours = {p.data_ptr() for p in net.parameters()}
    assert ours.isdisjoint({p.data_ptr() for p in made.network.module.parameters()})


def test_preparing_one_network_does_not_disturb_another_threads_pass(nets, batch):
    """torch.fx patches every module of the process while it traces; nothing here may."""
    import threading

    net, failures, stop = nets.deep_head(), [], threading.Event()

    def work():
        while not stop.is_set():
            try:
                sc.attribute(net, batch, 1, layer="features.2")
            except Exception as err:
                failures.append(err)

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(6):
        sc.Model(torchvision.models.resnet18(), 32).prepared()
    stop.set()
    thread.join()
    assert failures == []
