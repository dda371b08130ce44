"""Finer-CAM: what speaks for a class and not for those it is easily taken for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from saliscope.errors import MethodError
from saliscope.methods.base import Captured, Evidence, Scalar

__all__ = ["Contrast", "FinerCAM"]

Weights = Literal["probability", "equal"]


@dataclass(frozen=True)
class Contrast:
    """y_c - gamma * (weighted mean of y_d), over the `compare` other classes whose logits are nearest to y_c.

    Weights are the softmax probabilities of those classes among themselves, or equal. Where the network has fewer other
    classes, all of them count. A function of logits (B, N) and classes (B,) that gives (B,).
    """

    gamma: float
    compare: int
    weights: Weights

    def __call__(self, logits: Tensor, classes: Tensor) -> Tensor:
        own = logits.gather(1, classes[:, None])
        if logits.shape[1] < 2:
            raise MethodError(
                "Finer-CAM compares a class with others, and this network has one; use grad-cam"
            )
        apart = (logits - own).detach().abs()
        apart = apart.scatter(1, classes[:, None], float("inf"))
        nearest = apart.topk(min(self.compare, logits.shape[1] - 1), largest=False).indices
        others = logits.gather(1, nearest)
        if self.weights == "equal":
            return own[:, 0] - self.gamma * others.mean(1)
        # The gradient runs through the weights too, as it does in the authors' code.
        return own[:, 0] - self.gamma * (others.float().softmax(1) * others).sum(1)


@dataclass(frozen=True, kw_only=True)
class FinerCAM(Captured):
    """Grad-CAM of the difference between a class and the classes most like it, so that shared features drop out.

    The classes compared are the `compare` ones whose logits are nearest to the target's in this image. `gamma` 0 is
    Grad-CAM, 1 the full difference. Several classes are averaged, weighted by their probabilities (as the authors' code
    does) or equally.
    """

    name: ClassVar = "finer-cam"
    title: ClassVar = "Finer-CAM"
    family: ClassVar = "one capture"
    reads: ClassVar[Literal["gradients"]] = "gradients"
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward + 1 backward of its own (none at a pooling + linear head)"
    paper: ClassVar = "Zhang et al. 2025, Finer-CAM"
    equation: ClassVar = "L = ReLU(Σ_k α_k A^k),  α_k = 1/Z Σ_ij ∂(y^c − γ y^d)/∂A^k_ij"
    use: ClassVar = "fine-grained classes: what tells this class from its nearest ones"
    avoid: ClassVar = (
        "the predicted class has no near ones: the difference is then Grad-CAM with noise"
    )

    gamma: float = 1.0
    compare: int = 3
    weights: Weights = "probability"
    relu: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compare < 1:
            raise MethodError(
                f"finer-cam:compare is a number of classes, 1 or more; got {self.compare}"
            )
        if not 0 <= self.gamma < float("inf"):
            raise MethodError(f"finer-cam:gamma is 0 or more; got {self.gamma}")

    def scalar(self) -> Scalar:
        return Contrast(self.gamma, self.compare, self.weights)

    def signed_map(self, evidence: Evidence) -> Tensor:
        return evidence.averaged
