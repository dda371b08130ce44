"""The leading eigenvector of symmetric matrices, without a full decomposition."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["coordinates", "leading_cells", "leading_vector"]

_SMALL = 64  # up to this size a full decomposition costs less than the steps
_CHEAP = 256  # up to this size a Gram matrix costs no more than six steps without it
# Steps after which to see how good it is; after the last it ends.
_LOOKS = (3, 6, 9, 12, 16, 24, 32, 48, 64, 96)


def leading_vector(matrix: Tensor) -> Tensor:
    """The unit eigenvector (B, n) of the largest eigenvalue of each symmetric matrix (B, n, n), with either sign.

    Up to n = 64 by a decomposition; beyond by the Lanczos method, its basis kept orthogonal, which ends when the residual
    is down to rounding (two eigenvalues closer than 96 steps can tell are one to float32). A matrix that is zero, or
    holds NaN, gives a vector of zeros, or of NaN.
    """
    finite = matrix.sum((1, 2))[:, None].isfinite()  # one pass; NaN and infinities stay in a sum
    safe = matrix if bool(finite.all()) else matrix.where(finite[..., None], matrix.new_zeros(()))
    if matrix.shape[-1] <= _SMALL:
        vector = torch.linalg.eigh(safe).eigenvectors[..., -1]
        vector = vector * (safe.diagonal(dim1=1, dim2=2).abs().amax(1, keepdim=True) > 0)
    else:
        vector = _lanczos(lambda v: v @ safe, (_weights(safe[:, 0])[:, None] @ safe)[:, 0])
    made: Tensor = vector.where(finite, vector.new_full((), float("nan")))
    return made


def leading_cells(cells: Tensor, *, plain: bool = True) -> Tensor:
    """The coordinates (B, m) of the rows of each matrix (B, m, n) along its first right singular vector, with either sign.

    The matrix itself is applied to vectors, on its smaller side; a Gram matrix is made only where that side is short.
    `plain` expects one direction to stand out, as in activations that are all positive, so that a few steps are enough;
    without it a Gram matrix up to 256 x 256 is made at once. Zeros give zeros. Values are finite, and their squares
    neither overflow nor vanish.
    """
    by_rows = cells.shape[1] <= cells.shape[2]
    small = min(cells.shape[1:])
    if small <= _SMALL or (small <= _CHEAP and not plain):
        vector = leading_vector(cells @ cells.mT if by_rows else cells.mT @ cells)
    elif by_rows:
        start = (_weights(cells[:, 0])[:, None] @ cells.mT)[:, 0]
        vector = _lanczos(lambda v: (v @ cells) @ cells.mT, start)
    else:
        start = (_weights(cells[:, :, 0])[:, None] @ cells)[:, 0]
        vector = _lanczos(lambda v: (v @ cells.mT) @ cells, start)
    if not by_rows:
        return (vector[:, None] @ cells.mT)[:, 0]
    return coordinates(((vector[:, None] @ cells) @ cells.mT)[:, 0], vector)


def coordinates(image: Tensor, vector: Tensor) -> Tensor:
    """sqrt(lambda) u, the coordinates (B, n) along the component of a unit eigenvector u, from its image lambda u; zeros stay."""
    value = (image * vector).sum(1, keepdim=True)
    return image / value.sqrt().where(value > 0, value.new_ones(()))


def _weights(like: Tensor) -> Tensor:
    """Fixed numbers without a pattern, (B, n), so that no eigenvector is orthogonal to them for its symmetry."""
    places = torch.arange(like.shape[1], device=like.device)
    return ((places * 0.6180339887).frac() + 0.5).to(like.dtype).expand_as(like)


def _lanczos(apply: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """The leading vector of the symmetric map `apply`, of rows (B, 1, n): they are faster than columns. From (B, n)."""
    batch, size = start.shape
    most = min(_LOOKS[-1], size)
    basis, images = (start.new_zeros(batch, most, size) for _ in range(2))
    step = _unit(start)
    vector, scale = step, start.new_ones(batch, 1)
    for done in range(1, most + 1):
        basis[:, done - 1] = step
        image = apply(step[:, None])[:, 0]
        if done == 1:  # lengths are sums of squares, which leave float32 long before the numbers do
            largest = image.abs().amax(1, keepdim=True)
            scale = largest.where(largest > 0, scale)
        images[:, done - 1] = image / scale
        if done in _LOOKS or done == most:
            vector, settled = _best(basis[:, :done], images[:, :done])
            if settled:
                break
        step = _orthogonal(images[:, done - 1], basis[:, :done])
    return vector


def _best(basis: Tensor, images: Tensor) -> tuple[Tensor, bool]:
    """The best vector in the span of `basis` (Rayleigh and Ritz), and whether all are eigenvectors to rounding."""
    small = (
        basis @ images.mT
    ).nan_to_num()  # squares that left float32: the caller sees it in the result
    values, vectors = torch.linalg.eigh((small + small.mT) / 2)
    weights = vectors[..., -1:].mT
    vector, image = (weights @ basis)[:, 0], (weights @ images)[:, 0]
    # What float32 leaves of a residual; the products have `size` terms.
    rounding = torch.finfo(basis.dtype).eps * max(8.0, basis.shape[2] ** 0.5 / 4)
    residual = (image - values[:, -1:] * vector).norm(dim=1)
    return _unit(vector), bool((residual <= rounding * values[:, -1].abs()).all())


def _orthogonal(vector: Tensor, basis: Tensor) -> Tensor:
    """The part of `vector` outside the basis, of length 1; zeros where rounding alone is left."""
    length = vector.norm(dim=1, keepdim=True)
    rest = vector
    for _ in range(2):  # twice is enough (Kahan and Parlett)
        rest = rest - ((rest[:, None] @ basis.mT) @ basis)[:, 0]
    made: Tensor = _unit(rest) * (rest.norm(dim=1, keepdim=True) > 1e-6 * length)
    return made


def _unit(vector: Tensor) -> Tensor:
    length = vector.norm(dim=1, keepdim=True)
    made: Tensor = vector / length.where(length > 0, length.new_ones(()))
    return made
