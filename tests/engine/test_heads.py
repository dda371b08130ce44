"""Which networks end in pooling + linear, and that the gradient known in closed form is autograd's."""

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import saliscope as sc
from saliscope.engine import Network, reinitialised, shadow, survey
from saliscope.errors import MethodError
from saliscope.models import logits_of


def look(net, x):
    return survey(net, x, read=logits_of)


def both_ways(net, x, layer, scores):
    """The gradient at `layer` in closed form, and by autograd."""
    facts = look(net, x)
    assert facts.head is not None, facts.no_head
    assert layer in facts.head.layers
    found = []
    for of_logits in (True, False):
        network = Network(shadow(net), read=logits_of, survey=facts)
        with torch.enable_grad():
            capture = network.capture(x, [layer], of_logits=of_logits)
            found.append(capture.gradients(scores(capture.logits))[layer])
            assert (capture.logits.is_leaf) is of_logits
    return found


SCORES = {
    "logit": lambda z: z[:, 2],
    "probability": lambda z: z.softmax(1)[:, 2],
    "contrast": lambda z: z[:, 0] ** 2 - z[:, 3] * z[:, 1],
}


@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize(
    ("make", "layer", "rectified"),
    [
        (lambda n: n.gap("module"), "act2", False),
        (lambda n: n.gap("inplace"), "act2", False),
        (lambda n: n.gap("functional"), "conv2", True),
        (lambda n: n.gap("none"), "conv2", False),
        (lambda n: n.gap("functional", bias=False), "conv2", True),
        (lambda n: n.conv_head(), "classifier.2", False),
    ],
)
def test_closed_form_gradient_is_autograds(nets, batch, make, layer, rectified, scores):
    net = make(nets)
    assert look(net, batch).head.rectified is rectified
    closed, auto = both_ways(net, batch, layer, SCORES[scores])
    assert float(auto.abs().max()) > 0
    torch.testing.assert_close(closed, auto, rtol=1e-4, atol=1e-6 * float(auto.abs().max()))


def test_closed_form_gradient_behind_a_function_as_in_densenet():
    net = torchvision.models.densenet121(num_classes=5).eval()
    x = torch.randn(2, 3, 64, 96)
    closed, auto = both_ways(net, x, "features", SCORES["logit"])
    torch.testing.assert_close(closed, auto, rtol=1e-4, atol=1e-6 * float(auto.abs().max()))
    assert 0.05 < float((auto == 0).float().mean()) < 0.95, "the ReLU behind the layer must show"


def test_closed_form_gradient_of_channels_last_layers():
    net = torchvision.models.swin_t(num_classes=5).eval()
    closed, auto = both_ways(net, torch.randn(1, 3, 64, 96), "norm", SCORES["logit"])
    assert closed.shape == auto.shape == (1, 768, 2, 3)
    torch.testing.assert_close(closed, auto, rtol=1e-4, atol=1e-7)


class Cosine(nn.Linear):
    def forward(self, x):
        return 10 * F.linear(F.normalize(x), F.normalize(self.weight))


def test_a_linear_subclass_that_computes_something_else_is_no_head(nets, batch):
    net = nets.gap()
    net.fc = Cosine(6, 5)
    facts = look(net, batch)
    assert facts.head is None
    with pytest.raises(
        MethodError,
        match=r'last linear layer "fc" \(6 -> 5\) computes something else than W x \+ b',
    ):
        sc.attribute(net, batch, 0, method="cam")


def test_logits_scaled_behind_the_linear_layer_are_no_head(nets, batch):
    class Warm(nn.Module):
        def __init__(self, inplace):
            super().__init__()
            self.net, self.inplace = nets.gap(), inplace

        def forward(self, x):
            z = self.net(x)
            return z.div_(0.5) if self.inplace else z / 0.5

    for inplace in (False, True):
        assert look(Warm(inplace), batch).head is None


def test_residual_branches_that_start_at_zero_do_not_make_earlier_blocks_the_head():
    net = torchvision.models.resnet18(zero_init_residual=True, num_classes=5).eval()
    facts = look(net, torch.randn(2, 3, 64, 64))
    assert facts.head.layers == ("layer4.1", "layer4")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_heads_are_found_in_half_precision(nets, batch, dtype):
    for relu in ("module", "functional"):
        net = nets.gap(relu).to(dtype)
        assert look(net, batch.to(dtype)).head is not None
    assert look(nets.deep_head().to(dtype), batch.to(dtype)).head is None


def test_a_dead_network_proves_nothing(nets, batch):
    net = nets.gap()
    with torch.no_grad():
        for p in net.conv2.parameters():
            p.zero_()
    assert look(net, batch).head is None


def test_class_weights_are_rows_of_the_classifier(nets, batch):
    head = look(nets.gap(), batch).head
    net = nets.gap()
    assert head.classifier == "fc"
    facts = look(net, batch)
    weights = facts.head.class_weights(torch.tensor([4, 0, 4]), 6)
    assert torch.equal(weights, net.fc.weight.detach()[[4, 0, 4]])
    one_hot = look(nets.conv_head(), batch).head.class_weights(torch.tensor([1, 3]), 5)
    assert one_hot.tolist() == [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0]]


# name, how it is built, what is pooled, whether a ReLU stands between, the recommended layer
TV, TIMM = torchvision.models, timm
TABLE = [
    ("resnet18", lambda: TV.resnet18(), ("layer4.1", "layer4"), False, "layer4"),
    ("densenet121", lambda: TV.densenet121(), ("features.norm5", "features"), True, "features"),
    ("mobilenet_v2", lambda: TV.mobilenet_v2(), ("features.18.2", "features.18", "features"), False, "features"),
    ("squeezenet1_1", lambda: TV.squeezenet1_1(), ("classifier.2",), False, "features"),
    ("shufflenet", lambda: TV.shufflenet_v2_x0_5(), ("conv5.2", "conv5"), False, "conv5"),
    ("efficientnet_b0", lambda: TV.efficientnet_b0(), ("features.8.2", "features.8", "features"), False, "features"),
    ("regnet", lambda: TV.regnet_y_400mf(), ("trunk_output.block4.block4-5.activation", "trunk_output.block4.block4-5",
        "trunk_output.block4", "trunk_output"), False, "trunk_output"),
    ("mnasnet", lambda: TV.mnasnet0_5(), ("layers.16", "layers"), False, "layers"),
    ("timm resnet18", lambda: TIMM.create_model("resnet18"), ("layer4.1.act2", "layer4.1", "layer4"), False, "layer4"),
    ("timm resnetv2", lambda: TIMM.create_model("resnetv2_18"), ("norm.act", "norm"), False, "norm"),
    ("timm mobilenetv2", lambda: TIMM.create_model("mobilenetv2_050"), ("bn2.act", "bn2"), False, "bn2"),
    ("timm densenet", lambda: TIMM.create_model("densenet121"), ("features.norm5.act", "features.norm5", "features"),
        False, "features"),
    ("timm hrnet", lambda: TIMM.create_model("hrnet_w18_small"), ("final_layer.2", "final_layer"), False, "final_layer"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "make", "layers", "rectified", "recommended"), TABLE, ids=[t[0] for t in TABLE]
)
def test_networks_with_a_head(nets, name, make, layers, rectified, recommended):
    net = nets.lively(make()).eval()
    facts = look(net, torch.randn(2, 3, 64, 64))
    assert facts.head is not None, facts.no_head
    assert (facts.head.layers, facts.head.rectified) == (layers, rectified)
    assert facts.recommended == recommended


NO_HEAD = [
    ("vgg11", lambda: TV.vgg11(), 'it ends in several linear layers, "classifier.0" .25088 -> 4096.', "features.19"),
    ("alexnet", lambda: TV.alexnet(), "several linear layers", "features.11"),
    ("convnext", lambda: TIMM.create_model("convnext_atto"),
        'the input of its last linear layer "head.fc" .320 -> 1000. is not the spatial mean', "stages"),
    ("tv convnext", lambda: TV.convnext_tiny(), '"classifier.2" .768 -> 1000. is not the spatial mean', "features"),
    ("mobilenet_v3", lambda: TV.mobilenet_v3_small(), "several linear layers", "features"),
    ("vit", lambda: TIMM.create_model("vit_tiny_patch16_224", img_size=64), "is not the spatial mean",
        "blocks.11.norm1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "make", "sentence", "recommended"), NO_HEAD, ids=[t[0] for t in NO_HEAD]
)
def test_networks_without_a_head_say_what_was_found(name, make, sentence, recommended):
    net = make().eval()
    x = torch.randn(2, 3, 64, 64)
    facts = look(net, x)
    assert facts.head is None
    assert facts.recommended == recommended
    with pytest.raises(
        MethodError, match=f"(?s)CAM needs a network that ends.*{sentence}.*Use grad-cam"
    ):
        sc.attribute(net, x, 0, method="cam")


def test_recommended_layer_of_vgg16_is_behind_its_last_relu():
    net = TV.vgg16()
    net.classifier = nn.Sequential(nn.Linear(512 * 49, 8), nn.ReLU(), nn.Linear(8, 4))
    assert look(net.eval(), torch.randn(1, 3, 64, 64)).recommended == "features.29"


def test_cam_elsewhere_than_at_the_pooled_layer_is_refused(nets, batch):
    with pytest.raises(
        MethodError, match=r'where the network pools, at "act2"; got "conv1"\. Use grad-cam@conv1'
    ):
        sc.attribute(nets.gap(), batch, 0, method="cam", layer="conv1")


@pytest.mark.parametrize(
    ("kind", "phrase"), [("bare", "no linear layer's output and no layer's spatial mean")]
)
def test_no_linear_layer_at_all(batch, kind, phrase):
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3)

        def forward(self, x):
            return self.conv(x).amax((2, 3))

    facts = look(Bare(), batch)
    assert facts.head is None
    assert phrase in facts.no_head
    assert facts.recommended == "conv"


def test_layers_that_run_twice_are_not_offered(batch):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu, self.fc = (
                nn.Conv2d(3, 3, 3, padding=1),
                nn.ReLU(),
                nn.Linear(3, 4),
            )

        def forward(self, x):
            return self.fc(self.relu(self.conv(self.relu(x))).mean((2, 3)))

    facts = look(Shared(), batch)
    assert [f.name for f in facts.layers] == ["conv"]
    assert facts.ran == {"conv", "relu", "fc"}
    assert facts.head.layers == ("conv",)
    assert facts.head.rectified


def test_the_head_of_a_copy_has_the_weight_of_the_copy(nets, batch):
    net = nets.gap()
    copy, head = reinitialised(net, ["fc"], seed=0), look(net, batch).head
    own = head.of(copy)
    assert torch.equal(own.weight, copy.fc.weight)
    assert torch.equal(head.weight, net.fc.weight)
    assert (own.layers, own.classifier, own.rectified) == (
        head.layers,
        head.classifier,
        head.rectified,
    )
    assert not torch.equal(own.weight, head.weight)
    classes = look(nets.conv_head(), batch).head  # one channel a class: there is no weight
    assert classes.of(nets.conv_head()) is classes
