"""Shapley-CAM: Grad-CAM with the second-order term of the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from saliscope.methods.base import Captured, Evidence, Scalar, needed, weighted_sum

__all__ = ["ReST", "ShapleyCAM"]


@dataclass(frozen=True)
class ReST:
    """The paper's residual softmax target class, y_c + log softmax_c(y): of logits (B, N) and classes (B,), (B,)."""

    def __call__(self, logits: Tensor, classes: Tensor) -> Tensor:
        both = logits.float() + logits.float().log_softmax(1)
        return both.gather(1, classes[:, None])[:, 0]


@dataclass(frozen=True, kw_only=True)
class ShapleyCAM(Captured):
    """Channels weighted by their Shapley values in a second-order expansion of the score.

    alpha_k is the mean over the cells of g - 1/2 H A, with the Hessian H of the score by the whole layer, applied to the
    layer's activation in one more backward pass. `utility="rest"` is the score y_c + log softmax_c(y) that the paper puts
    forward; `"target"` the target itself. A logit of a network of ReLUs is linear in pieces: its Hessian is 0, and the map
    of `utility=target` is Grad-CAM.
    """

    name: ClassVar = "shapley-cam"
    title: ClassVar = "Shapley-CAM"
    family: ClassVar = "one capture"
    reads: ClassVar[Literal["curvature"]] = "curvature"
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = (
        "1 forward + 1 backward of its own, and 1 backward through that for each layer"
    )
    paper: ClassVar = "Cai 2025, CAMs as Shapley Value-based Explainers"
    equation: ClassVar = (
        "L = ReLU(Σ_k α_k A^k),  α_k = 1/Z Σ_ij (∇u − ½ H_u A)^k_ij,  u = y_c + log p_c"
    )
    use: ClassVar = "a Grad-CAM that corrects for interactions between channels, where the score curves behind the layer"
    avoid: ClassVar = (
        "networks that are linear in pieces behind the layer: it is Grad-CAM at twice the price"
    )

    utility: Literal["rest", "target"] = "rest"
    relu: bool = True

    def scalar(self) -> Scalar | None:
        return ReST() if self.utility == "rest" else None

    def signed_map(self, evidence: Evidence) -> Tensor:
        curvature = needed(evidence.curvature, "second derivatives", self).float()
        return weighted_sum((evidence.g - 0.5 * curvature).mean((2, 3)), evidence.a)
