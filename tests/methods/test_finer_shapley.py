"""Finer-CAM and Shapley-CAM against their papers, with gradients and Hessians of their own."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.methods import Evidence, FinerCAM, ShapleyCAM
from saliscope.methods.finer_cam import Contrast
from saliscope.methods.shapley_cam import ReST


def grad_cam_twin(a, weights):
    """sum_k (mean of the weights of channel k) A^k, in loops."""
    out = np.zeros(a.shape[1:])
    for k in range(len(a)):
        out += weights[k].mean() * a[k]
    return out


def contrast(z, c, *, gamma, compare, weights):
    """y_c - gamma (weighted mean of the nearest other logits), one image, with python's sort."""
    others = sorted((abs((z[d] - z[c]).item()), d) for d in range(len(z)) if d != c)[:compare]
    chosen = [d for _, d in others]
    if weights == "equal":
        share = [1 / len(chosen)] * len(chosen)
    else:
        p = torch.softmax(z, 0)  # as the authors' code: of all classes, then divided by their sum
        share = [p[d] / sum(p[e] for e in chosen) for d in chosen]
    return z[c] - gamma * sum(s * z[d] for s, d in zip(share, chosen, strict=True))


CASES = [(1.0, 3, "probability"), (0.6, 1, "probability"), (0.5, 2, "equal"), (1.0, 9, "equal")]


@pytest.mark.parametrize(("gamma", "compare", "weights"), CASES)
@pytest.mark.parametrize("layer", ["features.1", "features.2"])
@pytest.mark.parametrize("door", ["raw", "model"])
def test_finer_cam(nets, batch, by_hand, close, gamma, compare, weights, layer, door):
    net, classes = nets.deep_head(), [3, 0, 1]
    options = {"gamma": gamma, "compare": compare, "weights": weights}

    def scores(z):
        return torch.stack([contrast(z[i], c, **options) for i, c in enumerate(classes)])

    hand = by_hand(net, batch, layer, scores)
    thing = sc.Model(net, (24, 16)) if door == "model" else net
    found = sc.attribute(
        thing, batch, classes, method="finer-cam", layer=layer, relu=False, **options
    )
    for i in range(3):
        close(found[i], grad_cam_twin(hand.a[i], hand.g[i]))


def test_finer_cam_without_comparison_is_grad_cam(nets, batch):
    net = nets.deep_head()
    plain = sc.attribute(net, batch, 2, layer="features.2")
    found = sc.attribute(net, batch, 2, method="finer-cam", layer="features.2", gamma=0)
    torch.testing.assert_close(found, plain)


def test_the_class_is_never_compared_with_itself():
    """Ties too: a rank of similarity would take the class itself, or leave a twin out (grad-cam)."""
    z = torch.tensor([[1.0, 1.0, 0.0, 5.0]])
    for c, expected in ((0, 0.0), (1, 0.0), (3, 4.0)):
        found = Contrast(1.0, 1, "equal")(z, torch.tensor([c]))
        assert found.item() == pytest.approx(expected)
    # two classes, three asked for: the other one alone
    assert Contrast(0.5, 3, "probability")(z[:, 2:], torch.tensor([1])).item() == 5.0


def test_the_explained_score_stays_the_logit(nets, batch):
    """A scalar of the method's own is how it works, not what is asked: logit and status are the target's."""
    net = nets.deep_head()
    model = sc.Model(net, (24, 16))
    photo = np.zeros((24, 16, 3), np.uint8)
    plain = sc.explain(model, photo, "grad-cam@features.1", target=2)
    finer = sc.explain(model, photo, "finer-cam@features.1", target=2)
    assert (finer.target.index, finer.target.space) == (2, "logit")
    assert finer.target.logit == pytest.approx(plain.target.logit, rel=1e-5)


@pytest.mark.parametrize("method", ["finer-cam", "shapley-cam"])
@pytest.mark.parametrize(
    "options", [{"target_space": "probability"}, {"target": lambda o: o[:, 0]}]
)
def test_scores_of_their_own_are_of_class_logits(nets, batch, method, options):
    with pytest.raises(sc.MethodError, match="makes a score of all class logits, so it explains"):
        sc.attribute(nets.deep_head(), batch, method=method, layer="features.1", **options)


def test_one_class_cannot_be_compared(batch):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(1))
    net(batch)
    with pytest.raises(sc.MethodError, match="compares a class with others, and this network has"):
        sc.attribute(net, batch, method="finer-cam", layer="1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compare": 0}, "finer-cam:compare is a number of classes, 1 or more; got 0"),
        ({"gamma": -0.1}, "finer-cam:gamma is 0 or more; got -0.1"),
        ({"gamma": float("nan")}, "finer-cam:gamma is 0 or more"),
    ],
)
def test_finer_cam_refuses(options, message):
    with pytest.raises(sc.MethodError, match=message):
        FinerCAM(**options)


# --- Shapley-CAM -----------------------------------------------------------------------------------------------------


def shapley_twin(hand, i):
    """g - 1/2 H A with the full Hessian of one image, averaged over cells, times A."""
    a = torch.from_numpy(hand.a)

    def alone(flat):
        whole = a.clone()
        whole[i] = flat.view(a[i].shape)
        return hand.score(whole)[i]

    flat = a[i].flatten()
    hessian = torch.autograd.functional.hessian(alone, flat)
    weights = torch.from_numpy(hand.g[i]).flatten() - 0.5 * hessian @ flat
    return grad_cam_twin(hand.a[i], weights.view(a[i].shape).numpy())


def rest_of(classes):
    def scores(z):
        rows = torch.arange(len(z))
        return z[rows, classes] + torch.log(z.exp()[rows, classes] / z.exp().sum(1))

    return scores


@pytest.mark.parametrize("layer", ["features.2", "features.4"])
@pytest.mark.parametrize("door", ["raw", "model"])
def test_shapley_cam(nets, batch, by_hand, close, layer, door):
    net, classes = nets.deep_head(), torch.tensor([3, 0, 1])
    with torch.no_grad():
        net.classifier[2].weight.mul_(8)  # a softmax that is not flat
    hand = by_hand(net, batch, layer, rest_of(classes))
    thing = sc.Model(net, (24, 16)) if door == "model" else net
    found = sc.attribute(thing, batch, classes, method=f"shapley-cam@{layer}:relu=false")
    first = sc.attribute(thing, batch, classes, method=f"grad-cam@{layer}:relu=false")
    close(found[1], shapley_twin(hand, 1))
    assert not torch.allclose(found, first, rtol=0.05), "the second order must matter in this test"


def smooth_net():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Softplus(), nn.Conv2d(4, 3, 3), nn.Sigmoid(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))  # fmt: skip


@pytest.mark.parametrize("scores", [lambda o: o[:, 1] ** 2, lambda o: o[:, 0].sin()])
def test_shapley_cam_of_a_smooth_network_and_any_scalar(batch, close, scores):
    """Layers at several depths together: each has a Hessian of its own, without the other's."""
    net = smooth_net()
    twin = copy.deepcopy(net).double()
    found = sc.attribute(net, batch, scores, method="shapley-cam:utility=target:relu=false",
                         layer=["0", "1", "2"])  # fmt: skip
    x = batch.double()
    for layer in range(3):
        x = twin[layer](x).detach()
        for i in range(3):
            a = x[i : i + 1]

            def score(flat, a=a, layer=layer):
                return scores(twin[layer + 1 :](flat.view(a.shape)))[0]

            flat = a.flatten()
            g = torch.autograd.functional.jacobian(score, flat)
            h = torch.autograd.functional.hessian(score, flat)
            weights = (g - 0.5 * h @ flat).view(a.shape)[0].numpy()
            close(found[str(layer)][i], grad_cam_twin(a[0].numpy(), weights))


def test_a_logit_of_a_network_of_relus_has_no_second_order(nets, batch):
    """The map is Grad-CAM then, to the last bit of the weights; said in the documentation, not hidden."""
    for net, layer in (
        (nets.deep_head(), "features.2"),
        (nets.gap(), "act2"),
        (nets.gap(), "conv1"),
    ):
        found = sc.attribute(net, batch, 1, method="shapley-cam", layer=layer, utility="target")
        torch.testing.assert_close(found, sc.attribute(net, batch, 1, layer=layer))


def test_at_a_pooling_and_linear_head_the_second_order_is_still_there(nets, batch):
    """Where Grad-CAM needs no backward pass, the softmax in the score still bends."""
    net = nets.gap()
    model = sc.Model(net, (24, 16))
    found = sc.attribute(model, batch, 1, method="shapley-cam", relu=False)
    a = torch.relu(net.conv2(net.act1(net.bn1(net.conv1(batch))))).detach().double()
    w, b = net.fc.weight.detach().double(), net.fc.bias.detach().double()
    for i in range(3):
        z = w @ a[i].mean((1, 2)) + b
        p = z.softmax(0)
        first = 2 * w[1] - p @ w
        bend = -(torch.diag(p) - torch.outer(p, p)) @ (w @ a[i].mean((1, 2)))
        alpha = (first - 0.5 * w.T @ bend) / a[i, 0].numel()
        expected = (alpha[:, None, None] * a[i]).sum(0)
        torch.testing.assert_close(found[i].double(), expected, rtol=1e-4, atol=1e-6)


def test_rest_is_the_logit_and_the_log_probability():
    z = torch.tensor([[1.0, 2.0, 3.0], [300.0, -300.0, 0.0]])
    found = ReST()(z, torch.tensor([1, 1]))
    p = torch.softmax(z[0], 0)[1].item()
    assert found[0].item() == pytest.approx(2 + np.log(p))
    assert found[1].item() == pytest.approx(-300 - 600)


def test_evidence_that_is_missing_is_named():
    with pytest.raises(sc.MethodError, match="Shapley-CAM needs second derivatives"):
        ShapleyCAM().signed_map(Evidence(torch.empty(0), torch.ones(1, 1, 2, 2)))
    with pytest.raises(sc.MethodError, match="this map needs gradients, and the capture holds"):
        FinerCAM().signed_map(Evidence(torch.empty(0), torch.ones(1, 1, 2, 2)))
