"""The leading eigenvector of symmetric matrices, without a full decomposition."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["gram", "leading_cells", "leading_coordinates"]

_SMALL = 32  # up to this size a full decomposition costs less than the steps
_CHEAP = 256  # up to this size a Gram matrix costs no more than a dozen steps without it
_WORTH_STRIPS = 256  # from this size on a symmetric product is made in strips
_STRIPS = 4  # a symmetric product is made in: of four strips 10 blocks of 16 are computed
_STEPS = 96
_LOOKS = {
    *range(2, 16),
    *range(16, 32, 2),
    *range(32, _STEPS, 4),
}  # steps after which to see how good it is
_WORTH_ONE = 2**18  # numbers from which on a CPU applies a matrix to both sides before the next


def leading_coordinates(matrix: Tensor) -> Tensor:
    """sqrt(lambda) u (B, n), of the largest eigenvalue of each symmetric matrix (B, n, n) and its unit eigenvector, with either sign.

    Up to n = 32 by a decomposition; beyond by the Lanczos method, its basis kept orthogonal, which ends when the residual
    is down to rounding (two eigenvalues closer than 96 steps can tell are one to float32). A matrix that is zero, or
    holds NaN, gives zeros, or NaN.
    """
    return _coordinates(*_leading(matrix))


def leading_cells(cells: Tensor, *, plain: bool = True) -> Tensor:
    """The coordinates (B, m) of the rows of each matrix (B, m, n) along its first right singular vector, with either sign.

    The matrix itself is applied to vectors, on its smaller side; a Gram matrix is made only where that side is short.
    `plain` expects one direction to stand out, as in activations that are all positive, so that a few steps are enough;
    without it a Gram matrix up to 256 x 256 is made at once. Zeros give zeros. Values are finite, and their squares
    neither overflow nor vanish.
    """
    by_rows = cells.shape[1] <= cells.shape[2]
    short = cells if by_rows else cells.mT
    if short.shape[1] <= (_SMALL if plain else _CHEAP):
        vector, image = _leading(gram(short))
    else:
        vector, image = _lanczos(_twice(short), _start(short.mT))
    return _coordinates(vector, image) if by_rows else (vector[:, None] @ short)[:, 0]


def gram(rows: Tensor, out: Tensor | None = None) -> Tensor:
    """The products of all rows of a matrix with each other, (B, n, n) of (B, n, c), into `out` where one is given.

    On a CPU the larger ones one matrix at a time, in strips, each from its diagonal on: the rest is their mirror image.
    """
    size = rows.shape[1]
    if rows.device.type != "cpu" or size < _WORTH_STRIPS:
        return torch.bmm(rows, rows.mT, out=out)
    made = rows.new_empty(len(rows), size, size) if out is None else out
    step = -(-size // _STRIPS)
    for one, table in zip(rows, made, strict=True):
        for start in range(0, size, step):
            stop = start + step
            torch.mm(one[start:stop], one[start:].mT, out=table[start:stop, start:])
            table[stop:, start:stop] = table[start:stop, stop:].mT
    return made


def _leading(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The leading unit vector (B, n) of each symmetric matrix, and the matrix applied to it."""
    start = _start(matrix)
    finite = start.isfinite().all(1, keepdim=True)  # NaN and infinities stay in a sum
    if not bool(finite.all()):
        matrix = matrix.where(finite[..., None], matrix.new_zeros(()))
        start = _start(matrix)
    if matrix.shape[-1] <= _SMALL:
        values, vectors = torch.linalg.eigh(matrix)
        vector = vectors[..., -1] * (values.abs().amax(1, keepdim=True) > 0)
        image = vector * values[:, -1:]
    else:
        vector, image = _lanczos(lambda v: torch.bmm(v, matrix), start)
    broken = vector.new_full((), float("nan"))
    return vector.where(finite, broken), image.where(finite, broken)


def _twice(short: Tensor) -> Callable[[Tensor], Tensor]:
    """Short @ short.mT applied to rows (B, 1, n)."""
    if short.device.type != "cpu" or short.shape[1:].numel() < _WORTH_ONE:
        return lambda v: torch.bmm(torch.bmm(v, short), short.mT)
    return lambda v: torch.stack(
        [torch.mm(torch.mm(row, one), one.T) for row, one in zip(v, short, strict=True)]
    )


def _start(matrix: Tensor) -> Tensor:
    """The sum (B, n) of the rows of each matrix (B, m, n), by weights without a pattern.

    No vector is orthogonal to them for its symmetry.
    """
    places = torch.arange(matrix.shape[1], device=matrix.device)
    weights = ((places * 0.6180339887).frac() + 0.5).to(matrix.dtype)
    return (weights.expand(len(matrix), 1, -1) @ matrix)[:, 0]


def _coordinates(vector: Tensor, image: Tensor) -> Tensor:
    """sqrt(lambda) u (B, n), from a unit eigenvector u and its image lambda u; zeros stay."""
    value = (image * vector).sum(1, keepdim=True)
    return image / value.sqrt().where(value > 0, value.new_ones(()))


def _lanczos(apply: Callable[[Tensor], Tensor], start: Tensor) -> tuple[Tensor, Tensor]:
    """The leading unit vector (B, n) of the symmetric map `apply`, and its image; from (B, n).

    `apply` takes rows (B, 1, n), which are faster than columns. The best vector in the span of the basis is that of the
    small matrix of the map in it (Rayleigh and Ritz); its residual is known without it: the length of what the last
    image has outside the basis, times the vector's last weight (Paige).
    """
    batch, size = start.shape
    most = min(_STEPS, size)
    basis, images = (start.new_empty(batch, most, size) for _ in range(2))
    small = start.new_zeros(batch, most, most)  # its lower triangle
    scale, weights = start.new_ones(batch, 1, 1), start.new_ones(batch, 1, 1)
    # What float32 leaves of a residual; the products have `size` terms.
    rounding = torch.finfo(start.dtype).eps * max(8.0, size**0.5 / 4)
    step, done = _unit(start)[:, None], 0
    for done in range(1, most + 1):
        basis[:, done - 1 : done] = step
        image = apply(step)
        if done == 1:  # lengths are sums of squares, which leave float32 long before the numbers do
            largest = image.abs().amax(2, keepdim=True)
            scale = largest.where(largest > 0, scale)
        images[:, done - 1 : done] = image = image / scale
        inside, rest = _apart(image, basis[:, :done])
        small[:, done - 1 : done, :done] = inside
        length = torch.linalg.vector_norm(rest, dim=2, keepdim=True)
        if done in _LOOKS or done == most:
            # Squares that left float32: the caller sees it in the result.
            values, vectors = torch.linalg.eigh(small[:, :done, :done].nan_to_num())
            weights, residual = vectors[:, :, -1:].mT, (length[:, 0] * vectors[:, -1, -1:]).abs()
            if bool((residual <= rounding * values[:, -1:].abs()).all()):
                break
        before = torch.linalg.vector_norm(image, dim=2, keepdim=True)
        step = rest / length.masked_fill(length <= 1e-6 * before, float("inf"))
    vector, image = (torch.bmm(weights, known[:, :done])[:, 0] for known in (basis, images))
    length = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
    length = length.where(length > 0, length.new_ones(()))
    return vector / length, image / length * scale[:, 0]


def _apart(row: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """The coordinates (B, 1, k) of a row (B, 1, n) in an orthonormal basis (B, k, n), and the part outside it (B, 1, n)."""
    inside = torch.bmm(row, basis.mT)
    rest = torch.baddbmm(row, inside, basis, alpha=-1)
    # Twice is enough (Kahan and Parlett).
    return inside, torch.baddbmm(rest, torch.bmm(rest, basis.mT), basis, alpha=-1)


def _unit(vector: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
    made: Tensor = vector / length.where(length > 0, length.new_ones(()))
    return made
