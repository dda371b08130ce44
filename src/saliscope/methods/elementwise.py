"""Every cell weighted by its own gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saliscope.methods.base import Captured, Evidence, tiles

__all__ = ["HiResCAM", "LayerCAM"]


@dataclass(frozen=True, kw_only=True)
class LayerCAM(Captured):
    """Each cell's activation weighted by its own positive gradient, so that early layers show detail.

    Behind a ReLU, where no activation is negative, the map is positive everywhere and its ReLU changes nothing
    (Grad-CAM Elementwise, which puts a ReLU on the products instead, is then the same map).
    """

    name: ClassVar = "layer-cam"
    title: ClassVar = "Layer-CAM"
    family: ClassVar = "one capture"
    reads: ClassVar[Literal["gradients"]] = "gradients"
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward + 1 backward to the layer (none at a pooling + linear head)"
    paper: ClassVar = "Jiang et al. 2021, LayerCAM"
    equation: ClassVar = "L = ReLU(Σ_k ReLU(∂y/∂A^k) ⊙ A^k)"
    use: ClassVar = "early layers, for fine maps: each cell has its own weight"
    avoid: ClassVar = "a faithful decomposition: negative gradients are dropped"

    relu: bool = True

    def signed_map(self, evidence: Evidence) -> Tensor:
        a, g = evidence.a, evidence.g
        made = a.new_empty(a[:, 0].shape)
        for images, rows in tiles(a):
            positive = g[images, :, rows].relu()
            torch.sum(positive.mul_(a[images, :, rows]), 1, out=made[images, rows])
        return made


@dataclass(frozen=True, kw_only=True)
class HiResCAM(Captured):
    """Gradient times activation, summed over channels: what each cell adds to the score, to first order.

    On a network that is linear behind the layer the signed map sums to the score less its constant part, so it shows
    only what the score was computed from; Grad-CAM, which averages gradients first, can point elsewhere. At a pooling +
    linear head the two are the same. `relu` (default false, as in the paper) cuts the evidence against.
    """

    name: ClassVar = "hires-cam"
    title: ClassVar = "HiResCAM"
    family: ClassVar = "one capture"
    reads: ClassVar[Literal["gradients"]] = "gradients"
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward + 1 backward to the layer (none at a pooling + linear head)"
    paper: ClassVar = "Draelos and Carin 2020, HiResCAM"
    equation: ClassVar = "L = Σ_k ∂y/∂A^k ⊙ A^k"
    use: ClassVar = "a map that provably shows what a pooling + linear (or fully connected) head used, cell by cell"
    avoid: ClassVar = "early layers of deep networks, where gradient times activation is noise"

    relu: bool = False

    def signed_map(self, evidence: Evidence) -> Tensor:
        return evidence.by_cell
