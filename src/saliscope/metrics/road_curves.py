"""ROAD: remove pixels by rank and debias, so that a network cannot read the removal itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from saliscope.engine import own_generator
from saliscope.errors import OptionError
from saliscope.metrics.asking import Answers, ask, check_maps, defined, undefined_as_nan
from saliscope.metrics.imputation import impute
from saliscope.metrics.order import Ties, removal_ranks, share_removed, tied_share

__all__ = ["SHARES", "Road", "remove_and_debias", "road"]

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The shares of pixels removed, unless told otherwise."""


@dataclass(frozen=True, eq=False)
class Road:
    """Scores of images with the hottest (`morf`) or the coldest (`lerf`) share of pixels removed, (M, B, K, S) each.

    `shares` (S,), `whole` (B, K) the scores of the images as they are, `ties` (M, B) the share of tied pixels; float64 on the CPU,
    NaN for a map with a value that is not finite.
    """

    shares: Tensor
    whole: Tensor
    morf: Tensor
    lerf: Tensor
    ties: Tensor

    @property
    def combined(self) -> Tensor:
        """The mean over shares of (lerf - morf) / 2, (M, B, K): 0 for a map that orders nothing, higher is better."""
        return (self.lerf - self.morf).mean(-1) / 2


def remove_and_debias(
    images: Tensor,
    gone: Tensor,
    *,
    noise: float = 0.01,
    std: Sequence[float] | None = None,
    seed: int = 0,
) -> Tensor:
    """Fill in removed pixels of images (P, C, H, W) from their neighbours, and add noise to them; `gone` is bool (P, H, W).

    Noisy linear imputation (Rong et al. 2022, section 4.2): `impute`, then Gaussian noise of standard deviation `noise` in units of
    pixels from 0 to 1. Of normalised images give `std`, their normalisation by channel: filling in commutes with it, the
    noise is divided by it. The noise of an image belongs to its content and `seed`, the same for all that is removed from it.
    """
    return impute(images, gone) + gone.unsqueeze(1) * _noise(images, noise, std, seed)


def _noise(images: Tensor, level: float, std: Sequence[float] | None, seed: int) -> Tensor:
    scale = images.new_tensor(std if std is not None else [1.0] * images.shape[1])
    shape = images.shape[1:]
    drawn = [torch.randn(shape, generator=own_generator(i, seed)) for i in images.float()]
    return torch.stack(drawn).to(images) * (level / scale).view(-1, 1, 1)


def road(
    question: Answers,
    images: Tensor,
    maps: Tensor,
    *,
    shares: Sequence[float] = SHARES,
    noise: float = 0.01,
    std: Sequence[float] | None = None,
    ties: Ties = "random",
    seed: int = 0,
) -> Road:
    """Remove the hottest and the coldest shares of pixels by M maps of each image, debiased, and ask for the scores.

    `images` (B, C, H, W) are what the network receives, `maps` (M, B, H, W) signed heat at that size. Pixels are removed by
    rank, so that exactly the asked share goes, rounded to whole pixels, whatever the ties; `lerf` removes the coldest
    share. 2 x S x M + 1 pictures an image. Raises `OptionError` for shares that are not between 0 and 1, `DataError` where sizes
    differ.

    What it cannot show: linear filling still leaves smooth patches that a network may know as such, and in pictures that are smooth
    anyway little is removed. Rong et al., *A consistent and efficient evaluation strategy for attribution methods*, ICML 2022.
    """
    if not shares or not all(0 < s < 1 for s in shares):
        raise OptionError(
            f"shares of pixels to remove lie between 0 and 1, both left out; got {tuple(shares)}"
        )
    check_maps(maps, images)
    finite = maps.nan_to_num()
    order = {
        "morf": removal_ranks(finite, images, ties=ties, seed=seed),
        "lerf": removal_ranks(-finite, images, ties=ties, seed=seed),
    }
    points = list(product(order, range(len(maps)), shares))
    noises = _noise(images, noise, std, seed)

    def draw(variants: range, some: slice) -> Tensor:
        chosen = images[some]
        pictures = [chosen.unsqueeze(0)] if variants.start == 0 else []
        asked = [points[i - 1] for i in variants if i]
        if asked:
            gone = torch.stack([share_removed(order[o][m, some], s) for o, m, s in asked])
            many = chosen.expand(len(asked), *chosen.shape).flatten(0, 1)
            filled = impute(many, gone.flatten(0, 1)).reshape(len(asked), *chosen.shape)
            pictures.append(filled + gone.unsqueeze(2) * noises[some])
        return torch.cat(pictures)

    answers = ask(question, 1 + len(points), draw)
    curves = answers[1:].reshape(2, len(maps), len(shares), *answers.shape[1:])
    morf, lerf = (undefined_as_nan(c.permute(0, 2, 3, 1), defined(maps)) for c in curves)
    return Road(
        torch.tensor(shares, dtype=torch.float64), answers[0], morf, lerf, tied_share(maps).cpu()
    )
