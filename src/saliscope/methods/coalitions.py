"""Asking about coalitions: some segments of a picture as they are, the others filled."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from saliscope.engine import Question
from saliscope.errors import MethodError
from saliscope.methods.base import Asking
from saliscope.methods.fills import Fill, filled
from saliscope.methods.noise import own_generator
from saliscope.methods.superpixels import superpixels

__all__ = ["Coalitions"]


@dataclass(frozen=True, kw_only=True)
class Coalitions(Asking):
    """Gives each segment of a picture a value, from the scores of pictures in which some segments are filled.

    Segments are superpixels (see `superpixels`), about `segments` of them; every pixel shows its segment's value.
    Coalitions are drawn from `seed` and the image's content, so that an image has the same in any batch.
    """

    family: ClassVar = "probes"
    class_discriminative: ClassVar = True
    signed: ClassVar = True

    segments: int = 50
    compactness: float = 10.0
    fill: Fill = "grey"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.segments < 1:
            raise MethodError(f"{self.name}:segments is at least 1; got {self.segments}")
        if not 0 < self.compactness < float("inf"):
            raise MethodError(
                f"{self.name}:compactness weighs place against colour and is positive; got {self.compactness}"
            )

    @abstractmethod
    def plan(self, segments: int, generator: torch.Generator) -> Tensor:
        """Choose the coalitions to ask about, bool (n, segments), on the CPU: true is a segment as it is."""

    @abstractmethod
    def values(self, plan: Tensor, scores: Tensor) -> Tensor:
        """Make the values (segments, K) from the scores (n, K) of a plan; all float64 on the CPU, NaN where a score is."""

    def ask(self, question: Question) -> Tensor:
        images = question.images
        cut = [superpixels(x, self.segments, compactness=self.compactness) for x in images]
        plans = [
            self.plan(int(labels.max()) + 1, own_generator(image, self.seed))
            for labels, image in zip(cut, images, strict=True)
        ]
        labels = torch.stack(cut).to(images.device)
        make = _pictures(images, filled(images, self.fill), labels, _together(plans, images.device))
        found = question.answers(max(map(len, plans)), make)
        scores = torch.cat([s for _, s in found]).double().cpu()
        values = [
            self.values(plan.double(), scores[: len(plan), i]) for i, plan in enumerate(plans)
        ]
        maps = [v.float().to(images.device)[where] for v, where in zip(values, labels, strict=True)]
        return torch.stack(maps).permute(0, 3, 1, 2)


def _together(plans: list[Tensor], device: torch.device) -> Tensor:
    """The plans of all images (n, B, S); what an image has not is the picture itself, which nobody reads."""
    shape = max(map(len, plans)), len(plans), max(plan.shape[1] for plan in plans)
    whole = torch.ones(shape, dtype=torch.bool)
    for i, plan in enumerate(plans):
        whole[: len(plan), i, : plan.shape[1]] = plan
    return whole.to(device)


def _pictures(
    images: Tensor, hidden: Tensor, labels: Tensor, plans: Tensor
) -> Callable[[range, slice], Tensor]:
    def make(variants: range, some: slice) -> Tensor:
        chosen = plans[variants.start : variants.stop, some]
        where = labels[some].flatten(1).expand(len(variants), -1, -1)
        shown = chosen.gather(2, where).view(*chosen.shape[:2], *images.shape[2:])
        return torch.where(shown[:, :, None], images[None, some], hidden[None, some])

    return make
