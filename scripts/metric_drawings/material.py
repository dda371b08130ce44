"""What the pictures are drawn of: generated critters, critternet, and maps of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import saliscope as sc
from saliscope.data import open_data
from saliscope.data.sample import Sample
from saliscope.localization import normalise
from saliscope.pictures import blend

STEADY = 3
"""The critter of docs/methods.md, a round-eared thistle."""


@cache
def network(name: str = "critternet") -> sc.Model:
    return sc.load_model(name)


@cache
def critter(number: int = STEADY, variant: str = "") -> Sample:
    return open_data("critters" + (f":variant={variant}" if variant else ""), split="test")[number]


def photo(sample: Sample) -> NDArray[np.uint8]:
    return sample.photo().pixels


@cache
def found(
    method: str = "grad-cam",
    number: int = STEADY,
    variant: str = "",
    target: int | None = None,
) -> sc.Explanation:
    """A method's map of one critter, of its own breed unless told otherwise."""
    sample = critter(number, variant)
    asked = sample.label if target is None else target
    return sc.explain(network(), sample.photo(), method=method, target=asked)


def overlay(
    pixels: NDArray[np.uint8], signed: NDArray[np.floating], *, fine: bool = False
) -> NDArray[np.uint8]:
    """A map over its photograph: from its lowest to its highest value, of pixels from 0 to their 99th percentile."""
    return blend(pixels, normalise(signed, "percentile" if fine else "min-max"))


def laid_over(explanation: sc.Explanation) -> NDArray[np.uint8]:
    return overlay(explanation.photo.pixels, explanation.signed(), fine=explanation.per_pixel)


def as_input(sample: Sample) -> Tensor:
    """The picture as critternet receives it, (1, 3, 160, 160)."""
    return torch.from_numpy(network().preprocessing(photo(sample))[0])[None]


def as_picture(images: Tensor) -> NDArray[np.uint8]:
    """What the network received, (3, H, W), as pixels again."""
    scaled = (images * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()  # critternet's mean and std
    return (scaled * 255).round().astype(np.uint8)


class Asked:
    """Answers with the probability of one class."""

    def __init__(self, target: int) -> None:
        self.target = target

    def answers(
        self, count: int, make: Callable[[range, slice], Tensor]
    ) -> Iterator[tuple[range, Tensor]]:
        net = network().module
        for start in range(0, count, 32):
            some = range(start, min(start + 32, count))
            with torch.no_grad():
                logits = net(make(some, slice(0, 1)).flatten(0, 1))
            yield some, logits.softmax(1)[:, self.target].reshape(-1, 1, 1)


def explainer(method: str, target: int, layer: str | None = None) -> Callable[[Tensor], Tensor]:
    """Pictures in, their maps of one class out."""

    def explain(pictures: Tensor) -> Tensor:
        return sc.attribute(network().module, pictures, target, method=method, layer=layer)

    return explain
