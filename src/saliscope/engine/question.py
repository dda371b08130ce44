"""What may be asked of a network again, by methods and by metrics, for several targets of each image of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saliscope.engine.budget import Budget
from saliscope.engine.capture import Capture
from saliscope.engine.footprint import Footprint
from saliscope.engine.groups import Draw, Group, gathered, told
from saliscope.engine.inputs import with_picture
from saliscope.engine.network import Network, Rules
from saliscope.engine.rest import Answer, rest_of
from saliscope.engine.room import Room
from saliscope.engine.targets import BatchTarget

__all__ = ["Question"]

_GRAPH = 4  # times the memory of a pass that is not differentiated, by a cautious guess

_DRAWN = 3  # pictures in float32 that exist for each variant while it is drawn: itself, its mask, and what becomes both


@dataclass(frozen=True, eq=False)
class Question:
    """A batch, its network, and K targets of each image.

    `images` is the picture (B, C, H, W) in float32, `inputs` all arguments it came with; `layers` the layers the method
    is read from and `activations` what they returned, (B, C, h, w) in the network's precision. `method` is who asks, `seen`
    a capture of the batch as it is, where there is one.
    """

    network: Network
    inputs: Any
    images: Tensor
    layers: tuple[str, ...]
    activations: dict[str, Tensor]
    targets: Sequence[BatchTarget]
    budget: Budget
    method: str = ""
    seen: Capture | None = None

    @property
    def together(self) -> bool:
        """Whether variants of any images may be asked in one pass; else a whole batch at a time, each in its place."""
        return all(t.row_by_row for t in self.targets)

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

    def untouched(self) -> Capture:
        """What the network returns for the batch as it is."""
        return self.capture(gradients=False) if self.seen is None else self.seen

    def answers(
        self, count: int, make: Callable[[range, slice], Tensor]
    ) -> Iterator[tuple[range, Tensor]]:
        """Ask about `count` variants of each image without a graph, as many at once as the budget allows.

        `make` draws the pictures (v, b, C, H, W), on the device of `images`, of some variants (a range of their numbers)
        of some images (a slice of the batch). Yields, in order, ranges of variants and the scores (v, B, K) of all
        targets. A target that is a function of the user's own is asked about the whole batch at a time. Whoever has
        heard enough leaves the loop.
        """
        batch = len(self.images)
        room = self._room()

        def job(variants: range, some: slice) -> Tensor:
            pictures = make(variants, some)
            rows = torch.arange(some.start, some.stop).repeat(len(variants))
            scores = self._answer(pictures.flatten(0, 1), rows)
            return scores.reshape(len(variants), some.stop - some.start, -1)

        with told(self.budget, self.method, count * batch) as tell:
            start = 0
            while start < count:
                variants = range(start, start + room.portion(count - start, batch))
                scores = room.ask(job, variants, slice(0, batch))
                start = variants.stop
                tell(start * batch)
                yield variants, scores

    def asked(self, wanted: Tensor, make: Draw) -> Tensor:
        """Ask about some of n variants of each image, others of each: the scores (B, n, K), NaN where nothing was asked.

        `wanted` (B, n) says which. `make` draws the pictures (m, C, H, W) of variants `numbers` (m,) of images `rows`
        (m,), in the order of their numbers; where the batch has to stay whole, also of variants not wanted.
        """

        def ask(rows: Tensor, numbers: Tensor) -> Tensor:
            return self._answer(make(rows, numbers), rows)

        if self.together:
            numbers, rows = wanted.T.nonzero().T
            return self._gathered(wanted, [Group(rows, numbers, self._room(), ask)])
        return self._gathered(wanted, self._whole(wanted, ask))

    def replaced(self, layer: str, wanted: Tensor, make: Draw) -> Tensor:
        """Ask about other outputs of a layer; the scores (B, n, K) as `asked`.

        `make` draws the grids (m, C, h, w) in place of the layer's output. What lies before the layer runs once for all
        variants of an image that go through the rest of the network together, where the network allows it.
        """

        def ask(rows: Tensor, numbers: Tensor) -> Tensor:
            answer = self.network.replaced(self.inputs, layer, make(rows, numbers))
            return self.scores(answer)

        if not self.together:
            return self._gathered(wanted, self._whole(wanted, ask))
        own = (self._of_one(layer, i, wanted[i], make) for i in range(len(wanted)))
        return self._gathered(wanted, list(own))

    def _of_one(self, layer: str, i: int, wanted: Tensor, make: Draw) -> Group:
        """The variants of one layer's output for one image."""
        picked = torch.tensor([i])
        one = with_picture(self.inputs, self.images[i : i + 1], picked)
        rest = rest_of(self.network, one, layer, self.activations[layer][i : i + 1])
        numbers = wanted.nonzero()[:, 0]

        def ask(rows: Tensor, numbers: Tensor) -> Tensor:
            return self.scores(rest.ask(self.network, one, layer, make(rows, numbers)), rows)

        room = Room(self.budget.images(rest.footprint, self.images.device))
        return Group(torch.full_like(numbers, i), numbers, room, ask)

    def _whole(self, wanted: Tensor, ask: Draw) -> list[Group]:
        """The whole batch once for each variant that any image wants."""
        rows = torch.arange(len(wanted), device=wanted.device)
        numbers = wanted.any(0).nonzero()[:, 0]
        return [Group(rows, n.expand(len(rows)), None, ask) for n in numbers]

    def _gathered(self, wanted: Tensor, groups: Sequence[Group]) -> Tensor:
        shape = (*wanted.shape, len(self.targets))
        with told(self.budget, self.method, sum(len(g.rows) for g in groups)) as tell:
            found = gathered(groups, shape, tell)
        return found.masked_fill(~wanted.to(found.device)[..., None], float("nan"))

    def at_once(self) -> int:
        """How many images the budget allows in one forward pass; at least 1."""
        counted = self.network.footprint(self.inputs)
        drawn = _DRAWN * self.images[0].nbytes
        footprint = Footprint(counted.each + drawn, counted.fixed)
        return self.budget.images(footprint, self.images.device)

    def differentiated_at_once(self) -> int:
        """How many images at once where the pass is differentiated; a whole batch where it has to stay together."""
        return max(1, self.at_once() // _GRAPH) if self.together else len(self.images)

    def _room(self) -> Room:
        whole = not self.together
        return Room(len(self.images) if whole else self.at_once(), whole=whole)

    def _answer(self, pictures: Tensor, rows: Tensor) -> Tensor:
        """The scores (n, K) of variants of the images `rows` (n,), float32, from one forward pass."""
        known = rows if self.together else None
        capture = self.capture(pictures=pictures, rows=known, gradients=False)
        return self.scores(capture, known).float()

    def scores(self, answer: Capture | Answer, rows: Tensor | None = None) -> Tensor:
        """The scalars (n, K) of all targets in what the network returned for this question."""
        values = [t.scores(answer.output, answer.logits, rows) for t in self.targets]
        return torch.stack(values, 1)

    def gradients(
        self, capture: Capture, layers: Sequence[str], rows: Tensor | None = None
    ) -> list[dict[str, Tensor]]:
        """For each of the K targets the gradients (n, C, h, w) by `layers`, in float32; frees the graph."""
        found = []
        for k, target in enumerate(self.targets):
            scores = target.scores(capture.output, capture.logits, rows)
            last = k == len(self.targets) - 1
            with torch.autocast(
                scores.device.type, enabled=False
            ):  # it would round on the way back
                gradients = capture.gradients(scores, layers=layers, last=last)
            found.append({name: g.float() for name, g in gradients.items()})
        return found
