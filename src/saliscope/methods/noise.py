"""Noise that belongs to an image: the same in any batch, order or process."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from saliscope.engine import own_generator

__all__ = ["Moments", "noisy_copies", "own_generator"]


def noisy_copies(images: Tensor, count: int, *, level: float, seed: int) -> Iterator[Tensor]:
    """Yield `count` copies of images (B, C, H, W) with Gaussian noise, one copy of all images at a time.

    The standard deviation is `level` times the range (maximum - minimum) of each image's values (Smilkov et al. 2017,
    section 3.2).
    """
    generators = [own_generator(image, seed) for image in images]
    spread = level * (images.flatten(1).amax(1) - images.flatten(1).amin(1))
    shape, scale = images.shape[1:], spread.view(-1, *[1] * (images.ndim - 1))
    for _ in range(count):
        noise = torch.stack([torch.randn(shape, generator=g) for g in generators])
        yield images + scale * noise.to(images.device)


class Moments:
    """Running mean and variance of maps."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None

    def add(self, maps: Tensor) -> None:
        """Take in the maps of one copy (Welford 1962: no large sums that cancel)."""
        self.count += 1
        if self._mean is None or self._squares is None:
            self._mean, self._squares = maps.clone(), torch.zeros_like(maps)
            return
        away = maps - self._mean
        self._mean += away / self.count
        self._squares += away * (maps - self._mean)

    @property
    def mean(self) -> Tensor:
        """The mean over the copies."""
        assert self._mean is not None, "no copy was taken in"
        return self._mean

    @property
    def variance(self) -> Tensor:
        """The variance over the copies, divided by their number."""
        assert self._squares is not None, "no copy was taken in"
        return self._squares / self.count
