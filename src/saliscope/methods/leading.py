"""The leading eigenvector of symmetric matrices, without a full decomposition."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

__all__ = ["leading_cells", "leading_vector"]

_SMALL = 64  # up to this size a full decomposition costs less than the steps
_CHEAP = 256  # up to this size a Gram matrix costs about as much as six steps without it
_LOOKS = (
    4,
    8,
    12,
    16,
    24,
    32,
    48,
    64,
    96,
)  # steps after which the residual is looked at; no more than the last


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
        vector = _lanczos(lambda v: v @ safe, safe[:, 0])
    made: Tensor = vector.where(finite, vector.new_full((), float("nan")))
    return made


def leading_cells(cells: Tensor) -> Tensor:
    """The coordinates (B, m) of the rows of each matrix (B, m, n) along its first right singular vector, with either sign.

    The matrix itself is applied to vectors, on its smaller side; a Gram matrix is made only where that side is short.
    Zeros give zeros. Values are finite, and their squares neither overflow nor vanish.
    """
    by_rows = cells.shape[1] <= cells.shape[2]
    if min(cells.shape[1:]) <= _SMALL:
        vector = leading_vector(cells @ cells.mT if by_rows else cells.mT @ cells)
    elif by_rows:
        vector = _lanczos(
            lambda v: (v @ cells) @ cells.mT, cells[:, :, 0], lambda: cells @ cells.mT
        )
    else:
        vector = _lanczos(lambda v: (v @ cells.mT) @ cells, cells[:, 0], lambda: cells.mT @ cells)
    if not by_rows:
        return (vector[:, None] @ cells.mT)[:, 0]
    along = ((vector[:, None] @ cells) @ cells.mT)[:, 0]
    value = (along * vector).sum(1, keepdim=True)  # the singular value, squared
    return along / value.sqrt().where(value > 0, value.new_ones(()))


def _lanczos(
    apply: Callable[[Tensor], Tensor], like: Tensor, gram: Callable[[], Tensor] | None = None
) -> Tensor:
    """The leading vector (B, n), as `like` is, of the symmetric map `apply` of rows (B, 1, n): they are faster than columns.

    `gram` makes the matrix of that map. Where n is small enough for it to pay, it takes over once it is plain that more
    than a few steps are needed.
    """
    batch, size = like.shape
    most = min(_LOOKS[-1], size)
    basis, images = (like.new_zeros(batch, most, size) for _ in range(2))
    # Fixed weights without a pattern, so that no eigenvector is orthogonal to them for its symmetry.
    weights = (torch.arange(size, device=like.device) * 0.6180339887).frac() + 0.5
    step = _unit(apply(weights.to(like.dtype).expand(batch, 1, size))[:, 0])
    vector = step
    for done in range(1, most + 1):
        basis[:, done - 1] = step
        images[:, done - 1] = apply(step[:, None])[:, 0]
        if done in _LOOKS or done == most:
            vector, settled = _best(basis[:, :done], images[:, :done])
            if settled:
                break
            if gram is not None and size <= _CHEAP:
                matrix, gram = gram(), None
                apply = partial(torch.matmul, other=matrix)
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
