import pytest
import torch
import torchvision
from torch import nn

import saliscope as sc
from saliscope.models import layer_name, recommended_layer


def test_layers_are_listed_in_the_order_they_finish(nets):
    model = sc.Model(nets.gap(), (24, 16))
    rows = [
        (x.name, x.kind, x.shape, x.stride, x.alias, x.recommended, x.cam) for x in model.layers
    ]
    assert rows == [
        ("conv1", "Conv2d", (8, 12, 8), (2.0, 2.0), None, False, False),
        ("bn1", "BatchNorm2d", (8, 12, 8), (2.0, 2.0), None, False, False),
        ("act1", "ReLU", (8, 12, 8), (2.0, 2.0), None, False, False),
        ("conv2", "Conv2d", (6, 12, 8), (2.0, 2.0), None, False, False),
        ("act2", "ReLU", (6, 12, 8), (2.0, 2.0), None, True, True),
    ]


def test_every_listed_layer_gives_a_map(nets, batch):
    for net in (nets.gap("functional"), nets.conv_head(), nets.deep_head()):
        model = sc.Model(net, (24, 16))
        for layer in model.layers:
            maps = sc.attribute(model, batch, 1, layer=layer.name, relu=False)
            assert maps.shape == (3, *layer.shape[1:])


def test_the_papers_names_on_resnet50():
    net = torchvision.models.resnet50(num_classes=4).eval()
    model = sc.Model(net, 64)
    found = {x.alias: (x.name, x.shape, x.stride) for x in model.layers if x.alias}
    assert len(found) == 16
    assert found["conv2_block1_out"][0] == "layer1.0"
    assert found["conv3_block3_out"] == ("layer2.2", (512, 8, 8), (8.0, 8.0))
    assert found["conv4_block3_out"] == ("layer3.2", (1024, 4, 4), (16.0, 16.0))
    assert found["conv5_block3_out"] == ("layer4.2", (2048, 2, 2), (32.0, 32.0))
    x = torch.randn(1, 3, 64, 64)
    by_alias = sc.attribute(model, x, 1, layer=["conv3_block3_out", "layer4"], relu=False)
    assert set(by_alias) == {"conv3_block3_out", "layer4"}
    expected = sc.attribute(model, x, 1, layer="layer2.2", relu=False)
    torch.testing.assert_close(by_alias["conv3_block3_out"], expected)


def test_layers_by_module_name_and_alias(nets):
    net = nets.deep_head()
    assert layer_name(net, "features.2") == "features.2"
    assert layer_name(net, net.features[2]) == "features.2"
    assert sc.Model(net).layer_name(net.features) == "features"
    twice = nn.Sequential(net.features, net.features)
    assert layer_name(twice, "1.2") == "1.2"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("feature.2", 'layer "feature.2" is not in DeepHead; nearest: "features.2"'),
        ("", 'layer "" is not in DeepHead'),
        ("conv3_block3_out", "is not in DeepHead"),
        (nn.ReLU(), "this ReLU is not a layer inside DeepHead; pass one of its own modules"),
    ],
)
def test_unknown_layers(nets, layer, message):
    with pytest.raises(sc.LayerError, match=message):
        layer_name(nets.deep_head(), layer)


def test_the_network_itself_is_not_a_layer(nets):
    net = nets.deep_head()
    with pytest.raises(sc.LayerError, match="not a layer inside"):
        layer_name(net, net)


class Tokens(nn.Module):
    """A patch embedding, then tokens, of which the first is read."""

    def __init__(self, *, cut=False):
        super().__init__()
        self.cut = cut
        self.patches, self.block, self.fc = (
            nn.Conv2d(3, 8, 4, stride=4),
            nn.Linear(8, 8),
            nn.Linear(8, 4),
        )

    def forward(self, x):
        tokens = self.block(self.patches(x).flatten(2).transpose(1, 2)).tanh()
        return self.fc(tokens[:, 0].detach() if self.cut else tokens[:, 0])


def test_a_network_of_tokens(batch):
    model = sc.Model(Tokens(), (24, 16))
    assert [(x.name, x.shape) for x in model.layers] == [
        ("patches", (8, 6, 4)),
        ("block", (8, 6, 4)),
    ]
    assert recommended_layer(model.module, model.survey) == "patches"
    for layer in (None, "block"):
        maps = sc.attribute(model, batch, 0, layer=layer, method="hires-cam", relu=False)
        assert (maps != 0).nonzero()[:, 1:].tolist() == [[0, 0]] * 3


def test_a_network_whose_logits_depend_on_no_grid_has_no_recommended_layer(batch):
    model = sc.Model(Tokens(cut=True), (24, 16))
    message = "Tokens has no last feature map: its grids have one cell, or its logits depend on none; name a layer"
    with pytest.raises(sc.LayerError, match=message):
        recommended_layer(model.module, model.survey)
    for thing in (model, model.module):
        with pytest.raises(sc.LayerError, match=message):
            sc.attribute(thing, batch, 0)
    assert sc.attribute(model, batch, 0, method="eigen-cam", layer="patches").shape == (3, 6, 4)
