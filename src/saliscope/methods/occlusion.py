"""How much the score falls where a patch hides the picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from saliscope.engine import Question
from saliscope.errors import MethodError
from saliscope.methods.base import Asking
from saliscope.methods.fills import Fill, filled

__all__ = ["Occlusion"]


@dataclass(frozen=True, kw_only=True)
class Occlusion(Asking):
    """A patch slides over the picture; a pixel's value is the fall of the score, averaged over the patches that hide it.

    `patch` and `stride` are in pixels, or below 1 shares of each side. Every window has the full size: where steps do
    not end at the border, the last window is moved in, as one that is cut would hide less than the others. What the
    patch shows is its `fill` (see `fills`). The map has a value for each pixel.
    """

    name: ClassVar = "occlusion"
    title: ClassVar = "Occlusion"
    family: ClassVar = "probes"
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward + 1 for each window (about 100 with the defaults)"
    paper: ClassVar = "Zeiler and Fergus 2014, section 4.2"
    equation: ClassVar = "M(u) = mean over windows W ∋ u of y(I) - y(I with W filled)"
    use: ClassVar = "the plainest question there is, with no assumption about the network"
    avoid: ClassVar = "evidence spread over more than a patch: no single window removes it"

    patch: float = 0.2
    stride: float = 0.1
    fill: Fill = "grey"

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("patch", "stride"):
            value = getattr(self, option)
            if not (0 < value < 1 or (1 <= value < float("inf") and value == int(value))):
                raise MethodError(
                    f"occlusion:{option} is a whole number of pixels, or a share of each side below 1; got {value}"
                )

    def ask(self, question: Question) -> Tensor:
        images = question.images
        rows, columns = (self._windows(n, images.device) for n in images.shape[2:])
        hidden = filled(images, self.fill)
        make = _pictures(images, hidden, rows, columns)
        found = [scores for _, scores in question.answers(1 + len(rows) * len(columns), make)]
        scores = torch.cat(found).to(images.device).double()
        falls = (scores[0] - scores[1:]).view(len(rows), len(columns), *scores.shape[1:])
        r, c = rows.double(), columns.double()
        total = torch.einsum("yxbk,yh,xw->bkhw", falls, r, c)
        mean: Tensor = total / torch.outer(r.sum(0), c.sum(0))
        return mean.float()

    def _windows(self, side: int, device: torch.device) -> Tensor:
        """Which pixels of a side each window covers, bool (windows, side)."""
        patch, stride = _pixels(self.patch, side), _pixels(self.stride, side)
        if patch > side:
            raise MethodError(
                f"occlusion:patch is {patch} pixels, more than the {side} of a side of the input; take a smaller one, "
                "or a share below 1"
            )
        if stride > patch:
            raise MethodError(
                f"occlusion:stride is {stride} pixels and patch {patch}: some pixels would never be hidden; take a "
                "stride of at most the patch"
            )
        count = math.ceil((side - patch) / stride) + 1
        start = (torch.arange(count, device=device) * stride).clamp(max=side - patch)[:, None]
        place = torch.arange(side, device=device)
        return (place >= start) & (place < start + patch)


def _pixels(value: float, side: int) -> int:
    return int(value) if value >= 1 else max(1, round(value * side))


def _pictures(
    images: Tensor, hidden: Tensor, rows: Tensor, columns: Tensor
) -> Callable[[range, slice], Tensor]:
    """Variant 0 is the picture itself; the others have one window hidden each, row by row."""

    def make(variants: range, some: slice) -> Tensor:
        number = torch.arange(variants.start, variants.stop, device=images.device) - 1
        seen = number >= 0
        window = number.clamp(min=0)
        down, across = rows[window // len(columns)], columns[window % len(columns)]
        inside = down[:, :, None] & across[:, None, :] & seen[:, None, None]
        return torch.where(inside[:, None, None], hidden[None, some], images[None, some])

    return make
