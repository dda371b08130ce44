"""Grids, each half as fine as the one before, that nearly invert the system of the imputation.

The pixels of all pictures lie in one run of memory with zeros between the rows, so that the neighbours of all places are
the same run, shifted, and a step over a grid is one sum over contiguous memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Coarse", "Layout", "Neighbours", "Prolongation", "Restriction", "Scratch", "Stencil"]

_HALF = ((0, 0), (0, 1), (1, -1), (1, 0), (1, 1))  # itself and half of its neighbours, (dy, dx)
_DIRECT = 15
_DAMPING = 0.55
_RIDGE = 1e-4


@dataclass(frozen=True)
class Layout:
    """Where the pixels of pictures of `height` x `width` lie: in grids of `rows` x `cols` places, zeros past a picture's end."""

    height: int
    width: int

    @property
    def rows(self) -> int:
        return 2 * (self.height // 2 + 1)

    @property
    def cols(self) -> int:
        return 2 * (self.width // 2 + 1)

    @property
    def size(self) -> int:
        return self.rows * self.cols

    @property
    def margin(self) -> int:
        """Zeros before the first grid and after the last."""
        return 2 * self.cols

    @property
    def coarser(self) -> Layout:
        """Every second pixel, and one beyond the last where their number is even."""
        return Layout(self.height // 2 + 1, self.width // 2 + 1)

    def zeros(self, grids: int, device: torch.device) -> Tensor:
        return torch.zeros(grids * self.size + 2 * self.margin, device=device)

    def run(self, values: Tensor, dy: int = 0, dx: int = 0) -> Tensor:
        """All places, or their neighbours at (dy, dx): a view."""
        start = self.margin + dy * self.cols + dx
        return values[start : start + len(values) - 2 * self.margin]

    def pictures(self, values: Tensor) -> Tensor:
        """The pixels alone, (grids, height, width): a view."""
        return self.run(values).view(-1, self.rows, self.cols)[:, : self.height, : self.width]

    def every_second_row(self, values: Tensor, first: int) -> Tensor:
        """Rows first, first + 2, ... of each grid, (grids, rows / 2, cols): a view."""
        grids = (len(values) - 2 * self.margin) // self.size
        shape, strides = (grids, self.rows // 2, self.cols), (self.size, 2 * self.cols, 1)
        return values.as_strided(shape, strides, self.margin + first * self.cols)


@dataclass(frozen=True, eq=False)
class Scratch:
    """Memory by name and size, filled with zeros once, for steps that follow each other and keep nothing in it."""

    device: torch.device
    held: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def take(self, name: str, size: int) -> Tensor:
        key = name, size
        if key not in self.held:
            self.held[key] = torch.zeros(size, device=self.device)
        return self.held[key]


class Neighbours:
    """The sums over the eight neighbours of each place, those at an edge counted twice, into `sums`."""

    def __init__(self, layout: Layout, values: Tensor, sums: Tensor, scratch: Scratch) -> None:
        low, high = layout.margin - layout.cols, len(values) - layout.margin + layout.cols
        pair, row = (scratch.take(name, len(values)) for name in ("pair", "row"))
        self.left, self.right = values[low - 1 : high - 1], values[low + 1 : high + 1]
        self.middle, self.pair, self.row = values[low:high], pair[low:high], row[low:high]
        self.pairs, self.sums = layout.run(pair), layout.run(sums)
        self.above, self.below = layout.run(row, -1), layout.run(row, 1)

    def __call__(self) -> None:
        torch.add(self.left, self.right, out=self.pair)
        torch.add(self.pair, self.middle, alpha=2, out=self.row)
        torch.add(self.above, self.below, out=self.sums)
        self.sums.add_(self.pairs, alpha=2)


class Restriction:
    """What the next grid sees of values that are zero outside the pictures: the transpose of `Prolongation`."""

    def __init__(self, layout: Layout, values: Tensor, coarse: Tensor, scratch: Scratch) -> None:
        self.before, self.here, self.after = (
            layout.every_second_row(values, first) for first in (-1, 0, 1)
        )
        grids, half, cols = self.here.shape
        line = scratch.take("folded", 1 + self.here.numel())
        self.folded = line[1:].view(grids, half, cols)
        shape, strides = (grids, half, cols // 2), (half * cols, cols, 2)
        self.left, self.middle, self.right = (line.as_strided(shape, strides, k) for k in range(3))
        self.sums = scratch.take("sums", self.left.numel()).view(shape)
        self.coarse = coarse

    def __call__(self) -> None:
        torch.add(self.before, self.after, out=self.folded)
        torch.add(self.here, self.folded, alpha=0.5, out=self.folded)
        torch.add(self.left, self.right, out=self.sums)
        torch.add(self.middle, self.sums, alpha=0.5, out=self.coarse)


class Prolongation:
    """Add the next grid, linear between its points, to values; times `weights`, of one grid for several, where given.

    `coarse` (grids, h, w) is a view with one place more to the right of each row.
    """

    def __init__(
        self, layout: Layout, coarse: Tensor, values: Tensor, scratch: Scratch, weights: Tensor | None = None
    ) -> None:  # fmt: skip
        rows = [layout.every_second_row(values, first) for first in (0, 1)]
        grids, half, cols = rows[0].shape
        count = rows[0].numel()
        line = scratch.take("line", count + cols)
        wide = line[:count].view(grids, half, cols)
        self.points, self.between = wide[..., ::2], wide[..., 1::2]
        self.coarse = coarse
        self.right = coarse.as_strided(coarse.shape, coarse.stride(), coarse.storage_offset() + 1)
        self.weights = None
        if weights is not None:
            each = [layout.every_second_row(weights, first).unsqueeze(1) for first in (0, 1)]
            self.weights = each[0], each[1]
            rows = [r.view(len(each[0]), -1, half, cols) for r in rows]
        self.even, self.odd = rows
        self.line, self.next = (line[k : k + count].view(self.even.shape) for k in (0, cols))
        self.sums = scratch.take("both", count).view(self.even.shape)

    def __call__(self) -> None:
        self.points.copy_(self.coarse)
        torch.lerp(self.coarse, self.right, 0.5, out=self.between)
        torch.add(self.line, self.next, out=self.sums)
        if self.weights is None:
            self.even.add_(self.line)
            self.odd.add_(self.sums, alpha=0.5)
        else:
            self.even.addcmul_(self.line, self.weights[0])
            self.odd.addcmul_(self.sums, self.weights[1], value=0.5)


class Stencil:
    """A system on one grid for several masks: what multiplies each pixel itself and half of its neighbours.

    `values` is (masks, 5, height, width): the pixel itself, right, below left, below, below right; the others are these,
    seen from the other side. A pixel that is not missing has zeros.
    """

    def __init__(self, layout: Layout, masks: int, device: torch.device) -> None:
        height, width = layout.height, layout.width
        size = 4 - height % 2 + height, 5 - width % 2 + width
        self.padded = torch.zeros(masks, 5, *size, device=device)
        self.values = self.padded[:, :, 2 : 2 + height, 2 : 2 + width]

    def coarser(self) -> Tensor:
        """What the system is to functions given at every second point, `values` of the next grid."""
        # TensorFloat-32, which a GPU may take, would not leave it positive definite.
        wide = self.padded.double() if self.padded.is_cuda else self.padded
        return F.conv2d(wide, _kernel().to(wide), stride=2).float()


class Coarse:
    """The system on a coarse grid: what it does to functions linear between its points and zero at known pixels (Galerkin).

    For `masks` masks and `channels` right sides of each. `given` and `found`, (masks x channels, h, w), are views of the
    right sides and of what `solve` finds.
    """

    def __init__(self, layout: Layout, masks: int, channels: int, device: torch.device) -> None:
        given, found, left = (layout.zeros(masks * channels, device) for _ in range(3))
        self.given, self.found = layout.pictures(given), layout.pictures(found)
        self.stencil = Stencil(layout, masks, device)
        self.inverse_matrix: Tensor | None = None
        self.next: Coarse | None = None
        if max(layout.height, layout.width) <= _DIRECT:
            return
        scratch = Scratch(device)
        self.next = Coarse(layout.coarser, masks, channels, device)
        self.down = Restriction(layout, left, self.next.given, scratch)
        self.up = Prolongation(layout, self.next.found, found, scratch)
        shape = masks, channels, layout.size
        self.left, self.right, self.x = (layout.run(v).view(shape) for v in (left, given, found))
        weights = [layout.zeros(masks, device) for _ in range(6)]
        self.weights = [layout.pictures(w) for w in weights]
        self.terms = []
        for weight, (dy, dx) in zip(weights, _HALF, strict=False):
            sides = [((0, 0), (dy, dx)), ((-dy, -dx), (-dy, -dx))]
            for here, there in sides[: 1 + ((dy, dx) != (0, 0))]:
                own = layout.run(weight, *here).view(masks, 1, -1)
                self.terms.append((own, layout.run(found, *there).view(shape)))
        self.inverse = layout.run(weights[-1]).view(masks, 1, -1)

    def load(self, stencil: Tensor) -> None:
        """Take the `Stencil.values` of this grid."""
        if self.next is None:
            self.inverse_matrix = _inverse_matrix(stencil)
            return
        self.stencil.values.copy_(stencil)
        for weight, values in zip(
            self.weights, [*stencil.unbind(1), _inverse(stencil)], strict=True
        ):
            weight.copy_(values)
        self.next.load(self.stencil.coarser())

    def solve(self) -> None:
        """About the solution: one smoothing step, the coarser grids, one smoothing step."""
        if self.next is None:
            self._direct()
            return
        torch.mul(self.right, self.inverse, out=self.x)
        self._residual()
        self.down()
        self.next.solve()
        self.up()
        self._residual()
        self.x.addcmul_(self.left, self.inverse)

    def _direct(self) -> None:
        assert self.inverse_matrix is not None
        right = self.given.reshape(len(self.inverse_matrix), -1, self.inverse_matrix.shape[-1])
        self.found.copy_((right @ self.inverse_matrix).view(self.found.shape))

    def _residual(self) -> None:
        (weight, x), *others = self.terms
        torch.addcmul(self.right, weight, x, value=-1, out=self.left)
        for weight, x in others:
            self.left.addcmul_(weight, x, value=-1)


def _around(stencil: Tensor) -> Tensor:
    """The sums of the sizes of all nine coefficients of each point, (P, h, w)."""
    sizes = stencil.abs()
    total = sizes.sum(1)
    height, width = sizes.shape[2:]
    for k, (dy, dx) in enumerate(_HALF[1:], 1):
        here, there = _overlap(height, width, dy, dx)
        total[:, *there] += sizes[:, k][:, *here]
    return total


def _overlap(height: int, width: int, dy: int, dx: int) -> tuple[tuple[slice, slice], ...]:
    """Places with a neighbour at (dy, dx), and those neighbours."""
    here = slice(0, height - dy), slice(max(0, -dx), width - max(0, dx))
    there = slice(dy, height), slice(max(0, dx), width + min(0, dx))
    return here, there


def _inverse(stencil: Tensor) -> Tensor:
    """One over a diagonal large enough for a smoothing step to converge, whatever the mask; zero where nothing is missing."""
    large = torch.maximum(stencil[:, 0], _DAMPING * _around(stencil))
    return (stencil[:, 0] > 0) / large.clamp_min(torch.finfo(large.dtype).tiny)


def _inverse_matrix(stencil: Tensor) -> Tensor:
    """The inverses of the systems (P, h w, h w), with a trace of the diagonal added: points may depend on each other."""
    masks, _, height, width = stencil.shape
    number = torch.arange(height * width, device=stencil.device).view(height, width)
    matrix = stencil.new_zeros(masks, height * width, height * width)
    diagonal = stencil[:, 0].flatten(1)
    matrix.diagonal(dim1=1, dim2=2).copy_(torch.where(diagonal > 0, diagonal * (1 + _RIDGE), 1.0))
    for k, (dy, dx) in enumerate(_HALF[1:], 1):
        here, there = _overlap(height, width, dy, dx)
        rows, columns = number[here].flatten(), number[there].flatten()
        values = stencil[:, k][:, *here].flatten(1)
        matrix[:, rows, columns] = values
        matrix[:, columns, rows] = values
    inverse: Tensor = torch.linalg.inv(matrix)
    return inverse


@cache
def _kernel() -> Tensor:
    """How coefficients around a coarse point, from 2 before to 1 below and 2 to the right, make its own: (5 coarse, 5 fine, 4, 5)."""
    share = {-1: 0.5, 0: 1.0, 1: 0.5}

    def at(y: int, x: int) -> float:
        return share.get(y, 0.0) * share.get(x, 0.0)

    def weight(far: tuple[int, int], near: tuple[int, int], y: int, x: int) -> float:
        (v, u), (dy, dx) = (2 * far[0], 2 * far[1]), near
        found = at(y, x) * at(y + dy - v, x + dx - u)
        return found + at(y - v, x - u) * at(y + dy, x + dx) * (near != (0, 0))

    places = product(_HALF, _HALF, range(-2, 2), range(-2, 3))
    return torch.tensor([weight(*place) for place in places]).view(5, 5, 4, 5)
