"""Ablation-CAM: channels weighted by what the score loses without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from saliscope.engine import BatchTarget, Head, Question
from saliscope.methods.base import Asking, weighted_sum
from saliscope.methods.layers import average_by_target

__all__ = ["AblationCAM"]

_NUMBERS = 16_000_000  # of the logits without each channel, held at a time: 64 MB


@dataclass(frozen=True, kw_only=True)
class AblationCAM(Asking):
    """Channels weighted by the drop of the score when they are set to zero at the layer.

    The paper divides the drop by the score of the untouched image. That factor is the same for all channels, so for a
    positive score it changes no picture; for a negative one it turns the map over, and at 0 it is undefined. Here the
    weight is the drop itself; `relative=true` divides by the absolute score, which keeps its sign, and a map is undefined
    where the score is 0.

    Only what lies behind the layer runs for each channel, and not for channels that are zero everywhere. At the last
    feature map of a pooling + linear network the drop is known: the class's weight times the channel's mean. Elsewhere a
    network in bfloat16 or float16 rounds its logits more coarsely than most channels change them: use float32.
    """

    name: ClassVar = "ablation-cam"
    title: ClassVar = "Ablation-CAM"
    family: ClassVar = "probes"
    at_layer: ClassVar = True
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward + what lies behind the layer for each channel (none at a pooling + linear head)"  # fmt: skip
    paper: ClassVar = "Ramaswamy and Desai 2020, Ablation-CAM"
    equation: ClassVar = "L = ReLU(Σₖ wₖ Aᵏ),  wₖ = y − yₖ,  yₖ the score with Aᵏ = 0"
    use: ClassVar = "a map without gradients: what the score loses without each channel"
    avoid: ClassVar = "layers before the last ones, where channels make up for each other"

    relative: bool = False
    relu: bool = True

    def ask(self, question: Question) -> Tensor:
        return average_by_target([self._at(question, layer) for layer in question.layers])

    def _at(self, question: Question, layer: str) -> Tensor:
        head = question.network.head
        classes = all(
            t.classes is not None for t in question.targets
        )  # a function may read anything
        known = head is not None and layer in head.layers and classes
        untouched = question.untouched()
        scores = question.scores(untouched).detach().float()
        a = question.activations[layer]
        if known and head is not None:
            drops = _known_drops(
                head, head.features(a), untouched.logits.detach(), question.targets
            )
        else:
            drops = _asked_drops(question, layer, scores)
        if self.relative:
            drops = drops / scores.abs().masked_fill(scores == 0, float("nan"))[:, None]
        return weighted_sum(drops.transpose(1, 2), a)


def _asked_drops(question: Question, layer: str, scores: Tensor) -> Tensor:
    """What each score (B, K) loses without each channel, (B, C, K)."""
    a = question.activations[layer]
    alive = (a != 0).flatten(2).any(2)

    def without(rows: Tensor, numbers: Tensor) -> Tensor:
        grids = a[rows]
        grids[torch.arange(len(rows), device=a.device), numbers] = 0
        return grids

    left = question.replaced(layer, alive, without).to(scores.device)
    return (scores[:, None] - left).masked_fill(~alive[..., None], 0.0)


def _known_drops(
    head: Head, features: Tensor, logits: Tensor, targets: Sequence[BatchTarget]
) -> Tensor:
    """The drops where logits = W mean(A) + b: without channel k they are less by W_k mean(A_k)."""
    means = features.float().mean((2, 3))
    return torch.stack([_drop(head, means, logits.float(), t) for t in targets], 2)


def _drop(head: Head, means: Tensor, logits: Tensor, target: BatchTarget) -> Tensor:
    assert target.classes is not None, "a function sees the network's output, not its logits alone"
    channels = means.shape[1]
    if target.space == "logit":  # no difference of large numbers
        return head.class_weights(target.classes, channels) * means
    every = torch.arange(logits.shape[1], device=logits.device)
    weights = head.class_weights(every, channels).T  # (C, N)
    full = target.scores(None, logits)
    drops = []
    for b, mean in enumerate(means):
        step = max(1, _NUMBERS // logits.shape[1])
        for ks in torch.split(torch.arange(channels, device=logits.device), step):
            left = logits[b] - mean[ks, None] * weights[ks]
            rows = torch.full((len(ks),), b)
            drops.append(full[b] - target.scores(None, left, rows))
    return torch.cat(drops).view(-1, channels)
