"""Does a map stay when the picture hardly changes: under small noise, mirrored, shifted, saved as JPEG?

An explainer is any function of pictures (n, C, H, W) that returns their maps (n, h, w): it holds the network, the method and
the classes. What it explains must not change with the picture: fix the class beforehand, or a flipped prediction counts as
an unstable map. A map that never changes is as stable as can be, so read none of these without a sanity check.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from saliscope.engine import own_generator
from saliscope.errors import DataError, OptionError
from saliscope.metrics.likeness import Likeness, similarity

__all__ = [
    "Explainer",
    "Sensitivity",
    "flip_consistency",
    "jpeg_consistency",
    "jpeg_copies",
    "maps_by",
    "nearby_copies",
    "sensitivity",
    "shift_consistency",
]

Explainer = Callable[[Tensor], Tensor]
"""Pictures (n, C, H, W) in, their maps (n, h, w) out; signed, float, on any device."""


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """How far maps move under noise, float64 (n,) each: the farthest of the copies and their mean. 0 is a map that stays."""

    largest: NDArray[np.float64]
    mean: NDArray[np.float64]


def sensitivity(
    explain: Explainer,
    pictures: Tensor,
    *,
    radius: float = 0.02,
    samples: int = 10,
    seed: int = 0,
    width: float | None = None,
) -> Sensitivity:
    """Sensitivity of the maps of pictures (n, C, H, W) to noise: 0 and up, lower is better.

    `max_d |M(x + d) - M(x)| / |M(x)|` over `samples` draws of d, uniform in the ball `|d|_inf <= radius * width` (Yeh et al.
    2019, max-sensitivity with Euclidean norms, relative to the map as in their experiments), and the mean in place of the maximum. A maximum over
    draws is a lower bound of the true one and grows with `samples`: compare only equal settings.

    `width` is the width of the range that inputs have; by default that of each picture, maximum - minimum. Copies are not
    cut back to it. Noise comes from `seed` and each picture's content. NaN where a map is zero (nothing to be relative
    to) or not finite. Cost: `samples` + 1 calls with n pictures each.

    Raises `OptionError` for settings that make no sense, `DataError` where the explainer returns no (n, h, w).
    """
    maps = maps_by(explain, pictures)
    norms = _norms(maps)
    away = []
    for copies in nearby_copies(pictures, samples, radius=radius, seed=seed, width=width):
        moved = _norms(maps_by(explain, copies, like=maps) - maps)
        away.append(np.divide(moved, norms, out=np.full(len(maps), math.nan), where=norms > 0))
    return Sensitivity(np.max(away, axis=0), np.mean(away, axis=0))


def nearby_copies(
    pictures: Tensor, count: int, *, radius: float, seed: int = 0, width: float | None = None
) -> Iterator[Tensor]:
    """Yield `count` noisy copies of pictures (n, C, H, W), uniform within `radius * width`; as `sensitivity` draws them."""
    if not (math.isfinite(radius) and radius > 0):
        raise OptionError(f"radius is a positive share of the range of inputs; got {radius}")
    if count < 1:
        raise OptionError(f"samples is at least 1; got {count}")
    if width is not None and not (math.isfinite(width) and width > 0):
        raise OptionError(
            f"width is the width of the range of inputs, e.g. 1 for [0, 1]; got {width}"
        )
    _check(pictures)
    flat = pictures.flatten(1)
    spread = flat.amax(1) - flat.amin(1) if width is None else flat.new_full((len(flat),), width)
    reach = (radius * spread).view(-1, 1, 1, 1)
    generators = [own_generator(picture, seed) for picture in pictures]
    for _ in range(count):
        drawn = torch.stack([torch.rand(pictures.shape[1:], generator=g) for g in generators])
        yield pictures + reach * (2 * drawn - 1).to(pictures)


def flip_consistency(
    explain: Explainer, pictures: Tensor, *, likeness: Likeness = "spearman"
) -> NDArray[np.float64]:
    """How alike the map of a mirrored picture, mirrored back, and that of the picture are: float64 (n,), higher is better.

    `likeness` is one of `similarity`; NaN where either map is constant or not finite. A network that was not trained on
    mirrored pictures may see another thing in one: then the maps rightly differ.
    """
    _check(pictures)
    maps = maps_by(explain, pictures)
    turned = maps_by(explain, pictures.flip(3), like=maps)[:, :, ::-1]
    return _alike(maps, turned, likeness)


def shift_consistency(
    explain: Explainer,
    pictures: Tensor,
    shift: tuple[int, int],
    *,
    likeness: Likeness = "spearman",
) -> NDArray[np.float64]:
    """How alike the maps of a picture and of the picture moved by `shift` (down, right) pixels are, where they overlap.

    The room that the move leaves is filled with the pixels at the edge. Only cells that show the same content in both are
    compared, which takes a move by whole cells of the map. float64 (n,), `likeness` and NaN as in `flip_consistency`.

    Raises `OptionError` for a move that is none, no whole number of cells, or leaves nothing to compare.
    """
    _check(pictures)
    maps = maps_by(explain, pictures)
    down, right = _cells(shift, (pictures.shape[2], pictures.shape[3]), maps.shape[1:])
    moved = maps_by(explain, _moved(pictures, shift), like=maps)
    before = _overlap(maps, -down, -right)
    after = _overlap(moved, down, right)
    return _alike(before, after, likeness)


def jpeg_consistency(
    explain: Explainer,
    pictures: Tensor,
    *,
    quality: int = 75,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    likeness: Likeness = "spearman",
) -> NDArray[np.float64]:
    """How alike the maps of a picture before and after it was saved as JPEG are: float64 (n,), higher is better.

    `mean` and `std` say how RGB in [0, 1] became the pictures; see `jpeg_copies`. NaN as in `flip_consistency`.
    """
    maps = maps_by(explain, pictures)
    saved = jpeg_copies(pictures, quality=quality, mean=mean, std=std)
    return _alike(maps, maps_by(explain, saved, like=maps), likeness)


def jpeg_copies(
    pictures: Tensor,
    *,
    quality: int = 75,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> Tensor:
    """Pictures (n, 3, H, W) saved as JPEG by Pillow (its 4:2:0 for chroma) and read again, in their own range and type.

    `pictures * std + mean` is RGB in [0, 1], rounded to 8 bits first. `quality` is 1 to 95. Raises `OptionError` for another quality,
    and `DataError` for pictures that are not RGB in that range.
    """
    if not 1 <= quality <= 95:
        raise OptionError(f"JPEG quality is 1 to 95 (75 is usual); got {quality}")
    _check(pictures)
    scale, middle = (torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1) for v in (std, mean))
    if pictures.shape[1] != 3:
        raise DataError(f"JPEG holds RGB pictures (n, 3, H, W); got {tuple(pictures.shape)}")
    grey = (pictures.detach().cpu().double() * scale + middle) * 255
    # Half a step of 8 bits: what rounds into the range is rounding of the way here.
    if not bool(((grey >= -0.5) & (grey <= 255.5)).all()):
        raise DataError(
            f"pictures * std + mean is RGB in [0, 1]; got {grey.min() / 255:.3g} to {grey.max() / 255:.3g}: give the "
            "mean and std that the network's inputs were made with"
        )
    steps = grey.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    again = torch.from_numpy(np.stack([_saved(picture, quality) for picture in steps]))
    return ((again.permute(0, 3, 1, 2).double() / 255 - middle) / scale).to(pictures)


def _saved(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="JPEG", quality=quality)
    with Image.open(file) as read:
        return np.array(read.convert("RGB"))


def maps_by(
    explain: Explainer, pictures: Tensor, *, like: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """The maps (n, h, w) of an explainer, float64; on the grid of `like`. Raises `DataError` for anything else."""
    maps = explain(pictures)
    if not isinstance(maps, Tensor) or maps.ndim != 3 or len(maps) != len(pictures):
        found = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise DataError(
            f"an explainer returns one map for each of {len(pictures)} pictures, a tensor (n, h, w); got {found}"
        )
    if like is not None and tuple(maps.shape) != like.shape:
        raise DataError(
            f"the maps of the changed pictures are {tuple(maps.shape)} and those of the pictures {like.shape}; an "
            "explainer keeps to one grid"
        )
    return maps.detach().cpu().double().numpy()


def _check(pictures: Tensor) -> None:
    if pictures.ndim != 4 or not pictures.is_floating_point():
        raise DataError(
            f"pictures are a float tensor (n, C, H, W); got {tuple(pictures.shape)} {pictures.dtype}"
        )


def _norms(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.linalg.norm(maps.reshape(len(maps), -1), axis=1)
    return norms


def _alike(
    one: NDArray[np.float64], other: NDArray[np.float64], likeness: Likeness
) -> NDArray[np.float64]:
    return np.array([similarity(a, b, likeness) for a, b in zip(one, other, strict=True)])


def _cells(shift: tuple[int, int], size: tuple[int, int], grid: tuple[int, ...]) -> tuple[int, int]:
    cells = []
    for pixels, side, count in zip(shift, size, grid, strict=True):
        if pixels * count % side:
            raise OptionError(
                f"a shift of {shift} pixels is no whole number of cells of maps {tuple(grid)} of pictures {size}; move by "
                "multiples of a cell, or let the explainer bring its maps to the picture"
            )
        cells.append(pixels * count // side)
    if cells == [0, 0] or any(abs(c) >= count for c, count in zip(cells, grid, strict=True)):
        raise OptionError(
            f"a shift (down, right) moves pictures {size} by less than their size and not by nothing; got {shift}"
        )
    return cells[0], cells[1]


def _moved(pictures: Tensor, shift: tuple[int, int]) -> Tensor:
    """The pictures moved down and right, the room left filled with the nearest pixels."""
    for axis, by in zip((2, 3), shift, strict=True):
        side = pictures.shape[axis]
        place = (torch.arange(side, device=pictures.device) - by).clamp(0, side - 1)
        pictures = pictures.index_select(axis, place)
    return pictures


def _overlap(maps: NDArray[np.float64], down: int, right: int) -> NDArray[np.float64]:
    """What is left of maps whose first `down` rows are cut off, or the last where it is negative; columns likewise."""
    rows, columns = (slice(max(by, 0), min(by, 0) or None) for by in (down, right))
    return maps[:, rows, columns]
