"""Kernel SHAP: Shapley values of superpixels, by a weighted regression over coalitions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from saliscope.errors import MethodError
from saliscope.methods.base import at_most
from saliscope.methods.coalitions import Coalitions

__all__ = ["KernelSHAP"]


@dataclass(frozen=True, kw_only=True)
class KernelSHAP(Coalitions):
    """What each segment adds to the score on average over all orders in which segments could be uncovered.

    Where all 2^S coalitions of S segments fit into `samples`, all are asked and the values are the Shapley values
    themselves: up to 10 segments with the defaults. Otherwise coalitions are drawn by the Shapley kernel, each with its
    complement, which halves the noise (Covert and Lee 2021). Either way the values of the segments add up to the score
    of the picture less that of the filled one, exactly.
    """

    name: ClassVar = "kernel-shap"
    title: ClassVar = "Kernel SHAP"
    passes: ClassVar = "1 forward for each coalition (1,024 with the defaults)"
    paper: ClassVar = "Lundberg and Lee 2017, theorem 2"
    equation: ClassVar = "argmin over φ, Σφ = y(1) - y(0), of Σ π(z) (y(z) - y(0) - φᵀz)²,  π = (S-1) / (C(S,|z|) |z| (S-|z|))"  # fmt: skip
    use: ClassVar = "a fair share of the score for each region; the shares add up"
    avoid: ClassVar = "more than some tens of segments: it is noisy there"

    samples: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        at_most(self, samples=100_000)
        if self.samples < 4:
            raise MethodError(
                "kernel-shap:samples is at least 4: the picture, the filled one, and a coalition with its complement; "
                f"got {self.samples}"
            )

    def plan(self, segments: int, generator: torch.Generator) -> Tensor:
        if self._all_fit(segments):
            numbers = torch.arange(2**segments)[:, None]
            return (numbers >> torch.arange(segments)) & 1 == 1
        size = torch.arange(1, segments, dtype=torch.float64)
        pairs = (self.samples - 2) // 2
        drawn = 1 + torch.multinomial(
            1 / (size * (segments - size)), pairs, replacement=True, generator=generator
        )
        ranks = torch.rand(pairs, segments, generator=generator).argsort(1).argsort(1)
        chosen = ranks < drawn[:, None]
        none = torch.zeros(1, segments, dtype=torch.bool)
        return torch.cat([none, torch.stack([chosen, ~chosen], 1).flatten(0, 1), ~none])

    def values(self, plan: Tensor, scores: Tensor) -> Tensor:
        count = plan.shape[1]
        rise = scores[-1] - scores[0]
        between = plan[1:-1]
        # φ = rise / S + u with Σu = 0: the least squares for u of smallest norm has no part along 1
        left = scores[1:-1] - scores[0] - between.sum(1, keepdim=True) / count * rise
        seen = between - between.mean(1, keepdim=True)
        root = self._weights(between).sqrt()[:, None]
        inverse: Tensor = torch.linalg.pinv(root * seen)
        return rise / count + inverse @ (root * left)

    def _weights(self, plan: Tensor) -> Tensor:
        """The Shapley kernel where all coalitions are there; those that were drawn by it count alike."""
        count = plan.shape[1]
        if not self._all_fit(count):
            return torch.ones(len(plan), dtype=plan.dtype)
        kernel = [0.0] * (count + 1)
        for k in range(1, count):
            kernel[k] = (count - 1) / (math.comb(count, k) * k * (count - k))
        return torch.tensor(kernel, dtype=plan.dtype)[plan.sum(1).long()]

    def _all_fit(self, segments: int) -> bool:
        return (1 << segments) <= self.samples
