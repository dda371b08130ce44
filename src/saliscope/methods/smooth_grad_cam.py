"""Grad-CAM++ whose derivatives are averaged over noisy copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from saliscope.engine import Question
from saliscope.errors import MethodError
from saliscope.methods.base import Asking, weighted_sum
from saliscope.methods.layers import average
from saliscope.methods.noise import noisy_copies
from saliscope.methods.variants import gradients_of

__all__ = ["SmoothGradCAMPlusPlus"]


@dataclass(frozen=True, kw_only=True)
class SmoothGradCAMPlusPlus(Asking):
    """Grad-CAM++ with the mean first, second and third derivatives over `copies` noisy copies of the image.

    Only the derivatives are of the copies; the activations that are weighted are those of the image itself. As in
    Grad-CAM++, the derivatives of exp(S) are powers of the gradient g of S where the network is linear in A behind the
    layer; their common factor exp(S) is left out, for each copy. The noise is that of `smooth`: `noise` times the range of
    the image's values, from `seed` and the image itself. Without noise it is Grad-CAM++.
    """

    name: ClassVar = "smooth-grad-cam++"
    title: ClassVar = "Smooth Grad-CAM++"
    family: ClassVar = "full gradient"
    at_layer: ClassVar = True
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward + 1 backward to the layer, for each of `copies` copies"
    paper: ClassVar = "Omeiza et al. 2019, Smooth Grad-CAM++"
    equation: ClassVar = (
        "L = ReLU(Σ_k A^k Σ_ij α_ij ReLU(ḡ_ij)),  α = mean(g²) / (2 mean(g²) + mean(g³) Σ_ab A_ab)"
    )
    use: ClassVar = "Grad-CAM++ on an image whose gradient is noisy"
    avoid: ClassVar = "one pass: it takes a pass a copy"

    relu: bool = True
    copies: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.copies < 1:
            raise MethodError(
                f"smooth-grad-cam++:copies is at least 1, a number of noisy copies; got {self.copies}"
            )

    def ask(self, question: Question) -> Tensor:
        noisy = noisy_copies(question.images, self.copies, level=self.noise, seed=self.seed)
        sums: list[dict[str, list[Tensor]]] = [{} for _ in question.targets]
        for found in gradients_of(question, question.layers, noisy):
            for powers, gradients in zip(sums, found, strict=True):
                for name, gradient in gradients.items():
                    g = gradient.double()  # cubes of small and large gradients leave float32
                    new = (g, g**2, g**3)
                    known = powers.setdefault(name, [torch.zeros_like(g) for _ in new])
                    powers[name] = [a + b / self.copies for a, b in zip(known, new, strict=True)]
        maps = []
        for powers in sums:
            own = [_weighted(question.activations[n], *powers[n]) for n in question.layers]
            maps.append(own[0] if len(own) == 1 else average(own))
        return torch.stack(maps, 1)


def _weighted(activation: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """The map (B, h, w) of activations and mean derivatives, (B, C, h, w) each."""
    total = activation.double().sum((2, 3), keepdim=True)
    denominator = 2 * second + third * total
    terms = 2 * second + (third * total).abs()
    nothing = (
        denominator.abs() <= 4 * torch.finfo(torch.float32).eps * terms
    )  # also where all are 0
    share = (second / denominator.masked_fill(nothing, 1.0)).masked_fill(nothing, 0.0)
    weights = (share * first.relu()).sum((2, 3))
    return weighted_sum(weights, activation)
