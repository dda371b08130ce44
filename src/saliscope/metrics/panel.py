"""A batch of pictures with several maps of each, and a network that can be asked about both."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from saliscope.errors import DataError
from saliscope.frames import Frame
from saliscope.metrics.asking import Answers
from saliscope.metrics.stability import Explainer

__all__ = ["LOGIT", "PROBABILITY", "Panel", "Together", "Twin", "to_size"]

PROBABILITY, LOGIT = 0, 1
"""The targets of a panel's question: the probability and the logit of the class that each map explains."""


class Together(Protocol):
    """Makes maps of other pictures in the place of the batch's own, by several methods at once."""

    def __call__(
        self, pictures: Tensor, which: Sequence[int], classes: Tensor | None = None, /
    ) -> list[Tensor]:
        """For each map in `which` those of its method, (B, h, w), of the batch's own classes or of `classes` (B,)."""


@dataclass(frozen=True, eq=False)
class Twin:
    """What critters know of each picture: the class (B,) of the breed's twin, and where the two differ, bool (H, W) each.

    `frames` bring maps to the pictures as they are.
    """

    classes: Tensor
    differing: Sequence[NDArray[np.bool_]]
    frames: Sequence[Frame]


@dataclass(frozen=True, eq=False)
class Panel:
    """M maps of each of B pictures, one class each.

    `images` (B, C, H, W) are what the network receives, `maps` (M, B, H, W) signed heat at that size; the `question` has the
    two targets `PROBABILITY` and `LOGIT` of the classes. `reference` is the number of the map that others are compared with.
    `explain` makes maps of other pictures, by those of the M that `explained` lists: what only stands among the maps, such as
    a shuffled one, has no method. `mean` and `std` are how RGB in [0, 1] became the images; `twin` is known
    of critters alone.
    """

    question: Answers
    images: Tensor
    maps: Tensor
    explain: Together | None = None
    explained: tuple[int, ...] = ()
    reference: int = 0
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)
    twin: Twin | None = None
    _known: dict[bytes, dict[int, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def explainer(self, number: int, *, at_size: bool = False) -> Explainer:
        """The method behind one of the maps, as a function of pictures; all methods see a picture in one pass.

        What they made of it is remembered, for each is asked in turn about the same pictures; `forget` lets it go. `at_size` brings
        maps to the size of the pictures. Raises `DataError` for a map that no method is behind.
        """
        if self.explain is None or number not in self.explained:
            raise DataError(
                f"no method is behind map {number}, so it cannot explain another picture; ask about {list(self.explained)}"
            )
        together = self.explain

        def one(pictures: Tensor) -> Tensor:
            content = pictures.detach().float().cpu().contiguous().numpy()
            key = hashlib.blake2b(content.tobytes(), digest_size=16).digest()
            if key not in self._known:
                found = together(pictures, self.explained)
                self._known[key] = dict(zip(self.explained, found, strict=True))
            maps = self._known[key][number]
            return to_size(maps, self.images) if at_size else maps

        return one

    def forget(self) -> None:
        """Let go of what was made of other pictures."""
        self._known.clear()


def to_size(maps: Tensor, images: Tensor) -> Tensor:
    """Maps (..., h, w) at the size of images (B, C, H, W): bilinear, `align_corners=False`, float32."""
    if maps.shape[-2:] == images.shape[-2:]:
        return maps.float()
    rows = maps.reshape(-1, 1, *maps.shape[-2:]).float()
    size = (images.shape[-2], images.shape[-1])
    found = F.interpolate(rows, size=size, mode="bilinear", align_corners=False)
    return found.reshape(*maps.shape[:-2], *size)
