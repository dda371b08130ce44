"""Extremal perturbation: the mask of a given area that does most for the score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saliscope.engine import PIXELS, Question
from saliscope.errors import MethodError
from saliscope.methods.base import Asking
from saliscope.methods.smooth_masks import Focus, SmoothMasks, area_shape

__all__ = ["ExtremalPerturbation"]

_MOMENTUM = 0.9


@dataclass(frozen=True, kw_only=True)
class ExtremalPerturbation(Asking):
    """A smooth mask of a fixed area, found by gradient ascent: what has to be in focus for the score to be high.

    Outside the mask the picture is blurred. `areas` are shares of the picture, several written "0.05+0.1+0.2"; the map is
    the mean of their masks, in [0, 1]. `game` "preserve" keeps the masked region in focus and raises the score, "delete"
    blurs it and lowers the score. The score counts in units of its fall from the picture to the blurred one, so that its
    scale does not matter. The weight of the area's error beside it (a mean over the cells) grows from 1 to `weight` in
    equal factors: all begins in focus, the score says what may go, and in the end the area is held. `rate` is the
    learning rate; `cells` on the longer side set how fine a mask can be.
    """

    name: ClassVar = "extremal-perturbation"
    title: ClassVar = "Extremal perturbation"
    family: ClassVar = "probes"
    class_discriminative: ClassVar = True
    signed: ClassVar = False
    passes: ClassVar = "1 forward + 1 backward for each iteration and area (300 with the defaults)"
    paper: ClassVar = "Fong, Patrick, Vedaldi 2019, eq. 4"
    equation: ClassVar = "M = argmax over smooth m of y(m ⊗ I) - λ |vecsort(m) - r_a|²"
    use: ClassVar = "which tenth of the picture is enough for the score"
    avoid: ClassVar = "speed; a picture of everything that matters: it shows the best region of one size, often in pieces"

    areas: str = "0.1"
    game: Literal["preserve", "delete"] = "preserve"
    iterations: int = 300
    cells: int = 28
    weight: float = 300.0
    rate: float = 0.0001

    def __post_init__(self) -> None:
        super().__post_init__()
        self.shares()
        for option in ("iterations", "cells"):
            if getattr(self, option) < 1:
                raise MethodError(f"{self.name}:{option} is at least 1; got {getattr(self, option)}")  # fmt: skip
        if not 1 <= self.weight < float("inf"):
            raise MethodError(
                f"{self.name}:weight is at least 1, where it starts; got {self.weight}"
            )
        if not 0 < self.rate < float("inf"):
            raise MethodError(f"{self.name}:rate is positive; got {self.rate}")

    def shares(self) -> list[float]:
        """The areas as numbers."""
        try:
            found = [float(area) for area in self.areas.split("+")]
        except ValueError:
            found = []
        if not found or not all(0 < area < 1 for area in found):
            raise MethodError(
                f"{self.name}:areas are shares of the picture above 0 and below 1, several joined by +, e.g. "
                f'"0.05+0.1"; got "{self.areas}"'
            )
        return found

    def ask(self, question: Question) -> Tensor:
        search = _Search(self, question)
        for i in range(self.iterations):
            search.step(self.weight ** (i / max(1, self.iterations - 1)))
        return search.maps()


class _Search:
    """All masks of a question: each area, target and image has one of its own, (A, K, B) in this order."""

    def __init__(self, method: ExtremalPerturbation, question: Question) -> None:
        self.method, self.question = method, question
        images = question.images
        self.areas, device = method.shares(), images.device
        self.shape = len(self.areas), len(question.targets), len(images)
        self.limit = question.differentiated_at_once()
        self.masks = SmoothMasks(method.cells, (images.shape[2], images.shape[3]), device)
        self.focus = Focus(images)
        cells = len(self.masks.kernel)
        in_focus = 1.0 if method.game == "preserve" else 0.0
        self.values = torch.full((*self.shape, cells), in_focus, device=device).flatten(0, 2)
        self.speed = torch.zeros_like(self.values)
        ideal = torch.stack([area_shape(area, cells) for area in self.areas]).to(device)
        self.ideal = ideal.repeat_interleave(self.shape[1] * self.shape[2], 0)
        fall = self._fall().to(device)
        self.scale = torch.where(fall > 0, fall, torch.ones_like(fall))
        self.vain = fall == 0

    def step(self, weight: float) -> None:
        """One step of every mask along its gradient."""
        for some in self._chunks():
            values = self.values[some].clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self._loss(values, some, weight), values)
            self.speed[some] = _MOMENTUM * self.speed[some] + gradient
            moved = values.detach() - self.method.rate * self.speed[some]
            self.values[some] = moved.clamp(0, 1)

    def maps(self) -> Tensor:
        """The mean mask over the areas, (B, K, H, W); zero where blurring all of the picture changes no score."""
        with torch.no_grad():
            found = [self.masks.wide(self.masks(self.values[c])) for c in self._chunks()]
        masks = torch.cat(found).masked_fill(self.vain[:, None, None], 0.0)
        mean: Tensor = masks.view(*self.shape, *self.masks.size).mean(0)
        return mean.transpose(0, 1)

    def _fall(self) -> Tensor:
        """How much the score changes when all is blurred, for each mask (A K B,)."""
        copies = torch.stack([self.focus.levels[0], self.focus.levels[-1]])
        found = self.question.answers(2, lambda v, some: copies[v.start : v.stop, some])
        scores = torch.cat([s for _, s in found]).detach()
        fall = (scores[0] - scores[1]).abs()
        return fall.T.expand(self.shape).flatten()

    def _chunks(self) -> Iterator[slice]:
        """Masks that are asked about together; of a function of the user's own, whole batches."""
        count = len(self.values)
        for start in range(0, count, self.limit):
            yield slice(start, min(start + self.limit, count))

    def _loss(self, values: Tensor, some: slice, weight: float) -> Tensor:
        """What falls as the score rises and the area fits; its gradient for the pictures comes from the network."""
        number = torch.arange(some.start, some.stop, device=values.device)
        rows, target = number % self.shape[2], number // self.shape[2] % self.shape[1]
        masks = self.masks(values)
        wide = self.masks.wide(masks)
        preserve = self.method.game == "preserve"
        pictures = self.focus(wide if preserve else 1 - wide, rows)
        slopes = self._slopes(pictures.detach(), rows, target) / self.scale[some].view(-1, 1, 1, 1)
        score = (pictures * slopes).sum() * (1 if preserve else -1)
        ordered = masks.sort(1, descending=True).values
        off = (ordered - self.ideal[some]).square().sum()
        return weight * off - len(self.masks.kernel) * score

    def _slopes(self, pictures: Tensor, rows: Tensor, target: Tensor) -> Tensor:
        """The gradient of each picture's own score by its pixels."""
        asked = rows if self.question.together else None
        seen = self.question.capture([PIXELS], pictures=pictures, rows=asked)
        scores = self.question.scores(seen, asked)
        own = scores.gather(1, target.to(scores.device)[:, None])[:, 0]
        with torch.autocast(
            own.device.type, enabled=False
        ):  # the caller's would round the gradient
            return seen.gradients(own, layers=[PIXELS], last=True)[PIXELS].float()
