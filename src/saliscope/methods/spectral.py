"""Maps along the first principal component of what a layer holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saliscope.errors import MethodError
from saliscope.methods.base import Captured, Evidence, few
from saliscope.methods.leading import gram, leading_cells, leading_coordinates

__all__ = ["KPCACAM", "EigenCAM", "EigenGradCAM"]

_KERNEL_NUMBERS = 10_000_000  # of the kernel matrices held at a time: 40 MB
_FAR = 0.02  # mean of gamma |x|^2, x less the mean of the cells: kernel values then differ by some hundredths


@dataclass(frozen=True, kw_only=True)
class EigenCAM(Captured):
    """The activations projected on their first principal component, whatever the class.

    The cells' activation vectors are the rows of a matrix O (hw x C), not centred, as in the paper; its first right
    singular vector v gives the map O v. A singular vector has no sign of its own: here the map agrees with the sum of the
    channels (their inner product is positive), so that bright means active. `centred=true` subtracts each channel's mean
    first, as the library grad-cam does. O is applied to vectors; it is never decomposed.
    """

    name: ClassVar = "eigen-cam"
    title: ClassVar = "Eigen-CAM"
    family: ClassVar = "one capture"
    reads: ClassVar[Literal["activations"]] = "activations"
    class_discriminative: ClassVar = False
    signed: ClassVar = True
    passes: ClassVar = "1 forward"
    paper: ClassVar = "Muhammad and Yeasin 2020, Eigen-CAM"
    equation: ClassVar = "M = O v₁,  O = U Σ Vᵀ,  O = A as (hw, C)"
    use: ClassVar = (
        "no class is at hand, or gradients cannot be had: what stands out in the layer at all"
    )
    avoid: ClassVar = "any question about a class: the map is the same for all of them; two objects: it shows the one with more activation"

    centred: bool = False
    relu: bool = False

    def signed_map(self, evidence: Evidence) -> Tensor:
        return _projection(evidence.a, evidence.channel_sum, centred=self.centred)


@dataclass(frozen=True, kw_only=True)
class EigenGradCAM(Captured):
    """Gradient times activation, projected on its first principal component: Eigen-CAM for a class.

    No paper: the author of the library grad-cam made it. Not centred, as Eigen-CAM; the sign is that of the channel sum,
    which here is HiResCAM, so bright means evidence for the class.
    """

    name: ClassVar = "eigen-grad-cam"
    title: ClassVar = "Eigen-Grad-CAM"
    family: ClassVar = "one capture"
    reads: ClassVar[Literal["gradients"]] = "gradients"
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward + 1 backward to the layer (none at a pooling + linear head)"
    paper: ClassVar = "Gildenblat 2021, the library grad-cam, after Eigen-CAM"
    equation: ClassVar = "M = O v₁,  O = U Σ Vᵀ,  O = (∂y/∂A) ⊙ A as (hw, C)"
    use: ClassVar = "Grad-CAM's map is noisy and one component is enough"
    avoid: ClassVar = "scores of different sign: the sign of a component is a convention"

    centred: bool = False
    relu: bool = False

    def signed_map(self, evidence: Evidence) -> Tensor:
        known = evidence.product, evidence.by_cell
        return _projection(*known, centred=self.centred, plain=False)


@dataclass(frozen=True, kw_only=True)
class KPCACAM(Captured):
    """Eigen-CAM with a kernel: the first component of kernel principal component analysis over the cells.

    `kernel` compares the activation vectors of two cells, each less the mean over the cells: "rbf" exp(-γ |x - y|²),
    "sigmoid" tanh(γ x·y + 1) or "linear" x·y. `gamma` 0 stands for 1 / C. Kernel matrices are centred, as always in this
    analysis; the sign is that of Eigen-CAM. Takes (hw)² numbers for an image: 40 MB at 56 x 56 cells.
    """

    name: ClassVar = "kpca-cam"
    title: ClassVar = "KPCA-CAM"
    family: ClassVar = "one capture"
    reads: ClassVar[Literal["activations"]] = "activations"
    class_discriminative: ClassVar = False
    signed: ClassVar = True
    passes: ClassVar = "1 forward"
    paper: ClassVar = "Karmani et al. 2024, KPCA-CAM"
    equation: ClassVar = "M = √λ₁ u₁,  K u₁ = λ₁ u₁,  K the centred kernel matrix of the cells"
    use: ClassVar = "as Eigen-CAM, where the cells do not lie along a line"
    avoid: ClassVar = "any question about a class; many cells on a GPU, where it is slow"

    kernel: Literal["rbf", "sigmoid", "linear"] = "rbf"
    gamma: float = 0.0
    relu: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.gamma < float("inf"):
            raise MethodError(f"kpca-cam:gamma is positive, or 0 for 1 / C; got {self.gamma}")

    def signed_map(self, evidence: Evidence) -> Tensor:
        a = evidence.a
        together = max(1, _KERNEL_NUMBERS // a[0, 0].numel() ** 2)
        along = torch.cat([self._along(some) for some in torch.split(a, together)])
        channel_sum = evidence.channel_sum.flatten(1)
        return _signed(along, channel_sum - channel_sum.mean(1, keepdim=True)).view(
            -1, *a.shape[2:]
        )

    def _along(self, a: Tensor) -> Tensor:
        kernels = a.new_empty(len(a), *[a[0, 0].numel()] * 2)
        for some, kernel in few(_cells(a), kernels):
            self._compare(_centred(some), kernel)
            rows = kernel.mean(2, keepdim=True)
            kernel.sub_(rows).sub_(rows.mT - rows.mean(1, keepdim=True))
        return leading_coordinates(kernels)

    def _compare(self, cells: Tensor, out: Tensor) -> None:
        """Kernel values less a constant, which centring takes away: float32 would round small differences off. Spends the cells."""
        gamma = self.gamma or 1 / cells.shape[2]
        if self.kernel == "linear":
            gram(cells, out)
        elif self.kernel == "sigmoid":  # tanh(x + 1) - tanh(1)
            bent, one = gram(cells, out).mul_(gamma).tanh_(), math.tanh(1)
            bent.mul_(1 - one**2).div_((bent * (one / (1 - one**2))).add_(1))
        else:
            products = gram(cells.mul_((2 * gamma) ** 0.5), out)
            squares = products.diagonal(dim1=1, dim2=2)[..., None] / 2
            # -gamma |x - y|^2: rounding may leave it above 0, and below -80 exp leaves the normal numbers, which is slow
            exponent = products.sub_(squares).sub_(squares.mT).clamp_(-80, 0)
            # exp is 7 times as fast as expm1, and as good where values differ by more than its rounding
            if bool((squares.mean(1) > _FAR).all()):
                exponent.exp_()
            else:
                exponent.expm1_()


def _projection(
    values: Tensor, channel_sum: Tensor, *, centred: bool, plain: bool = True
) -> Tensor:
    """Cells (B, C, h, w) along the first right singular vector of the matrix they make, (B, h, w)."""
    cells, channel_sum = _cells(values), channel_sum.flatten(1)
    if centred:
        cells = _centred(cells)
        channel_sum = cells.sum(2)
    finite = channel_sum.isfinite().all(1, keepdim=True)
    if not bool(finite.all()):
        cells = cells.where(finite[..., None], cells.new_zeros(()))
    along = leading_cells(cells, plain=plain)
    strength = along.abs().amax(1)
    if not bool(((strength > 1e-10) & (strength < 1e15)).all()):  # squares may have left float32
        largest = _largest(cells)
        scale = largest.where(largest > 0, largest.new_ones(()))
        along = leading_cells(cells / scale, plain=plain) * scale[..., 0]
    along = _signed(along, channel_sum).where(finite, along.new_full((), float("nan")))
    return along.view(-1, *values.shape[2:])


def _cells(values: Tensor) -> Tensor:
    """(B, C, h, w) as a vector for each cell, (B, hw, C)."""
    return values.permute(0, 2, 3, 1).flatten(1, 2)


def _centred(cells: Tensor) -> Tensor:
    """Less the mean over the cells; zeros where all cells are equal, which rounding may hide."""
    mean = cells.mean(1, keepdim=True)
    rest = cells - mean
    equal = _largest(rest) <= 8 * torch.finfo(cells.dtype).eps * _largest(mean)
    return rest.masked_fill_(equal, 0.0) if bool(equal.any()) else rest


def _largest(cells: Tensor) -> Tensor:
    """The largest absolute value of each matrix, (B, 1, 1)."""
    return torch.maximum(cells.amax((1, 2), keepdim=True), -cells.amin((1, 2), keepdim=True))


def _signed(along: Tensor, channel_sum: Tensor) -> Tensor:
    """The sign that agrees with the sum of the channels; where they are unrelated, the cell farthest from 0 is positive."""
    agreement = (along * channel_sum).sum(1, keepdim=True)
    farthest = along.gather(1, along.abs().argmax(1, keepdim=True))
    return along * torch.where(agreement != 0, agreement, farthest).sign()
