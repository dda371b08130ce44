"""Maps that know nothing of the network, or not where it looked: what every comparison has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saliscope.errors import MethodError
from saliscope.methods.base import Captured, Evidence, Method, at_most
from saliscope.methods.elementwise import HiResCAM, LayerCAM
from saliscope.methods.grad_cam import GradCAM
from saliscope.methods.noise import own_generator

__all__ = ["Centre", "Edges", "Random", "Shuffled"]

_BASES: dict[str, Captured] = {m.name: m for m in (GradCAM(), HiResCAM(), LayerCAM())}


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
    use: ClassVar = "a floor for every score"
    avoid: ClassVar = "an explanation"

    grid: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_one(self, "grid")
        at_most(self, grid=4_096)

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
    use: ClassVar = "a floor that is hard to beat: photographers centre their subjects"
    avoid: ClassVar = "an explanation"

    sigma: float = 0.25
    grid: int = 56

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_one(self, "grid")
        at_most(self, grid=4_096)
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
    use: ClassVar = "a floor for methods that look sharp: it knows the picture, and no network"
    avoid: ClassVar = "an explanation"

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


@dataclass(frozen=True, kw_only=True)
class Shuffled(Captured):
    """The values of a true map in random places: the same histogram, the same box sizes to come by, no place meant.

    The cells of the `base` map are permuted by `seed` and the image itself.
    """

    name: ClassVar = "shuffled"
    title: ClassVar = "Shuffled"
    family: ClassVar = "trivial"
    reads: ClassVar = "gradients"
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "those of the base method"
    paper: ClassVar = "baseline"
    equation: ClassVar = "M(π(x)) = L(x),  π a random permutation of the cells"
    use: ClassVar = (
        "a floor with the histogram of a true map: what a score owes to values rather than places"
    )
    avoid: ClassVar = "an explanation"

    base: Literal["grad-cam", "hires-cam", "layer-cam"] = "grad-cam"
    relu: bool = True

    def signed_map(self, evidence: Evidence) -> Tensor:
        maps = evidence.made_by(_BASES[self.base])
        if len(evidence.inputs) != len(maps):
            raise MethodError(
                "a shuffled map is drawn from the picture; the inputs hold no (B, C, H, W) tensor"
            )
        cells = maps.flatten(1)
        order = [
            torch.randperm(cells.shape[1], generator=own_generator(i, self.seed))
            for i in evidence.inputs
        ]
        return cells.gather(1, torch.stack(order).to(cells.device)).view_as(maps)


def _at_least_one(method: Method, option: str) -> None:
    value = getattr(method, option)
    if value < 1:
        raise MethodError(f"{method.name}:{option} is at least 1; got {value}")
