"""CAM against loops over the paper's formula (Zhou et al. 2016, eq. 2)."""

import numpy as np
import pytest
import torch

import saliscope as sc
from saliscope.methods import CAM, Evidence


def features_of(net, x):
    """The last feature map by hand, in float64: (B, C, h, w)."""
    import copy

    net = copy.deepcopy(net).double()
    y = net.conv2(torch.relu(net.bn1(net.conv1(x.double()))))
    return (torch.relu(y) if net.relu != "none" else y).detach().numpy()


def cam_twin(features, weights):
    """M_c(x, y) = sum_k w_k^c f_k(x, y), one image at a time, in loops."""
    out = np.zeros(features.shape[1:])
    for k in range(features.shape[0]):
        for y in range(features.shape[1]):
            for x in range(features.shape[2]):
                out[y, x] += weights[k] * features[k, y, x]
    return out


@pytest.mark.parametrize("relu", ["module", "inplace", "functional", "none"])
@pytest.mark.parametrize("door", ["raw", "model"])
def test_cam_is_the_papers_sum(nets, batch, relu, door):
    net = nets.gap(relu)
    classes = [4, 0, 2]
    thing = sc.Model(net, (24, 16)) if door == "model" else net
    found = sc.attribute(thing, batch, classes, method="cam")
    features, weights = features_of(net, batch), net.fc.weight.detach().double().numpy()
    assert found.shape == (3, 12, 8)
    for i, c in enumerate(classes):
        np.testing.assert_allclose(
            found[i], cam_twin(features[i], weights[c]), rtol=1e-4, atol=1e-5
        )


def test_the_mean_plus_the_bias_is_the_logit(nets, batch):
    net = nets.gap("functional")
    maps = sc.attribute(net, batch, torch.arange(5).repeat(3, 1), method="cam")
    expected = net(batch).detach()
    torch.testing.assert_close(
        maps.mean((2, 3)) + net.fc.bias.detach(), expected, rtol=1e-4, atol=1e-5
    )


def test_a_1x1_convolution_head_gives_the_class_channel(nets, batch):
    net = nets.conv_head()
    found = sc.attribute(net, batch, [1, 3, 1], method="cam")
    scores = net.classifier[2](net.classifier[1](net.features(batch))).detach()
    for i, c in enumerate([1, 3, 1]):
        torch.testing.assert_close(found[i], scores[i, c])
    assert found.max() > 0


def test_relu_cuts_the_evidence_against(nets, batch):
    signed = sc.attribute(nets.gap(), batch, 1, method="cam")
    cut = sc.attribute(nets.gap(), batch, 1, method="cam", relu=True)
    torch.manual_seed(1)
    net = nets.gap()
    signed = sc.attribute(net, batch, 1, method="cam")
    cut = sc.attribute(net, batch, 1, method="cam", relu=True)
    assert float(signed.min()) < 0
    assert torch.equal(cut, signed.clamp(min=0))


def test_half_precision_evidence_is_summed_in_float32():
    features = torch.full((1, 2048, 1, 1), 60.0).half()
    weights = torch.full((1, 2048), 60.0)
    assert float(CAM().signed_map(Evidence(torch.empty(0), features, None, weights))) == 2048 * 3600


def test_evidence_that_is_missing_is_named():
    with pytest.raises(
        sc.MethodError, match="CAM needs the last feature map, and this capture holds"
    ):
        CAM().signed_map(Evidence(torch.empty(0)))
    with pytest.raises(sc.MethodError, match=r"CAM needs a pooling \+ linear head"):
        CAM().signed_map(Evidence(torch.empty(0), torch.ones(1, 2, 3, 3)))


@pytest.mark.parametrize(
    "options", [{"target_space": "probability"}, {"target": lambda o: o[:, 0]}]
)
def test_cam_explains_nothing_but_logits(nets, batch, options):
    with pytest.raises(
        sc.MethodError, match="CAM reads the weights of a class, so it explains a class logit"
    ):
        sc.attribute(nets.gap(), batch, method="cam", **options)
