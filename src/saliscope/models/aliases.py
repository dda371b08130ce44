"""The Keras layer names of the papers, for the networks they belong to."""

from __future__ import annotations

from torch import nn

__all__ = ["keras_aliases"]

_DEPTHS = {(3, 4, 6, 3): "ResNet-50", (3, 4, 23, 3): "ResNet-101", (3, 8, 36, 3): "ResNet-152"}
_STAGES = (
    ("layer1", "layer2", "layer3", "layer4"),
    ("stages.0.blocks", "stages.1.blocks", "stages.2.blocks", "stages.3.blocks"),
)


def keras_aliases(module: nn.Module) -> dict[str, str]:
    """Map the Keras names of a ResNet-50, -101 or -152 (v1 or v2) to this module's own layer names.

    `conv{2..5}_block{i}_out` is `layer{1..4}.{i-1}`: Keras counts stages from conv2 and blocks from 1. Recognised by
    structure (four stages of three-convolution bottlenecks in the depths of those networks), so timm's networks, v2
    as `stages.N.blocks`, and a user's own module qualify. Empty for everything else: Keras has no ResNet-18 or -34.

    The papers speak of the last feature maps of the stages but name `conv3_block3_out` and `conv4_block3_out`. In
    ResNet-50 these are the *third* blocks, `layer2.2` of 4 and `layer3.2` of 6; the last are `conv3_block4_out` and
    `conv4_block6_out`. The alias means the block that the name says. In Keras' v2 networks a stage shrinks in its
    last block instead of its first, so there the grid behind a name can be half as large as here.
    """
    for names in _STAGES:
        stages = [_stage(module, name) for name in names]
        if tuple(len(stage) for stage in stages) in _DEPTHS and all(map(_bottlenecks, stages)):
            return {
                f"conv{number}_block{block}_out": f"{name}.{key}"
                for number, (name, stage) in enumerate(zip(names, stages, strict=True), start=2)
                for block, key in enumerate((key for key, _ in stage), start=1)
            }
    return {}


def _stage(module: nn.Module, name: str) -> list[tuple[str, nn.Module]]:
    try:
        found = module.get_submodule(name)
    except AttributeError:
        return []
    return list(found.named_children()) if isinstance(found, nn.Sequential) else []


def _bottlenecks(stage: list[tuple[str, nn.Module]]) -> bool:
    return all(
        {"conv1", "conv2", "conv3"} <= {name for name, _ in block.named_children()}
        for _, block in stage
    )
