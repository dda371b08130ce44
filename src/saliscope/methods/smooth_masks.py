"""Smooth masks, and pictures that are out of focus where a mask hides them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from saliscope.methods.fills import blurred

__all__ = ["Focus", "SmoothMasks", "area_shape"]

_TEMPERATURE = 1 / 20  # of the smooth maximum
_LEVELS = 8  # blurred copies of a picture between which is interpolated
_STRONGEST = 20 / 224  # deviation of the strongest blur, as a share of the longer side


class SmoothMasks:
    """Masks that cannot be rougher than a kernel, from numbers in [0, 1] on a grid (Fong et al. 2019, section 3.3).

    A mask is the max-convolution of the grid's values with k(u) = exp(-max(0, |u| - 1)² / 4), u in cells: each cell is the
    largest of all cells' values, each times k of its distance. The maximum is smooth, the mean of the values weighted by
    exp(value / T), so that all values get a gradient.
    """

    def __init__(self, cells: int, size: tuple[int, int], device: torch.device) -> None:
        longer = max(size)
        self.size = size
        self.grid = [min(side, max(1, round(cells * side / longer))) for side in size]
        rows, columns = (torch.arange(n, dtype=torch.float32, device=device) for n in self.grid)
        place = torch.cartesian_prod(rows, columns).view(-1, 2)
        away = (place[:, None] - place).square().sum(2).sqrt()
        self.kernel = torch.exp(-((away - 1).clamp(min=0) ** 2) / 4)

    def __call__(self, values: Tensor) -> Tensor:
        """Make masks (V, cells) of values (V, cells) in [0, 1]."""
        near = self.kernel * values[:, None]
        return (near * (near / _TEMPERATURE).softmax(2)).sum(2)

    def wide(self, masks: Tensor) -> Tensor:
        """Bring masks (V, cells) to the picture's size, (V, H, W), bilinearly."""
        grids = masks.view(-1, 1, *self.grid)
        return F.interpolate(grids, self.size, mode="bilinear", align_corners=False)[:, 0]


def area_shape(area: float, cells: int) -> Tensor:
    """What the values of a mask that covers `area` sort to, largest first: ones, the rest of the area, zeros."""
    return (area * cells - torch.arange(cells)).clamp(0, 1)


class Focus:
    """Pictures (B, C, H, W) at eight strengths of blur, from none to 20 pixels of 224."""

    def __init__(self, images: Tensor) -> None:
        longer = max(images.shape[2:])
        strengths = [_STRONGEST * longer * i / (_LEVELS - 1) for i in range(1, _LEVELS)]
        self.levels = [images, *(blurred(images, s) for s in strengths)]

    def __call__(self, shown: Tensor, rows: Tensor) -> Tensor:
        """Images `rows` (V,), each pixel as sharp as `shown` (V, H, W) says: 1 as it is, 0 most blurred; differentiable."""
        depth = (1 - shown) * (_LEVELS - 1)
        parts = [
            (1 - (depth - i).abs()).clamp(min=0)[:, None] * level[rows]
            for i, level in enumerate(self.levels)
        ]
        return torch.stack(parts).sum(0)
