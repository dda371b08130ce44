"""Refine-CAM: the maps of several layers multiplied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from saliscope.methods.base import Captured, Evidence
from saliscope.methods.elementwise import LayerCAM
from saliscope.methods.grad_cam import GradCAM
from saliscope.methods.layers import product
from saliscope.methods.weighted import GradCAMPlusPlus

__all__ = ["RefineCAM"]

_BASES: dict[str, Captured] = {m.name: m for m in (GradCAMPlusPlus(), GradCAM(), LayerCAM())}


@dataclass(frozen=True, kw_only=True)
class RefineCAM(Captured):
    """The product of one method's maps at several layers: fine where early layers are, quiet where late ones are.

    Written with its layers, `refine-cam@layer2+layer3+layer4`. Each map's positive part is brought to the finest grid and
    divided by its maximum, and all are multiplied, so the map lies in [0, 1]. `base` makes the maps. Of a single layer it
    is the base method's map.
    """

    name: ClassVar = "refine-cam"
    title: ClassVar = "Refine-CAM"
    family: ClassVar = "one capture"
    reads: ClassVar[Literal["gradients"]] = "gradients"
    class_discriminative: ClassVar = True
    signed: ClassVar = False
    passes: ClassVar = "1 forward + 1 backward to the earliest layer"
    paper: ClassVar = "Domeniconi et al. 2026, How to Evaluate and Refine your CAM"
    relu: ClassVar = True  # no option: a product of signed maps has no meaning
    equation: ClassVar = "M = Π_l ReLU(L_l) / max L_l,  L_l the base method's map at layer l"
    use: ClassVar = "several layers at once: the resolution of early ones where the late ones agree"
    avoid: ClassVar = "one layer alone, where it is its base method"

    base: Literal["grad-cam++", "grad-cam", "layer-cam"] = "grad-cam++"

    def fuse(self, maps: Sequence[Tensor]) -> Tensor:
        return product(maps)

    def signed_map(self, evidence: Evidence) -> Tensor:
        return evidence.made_by(_BASES[self.base])
