"""LIME: a linear model of how the score depends on which superpixels are seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saliscope.errors import MethodError
from saliscope.methods.base import at_most
from saliscope.methods.coalitions import Coalitions

__all__ = ["LIME"]


@dataclass(frozen=True, kw_only=True)
class LIME(Coalitions):
    """The coefficients of a ridge regression of the score on which segments are seen, near the whole picture.

    Each of the `samples` shows every segment with probability 1/2; the first shows all. A sample counts by
    exp(-D² / width²), where D is its distance from the whole picture in what is seen: "cosine" 1 - √(share seen), or "l2"
    √(share hidden), both within [0, 1]. `ridge` is the penalty on the squared coefficients (the intercept has none).
    All segments take part: features are not selected.
    """

    name: ClassVar = "lime"
    title: ClassVar = "LIME"
    passes: ClassVar = "1 forward for each sample (1,000 with the defaults)"
    paper: ClassVar = "Ribeiro, Singh, Guestrin 2016, eq. 2"
    equation: ClassVar = "argmin over β₀, β of Σ exp(-D(z)²/σ²) (y(z) - β₀ - βᵀz)² + λ|β|²"
    use: ClassVar = "regions that follow the picture, from answers alone"
    avoid: ClassVar = "scores that do not add up over segments; the kernel's width decides much"

    samples: int = 1000
    distance: Literal["cosine", "l2"] = "cosine"
    width: float = 0.25
    ridge: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_most(self, samples=100_000)
        if self.samples < 2:
            raise MethodError(
                f"lime:samples is at least 2, the picture and another; got {self.samples}"
            )
        if not 0 < self.width < float("inf"):
            raise MethodError(f"lime:width is that of the kernel and positive; got {self.width}")
        if not 0 <= self.ridge < float("inf"):
            raise MethodError(f"lime:ridge is a penalty, 0 for none; got {self.ridge}")

    def plan(self, segments: int, generator: torch.Generator) -> Tensor:
        drawn = torch.rand(self.samples, segments, generator=generator) < 0.5
        drawn[0] = True
        return drawn

    def values(self, plan: Tensor, scores: Tensor) -> Tensor:
        weights = self._weights(plan.mean(1))[:, None]
        share = weights / weights.sum()
        seen = plan - (share * plan).sum(0)
        away = scores - (share * scores).sum(0)
        root = weights.sqrt()
        count = plan.shape[1]
        penalty = self.ridge**0.5 * torch.eye(count, dtype=plan.dtype)
        design = torch.cat([root * seen, penalty])
        inverse: Tensor = torch.linalg.pinv(design)
        return inverse[:, : len(plan)] @ (root * away)

    def _weights(self, seen: Tensor) -> Tensor:
        """The kernel at samples in which a share of the segments is seen."""
        squared = (1 - seen.sqrt()) ** 2 if self.distance == "cosine" else 1 - seen
        return torch.exp(-squared / self.width**2)
