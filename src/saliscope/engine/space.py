"""What is known of the space that the layers of a network return values over, before any layer is looked at."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from saliscope.engine.inputs import signal

__all__ = ["Shape", "Space", "halved", "is_spatial", "prefix_tokens", "space_of"]

Shape = tuple[int, ...]

_EXTRA = re.compile(r"(cls|class|dist|distillation|reg|register|storage)_(token|tokens|embedding)")
_MOVES = ("Conv", "Pool", "Upsample", "PixelShuffle", "PixelUnshuffle")


@dataclass(eq=False)
class Space:
    """The `size` of the picture (h, w), signal (l,) or volume (d, h, w), and what one pass shows of the grids over it.

    `batch` is the number of images, None where the inputs hold none. `prefix` are the numbers of tokens that the network
    is known to put in front of those of the patches, empty where it does not say. `seen` are the grids that its
    convolutions and poolings returned, in order. `channels` are those of the picture.
    """

    size: Shape | None
    batch: int | None = None
    prefix: frozenset[int] = frozenset()
    seen: list[Shape] = field(default_factory=list)
    channels: int | None = None

    def see(self, tensor: Tensor | None) -> None:
        """Note the grid that a convolution or pooling returned, (B, C, ...)."""
        if tensor is None or self.size is None or tensor.ndim != len(self.size) + 2:
            return
        shape = tuple(tensor.shape[2:])
        if tensor.shape[0] == self.batch and shape not in self.seen:
            self.seen.append(shape)


def space_of(inputs: Any, prefix: frozenset[int]) -> Space:
    """The space of a picture (B, C, H, W), else of a volume or signal, among the inputs."""
    found = signal(inputs)
    if found is None:
        return Space(None, prefix=prefix)
    return Space(tuple(found.shape[2:]), len(found), prefix, channels=found.shape[1])


def is_spatial(module: nn.Module) -> bool:
    """Whether what a module returns channels-first is a grid: a convolution, a pooling, a change of resolution."""
    return any(word in kind.__name__ for kind in type(module).__mro__ for word in _MOVES)


def prefix_tokens(module: nn.Module) -> frozenset[int]:
    """How many tokens a network puts in front of its patches: class, distillation and register tokens.

    A module that says so (`num_prefix_tokens`, as timm's do) is believed. Otherwise the learned vectors that each module
    holds under the usual names (`cls_token`, `class_embedding`, `distillation_token`, `register_tokens`, ...) are
    counted. Empty where there are none.
    """
    said = {getattr(part, "num_prefix_tokens", None) for part in module.modules()}
    numbers = frozenset(n for n in said if isinstance(n, int))
    return numbers or frozenset(n for part in module.modules() if (n := _extra(part)))


def _extra(module: nn.Module) -> int:
    found = [
        p for n, p in module._parameters.items() if p is not None and _EXTRA.fullmatch(n.lower())
    ]
    return sum(p.shape[-2] if p.ndim > 1 else 1 for p in found)


def halved(shapes: Iterable[Shape]) -> list[Shape]:
    """The grids that these become when neighbours are merged two by two, again and again, down to one cell."""
    found: dict[Shape, None] = {}
    for shape in shapes:
        while max(shape) > 1:
            shape = tuple((side + 1) // 2 for side in shape)  # noqa: PLW2901 - the same grid, smaller
            found[shape] = None
    return list(found)
