"""Deletion, insertion and pixel flipping: how the score falls and rises as pixels go and come in the order of a map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import Tensor

from saliscope.errors import OptionError, nearest
from saliscope.metrics.asking import Answers, ask, check_maps, defined, undefined_as_nan
from saliscope.metrics.order import Ties, removal_ranks, step_counts, tied_share
from saliscope.metrics.substrates import Substrate, substrate

__all__ = [
    "CURVE_PROTOCOLS",
    "CurveKind",
    "CurveProtocol",
    "Curves",
    "area_under",
    "removal_curves",
]

CurveKind = Literal["deletion", "insertion", "deletion-lerf"]
"""Remove the hottest pixels first (pixel flipping, MoRF), bring them first, or remove the coldest first (LeRF)."""


@dataclass(frozen=True, kw_only=True)
class CurveProtocol:
    """How curves are taken: into how many even steps, over what, and which of equally hot pixels goes first.

    The class is the one the question asks about, fixed along the curve; `space` says whether published numbers of this
    protocol are probabilities or logits, for whoever puts the question.
    """

    name: str
    steps: int
    deletion: Substrate = "mean"
    insertion: Substrate = "blur"
    space: Literal["probability", "logit"] = "probability"
    ties: Ties = "random"


CURVE_PROTOCOLS: Mapping[str, CurveProtocol] = MappingProxyType(
    {
        row.name: row
        for row in (
            CurveProtocol(name="saliscope", steps=28),
            CurveProtocol(name="rise", steps=28, insertion="rise-blur"),
            CurveProtocol(name="score-cam", steps=100, insertion="mean"),
        )
    }
)
"""Ours; RISE's over a data set (8 rows of 224 pixels a step, at 224 px); Score-CAM's (1 % a step, from and to zeros)."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves of M maps of B images for K targets of each.

    `fractions` (S + 1,) is the share of pixels changed, from 0 to 1; `scores` (M, B, K, S + 1) what the network answered
    there, NaN for a map with a value that is not finite; `ties` (M, B) the share of tied pixels. All float64 on the CPU.
    """

    kind: CurveKind
    protocol: CurveProtocol
    fractions: Tensor
    scores: Tensor
    ties: Tensor

    @property
    def area(self) -> Tensor:
        """The area under each curve, (M, B, K): lower is better for `deletion`, higher for the others."""
        return area_under(self.scores, self.fractions)

    @property
    def start(self) -> Tensor:
        """The scores before anything changed, (M, B, K)."""
        return self.scores[..., 0]

    @property
    def end(self) -> Tensor:
        """The scores when all pixels have changed, (M, B, K)."""
        return self.scores[..., -1]

    @property
    def mean_change(self) -> Tensor:
        """The mean of start - score over all points, the first included, (M, B, K): AOPC of Samek et al. 2017, equation 12.

        Of `deletion` it is high for a good map.
        """
        return (self.start.unsqueeze(-1) - self.scores).sum(-1) / self.scores.shape[-1]


def area_under(scores: Tensor, fractions: Tensor) -> Tensor:
    """The area under curves (..., S + 1) over actual fractions (S + 1,), by trapezoids (Petsiuk et al. 2018): (...).

    >>> area_under(torch.tensor([1.0, 0.5, 0.0]), torch.tensor([0.0, 0.5, 1.0])).item()
    0.5
    """
    return torch.trapezoid(scores, fractions, dim=-1)


def removal_curves(
    question: Answers,
    images: Tensor,
    maps: Tensor,
    *,
    kinds: Sequence[CurveKind] = ("deletion", "insertion"),
    protocol: CurveProtocol = CURVE_PROTOCOLS["saliscope"],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
) -> dict[CurveKind, Curves]:
    """Take curves of M maps of each image, all of them from the same large batches.

    `images` (B, C, H, W) are what the network receives, `maps` (M, B, H, W) signed heat at that size, on one device. The
    score at step k is that of the image in which the `step_counts[k]` hottest pixels are those of the substrate, in all
    channels (`deletion`), or of the substrate with those of the image (`insertion`). The ends are pictures that all maps
    share and are asked once: 6 maps with 28 steps of both curves take 6 x 27 x 2 + 3 pictures an image. `mean` and `std`
    are for substrates that are colours. Raises `OptionError` for an unknown kind, `DataError` where sizes differ.

    What it cannot show: half-empty pictures are unlike any the network was trained on, the numbers hang on the substrate, and
    a map of few sharp pixels may win deletion without being understood by anyone. Petsiuk, Das, Saenko, *RISE*, BMVC 2018,
    section 4.1; pixel flipping: Bach et al. 2015, Samek et al. 2017.
    """
    _check_kinds(kinds)
    check_maps(maps, images)
    colours = {"mean": mean, "std": std}
    grounds = {
        str(name): substrate(images, name, **colours) for name in _substrates(kinds, protocol)
    }
    plan = _Plan(images, grounds, removal_ranks(
        maps.nan_to_num(), images, ties=protocol.ties, seed=seed), kinds, protocol
    )  # fmt: skip
    answers = ask(question, len(plan.points), plan.draw)
    fractions = torch.tensor(plan.counts, dtype=torch.float64) / plan.counts[-1]
    valid, ties = defined(maps), tied_share(maps).cpu()
    return {
        kind: Curves(
            kind, protocol, fractions, undefined_as_nan(plan.curve(answers, kind), valid), ties
        )
        for kind in kinds
    }


def _check_kinds(kinds: Sequence[CurveKind]) -> None:
    for kind in kinds:
        if kind not in get_args(CurveKind):
            raise OptionError(f'curve "{kind}" is unknown; {nearest(kind, get_args(CurveKind))}')


def _substrates(kinds: Sequence[CurveKind], protocol: CurveProtocol) -> Iterator[Substrate]:
    for kind in kinds:
        yield protocol.insertion if kind == "insertion" else protocol.deletion


@dataclass(frozen=True)
class _Point:
    """A picture: the first `count` pixels, in the order of a map, taken from `fill`, the others from `base`."""

    base: str
    fill: str
    map: int
    count: int
    reverse: bool = False


class _Plan:
    """Which pictures the curves of a batch need, each once."""

    def __init__(
        self,
        images: Tensor,
        grounds: Mapping[str, Tensor],
        ranks: Tensor,
        kinds: Sequence[CurveKind],
        protocol: CurveProtocol,
    ) -> None:
        self.pictures: dict[str, Tensor] = {"image": images}
        self.pictures.update(grounds)
        self.ranks = ranks
        self.protocol = protocol
        self.counts = step_counts(ranks[0, 0].numel(), protocol.steps)
        needed = dict.fromkeys(
            p for kind in kinds for m in range(len(ranks)) for p in self.points_of(kind, m)
        )
        self.points = list(needed)
        self.place = {point: i for i, point in enumerate(self.points)}

    def points_of(self, kind: CurveKind, m: int) -> list[_Point]:
        base, fill = "image", str(self.protocol.deletion)
        if kind == "insertion":
            base, fill = str(self.protocol.insertion), "image"
        reverse = kind == "deletion-lerf"
        first, last = _Point(base, base, 0, 0), _Point(fill, fill, 0, 0)
        inner = [_Point(base, fill, m, count, reverse) for count in self.counts[1:-1]]
        return [first, *inner, last]

    def draw(self, variants: range, some: slice) -> Tensor:
        """The pictures (v, b, C, H, W) of some points."""
        images = self.pictures["image"][some]
        drawn = images.new_empty(len(variants), *images.shape)
        for picture, i in zip(drawn, variants, strict=True):
            self._draw(self.points[i], some, picture)
        return drawn

    def _draw(self, point: _Point, some: slice, picture: Tensor) -> None:
        base, fill = self.pictures[point.base][some], self.pictures[point.fill][some]
        ranks, pixels = self.ranks[point.map, some], self.counts[-1]
        gone = ranks >= pixels - point.count if point.reverse else ranks < point.count
        # At 0 and 1 exactly one or the other, and eight times as fast as `torch.where` on a CPU.
        torch.lerp(base, fill, gone.unsqueeze(1).to(base.dtype), out=picture)

    def curve(self, answers: Tensor, kind: CurveKind) -> Tensor:
        """The scores (M, B, K, S + 1) of one kind, out of those of all points (P, B, K)."""
        rows = [
            answers[[self.place[p] for p in self.points_of(kind, m)]]
            for m in range(len(self.ranks))
        ]
        return torch.stack(rows).permute(0, 2, 3, 1)
