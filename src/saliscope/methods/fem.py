"""The feature explanation method: where channels respond unusually strongly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saliscope.errors import MethodError
from saliscope.methods.base import Captured, Evidence, tiles

__all__ = ["FEM"]

_NARROW = 0.01  # of a channel's mean square: below, the variance is not told from its difference to the squared mean


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
        a = evidence.a
        mean = evidence.total / a[0, 0].numel()
        spread = _spread(a, mean)
        # The mean of equal numbers may differ from them in the last place.
        flat = spread <= 4 * torch.finfo(torch.float32).eps * mean.abs()
        level = (mean + self.k * spread).masked_fill(flat, float("inf"))[..., None, None]
        made = a.new_empty(a[:, 0].shape)
        for images, rows in tiles(a):
            some = a[images, :, rows]
            above = torch.gt(some, level[images], out=torch.empty_like(some))
            cells = torch.bmm(mean[images][:, None], above.flatten(2))
            made[images, rows] = cells.view(made[images, rows].shape)
        return made


def _spread(a: Tensor, mean: Tensor) -> Tensor:
    """The standard deviation (B, C) of each channel over its cells.

    From the mean of the squares, in one pass; that loses the digits the two have in common, so channels whose spread is
    far below their mean are looked at once more.
    """
    squares = torch.zeros_like(mean)
    for images, rows in tiles(a):
        squares[images] += a[images, :, rows].square().sum((2, 3))
    squares /= a[0, 0].numel()
    variance = squares - mean.square()
    narrow = variance < _NARROW * squares
    if bool(narrow.any()):
        rest = a[narrow] - mean[narrow][:, None, None]
        variance[narrow] = rest.square_().mean((1, 2))
    return variance.sqrt()
