"""Gradient-weighted class activation mapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from saliscope.methods.base import Captured, Evidence, needed

__all__ = ["GradCAM"]


@dataclass(frozen=True, kw_only=True)
class GradCAM(Captured):
    """Channels of any layer, weighted by the spatial mean of the target's gradient.

    alpha_k = 1/Z sum_ij dy/dA^k_ij, L = ReLU(sum_k alpha_k A^k). `relu=false` keeps the evidence against the target.
    `sign="negative"` uses -alpha_k: the regions that would raise the target if they were gone (counterfactual
    explanation, section 3.3). On a pooling + linear network at the last feature map this is CAM divided by Z.
    """

    name: ClassVar = "grad-cam"
    title: ClassVar = "Grad-CAM"
    family: ClassVar = "one capture"
    reads: ClassVar[Literal["gradients"]] = "gradients"
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward + 1 backward to the layer (none at a pooling + linear head)"
    paper: ClassVar = "Selvaraju et al. 2017, Grad-CAM"
    equation: ClassVar = "L = ReLU(Σ_k α_k A^k),  α_k = 1/Z Σ_ij ∂y/∂A^k_ij   (eqs. 1, 2)"
    use: ClassVar = "the usual first look: any network with a grid, any scalar; at the last layer of a pooling + linear network it is CAM"
    avoid: ClassVar = "early layers, where averaging a gradient that changes over the picture says little; several objects of one class of different size"

    relu: bool = True
    sign: Literal["positive", "negative"] = "positive"

    def signed_map(self, evidence: Evidence) -> Tensor:
        needed(evidence.activation, "a layer", self)
        needed(evidence.gradient, "gradients", self)
        return -evidence.averaged if self.sign == "negative" else evidence.averaged
