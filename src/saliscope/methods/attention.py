"""The attention of a vision transformer, followed from token to token."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saliscope.engine import AttentionTap, Capture, Layout, Question, count_passes, layout_of
from saliscope.errors import MethodError
from saliscope.methods.base import Asking
from saliscope.methods.caveats import CAVEATS

__all__ = ["Attending", "AttentionLRP", "AttentionRollout", "by_head"]


@dataclass(frozen=True, kw_only=True)
class Attending(Asking):
    """What the methods that read attention share. `does`: what they do with it, as the rest of a sentence."""

    family: ClassVar = "transformers"
    does: ClassVar = "multiplies attention matrices over"

    def _gradients(self, scores: Tensor, matrices: Sequence[Tensor], *, last: bool) -> list[Tensor]:
        found: Sequence[Tensor | None] = [None]
        if scores.requires_grad:
            count_passes(backward=len(scores))
            found = torch.autograd.grad(
                scores.sum(), matrices, retain_graph=not last, allow_unused=True
            )
        arrived = [g for g in found if g is not None]
        if len(arrived) < len(matrices):
            raise MethodError(
                f"{self.title} needs the gradient at every attention, and none arrives at some: the target does not depend "
                "on it, or the network cuts the graph (no_grad, detach) behind it; use grad-cam"
            )
        return arrived

    def _layout(self, matrices: Sequence[Tensor], capture: Capture, batch: int) -> Layout:
        """The grid of the tokens among which every layer attends; `MethodError` where there is not one."""
        if not matrices:
            raise MethodError(
                f"{self.title} follows the attention of a vision transformer, and this network computes none that can be "
                "seen; use grad-cam"
            )
        shapes = {tuple(m.shape) for m in matrices}
        tokens = {shape[-1] for shape in shapes}
        found = layout_of(torch.empty(batch, max(tokens), 1), capture.space)
        if any(len(s) > 4 or s[0] % batch or (len(s) == 4 and s[0] != batch) for s in shapes):
            why = "attends within windows or parts of the image"
        elif len({shape[-2:] for shape in shapes}) > 1:
            why = f"attends among other tokens from layer to layer ({_sizes(shapes)})"
        elif any(shape[-2] != shape[-1] for shape in shapes):
            why = "attends from other tokens than it attends to"
        elif isinstance(found, str):
            why = f"does not attend among patches{found}"
        else:
            return found
        raise MethodError(
            f"{self.title} {self.does} one set of tokens, and this network {why}; use grad-cam"
        )


@dataclass(frozen=True, kw_only=True)
class Following(Attending):
    """Follows attention through all layers, from the tokens that the target reads down to the patches."""

    def ask(self, question: Question) -> Tensor:
        tap = AttentionTap(gradients=True)
        capture = question.capture(rules=lambda: tap)
        batch = len(question.images)
        layout = self._layout(tap.matrices, capture, batch)
        attention = [by_head(m, batch) for m in tap.matrices]
        rows = []
        for k, target in enumerate(question.targets):
            last = k == len(question.targets) - 1
            scores = target.scores(capture.output, capture.logits)
            found = self._gradients(scores, tap.matrices, last=last)
            with torch.no_grad(), torch.autocast(scores.device.type, enabled=False):
                gradients = [by_head(g, batch) for g in found]
                rows.append(_read(gradients[-1], self.joined(attention, gradients)))
        maps = torch.stack(rows, 1)[..., layout.prefix :]
        return maps.reshape(*maps.shape[:2], *layout.shape)

    @abstractmethod
    def joined(self, attention: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
        """How much each token (row) owes to each token of the input (column), (B, N, N)."""


@dataclass(frozen=True, kw_only=True)
class AttentionRollout(Following):
    """Attention multiplied through the layers, each mixed with the identity for the residual connection.

    Of the heads the `fusion` (mean, max or min) is taken. `discard` sets the smallest share of the entries of each fused
    matrix to zero first (no part of the paper; often 0.9). `residual` is the identity's share. Rows are brought to the sum
    1. The map is the row of the token that the target reads (the class token, as a rule), or the mean of all it reads.
    """

    name: ClassVar = "attention-rollout"
    title: ClassVar = "Attention rollout"
    class_discriminative: ClassVar = False
    signed: ClassVar = False
    passes: ClassVar = "1 forward + 1 backward"
    paper: ClassVar = "Abnar & Zuidema 2020, Quantifying Attention Flow in Transformers"
    equation: ClassVar = "M = row of Ã_L ... Ã_1,  Ã_l = (fusion_h A_l + I) / 2"
    use: ClassVar = "how tokens mix on their way up, with no class in mind"
    avoid: ClassVar = (
        "any question about a class; what attention does not say, the values and the layers between"
    )
    caveat: ClassVar = CAVEATS["attention-rollout"]

    fusion: Literal["mean", "max", "min"] = "mean"
    discard: float = 0.0
    residual: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, value in (("discard", self.discard), ("residual", self.residual)):
            if not 0 <= value < 1:
                raise MethodError(f"{self.name}:{option} is a share from 0 to below 1; got {value}")

    def joined(self, attention: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:  # noqa: ARG002 - no target
        joint: Tensor | None = None
        for matrix in attention:
            layer = self._mixed(matrix)
            joint = layer if joint is None else layer @ joint
        assert joint is not None
        return joint

    def _mixed(self, matrix: Tensor) -> Tensor:
        """One layer's matrix (B, N, N) with its residual, rows of sum 1."""
        fused = matrix.mean(1) if self.fusion == "mean" else getattr(matrix, f"a{self.fusion}")(1)
        flat = fused.flatten(1)
        dropped = int(self.discard * flat.shape[1])
        if dropped:
            smallest = flat.topk(dropped, largest=False).indices
            fused = flat.scatter(1, smallest, 0.0).view_as(fused)
        same = torch.eye(fused.shape[-1], device=fused.device)
        total = fused.sum(2, keepdim=True)
        fused = torch.where(total > 0, fused / total, same)  # a row that lost all keeps its own
        return (1 - self.residual) * fused + self.residual * same


@dataclass(frozen=True, kw_only=True)
class AttentionLRP(Following):
    """Attention weighted by its gradient: the positive part of gradient times attention, added up through the layers.

    This is the rule for self-attention of Chefer et al.'s generic method (ICCV 2021), which took the place of their earlier
    one (CVPR 2021): gradients say what that one's LRP inside each block said. The map is the row of the tokens that the target reads, without what each token owes itself.
    """

    name: ClassVar = "attention-lrp"
    title: ClassVar = "Generic attention relevance"
    class_discriminative: ClassVar = True
    signed: ClassVar = False
    passes: ClassVar = "1 forward + 1 backward"
    paper: ClassVar = (
        "Chefer, Gur & Wolf 2021 (ICCV), Generic Attention-model Explainability, eq. 5-6"
    )
    equation: ClassVar = "R ← R + E_h[(∂S/∂A_l ⊙ A_l)⁺] R,  R = I before the first layer"
    use: ClassVar = "transformers, class by class, through all layers of attention"
    avoid: ClassVar = "networks without global attention, as windowed ones"

    def joined(self, attention: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
        same = torch.eye(attention[0].shape[-1], device=attention[0].device)
        relevance = same.expand(len(attention[0]), -1, -1)
        for matrix, gradient in zip(attention, gradients, strict=True):
            relevance = relevance + (gradient * matrix).relu().mean(1) @ relevance
        return relevance - same


def _sizes(shapes: set[tuple[int, ...]]) -> str:
    return ", ".join(f"{rows} x {columns}" for rows, columns in sorted({s[-2:] for s in shapes}))


def _read(gradient: Tensor, joint: Tensor) -> Tensor:
    """The mean row (B, N) of the tokens that the target reads: those with a gradient in the last attention."""
    tokens = (gradient != 0).any(3).any(1).float()
    weights = tokens / tokens.sum(1, keepdim=True).clamp(min=1)
    return (weights[:, None] @ joint)[:, 0]


def by_head(matrix: Tensor, batch: int) -> Tensor:
    """(B, heads, N, N) in float32, also of (B heads, N, N)."""
    return matrix.detach().float().reshape(batch, -1, *matrix.shape[-2:])
