"""Channels weighted by their gradients in other ways than Grad-CAM's plain mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saliscope.methods.base import Captured, Evidence, tiles, weighted_sum

__all__ = ["GradCAMPlusPlus", "XGradCAM"]


@dataclass(frozen=True, kw_only=True)
class GradCAMPlusPlus(Captured):
    """Channels weighted by their positive gradients, each cell by a share that makes several objects count alike.

    The paper explains Y = exp(S) of the score S. Where the network is linear in A between layer and score, the second and
    third derivatives of Y are exp(S) g^2 and exp(S) g^3 with g = dS/dA, and its share (eq. 19) becomes
    alpha = g^2 / (2 g^2 + sum_ab A_ab g^3), which is 1 / (2 + g sum_ab A_ab) wherever g is not 0: no powers, no epsilon.
    The weights are sum_ij alpha relu(dY/dA) = exp(S) sum_ij alpha relu(g), and the factor exp(S) > 0, the same for all
    cells, is left out. The paper's layers stand behind a ReLU; where the sum over A is negative a denominator may cross zero,
    and a cell whose denominator is zero within rounding gets no share.
    """

    name: ClassVar = "grad-cam++"
    title: ClassVar = "Grad-CAM++"
    family: ClassVar = "one capture"
    reads: ClassVar[Literal["gradients"]] = "gradients"
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward + 1 backward to the layer"
    paper: ClassVar = "Chattopadhay et al. 2018, Grad-CAM++"
    equation: ClassVar = (
        "L = ReLU(Σ_k A^k Σ_ij α_ij ReLU(g_ij)),  α = g² / (2g² + g³ Σ_ab A_ab)   (eq. 19)"
    )
    use: ClassVar = (
        "several objects of one class in the picture, which Grad-CAM lets the largest win"
    )
    avoid: ClassVar = "a comparison between classes: only positive gradients count, so what speaks against a class is lost"

    relu: bool = True

    def signed_map(self, evidence: Evidence) -> Tensor:
        g, total = evidence.g, evidence.total
        shares = torch.zeros_like(total)
        for images, rows in tiles(g):
            shares[images] += _shares(g[images, :, rows], total[images])
        return weighted_sum(shares, evidence.a)


def _shares(gradient: Tensor, total: Tensor) -> Tensor:
    """The sum (B, C) over the cells of alpha relu(g), from the sum of each channel's activation (B, C)."""
    positive, total = gradient.relu(), total[..., None, None]
    denominator = torch.addcmul(total.new_full((), 2), positive, total)
    if bool((total < 0).any()):  # rare, and more passes over the layer
        terms = (positive * total).abs_().add_(2)
        tiny = denominator.abs() <= 4 * torch.finfo(torch.float32).eps * terms
        denominator.masked_fill_(tiny, float("inf"))
    return torch.div(positive, denominator, out=denominator).sum((2, 3))


@dataclass(frozen=True, kw_only=True)
class XGradCAM(Captured):
    """Channels weighted by the mean of their gradient, each cell counted by its share of the channel's activation.

    alpha_k = sum_ij A_ij g_ij / sum_ij A_ij: the weights that best meet the axioms of sensitivity and conservation. A
    channel whose activations sum to zero within rounding has no shares and gets weight 0.
    """

    name: ClassVar = "xgrad-cam"
    title: ClassVar = "XGrad-CAM"
    family: ClassVar = "one capture"
    reads: ClassVar[Literal["gradients"]] = "gradients"
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward + 1 backward to the layer (none at a pooling + linear head)"
    paper: ClassVar = "Fu et al. 2020, Axiom-based Grad-CAM"
    equation: ClassVar = "L = ReLU(Σ_k α_k A^k),  α_k = Σ_ij (A_ij / Σ_ab A_ab) ∂y/∂A_ij"
    use: ClassVar = "as Grad-CAM, with weights that make the map add up to the score where the network is linear behind the layer"
    avoid: ClassVar = "layers whose activations can sum to nothing: their channels have no weight"

    relu: bool = True

    def signed_map(self, evidence: Evidence) -> Tensor:
        total = evidence.total
        none = total.abs() <= 4 * torch.finfo(torch.float32).eps * evidence.size
        alpha = evidence.by_channel / total.masked_fill(none, 1.0)
        return weighted_sum(alpha.masked_fill(none, 0.0), evidence.a)
