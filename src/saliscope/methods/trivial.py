"""Maps that know nothing of the network: what every comparison has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saliscope.errors import MethodError
from saliscope.methods.base import Captured, Evidence, Method
from saliscope.methods.noise import own_generator

__all__ = ["Centre", "Edges", "Random"]


@dataclass(frozen=True, kw_only=True)
class Trivial(Captured):
    """The facts the trivial maps share."""

    family: ClassVar = "trivial"
    reads: ClassVar[Literal["inputs"]] = "inputs"
    class_discriminative: ClassVar = False
    signed: ClassVar = False
    passes: ClassVar = "none"
    paper: ClassVar = "baseline"


@dataclass(frozen=True, kw_only=True)
class Random(Trivial):
    """Uniform noise in [0, 1) on a `grid` x `grid` map, drawn from `seed` and the image itself.

    The same image gets the same noise in any batch, order or process; two images get independent ones.
    """

    name: ClassVar = "random"
    title: ClassVar = "Random"
    equation: ClassVar = "M(x, y) ~ U[0, 1)"

    grid: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_one(self, "grid")

    def signed_map(self, evidence: Evidence) -> Tensor:
        noise = [
            torch.rand(self.grid, self.grid, generator=own_generator(image, self.seed))
            for image in evidence.inputs
        ]
        return torch.stack(noise).to(evidence.inputs.device)


@dataclass(frozen=True, kw_only=True)
class Centre(Trivial):
    """A Gaussian bump in the middle of the input; `sigma` is its standard deviation as a share of each side."""

    name: ClassVar = "centre"
    title: ClassVar = "Centre"
    equation: ClassVar = "M(x, y) = exp(-((x/w - 1/2)² + (y/h - 1/2)²) / 2σ²)"

    sigma: float = 0.25
    grid: int = 56

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_one(self, "grid")
        if not 0 < self.sigma < float("inf"):
            raise MethodError(f"centre:sigma is a positive share of the side; got {self.sigma}")

    def signed_map(self, evidence: Evidence) -> Tensor:
        place = (torch.arange(self.grid, device=evidence.inputs.device) + 0.5) / self.grid - 0.5
        bell = torch.exp(-(place**2) / (2 * self.sigma**2))
        return torch.outer(bell, bell).expand(len(evidence.inputs), -1, -1).clone()


@dataclass(frozen=True, kw_only=True)
class Edges(Trivial):
    """How fast the input changes: Sobel gradient magnitude of the channel mean, averaged over `pool` x `pool` pixels."""

    name: ClassVar = "edges"
    title: ClassVar = "Edges"
    equation: ClassVar = "M = |∇ mean_c I|   (Sobel)"

    pool: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_one(self, "pool")

    def signed_map(self, evidence: Evidence) -> Tensor:
        grey = F.pad(evidence.inputs.float().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=grey.device) / 8
        kernels = torch.stack([sobel, sobel.T])[:, None]
        magnitude = F.conv2d(grey, kernels).square().sum(1, keepdim=True).sqrt()
        pooled = F.avg_pool2d(magnitude, self.pool, ceil_mode=True, count_include_pad=False)
        return pooled[:, 0]


def _at_least_one(method: Method, option: str) -> None:
    value = getattr(method, option)
    if value < 1:
        raise MethodError(f"{method.name}:{option} is at least 1; got {value}")
