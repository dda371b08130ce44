"""Fill in removed pixels from what surrounds them, for many masks at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from saliscope.errors import DataError, OptionError
from saliscope.metrics.multigrid import (
    Coarse,
    Layout,
    Neighbours,
    Prolongation,
    Restriction,
    Scratch,
    Stencil,
)

__all__ = ["impute"]

_LIMIT = 200
_FINEST = 1e-6
_TINY = 1e-30
_MASKS_CPU = 2


def impute(
    images: Tensor, missing: Tensor, *, tolerance: float = 1e-5, at_once: int | None = None
) -> Tensor:
    """Replace missing pixels by the weighted mean of their neighbours, all of them solved for together.

    `images` is (P, C, H, W), `missing` bool (P, H, W), one mask an image. Each missing pixel equals the mean of its up to
    eight neighbours, those at an edge weighing 1/6 and at a corner 1/12, renormalised at the borders of the image (Rong et
    al. 2022, section 4.2), so that planes and constants come back exactly. float32 (P, C, H, W), right to `tolerance` times
    the range of the known pixels' values; known pixels keep their values to the bit, and what lies in the hole does not matter.

    Multiplied by its sum of weights, each row of the system is that of a symmetric positive definite one, which conjugate
    gradients solve, preconditioned by a multigrid cycle; `at_once` masks share its steps.
    Raises `DataError` where sizes differ, a known value is not finite or nothing is left to fill in from, `OptionError` for a tolerance below 1e-6.

    >>> ramp = torch.arange(25.0).reshape(1, 1, 5, 5)
    >>> hole = torch.zeros(1, 5, 5, dtype=torch.bool)
    >>> hole[0, 2, 2] = True
    >>> round(impute(ramp, hole)[0, 0, 2, 2].item(), 3)
    12.0
    """
    if images.ndim != 4 or missing.shape != (len(images), *images.shape[2:]):
        raise DataError(
            f"images (P, C, H, W) go with masks (P, H, W); got {tuple(images.shape)} and {tuple(missing.shape)}"
        )
    if not _FINEST <= tolerance < 1:
        raise OptionError(
            f"tolerance is a share of the values' range, from {_FINEST:g} (float32) up to 1; got {tolerance:g}"
        )
    counts = missing.flatten(1).sum(1)
    if (counts == images.shape[2] * images.shape[3]).any():
        raise DataError(
            "all pixels of an image are missing, and nothing is left to fill in from: remove a smaller share"
        )
    if 1 in images.shape[2:]:  # a line is two equal lines side by side, which are easier to smooth
        axis = 2 if images.shape[2] == 1 else 3
        twice = torch.cat([images] * 2, axis), torch.cat([missing] * 2, axis - 1)
        return impute(*twice, tolerance=tolerance, at_once=at_once).narrow(axis, 0, 1)
    filled = images.float().clone()
    hard_first = counts.argsort(descending=True)
    holes = int((counts > 0).sum())
    if holes < len(filled):
        _known(filled[hard_first[holes:]], missing[hard_first[holes:]])
    groups = torch.split(hard_first[:holes], at_once or _at_once(images)) if holes else ()
    for rows, found in zip(groups, _each(groups, filled, missing, tolerance), strict=True):
        filled[rows] = found
    return filled


def _each(
    groups: Sequence[Tensor], images: Tensor, missing: Tensor, tolerance: float
) -> Iterator[Tensor]:
    """Images (p, C, H, W) of each group without holes, in order; groups of one size share the memory they are solved in."""
    solver: _Holes | None = None
    for rows in groups:
        shape = len(rows), *images.shape[1:]
        if solver is None or solver.shape != shape:
            solver = _Holes(shape, images.device)
        yield solver.fill(images[rows], missing[rows], tolerance)


def _at_once(images: Tensor) -> int:
    """Few enough on a CPU for its cache, many on a GPU."""
    return _MASKS_CPU if images.device.type == "cpu" else max(1, 192 // images.shape[1])


def _known(images: Tensor, missing: Tensor) -> Tensor:
    """Images (P, C, H, W), float32, with zeros where pixels are missing, whatever lies there."""
    bits = images.view(torch.int32) & (missing.int() - 1).unsqueeze(1)  # much faster than `where`
    known = bits.view(torch.float32)
    if not all(map(math.isfinite, map(float, known.aminmax()))):
        raise DataError("a known pixel is NaN or infinite, and would spread: give finite images")
    return known


class _Holes:
    """Conjugate gradients on the missing pixels of pictures of one `shape` (P, C, H, W), in memory held for many of them.

    On a CPU each channel of each picture goes by itself on the finest grid, where a few arrays of one fit into the cache.
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        masks, channels, height, width = self.shape = shape
        layout = Layout(height, width)
        self.stencil = Stencil(layout, masks, device)
        self.coarse = Coarse(layout.coarser, masks, channels, device)
        scratch, alone = Scratch(device), device.type == "cpu"
        self.weights: list[_Weights] = []
        self.blocks: list[_Block] = []
        for some in _slices(masks, alone):
            self.weights.append(weights := _Weights(layout, some, device))
            for one in _slices(channels, alone):
                grids = slice(
                    some.start * channels + one.start, (some.stop - 1) * channels + one.stop
                )
                coarse = self.coarse.given[grids], self.coarse.found[grids]
                self.blocks.append(_Block(layout, (some, one), weights, coarse, scratch))

    @torch.no_grad()
    def fill(self, images: Tensor, missing: Tensor, tolerance: float) -> Tensor:
        """Images (P, C, H, W) without the holes `missing` (P, H, W), right to `tolerance` of the range of their known values."""
        known, hole = _known(images, missing), missing.float().unsqueeze(1)
        middle = known.sum((2, 3), keepdim=True) / (~missing).sum((1, 2)).view(-1, 1, 1, 1)
        around = known.addcmul(1 - hole, middle, value=-1)
        width = (around.flatten(1).amax(1) - around.flatten(1).amin(1)).view(-1, 1, 1, 1)
        width = torch.where(width > 0, width, 1.0)
        self._load(around.div_(width), hole[:, 0])
        self._solve(tolerance)
        for block in self.blocks:
            around[block.part] = block.found()
        return known.addcmul_(around, width).addcmul_(hole, middle)

    def _load(self, around: Tensor, hole: Tensor) -> None:
        _write_stencil(hole, self.stencil.values)
        self.coarse.load(self.stencil.coarser())
        for weights in self.weights:
            weights.load(hole, self.stencil.values[:, 0])
        for block in self.blocks:
            block.load(around)

    def _solve(self, tolerance: float) -> None:
        left = self.blocks
        for _ in range(_LIMIT):
            for block in left:
                block.down()
            self.coarse.solve()
            left = [block for block in left if block.up() > tolerance]
            if not left:
                return
            for block in left:
                block.step()
        raise DataError(
            f"pixels could not be filled in to {tolerance:g} of their range in {_LIMIT} steps; ask for a larger tolerance"
        )


class _Weights:
    """What multiplies the places of masks: minus 1 where missing, the diagonal of the system and its inverse there."""

    def __init__(self, layout: Layout, masks: slice, device: torch.device) -> None:
        count = masks.stop - masks.start
        fields = [layout.zeros(count, device) for _ in range(3)]
        self.masks, self.field = masks, fields[0]
        self.pictures = [layout.pictures(f) for f in fields]
        self.negative, self.diagonal, self.inverse = (
            layout.run(f).view(count, 1, -1) for f in fields
        )

    def load(self, hole: Tensor, diagonal: Tensor) -> None:
        hole, diagonal = hole[self.masks], diagonal[self.masks]
        torch.neg(hole, out=self.pictures[0])
        self.pictures[1].copy_(diagonal)
        torch.div(hole, diagonal.clamp_min(1), out=self.pictures[2])


class _Block:
    """The pictures of `part`, some masks and some channels, on the finest grid; each has step lengths of its own."""

    def __init__(
        self, layout: Layout, part: tuple[slice, slice], weights: _Weights, coarse: tuple[Tensor, Tensor], scratch: Scratch
    ) -> None:  # fmt: skip
        given, found = coarse
        device, grids = given.device, len(given)
        count = part[0].stop - part[0].start
        shape = count, grids // count, layout.size
        self.part, self.weights = part, weights
        values, direction, change = (layout.zeros(grids, device) for _ in range(3))
        self.residual = torch.empty(shape, device=device)
        sums = scratch.take("sums of neighbours", len(change))
        self.around_direction = Neighbours(layout, direction, sums, scratch)
        self.around_change = Neighbours(layout, change, sums, scratch)
        self.restrict = Restriction(layout, sums, given, scratch)
        self.prolong = Prolongation(layout, found, change, scratch, weights.field)
        fields = values, direction, change, sums
        self.values, self.direction, self.change, self.sums = (
            layout.run(f).view(shape) for f in fields
        )
        size = count, grids // count, layout.height, layout.width
        self.answer, self.pictures = (layout.pictures(f).view(size) for f in (values, change))
        self.before = torch.ones((), device=device)

    def load(self, around: Tensor) -> None:
        """Begin with what known pixels (P, C, H, W), zero where missing, give to their missing neighbours."""
        self.change.zero_()
        self.pictures.copy_(around[self.part])
        self.around_change()
        torch.mul(self.sums, self.weights.negative, out=self.residual).neg_()
        self.values.zero_()
        self.direction.zero_()

    def down(self) -> None:
        """Smooth once, from nothing, and hand what is left, negated, to the coarse grid."""
        torch.mul(self.residual, self.weights.inverse, out=self.change)
        self.around_change()
        self.sums.mul_(self.weights.negative)
        self.restrict()

    def up(self) -> float:
        """Take the coarse grid's answer and smooth once more: how far the solution is from here, at most."""
        self.prolong()
        self.around_change()
        torch.mul(self.sums.add_(self.residual), self.weights.inverse, out=self.change)
        low, high = self.change.aminmax()
        return max(-float(low), float(high))

    def step(self) -> None:
        """One step of conjugate gradients."""
        along = _dot(self.residual, self.change)
        torch.addcmul(self.change, self.direction, along / self.before, out=self.direction)
        self.around_direction()
        applied = self.sums.mul_(self.weights.negative)
        applied.addcmul_(self.direction, self.weights.diagonal)
        length = along / _dot(self.direction, applied)
        self.values.addcmul_(self.direction, length)
        self.residual.addcmul_(applied, length, value=-1)
        self.before = along

    def found(self) -> Tensor:
        """What belongs into the holes, zero elsewhere."""
        self.values.add_(self.change)
        return self.answer


def _slices(count: int, alone: bool) -> list[slice]:
    return [slice(i, i + 1) for i in range(count)] if alone else [slice(0, count)]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """The products of rows, (p, c, 1), at least the smallest number: nothing is divided by zero."""
    sums: Tensor = torch.linalg.vecdot(a, b)
    return sums.clamp_min_(_TINY).unsqueeze(-1)


def _write_stencil(hole: Tensor, out: Tensor) -> None:
    """The system on the missing pixels (P, H, W), twelve times its rows away from borders, as `Stencil` has it."""
    lines = [torch.full((n,), 4.0, device=hole.device) for n in hole.shape[1:]]
    for line in lines:
        line[0] -= 1
        line[-1] -= 1
    torch.mul(hole, torch.outer(*lines) - 4, out=out[:, 0])
    torch.mul(hole[:, :, :-1], hole[:, :, 1:], out=out[:, 1, :, :-1]).mul_(-2)
    torch.mul(hole[:, :-1, 1:], hole[:, 1:, :-1], out=out[:, 2, :-1, 1:]).neg_()
    torch.mul(hole[:, :-1], hole[:, 1:], out=out[:, 3, :-1]).mul_(-2)
    torch.mul(hole[:, :-1, :-1], hole[:, 1:, 1:], out=out[:, 4, :-1, :-1]).neg_()
