"""The feature explanation method: where channels respond unusually strongly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saliscope.errors import MethodError
from saliscope.methods.base import Captured, Evidence, weighted_sum

__all__ = ["FEM"]


@dataclass(frozen=True, kw_only=True)
class FEM(Captured):
    """Cells where a channel stands `k` standard deviations above its mean, counted with the channel's mean.

    A channel that is the same everywhere, within rounding, stands out nowhere. The map knows nothing of the class.
    """

    name: ClassVar = "fem"
    title: ClassVar = "FEM"
    family: ClassVar = "one capture"
    reads: ClassVar[Literal["activations"]] = "activations"
    class_discriminative: ClassVar = False
    signed: ClassVar = True
    passes: ClassVar = "1 forward"
    paper: ClassVar = "Fuad et al. 2020, Features Understanding in 3D CNNs (FEM)"
    equation: ClassVar = "M = Σ_k μ_k [A^k > μ_k + K σ_k],  μ_k, σ_k over the cells of A^k"
    use: ClassVar = "no class is at hand: rare, strong activations of each channel"
    avoid: ClassVar = "any question about a class"

    k: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.k < float("inf"):
            raise MethodError(f"fem:k is a number of standard deviations, 0 or more; got {self.k}")

    def signed_map(self, evidence: Evidence) -> Tensor:
        mean = evidence.total / evidence.a[0, 0].numel()
        above = evidence.a - mean[..., None, None]
        spread = above.square().mean((2, 3)).sqrt()
        # The mean of equal numbers may differ from them in the last place.
        flat = spread <= 4 * torch.finfo(torch.float32).eps * mean.abs()
        level = (self.k * spread).masked_fill(flat, float("inf"))[..., None, None]
        return weighted_sum(mean, above.gt_(level))
