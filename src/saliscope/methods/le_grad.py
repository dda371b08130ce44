"""LeGrad: how the score of every block's own tokens changes with that block's attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saliscope.engine import AttentionTap, Blocks, Layout, Question, blocks_of, with_picture
from saliscope.errors import MethodError
from saliscope.methods.attention import Attending, by_head

__all__ = ["LeGrad"]

_TRIED = 2  # images that are asked both ways


@dataclass(frozen=True, kw_only=True)
class LeGrad(Attending):
    """The positive part of the gradient of each layer's own score by its attention, averaged over layers.

    A layer's score is the target, read by the network's last norm and classifier from that layer's tokens as if it were
    the last: from the mean of all of them (`pool="mean"`, the paper), or from what the network itself reads, such as its
    class token (`pool="network"`). `layers` is how many of the last layers count, 0 for all.
    """

    name: ClassVar = "le-grad"
    title: ClassVar = "LeGrad"
    does: ClassVar = "adds up the attention to"
    class_discriminative: ClassVar = True
    signed: ClassVar = False
    passes: ClassVar = "1 forward + 1 backward"
    paper: ClassVar = "Bousselham et al. 2025 (ICCV), LeGrad: An Explainability Method for Vision Transformers via Feature Formation Sensitivity"
    equation: ClassVar = (
        "M = E_l E_h E_i [(∂s_l/∂A_l)⁺],  s_l = target(mean of the tokens of layer l)"
    )
    use: ClassVar = (
        "transformers, class by class, where features form in many layers, as in large ones"
    )
    avoid: ClassVar = (
        "networks without global attention; early layers whose tokens the classifier was never trained to read "
        "(try `layers=4`)"
    )

    pool: Literal["mean", "network"] = "mean"
    layers: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 0:
            raise MethodError(
                f"{self.name}:layers is how many of the last layers count, 0 for all; got {self.layers}"
            )

    def ask(self, question: Question) -> Tensor:
        blocks, layout = self._parts(question)
        chosen = self._chosen(blocks)
        together = question.together and self._together(question, blocks)
        groups = [chosen] if together else [[i] for i in chosen]
        total = sum((self._summed(question, blocks, g) for g in groups), torch.zeros(()))
        maps = (total / len(chosen))[..., layout.prefix :]
        return maps.reshape(*maps.shape[:2], *layout.shape)

    def _summed(self, question: Question, blocks: Blocks, chosen: Sequence[int]) -> Tensor:
        """The maps of some layers, added up: (B, K, tokens)."""
        tap, batch = AttentionTap(gradients=True), len(question.images)
        mean = self.pool == "mean"
        answer = question.network.exited(
            question.inputs, blocks, chosen, mean=mean, rules=lambda: tap
        )
        matrices = [tap.matrices[i] for i in chosen]
        rows = torch.arange(batch).repeat(len(chosen)) if len(chosen) > 1 else None
        # The gradient of a mean is small: that of the sum keeps half precision from underflow.
        count = matrices[0].shape[-1] if mean else 1
        found = []
        for k, target in enumerate(question.targets):
            scores = target.scores(answer.output, answer.logits, rows).float() * count
            last = k == len(question.targets) - 1
            gradients = self._gradients(scores, matrices, last=last)
            with torch.no_grad(), torch.autocast(scores.device.type, enabled=False):
                each = [by_head(g, batch).relu().mean((1, 2)) for g in gradients]
                found.append(torch.stack(each).sum(0) / count)
        return torch.stack(found, 1)

    def _chosen(self, blocks: Blocks) -> list[int]:
        depth = len(blocks.names)
        if self.layers > depth:
            raise MethodError(
                f"{self.name}:layers is how many of the last layers count, and this network has {depth}; got "
                f"{self.layers}. Use 0 for all"
            )
        return list(range(depth))[-self.layers :]

    def _parts(self, question: Question) -> tuple[Blocks, Layout]:
        """The network's blocks and the grid of their tokens, found once for a size of images."""
        images, network = question.images, question.network

        def find() -> tuple[Blocks, Layout]:
            tap = AttentionTap(gradients=False)
            few = _few(question)
            capture = network.capture(few, [], gradients=False, rules=lambda: tap)
            layout = self._layout(tap.matrices, capture, _TRIED)
            blocks = blocks_of(network, few)
            if blocks is None:
                raise MethodError(
                    f"{self.title} reads the tokens behind every layer, and this network has no row of blocks, modules of one "
                    "class that hand their tokens to the next with one attention in each: a single one, or attention and "
                    "additions written into one forward, cannot be told apart; use attention-lrp"
                )
            return blocks, layout

        return network.once(("blocks", tuple(images.shape[1:]), images.device), find)

    def _together(self, question: Question, blocks: Blocks) -> bool:
        """Whether the network reads the tokens of several layers in one pass: two layers ask as one does."""
        images, network = question.images, question.network
        mean = self.pool == "mean"
        rows = _rows(len(images))

        def asked(chosen: Sequence[int]) -> Tensor:
            answer = network.exited(_few(question), blocks, chosen, mean=mean)
            return question.scores(answer, rows.repeat(len(chosen))).detach()

        def find() -> bool:
            alone = asked([0]), asked([len(blocks.names) - 1])
            try:
                many = asked([0, len(blocks.names) - 1])
            except (
                Exception
            ):  # whatever a network makes of more images behind its blocks than before
                return False
            expected = torch.cat(alone).float()
            rounding = max(1e-4, 8 * torch.finfo(alone[0].dtype).eps)
            near = (many.float() - expected).abs() <= rounding * expected.abs().max()
            return bool(near.all())

        kinds = tuple(type(t.function) for t in question.targets)
        key = ("exits", tuple(images.shape[1:]), images.device, mean, kinds)
        return network.once(key, find)


def _rows(batch: int) -> Tensor:
    return torch.arange(_TRIED).clamp(max=batch - 1)


def _few(question: Question) -> object:
    """The inputs of two images; of one, some networks drop the axis."""
    rows = _rows(len(question.images))
    pictures = question.images[rows.to(question.images.device)]
    return with_picture(question.inputs, pictures, rows)
