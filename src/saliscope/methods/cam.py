"""Class activation mapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from saliscope.methods.base import Captured, Evidence, needed, weighted_sum

__all__ = ["CAM"]


@dataclass(frozen=True, kw_only=True)
class CAM(Captured):
    """The class weights of a pooling + linear head, laid over the last feature map.

    M_c(x, y) = sum_k w_k^c f_k(x, y), with the weights the network already has: nothing is retrained. The map is signed;
    its mean plus the bias is the logit of the class. `relu` (default false, as in the paper) cuts the evidence against.
    """

    name: ClassVar = "cam"
    title: ClassVar = "CAM"
    family: ClassVar = "one capture"
    reads: ClassVar[Literal["head"]] = "head"
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward"
    paper: ClassVar = "Zhou et al. 2016, Learning Deep Features for Discriminative Localization"
    equation: ClassVar = "M_c = Σ_k w_k^c f_k   (eq. 2)"
    use: ClassVar = "the network ends in global average pooling and one linear layer: the map is then exact, it is what the logit is summed from"
    avoid: ClassVar = "any other network or layer; two classes that share their evidence"

    relu: bool = False

    def signed_map(self, evidence: Evidence) -> Tensor:
        features = needed(evidence.activation, "the last feature map", self)
        weights = needed(evidence.class_weights, "a pooling + linear head", self)
        return weighted_sum(weights, features)
