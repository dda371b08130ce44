"""What a method may ask of a network again, for several targets of each image of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saliscope.engine import BatchTarget, Budget, Capture, Network, Rules, with_picture

__all__ = ["Question"]


@dataclass(frozen=True, eq=False)
class Question:
    """A batch, its network, and K targets of each image.

    `images` is the picture (B, C, H, W) in float32, `inputs` all arguments it came with; `layers` the layers the method
    is read from and `activations` what they returned, (B, C, h, w) in the network's precision.
    """

    network: Network
    inputs: Any
    images: Tensor
    layers: tuple[str, ...]
    activations: dict[str, Tensor]
    targets: Sequence[BatchTarget]
    budget: Budget

    def capture(
        self,
        layers: Sequence[str] = (),
        *,
        rules: Rules | None = None,
        pictures: Tensor | None = None,
        rows: Tensor | None = None,
        gradients: bool = True,
    ) -> Capture:
        """Capture the batch again, at `layers`; or variants `pictures` (n, C, H, W) of the images `rows` (n,) of it."""
        inputs = self.inputs if pictures is None else with_picture(self.inputs, pictures, rows)
        return self.network.capture(inputs, layers, gradients=gradients, rules=rules)

    def scores(self, capture: Capture, rows: Tensor | None = None) -> Tensor:
        """The scalars (n, K) of all targets in a capture of this question."""
        values = [t.scores(capture.output, capture.logits, rows) for t in self.targets]
        return torch.stack(values, 1)

    def gradients(
        self, capture: Capture, layers: Sequence[str], rows: Tensor | None = None
    ) -> list[dict[str, Tensor]]:
        """For each of the K targets the gradients (n, C, h, w) by `layers`, in float32; frees the graph."""
        found = []
        for k, target in enumerate(self.targets):
            scores = target.scores(capture.output, capture.logits, rows)
            last = k == len(self.targets) - 1
            gradients = capture.gradients(scores, layers=layers, last=last)
            found.append({name: g.float() for name, g in gradients.items()})
        return found
