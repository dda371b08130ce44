"""Ablation-CAM against loops in float64, with and without passes, for networks of every shape behind the layer."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.engine import Network

CLASSES = torch.tensor([[0, 3], [2, 2], [4, 1]])


def twin(a, score):
    """The map (h, w) of one image: activations (C, h, w), and the scalar from them on."""
    out = np.zeros(a.shape[1:])
    for k in range(len(a)):
        without = a.copy()
        without[k] = 0
        out += (score(a) - score(without)) * a[k]
    return out


@pytest.mark.parametrize("layer", ["features.0", "features.1", "features.2", "features.4"])
def test_the_formula(nets, batch, by_hand, close, layer):
    net = nets.deep_head()
    found = sc.attribute(net, batch, CLASSES, method="ablation-cam", layer=layer, relu=False)
    for i, k in itertools.product(range(3), range(2)):
        c = int(CLASSES[i, k])
        hand = by_hand(net, batch[i : i + 1], layer, lambda logits, c=c: logits[:, c])
        score = lambda a, s=hand.score: s(torch.as_tensor(a)[None]).item()  # noqa: E731
        close(found[i, k], twin(hand.a[0], score), atol=3e-5)
    with_relu = sc.attribute(net, batch, CLASSES, method="ablation-cam", layer=layer)
    assert torch.equal(with_relu, found.relu())


@pytest.mark.parametrize("space", ["logit", "probability"])
@pytest.mark.parametrize("net", ["gap", "conv_head", "rectified"])
def test_at_a_pooling_head_nothing_is_asked_and_the_drops_are_the_same(
    nets, batch, monkeypatch, net, space
):
    """The same map through the network: a function of the output is never answered in closed form."""
    made = getattr(nets, net if net != "rectified" else "gap")(**({"relu": "functional"} if net == "rectified" else {}))  # fmt: skip
    layer = {"gap": "act2", "conv_head": "classifier.2", "rectified": "conv2"}[net]
    model = sc.Model(made, (24, 16), prepare=False)
    if net == "rectified":
        assert model.survey.head.rectified

    def of_class(output):
        scores = output if space == "logit" else output.softmax(1)
        return scores[torch.arange(3), CLASSES[:, 0]]

    asked = sc.attribute(model, batch, of_class, method="ablation-cam", layer=layer, relu=False)
    calls = []
    real = Network.replaced
    monkeypatch.setattr(Network, "replaced", lambda *a, **k: calls.append(a) or real(*a, **k))
    known = sc.attribute(model, batch, CLASSES, method="ablation-cam", layer=layer, relu=False, target_space=space)  # fmt: skip
    assert calls == []
    torch.testing.assert_close(known[:, 0], asked, rtol=1e-4, atol=1e-6)


def test_the_sign_of_the_score_does_not_turn_the_map_over(nets, batch):
    """Pitfall: dividing by the score flips the map of a negative logit, and breaks at 0."""
    net = nets.deep_head()
    maps = []
    for shift in (0.0, 5.0, -5.0):
        moved = copy.deepcopy(net)
        with torch.no_grad():
            moved.classifier[2].bias += shift
        for door in (1, lambda output: output[:, 1]):
            maps.append(sc.attribute(moved, batch, door, method="ablation-cam", layer="features.2", relu=False))  # fmt: skip
    for other in maps[1:]:
        torch.testing.assert_close(other, maps[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("layer", ["bn1", "act2"])
def test_relative_divides_by_the_size_of_the_score(nets, batch, layer):
    net = nets.gap()
    plain = sc.attribute(net, batch, CLASSES, method="ablation-cam", layer=layer, relu=False)
    share = sc.attribute(net, batch, CLASSES, method="ablation-cam", layer=layer, relu=False, relative=True)  # fmt: skip
    scores = net(batch).gather(1, CLASSES).detach()
    assert bool((scores < 0).any())
    torch.testing.assert_close(share, plain / scores.abs()[..., None, None], rtol=1e-4, atol=1e-6)
    nothing = sc.attribute(net, batch, lambda out: out[:, 0] * 0, method="ablation-cam", layer=layer, relative=True)  # fmt: skip
    assert nothing.isnan().all(), "undefined, not 0 and not infinite"


def test_dead_channels_are_not_asked_about_and_weigh_nothing(nets, batch, monkeypatch):
    net = nets.deep_head()
    with torch.no_grad():
        net.features[0].weight[:4] = 0
        net.features[0].bias[:4] = -1
    rows = []
    real = Network.replaced
    monkeypatch.setattr(Network, "replaced", lambda self, i, n, g: rows.append(len(g)) or real(self, i, n, g))  # fmt: skip
    model = sc.Model(net, (24, 16), prepare=False)
    found = sc.attribute(model, batch, 1, method="ablation-cam", layer="features.1", relu=False)
    rows.clear()
    again = sc.attribute(model, batch, 1, method="ablation-cam", layer="features.1", relu=False)
    assert rows == [2, 2, 2]
    assert torch.equal(found, again)


class Counting(nn.Module):
    """Counts the images that pass it."""

    counts: list[int] = []  # noqa: RUF012 - shared with the private copies, on purpose

    def forward(self, x):
        self.counts.append(len(x))
        return x


def test_what_lies_before_the_layer_runs_once_for_all_channels(nets, batch):
    net = nets.deep_head()
    net.features = nn.Sequential(Counting(), *net.features)
    model = sc.Model(net, (24, 16), prepare=False)
    sc.attribute(model, batch, 1, method="ablation-cam", layer="features.3")
    Counting.counts.clear()
    sc.attribute(model, batch, 1, method="ablation-cam", layer="features.3")
    assert Counting.counts == [3, 1, 1, 1], "the batch, then each image once for 8 channels"


class Skipping(nn.Module):
    """A layer whose input passes it by, in the way that `how` says."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.stem, self.layer = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 3, padding=1)
        self.mix, self.fc = nn.Conv2d(8 if how == "concatenated" else 4, 5, 3), nn.Linear(5, 4)

    def forward(self, x):
        x = self.stem(x).relu()
        images = len(x)
        y = self.layer(x)
        if self.how == "added":
            y = y + x
        if self.how == "concatenated":
            y = torch.cat([x, y], 1)
        if self.how == "channels last":
            y = y * 2
        y = self.mix(y.relu_()).tanh()
        if (
            self.how == "counted before"
        ):  # of more images behind the layer than before it, their mean: no error
            y = y.reshape(images, -1, 5, *y.shape[2:]).mean(1)
        return self.fc(y.mean((2, 3)))


class Turned(nn.Module):
    """A convolution that returns its channels last."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        return self.conv(x).permute(0, 2, 3, 1)


class Last(Skipping):
    def __init__(self):
        super().__init__("channels last")
        self.layer = Turned(self.layer)

    def forward(self, x):
        y = self.layer(self.stem(x).relu()).permute(0, 3, 1, 2)
        return self.fc(self.mix(y.relu()).tanh().mean((2, 3)))


@pytest.mark.parametrize("how", ["plain", "added", "concatenated", "counted before", "last"])
@pytest.mark.parametrize("door", ["class", "function"])
def test_networks_of_any_shape_behind_the_layer(batch, close, how, door):
    torch.manual_seed(2)
    net = (Last() if how == "last" else Skipping(how)).eval()
    x = torch.nn.functional.pad(batch, (6, 6, 6, 6))
    target = 2 if door == "class" else (lambda output: output[:, 2])
    found = sc.attribute(net, x, target, method="ablation-cam", layer="layer", relu=False)
    exact = copy.deepcopy(net).double()
    for i in range(3):
        kept = []
        inner = exact.layer.conv if how == "last" else exact.layer
        with torch.no_grad():
            handle = inner.register_forward_hook(
                lambda m, given, out, kept=kept: kept.append(out.clone())
            )
            exact(x[i : i + 1].double())
            handle.remove()

        def score(a, i=i, inner=inner):
            put = torch.as_tensor(a)[None].clone()
            handle = inner.register_forward_hook(lambda m, given, out: put)
            with torch.no_grad():
                value = exact(x[i : i + 1].double())[0, 2].item()
            handle.remove()
            return value

        close(found[i], twin(kept[0][0].numpy(), score), atol=3e-5)


@pytest.mark.parametrize(("how", "behind"), [("added", True), ("plain", True), ("concatenated", False), ("counted before", False)])  # fmt: skip
def test_the_short_way_is_taken_only_where_it_is_right(batch, how, behind):
    from saliscope.engine import rest_of
    from saliscope.models import logits_of

    network = Network(Skipping(how).eval(), read=logits_of)
    x = torch.nn.functional.pad(batch, (6, 6, 6, 6))[:1]
    rest = rest_of(network, x, "layer", torch.rand(1, 4, 17, 13))
    assert rest.behind is behind
    assert rest is rest_of(network, x, "layer", torch.rand(1, 4, 17, 13)), "found out once"


def test_a_function_at_a_pooling_linear_head_is_asked(nets, batch):
    """What a function reads is not known in closed form, whether it knows its rows or not."""
    from saliscope.targets import ClassDifference

    net = nets.gap()
    own = sc.attribute(
        net, batch, torch.tensor([[0, 3]] * 3), method="ablation-cam@act2", relu=False
    )
    for target in (ClassDifference(0, 3), lambda output: output[:, 0] - output[:, 3]):
        found = sc.attribute(net, batch, target, method="ablation-cam@act2", relu=False)
        torch.testing.assert_close(found, own[:, 0] - own[:, 1], rtol=1e-3, atol=1e-5)
