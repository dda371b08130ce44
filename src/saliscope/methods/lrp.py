"""Layer-wise relevance propagation: the score of a class, handed back from layer to layer without loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saliscope.engine import PIXELS, Propagation, Question, refuse_unseen
from saliscope.errors import LayerError, MethodError
from saliscope.methods.base import Asking
from saliscope.methods.layers import average
from saliscope.methods.lrp_rules import COMPOSITES, Relevance

__all__ = ["LRP"]


@dataclass(frozen=True, kw_only=True)
class LRP(Asking):
    """The logit of a class, shared at each unit among its inputs by a rule, down to the pixels or to a layer.

    `composite` names the rules: in linear layers, in convolutions, at the picture. "auto" takes "epsilon-plus-flat" where
    a network has batch norms and "epsilon-gamma-box" where it has none; results say which it was. `epsilon` is a share
    of the root mean square of a layer's outputs, `gamma` how much more contributions of the unit's own sign count.
    `channels` are summed, or the one of the largest absolute value is shown. Batch norm is one linear map with the
    convolution before it. Without a layer the map is of the pixels; `lrp@layer3` is the relevance of the cells there.
    """

    name: ClassVar = "lrp"
    title: ClassVar = "LRP"
    family: ClassVar = "propagation"
    at_layer: ClassVar[bool] = True
    else_pixels: ClassVar[bool] = True
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward + 1 backward with several products a layer"
    paper: ClassVar = (
        "Bach et al. 2015; Montavon et al. 2019, Layer-Wise Relevance Propagation: An Overview"
    )
    equation: ClassVar = "R_i = Σ_j a_i ρ(w_ij) R_j / (ε + Σ_k a_k ρ(w_kj)),  R = y at the class"
    use: ClassVar = (
        "shares of the score that are conserved from layer to layer, by rules you choose"
    )
    avoid: ClassVar = "networks that it has no rules for; a comparison between composites as if they were one method"

    composite: Literal[
        "auto",
        "epsilon",
        "epsilon-plus",
        "epsilon-plus-flat",
        "epsilon-plus-squares",
        "epsilon-gamma-box",
    ] = "auto"
    epsilon: float = 0.01
    gamma: float = 0.25
    channels: Literal["sum", "absmax"] = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epsilon", "gamma"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise MethodError(f"lrp:{name} is 0 or more; got {getattr(self, name)}")

    @property
    def logits_only(self) -> str:
        return "shares out one class logit"

    def for_network(self, module: nn.Module) -> LRP:
        """The same with the composite that "auto" stands for on this network."""
        if self.composite != "auto":
            return self
        norms = any(isinstance(part, _BatchNorm) for part in module.modules())
        return replace(self, composite="epsilon-plus-flat" if norms else "epsilon-gamma-box")

    def ask(self, question: Question) -> Tensor:
        rules = self.for_network(question.network.module)
        carrier = Relevance(
            self.title, COMPOSITES[rules.composite], epsilon=self.epsilon, gamma=self.gamma
        )
        layers = question.layers or (PIXELS,)
        wanted = list(dict.fromkeys([PIXELS, *layers]))
        capture = question.capture(wanted, rules=lambda: Propagation(carrier))
        refuse_unseen(capture.logits, self.title)
        scores = question.scores(capture)
        found = []
        for k, score in enumerate(scores.T):
            start = score * score.detach()  # its gradient is the score: the relevance to share out
            try:
                shares = capture.gradients(start, layers=layers, last=k == scores.shape[1] - 1)
            except LayerError as err:
                raise MethodError(
                    f"LRP gives no relevance to one of the layers {', '.join(layers)}: it stands behind the class, or in a "
                    "gate, whose relevance goes to what it gates"
                ) from err
            maps = [self._of_channels(s.float()) for s in shares.values()]
            found.append(maps[0] if len(maps) == 1 else average(maps))
        return torch.stack(found, 1)

    def _of_channels(self, relevance: Tensor) -> Tensor:
        return relevance.sum(1) if self.channels == "sum" else relevance.abs().amax(1)
