"""Networks to train, from the weights in ../shared/data: each tensor accounted for, frozen stages, folded norms."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from saliscope.models.sources import build
from saliscope.training.networks import build_trainable
from saliscope.training.recipes import read_recipe

WEIGHTS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "weights"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not WEIGHTS.is_dir(), reason="needs ../shared/data"),
]
MOBILENET = "timm:mobilenetv2_100:pad_type=same"
RESNET = f"{WEIGHTS}/resnet50v2.py:build"


def test_mobilenet_with_a_new_head():
    file = WEIGHTS / "mobilenetv2_imagenet.safetensors"
    recipe = read_recipe(
        "modern", weights=str(file), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), seed=2
    )
    made = build_trainable(MOBILENET, recipe, num_classes=26)
    tensors = load_file(file)
    odd = {entry.name: entry.state for entry in made.report if entry.state != "loaded"}
    assert odd == dict.fromkeys(("classifier.weight", "classifier.bias"), "fresh: shape differs")
    for key, value in made.module.state_dict().items():
        if key not in odd and not key.endswith("tracked"):
            assert torch.equal(value, tensors[key].float()), key
    fresh = build(MOBILENET, "untrained", num_classes=26, seed=2).module
    assert torch.equal(made.module.classifier.weight, fresh.classifier.weight)
    assert made.new == set(odd)
    # Its batch norms were folded into the convolutions: mean 0 and variance 1 are no statistics of any layer.
    norms = [
        name for name, part in made.module.named_modules() if "BatchNorm" in type(part).__name__
    ]
    assert made.still == tuple(norms)
    assert len(norms) == 52


def test_why_folded_norms_stay_still():
    """In training mode they would divide by the batch's own deviations, and the network computes something else."""
    source = build(MOBILENET, WEIGHTS / "mobilenetv2_imagenet.safetensors")
    inputs = torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        still = source.module(inputs)
        other = source.module.train()(inputs)
    correlation = torch.corrcoef(torch.stack([still.flatten(), other.flatten()]))[0, 1]
    assert correlation < 0.5


def test_resnet_with_stages_1_to_3_frozen():
    file = WEIGHTS / "resnet50v2_dogs120.safetensors"
    recipe = read_recipe("modern", weights=str(file), freeze="layer3", fresh=("layer4",), seed=5)
    made = build_trainable(RESNET, recipe, num_classes=26)
    assert made.frozen == ("bn0", "conv1", "bn1", "maxpool", "layer1", "layer2", "layer3")
    # A pre-activation network ends its stages with a batch norm, which belongs to none of them: it is loaded and learns.
    assert made.learns == ("layer4", "bn2", "fc")
    assert made.still == ()
    tensors = load_file(file)
    assert {value.dtype for value in tensors.values() if value.is_floating_point()} == {
        torch.float16
    }
    fresh = build(RESNET, "untrained", num_classes=26, seed=5).module.state_dict()
    states = {entry.name: entry.state for entry in made.report}
    for key, value in made.module.state_dict().items():
        if key.startswith(("layer4.", "fc.")):
            assert torch.equal(value, fresh[key]), key
        else:
            assert torch.equal(value, tensors[key].to(value.dtype)), key
    assert {states[key] for key in states if key.startswith("layer4.")} == {"fresh: asked"}
    assert {states[key] for key in ("fc.weight", "fc.bias")} == {"fresh: shape differs"}
    assert {value.dtype for value in made.module.parameters()} == {torch.float32}
    trained = {
        name.split(".")[0] for name, value in made.module.named_parameters() if value.requires_grad
    }
    assert trained == {"layer4", "bn2", "fc"}
    assert made.name == RESNET


def test_keras_names_freeze_too():
    file = WEIGHTS / "resnet50v2_dogs120.safetensors"
    recipe = read_recipe("yang2025", weights=str(file), freeze="conv4_block6_out")
    made = build_trainable(RESNET, recipe, num_classes=26)
    # The last block of the stage, so all of it ran; the stage itself ends with it.
    frozen = {name for name, value in made.module.named_parameters() if not value.requires_grad}
    assert {name.split(".")[0] for name in frozen} == {
        "bn0",
        "conv1",
        "bn1",
        "layer1",
        "layer2",
        "layer3",
    }
    assert made.learns == ("layer4", "bn2", "fc")
