import pytest
import torch
from torch import nn

from saliscope.models.aliases import keras_aliases


def build(name, **options):
    import timm
    from torchvision import models

    with torch.device("meta"):
        if name.startswith("timm:"):
            return timm.create_model(name[5:], **options)
        return models.get_model(name, **options)


@pytest.mark.parametrize(
    ("name", "depths"),
    [
        ("resnet50", (3, 4, 6, 3)),
        ("resnet101", (3, 4, 23, 3)),
        ("resnet152", (3, 8, 36, 3)),
        ("timm:resnet50", (3, 4, 6, 3)),
    ],
)
def test_stages_count_from_two_and_blocks_from_one(name, depths):
    module = build(name)
    aliases = keras_aliases(module)
    assert len(aliases) == sum(depths)
    for stage, depth in enumerate(depths):
        for block in range(depth):
            native = f"layer{stage + 1}.{block}"
            assert aliases[f"conv{stage + 2}_block{block + 1}_out"] == native
            assert isinstance(module.get_submodule(native), nn.Module)


def test_the_papers_layers_are_third_blocks():
    aliases = keras_aliases(build("resnet50"))
    assert aliases["conv3_block3_out"] == "layer2.2"
    assert aliases["conv4_block3_out"] == "layer3.2"
    assert aliases["conv5_block3_out"] == "layer4.2"


def test_timm_v2():
    aliases = keras_aliases(build("timm:resnetv2_50"))
    assert aliases["conv4_block6_out"] == "stages.2.blocks.5"
    assert len(aliases) == 16


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "vgg11", "timm:resnet26", "densenet121"])
def test_other_networks_have_none(name):
    assert keras_aliases(build(name)) == {}


def test_stages_that_are_no_sequentials():
    module = nn.Module()
    for stage in range(1, 5):
        module.add_module(f"layer{stage}", nn.ModuleList([nn.Identity()]))
    assert keras_aliases(module) == {}
