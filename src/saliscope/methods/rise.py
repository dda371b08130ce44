"""Random masks, weighted by what the network says of the picture seen through them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from saliscope.engine import Question
from saliscope.errors import MethodError
from saliscope.methods.base import Asking, at_most
from saliscope.methods.fills import Fill, filled

__all__ = ["RISE"]

_CHECK = 100  # masks between two looks at the error


@dataclass(frozen=True, kw_only=True)
class RISE(Asking):
    """The scores of the picture seen through random masks, spread over what each mask shows.

    A mask is a grid of `cells` x `cells`, each shown with probability `p`, brought to (cells + 1) times the size of a
    cell bilinearly and cut to the picture at a random place. All images see the same masks, drawn from `seed`. The
    paper's score is a probability; a logit has an arbitrary zero, which times the masks' own unevenness would be noise
    and drown the sign: with `centre` the mean score over the masks is subtracted, so that above zero is what raises the
    score. `centre=false` is the paper's sum. With `tolerance` an image is done once the standard error of its map (root
    mean square over the pixels) is that share of the map's standard deviation; 0 takes all masks.
    """

    name: ClassVar = "rise"
    title: ClassVar = "RISE"
    family: ClassVar = "probes"
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward for each mask (4,000 with the defaults)"
    paper: ClassVar = "Petsiuk, Das, Saenko 2018, eq. 6"
    equation: ClassVar = "M = 1/(N p) Σᵢ (y(I ⊙ mᵢ) - ȳ) mᵢ"
    use: ClassVar = "evidence of any shape, from answers alone"
    avoid: ClassVar = "few passes: it is noisy below some hundreds of masks"

    masks: int = 4000
    cells: int = 7
    p: float = 0.5
    fill: Fill = "grey"
    centre: bool = True
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("masks", "cells"):
            if getattr(self, option) < 1:
                raise MethodError(f"rise:{option} is at least 1; got {getattr(self, option)}")
        at_most(self, masks=1_000_000, cells=1_000)
        if not 0 < self.p < 1:
            raise MethodError(f"rise:p is a probability above 0 and below 1; got {self.p}")
        if not 0 <= self.tolerance < float("inf"):
            raise MethodError(
                f"rise:tolerance is a share of the map's spread, 0 for all masks; got {self.tolerance}"
            )

    def ask(self, question: Question) -> Tensor:
        images, hidden = question.images, filled(question.images, self.fill)
        masks = _Masks(self, images)

        def make(variants: range, some: slice) -> Tensor:
            shown = masks.of(variants)[:, None, None]
            return torch.lerp(hidden[None, some], images[None, some], shown)

        sums = _Sums(self)
        for variants, scores in question.answers(self.masks, make):
            sums.add(masks.of(variants), scores.to(images.device))
            if sums.done:
                break
        return sums.maps().view(len(images), -1, *images.shape[2:]).float()


class _Masks:
    """The masks of one question, drawn on the CPU and brought to the picture's size where they are needed."""

    def __init__(self, method: RISE, images: Tensor) -> None:
        self.size = images.shape[2], images.shape[3]
        self.device, self.cells = images.device, method.cells
        self.cell = [math.ceil(side / method.cells) for side in self.size]
        n = method.cells**2
        draws = torch.rand(
            method.masks, n + 2, generator=torch.Generator().manual_seed(method.seed)
        )
        self.grids = (draws[:, :n] < method.p).float().view(-1, method.cells, method.cells)
        self.shift = (draws[:, n:] * (torch.tensor(self.cell) + 1)).long()
        self._last: tuple[range, Tensor] = range(0), torch.empty(0)

    def of(self, variants: range) -> Tensor:
        """Some masks (v, H, W), float32 in [0, 1]; those asked for last are kept."""
        if variants != self._last[0]:
            self._last = variants, self._drawn(variants)
        return self._last[1]

    def _drawn(self, variants: range) -> Tensor:
        some = slice(variants.start, variants.stop)
        grids = self.grids[some, None].to(self.device)
        large = [(self.cells + 1) * cell for cell in self.cell]
        wide = F.interpolate(grids, large, mode="bilinear", align_corners=False)[:, 0]
        shift = self.shift[some].to(self.device)
        rows, columns = (
            shift[:, axis, None] + torch.arange(self.size[axis], device=self.device)
            for axis in (0, 1)
        )
        each = torch.arange(len(variants), device=self.device)[:, None, None]
        return wide[each, rows[:, :, None], columns[:, None, :]]


class _Sums:
    """Sums over masks in float64, for each image and target; those whose map is sure enough are kept as they are."""

    def __init__(self, method: RISE) -> None:
        self.method = method
        self.count = 0
        self.f = self.fm = self.m = torch.zeros(())
        self.squares = [torch.zeros(())] * 5
        self.kept = self.open = torch.empty(0)

    @property
    def done(self) -> bool:
        """Whether no image and target is left that more masks would help."""
        return not bool(self.open.any())

    def add(self, masks: Tensor, scores: Tensor) -> None:
        """Take in masks (v, H, W) and their scores (v, B, K); looks at the error after each hundred, however they come."""
        if not self.count:
            self.open = torch.ones_like(scores[0], dtype=torch.bool)
        while len(masks) and not self.done:
            until = _CHECK - self.count % _CHECK
            self._sum(masks[:until].flatten(1).double(), scores[:until].double())
            masks, scores = masks[until:], scores[until:]
            if self.method.tolerance and self.count % _CHECK == 0:
                self._close(self._error() <= self.method.tolerance)

    def maps(self) -> Tensor:
        """The maps (B, K, HW)."""
        self._close(self.open)
        return self.kept

    def _sum(self, m: Tensor, scores: Tensor) -> None:
        f = scores.permute(1, 2, 0)
        self.count += len(m)
        self.f = self.f + f.sum(2, keepdim=True)
        self.fm = self.fm + f @ m
        self.m = self.m + m.sum(0)
        if self.method.tolerance:
            ff, mm = f.square(), m.square()
            new = ff @ mm, ff @ m, f @ mm, mm.sum(0), ff.sum(2, keepdim=True)
            self.squares = [a + b for a, b in zip(self.squares, new, strict=True)]

    def _now(self) -> Tensor:
        """1/(N p) of the sum of (f - mean f) m."""
        middle = self.f / self.count if self.method.centre else 0.0
        return (self.fm - middle * self.m) / (self.count * self.method.p)

    def _error(self) -> Tensor:
        """The standard error (B, K) of the map as a share of its spread; NaN stays open, no spread at all is done.

        Of the mean of (f - mean f) (m - mean m), which is what the centred sum comes to, or of f m.
        """
        n, p = self.count, self.method.p
        ffmm, ffm, fmm, mm, ff = self.squares
        if self.method.centre:
            f, m = self.f / n, self.m / n
            with_mm = ffmm - 2 * f * fmm + f.square() * mm
            with_m = ffm - 2 * f * self.fm + f.square() * self.m
            ffmm = with_mm - 2 * m * with_m + m.square() * (ff - n * f.square())
        now = self._now()
        each = (ffmm / (n * p**2) - now.square()).clamp(min=0)
        error = (each / n).mean(2).sqrt()
        spread = now.std(2, correction=0)
        return torch.where(error > 0, error / spread, error)

    def _close(self, sure: Tensor) -> None:
        now = self._now()
        if not self.kept.numel():
            self.kept = torch.zeros_like(now)
        closing = sure & self.open
        self.kept = torch.where(closing[..., None], now, self.kept)
        self.open = self.open & ~closing
