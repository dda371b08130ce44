"""Gradient SHAP: gradients between random baselines and the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saliscope.engine import PIXELS, Capture, Question
from saliscope.errors import MethodError
from saliscope.methods.base import Asking, at_most
from saliscope.methods.fills import filled
from saliscope.methods.noise import own_generator
from saliscope.methods.pixels import Channels, Pixelwise

__all__ = ["GradientSHAP"]


@dataclass(frozen=True, kw_only=True)
class GradientSHAP(Pixelwise, Asking):
    """Expected gradients: the mean over samples of (x - x') times the gradient at a random point between x' and x.

    x' is a baseline. "uniform" draws each of its values between the channel's darkest and lightest of the image, a new
    one for each sample; the fills of the other probes are the same in all samples. With `deviation`, a share of the range of the
    image's values, x is the image with Gaussian noise. The points between are spread over the whole way: the i-th of n
    lies in the i-th n-th of it. All is drawn from `seed` and the image's content. Values add up, on average over the
    draws, to the score of the image less that of the baselines. `channels`: "sum", "absmax", or "keep" for a map of each.
    """

    name: ClassVar = "gradient-shap"
    title: ClassVar = "Gradient SHAP"
    family: ClassVar = "probes"
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward + 1 backward for each sample (50 with the defaults)"
    paper: ClassVar = "Lundberg and Lee 2017; Erion et al. 2021, eq. 3"
    equation: ClassVar = "M = E over x', α ~ U(0,1) of (x - x') ⊙ ∂y/∂x at x' + α(x - x')"
    use: ClassVar = "a share of the score for each pixel, with no single baseline to choose"
    avoid: ClassVar = "a smooth picture; what is right depends on the baselines"

    samples: int = 50
    baseline: Literal["uniform", "grey", "mean", "black", "white", "blur"] = "uniform"
    deviation: float = 0.0
    channels: Channels = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 1:
            raise MethodError(f"gradient-shap:samples is at least 1; got {self.samples}")
        at_most(self, samples=100_000)
        if not 0 <= self.deviation < float("inf"):
            raise MethodError(
                f"gradient-shap:deviation is a share of the range of an image's values; got {self.deviation}"
            )

    def ask(self, question: Question) -> Tensor:
        images, count = question.images, len(question.targets)
        total = torch.zeros(len(images), count, *images.shape[1:], dtype=torch.float64)
        total = total.to(images.device)
        limit = question.differentiated_at_once()
        for first in range(0, len(images), limit):
            some = torch.arange(first, min(first + limit, len(images)))
            for ways, points in self._drawn(images[some.to(images.device)], limit // len(some)):
                rows = some.repeat(len(ways)) if question.together else None
                seen = question.capture([PIXELS], pictures=points.flatten(0, 1), rows=rows)
                for k, slopes in enumerate(_slopes(seen, question.scores(seen, rows))):
                    share = ways.double() * slopes.reshape(ways.shape)
                    total[first : first + len(some), k] += share.sum(0)
        return self.shown((total / self.samples).float())

    def _drawn(self, images: Tensor, together: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield x - x' and the points between, (v, b, C, H, W) each, of up to `together` samples at a time."""
        draws = [self._of_one(image) for image in images]
        for start in range(0, self.samples, together):
            some = range(start, min(start + together, self.samples))
            found = [next(one) for _ in some for one in draws]
            shape = len(some), *images.shape
            ways, points = (torch.stack(p).view(shape) for p in zip(*found, strict=True))
            yield ways, points

    def _of_one(self, image: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Sample after sample of one image (C, H, W)."""
        generator = own_generator(image, self.seed)
        dark, light = image.amin((1, 2), keepdim=True), image.amax((1, 2), keepdim=True)
        spread = self.deviation * (image.max() - image.min())
        fixed = filled(image[None], self.baseline)[0] if self.baseline != "uniform" else None
        for i in range(self.samples):
            share = (i + float(torch.rand((), generator=generator))) / self.samples
            x, base = image, fixed
            if base is None:
                base = dark + (light - dark) * torch.rand(image.shape, generator=generator).to(
                    image.device
                )
            if self.deviation:
                x = image + spread * torch.randn(image.shape, generator=generator).to(image.device)
            yield x - base, base + share * (x - base)


def _slopes(seen: Capture, scores: Tensor) -> Iterator[Tensor]:
    """The gradient of each target's scores (n, K) by the pixels, (n, C, H, W); the caller's autocast would round it."""
    for k, score in enumerate(scores.T):
        with torch.autocast(score.device.type, enabled=False):
            found = seen.gradients(score, layers=[PIXELS], last=k == scores.shape[1] - 1)
        yield found[PIXELS].float()
