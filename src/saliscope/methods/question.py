"""What a method may ask of a network again, for several targets of each image of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

    def answers(
        self, count: int, make: Callable[[range, slice], Tensor]
    ) -> Iterator[tuple[range, Tensor]]:
        """Ask about `count` variants of each image without a graph, as many at once as the budget allows.

        `make` draws the pictures (v, b, C, H, W), on the device of `images`, of some variants (a range of their numbers)
        of some images (a slice of the batch). Yields, in order, ranges of variants and the scores (v, B, K) of all
        targets. A target that is a function of the user's own is asked about the whole batch at a time.
        """
        batch = len(self.images)
        together = all(t.row_by_row for t in self.targets)
        limit = self.at_once() if together else batch
        step = max(1, limit // batch)
        for start in range(0, count, step):
            variants = range(start, min(start + step, count))
            parts = []
            for first in range(0, batch, limit):
                some = slice(first, min(first + limit, batch))
                parts.append(self._answer(variants, some, together=together, make=make))
            yield variants, torch.cat(parts, 1)

    def at_once(self) -> int:
        """How many images the budget allows in one forward pass; at least 1."""
        return 32

    def _answer(
        self,
        variants: range,
        some: slice,
        *,
        together: bool,
        make: Callable[[range, slice], Tensor],
    ) -> Tensor:
        """The scores (v, b, K) of some variants of some images, from one forward pass."""
        pictures = make(variants, some)
        rows = torch.arange(some.start, some.stop).repeat(len(variants)) if together else None
        capture = self.capture(pictures=pictures.flatten(0, 1), rows=rows, gradients=False)
        return self.scores(capture, rows).float().reshape(len(variants), some.stop - some.start, -1)

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
