"""Pictures that keep only what a map says matters, and what the network answers about them; `drop` reads its answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from saliscope.errors import OptionError, nearest
from saliscope.localization import normalise
from saliscope.metrics.asking import Answers, ask, check_maps, defined, undefined_as_nan
from saliscope.metrics.order import Ties, removal_ranks, share_removed
from saliscope.metrics.substrates import Substrate, substrate

__all__ = ["Kept", "KeptScores", "keep", "kept_scores"]

Kept = Literal["weighted", "half"]
"""What stays of a picture: each pixel by its heat (Grad-CAM++), or the hotter half of the pixels (Score-CAM)."""


def keep(
    images: Tensor,
    maps: Tensor,
    *,
    rule: Kept = "weighted",
    ground: Substrate = "mean",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    ties: Ties = "random",
    seed: int = 0,
) -> Tensor:
    """The pictures (M, B, C, H, W) that keep what M maps of B images say matters, over a substrate.

    `images` (B, C, H, W) are what the network receives, `maps` (M, B, H, W). With L the min-max map, `weighted` is
    L * image + (1 - L) * substrate; over `mean`, zero, that is the map times the normalised image, over `black` the map times the
    picture. `half` keeps the hotter half of the pixels whole; equals are ordered by `ties`. NaN for a map that is constant
    (under `weighted`) or not finite. Raises `OptionError` for an unknown rule.
    """
    if rule not in get_args(Kept):
        raise OptionError(f'rule "{rule}" is unknown; {nearest(rule, get_args(Kept))}')
    check_maps(maps, images)
    below = substrate(images, ground, mean=mean, std=std)
    valid = defined(maps)
    if rule == "half":
        cold = removal_ranks(-maps.nan_to_num(), images, ties=ties, seed=seed)
        weight = 1 - share_removed(cold, 0.5).to(images)
    else:
        flat = [normalise(m) for m in maps.flatten(0, 1).float().cpu().numpy()]
        weight = torch.from_numpy(np.stack(flat)).to(images).reshape(maps.shape)
        valid &= (weight > 0).flatten(2).any(-1)
    weight = torch.where(valid[..., None, None], weight, math.nan).unsqueeze(2)
    return weight * images + (1 - weight) * below


@dataclass(frozen=True, eq=False)
class KeptScores:
    """Scores of the images, (B, K), and of what M maps kept of them, (M, B, K), NaN for maps that keep nothing defined."""

    before: Tensor
    after: Tensor


def kept_scores(
    question: Answers,
    images: Tensor,
    maps: Tensor,
    *,
    rule: Kept = "weighted",
    ground: Substrate = "mean",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    ties: Ties = "random",
    seed: int = 0,
) -> KeptScores:
    """Ask about the images and about what each map keeps of them: M + 1 pictures an image. The options are those of `keep`."""
    kept = keep(images, maps, rule=rule, ground=ground, mean=mean, std=std, ties=ties, seed=seed)
    valid = torch.isfinite(kept).flatten(2).all(-1)
    pictures = torch.cat([images.unsqueeze(0), kept.nan_to_num()])
    answers = ask(question, len(pictures), lambda variants, some: pictures[variants.start : variants.stop, some])  # fmt: skip
    return KeptScores(answers[0], undefined_as_nan(answers[1:], valid))
