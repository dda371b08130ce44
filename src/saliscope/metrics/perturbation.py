"""Infidelity: does the map predict how the score changes when the picture is perturbed?"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from saliscope.errors import OptionError, nearest
from saliscope.metrics.asking import Answers, ask, check_maps, defined, undefined_as_nan
from saliscope.metrics.substrates import Substrate, substrate

__all__ = ["Perturbation", "infidelity_scores", "perturbations"]

Perturbation = Literal["noise", "squares"]
"""Gaussian noise on all pixels, or a square brought to a substrate; each is defined in `perturbations`."""


def perturbations(
    images: Tensor,
    number: int,
    *,
    kind: Perturbation = "squares",
    level: float = 0.2,
    sides: tuple[int, int] = (1, 10),
    ground: Substrate = "black",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
) -> Tensor:
    """What perturbation `number` takes away from images: (B, C, H, W), so that images minus it are perturbed.

    `noise` is Gaussian with standard deviation `level`, in the units of the images. `squares` brings one square to the
    substrate `ground`: its side is drawn evenly from `sides`, both included, its place from all where it fits. Both are drawn
    by `seed` and `number` alone, the same for all images. Raises `OptionError` for an unknown kind or sides that do not fit.
    """
    if kind not in get_args(Perturbation):
        raise OptionError(
            f'perturbation "{kind}" is unknown; {nearest(kind, get_args(Perturbation))}'
        )
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {number}".encode()))
    if kind == "noise":
        drawn = torch.randn(images.shape[1:], generator=generator) * level
        return drawn.to(images).expand_as(images)
    height, width = images.shape[2:]
    if not 1 <= sides[0] <= sides[1] <= min(height, width):
        raise OptionError(
            f"squares have sides from 1 to {min(height, width)} here, the shorter first; got {sides}"
        )
    side = _draw(sides[0], sides[1] + 1, generator)
    y, x = (_draw(0, n - side + 1, generator) for n in (height, width))
    away = images - substrate(images, ground, mean=mean, std=std)
    taken = torch.zeros_like(images)
    taken[..., y : y + side, x : x + side] = away[..., y : y + side, x : x + side]
    return taken


def _draw(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high, (), generator=generator))


def infidelity_scores(
    question: Answers,
    images: Tensor,
    maps: Tensor,
    *,
    samples: int = 200,
    scaled: bool = True,
    kind: Perturbation = "squares",
    level: float = 0.2,
    sides: tuple[int, int] = (1, 10),
    ground: Substrate = "black",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
) -> Tensor:
    """The infidelity of M maps of each image, float64 (M, B, K), from the same perturbed pictures: `samples` + 1 an image.

    `images` (B, C, H, W) are what the network receives, `maps` (M, B, H, W) at that size; the heat of a pixel counts for
    all its channels. The other options are those of `perturbations`. NaN for a map with a value that is not finite.

    What it cannot show: it asks whether the map is a linear model of the network near the image, which a map made to be looked
    at is not; and the numbers hang on the perturbation and on its size.
    """
    check_maps(maps, images)

    def taken(number: int, some: slice) -> Tensor:
        return perturbations(
            images[some], number, kind=kind, level=level, sides=sides, ground=ground,
            mean=mean, std=std, seed=seed,
        )  # fmt: skip

    def draw(variants: range, some: slice) -> Tensor:
        whole = images[some]
        return torch.stack([whole - taken(i - 1, some) if i else whole for i in variants])

    answers = ask(question, samples + 1, draw)
    drops = answers[:1] - answers[1:]
    heat = maps.nan_to_num().double()
    products = torch.stack(
        [(heat * taken(i, slice(None)).sum(1).double()).sum((-1, -2)).cpu() for i in range(samples)]
    )
    found = _infidelities(products.unsqueeze(-1), drops.unsqueeze(1), scaled=scaled)
    return undefined_as_nan(found, defined(maps))


def _infidelities(products: Tensor, drops: Tensor, *, scaled: bool) -> Tensor:
    """`infidelity` over the first dimension of products and drops, the others stretched to each other: float64."""
    p, d = products.double(), drops.double()
    if scaled:
        power, cross = (p * p).sum(0), (d * p).sum(0)
        p = torch.where(power == 0, 0.0, cross / power) * p
    return ((p - d) ** 2).mean(0)
