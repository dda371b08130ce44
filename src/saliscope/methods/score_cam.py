"""Maps that weigh each channel by the score of the picture seen through it: Score-CAM and what grew from it."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from saliscope.engine import Question
from saliscope.errors import MethodError
from saliscope.methods.base import Asking, weighted_sum
from saliscope.methods.layers import average_by_target

__all__ = ["ISCAM", "SSCAM", "ScoreCAM"]


@dataclass(frozen=True, kw_only=True)
class _Masking(Asking):
    """What the three have in common: channels as masks, weights by a softmax over the channels' mean scores."""

    family: ClassVar = "probes"
    at_layer: ClassVar = True
    class_discriminative: ClassVar = True
    signed: ClassVar = True

    relu: bool = True

    @property
    @abstractmethod
    def rounds(self) -> int:
        """How many masks are made of each channel."""

    @abstractmethod
    def masks(self, grids: Tensor, spread: Tensor, rounds: Tensor, channels: Tensor, size: tuple[int, int]) -> Tensor:  # fmt: skip
        """Masks (m, H, W) of the channels' grids (m, h, w); `spread` (m,) is each grid's maximum less its minimum."""

    def ask(self, question: Question) -> Tensor:
        return average_by_target([self._at(question, layer) for layer in question.layers])

    def _at(self, question: Question, layer: str) -> Tensor:
        own = question.activations[layer]
        a = own.float()
        channels = a.shape[1]
        low, high = a.amin((2, 3)), a.amax((2, 3))
        spread = high - low
        rounding = max(8 * torch.finfo(a.dtype).eps, torch.finfo(own.dtype).eps)
        varied = ~(spread <= rounding * torch.maximum(high.abs(), low.abs()))  # NaN is asked about
        size = (question.images.shape[2], question.images.shape[3])

        def draw(rows: Tensor, numbers: Tensor) -> Tensor:
            ks = numbers % channels
            grids = a[rows, ks]
            masks = self.masks(grids, spread[rows, ks], numbers // channels, ks, size)
            return question.images[rows] * masks[:, None]

        scores = question.asked(varied.repeat(1, self.rounds), draw).to(a.device)
        mean = scores.view(len(a), self.rounds, channels, -1).mean(1)
        weights = mean.masked_fill(~varied[..., None], float("-inf")).softmax(1)
        weights = weights.masked_fill(~varied[..., None], 0.0)  # also where no channel varies
        return weighted_sum(weights.transpose(1, 2), a)


@dataclass(frozen=True, kw_only=True)
class ScoreCAM(_Masking):
    """Channels weighted by the score of the picture seen through each of them.

    A channel is brought to the size of the network's input (bilinear, half-pixel centres) and then to [0, 1] by its
    minimum and maximum there; the input, as the network gets it, is multiplied by that mask, so what is masked is 0: the
    mean colour, if the network's preprocessing subtracts one. The weights are the softmax over the channels of the
    scores; the score of a black input, which the paper subtracts from each, is the same for all and drops out. A channel
    that is the same everywhere makes no mask: it is not asked about and weighs 0.
    """

    name: ClassVar = "score-cam"
    title: ClassVar = "Score-CAM"
    passes: ClassVar = "1 forward + 1 forward for each channel"
    paper: ClassVar = "Wang et al. 2020, Score-CAM, eq. 5 to 7"
    equation: ClassVar = "L = ReLU(Σₖ αₖ Aᵏ),  α = softmaxₖ(y(x ∘ s(Up(Aᵏ))) − y(0))"
    use: ClassVar = (
        "a map without gradients, weighed by what the score says of each channel's region"
    )
    avoid: ClassVar = (
        "speed: it asks once a channel; layers whose channels all cover the same place"
    )

    @property
    def rounds(self) -> int:
        return 1

    def masks(self, grids: Tensor, spread: Tensor, rounds: Tensor, channels: Tensor, size: tuple[int, int]) -> Tensor:  # fmt: skip # noqa: ARG002 - no rounds here
        return _mask(grids, size)


@dataclass(frozen=True, kw_only=True)
class SSCAM(_Masking):
    """Score-CAM whose masks are smoothed: the scores of several noisy copies of each channel are averaged.

    Gaussian noise is added to a channel on its own grid before it becomes a mask, the paper's first variant. Its standard
    deviation is `sigma` times the channel's range, so that it means the same in every network; the paper's 2 is in units
    of its network's activations. The noise is drawn from `seed`, the same for all images.
    """

    name: ClassVar = "ss-cam"
    title: ClassVar = "SS-CAM"
    passes: ClassVar = "1 forward + samples forwards for each channel"
    paper: ClassVar = "Wang et al. 2020, SS-CAM"
    equation: ClassVar = "αₖ = softmaxₖ(1/N Σᵢ y(x ∘ s(Up(Aᵏ + εᵢ))) − y(0)),  ε ~ N(0, σ²)"
    use: ClassVar = "Score-CAM with smoother masks"
    avoid: ClassVar = "speed: it asks several times a channel"

    samples: int = 10
    sigma: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_samples(self)
        if not 0 <= self.sigma < float("inf"):
            raise MethodError(
                f"ss-cam:sigma is a share of the range of a channel, 0 or more; got {self.sigma}"
            )

    @property
    def rounds(self) -> int:
        return self.samples

    def masks(self, grids: Tensor, spread: Tensor, rounds: Tensor, channels: Tensor, size: tuple[int, int]) -> Tensor:  # fmt: skip
        pairs = zip(rounds.tolist(), channels.tolist(), strict=True)
        noise = torch.stack([_noise(self.seed, i, k, grids.shape[1:]) for i, k in pairs])
        noisy = grids + self.sigma * spread[:, None, None] * noise.to(grids.device)
        return _mask(noisy, size)


@dataclass(frozen=True, kw_only=True)
class ISCAM(_Masking):
    """Score-CAM integrated: the scores of each mask at `samples` strengths, from 1/samples to 1, are averaged.

    One sample is Score-CAM.
    """

    name: ClassVar = "is-cam"
    title: ClassVar = "IS-CAM"
    passes: ClassVar = "1 forward + samples forwards for each channel"
    paper: ClassVar = "Naidu et al. 2020, IS-CAM"
    equation: ClassVar = "αₖ = softmaxₖ(1/N Σᵢ y(x ∘ (i/N) s(Up(Aᵏ))) − y(0)),  i = 1 … N"
    use: ClassVar = "Score-CAM where one mask strength misleads"
    avoid: ClassVar = "speed: it asks several times a channel"

    samples: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_samples(self)

    @property
    def rounds(self) -> int:
        return self.samples

    def masks(self, grids: Tensor, spread: Tensor, rounds: Tensor, channels: Tensor, size: tuple[int, int]) -> Tensor:  # fmt: skip # noqa: ARG002 - no noise here
        return _mask(grids, size) * ((rounds + 1) / self.samples)[:, None, None]


def _mask(grids: Tensor, size: tuple[int, int]) -> Tensor:
    """Grids (m, h, w) at `size`, each from its minimum to its maximum there; 0 where these are equal."""
    if tuple(grids.shape[1:]) != size:
        grids = F.interpolate(grids[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    low, high = grids.amin((1, 2), keepdim=True), grids.amax((1, 2), keepdim=True)
    return (grids - low) / (high - low).masked_fill(high == low, 1.0)


def _noise(seed: int, round_: int, channel: int, shape: torch.Size) -> Tensor:
    """Standard normal numbers that belong to one round of one channel, whatever else is asked beside it."""
    own = zlib.crc32(f"{seed} {round_} {channel}".encode())
    return torch.randn(shape, generator=torch.Generator().manual_seed(own))


def _check_samples(method: SSCAM | ISCAM) -> None:
    if method.samples < 1:
        raise MethodError(
            f"{method.name}:samples is the number of masks of each channel, 1 or more; got {method.samples}"
        )
