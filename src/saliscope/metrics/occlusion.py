"""Does a map put those places first whose occlusion costs the score most?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from saliscope.errors import OptionError
from saliscope.metrics.asking import Answers, ask, check_maps, defined, undefined_as_nan
from saliscope.metrics.ranks import spearman_rows
from saliscope.metrics.substrates import Substrate, substrate

__all__ = ["occlusion_drops", "occlusion_rank"]


def occlusion_drops(
    question: Answers,
    images: Tensor,
    *,
    patch: int = 45,
    stride: int = 15,
    ground: Substrate = "mean",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Tensor:
    """What a patch costs the score wherever it lies: score of the image - score under the patch, float64 (B, K, h, w).

    `images` (B, C, H, W) are what the network receives. The patch starts at every `stride`-th pixel of the upper left, the last ones cut
    off at the border, until all of the image was under it: h = ceil((H - patch) / stride) + 1. It holds the substrate
    `ground`. Raises `OptionError` for a patch that does not fit, or a stride that leaves gaps.
    """
    rows, columns = _starts(images.shape[2], patch, stride), _starts(images.shape[3], patch, stride)
    places = [(y, x) for y in rows for x in columns]
    below = substrate(images, ground, mean=mean, std=std)

    def draw(variants: range, some: slice) -> Tensor:
        pictures = images[some].expand(len(variants), *images[some].shape).clone()
        for picture, i in zip(pictures, variants, strict=True):
            if i:
                y, x = places[i - 1]
                window = (..., slice(y, y + patch), slice(x, x + patch))
                picture[window] = below[some][window]
        return pictures

    answers = ask(question, 1 + len(places), draw)
    drops = answers[:1] - answers[1:]
    return drops.permute(1, 2, 0).reshape(*drops.shape[1:], len(rows), len(columns))


def _starts(pixels: int, patch: int, stride: int) -> range:
    if not 1 <= stride <= patch <= pixels:
        raise OptionError(
            f"a patch has from 1 to {pixels} pixels here, its stride no more than itself; got patch={patch}, stride={stride}"
        )
    return range(0, (math.ceil((pixels - patch) / stride)) * stride + 1, stride)


def occlusion_rank(maps: Tensor, drops: Tensor, *, patch: int = 45, stride: int = 15) -> Tensor:
    """The rank correlation of maps (M, B, H, W) with `occlusion_drops` (B, K, h, w): float64 (M, B, K) in [-1, 1].

    Each map is averaged under each place of the patch, and compared on the grid of the occlusion map by Spearman's rho with mean
    ranks for equals (Selvaraju et al. 2017, Grad-CAM, section 5.3, which does not say which patch, stride and fill; these are
    ours). Higher is better. NaN for a map that is constant or not finite. `patch` and `stride` are those of the drops.

    What it cannot show: a patch is itself a way to look, coarse and from one side, and where two parts stand in for each other it
    finds neither.
    """
    pooled = F.avg_pool2d(maps.double(), patch, stride, ceil_mode=True, count_include_pad=False)
    check_maps(pooled, drops)
    rows = pooled.unsqueeze(2).expand(-1, -1, drops.shape[1], -1, -1)
    others = drops.expand(len(maps), *drops.shape)
    one, other = (t.flatten(0, 2).flatten(1).cpu().numpy() for t in (rows, others))
    found = torch.from_numpy(spearman_rows(one, other)).reshape(rows.shape[:3])
    return undefined_as_nan(found, defined(maps))
