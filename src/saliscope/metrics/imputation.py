"""Fill in removed pixels from what surrounds them, for many masks at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from saliscope.errors import DataError, OptionError

__all__ = ["impute"]

_EDGE = (1.0, 2.0, 1.0)
_HALF = (0.5, 1.0, 0.5)
_SMALLEST = 8
_SWEEPS = 6
_LIMIT = 200
_FINEST = 1e-6


def impute(
    images: Tensor, missing: Tensor, *, tolerance: float = 1e-5, at_once: int | None = None
) -> Tensor:
    """Replace missing pixels by the weighted mean of their neighbours, all of them solved for together.

    `images` is (P, C, H, W), `missing` bool (P, H, W), one mask an image. Each missing pixel equals the mean of its up to
    eight neighbours, those at an edge weighing 1/6 and at a corner 1/12, renormalised at the borders of the image (Rong et
    al. 2022, section 4.2), so that planes and constants come back exactly. float32 (P, C, H, W), right to `tolerance` times
    the range of the known pixels' values; known pixels keep their values to the bit, and what lies in the hole does not matter.

    Multiplied by its sum of weights, each row of the system is that of a symmetric positive definite one, which conjugate
    gradients solve, preconditioned by a multigrid cycle; all channels and `at_once` masks go through the same convolutions.
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
    if not (torch.isfinite(images) | missing.unsqueeze(1)).all():
        raise DataError("a known pixel is NaN or infinite, and would spread: give finite images")
    filled = images.float().clone()
    at_once = at_once or _at_once(images)
    hard_first = counts.argsort(descending=True)[: int((counts > 0).sum())]
    for start in range(0, len(hard_first), at_once):
        rows = hard_first[start : start + at_once]
        filled[rows] = _solve(filled[rows], missing[rows], tolerance)
    return filled


def _at_once(images: Tensor) -> int:
    """Few enough on a CPU for its cache, many on a GPU."""
    channels = 24 if images.device.type == "cpu" else 192
    return max(1, channels // images.shape[1])


@torch.no_grad()
def _solve(images: Tensor, missing: Tensor, tolerance: float) -> Tensor:
    """Conjugate gradients on the missing pixels of (P, C, H, W); one step length for all, as for one large system."""
    known = ~missing.unsqueeze(1)
    total = known.flatten(1).sum(1).view(-1, 1, 1, 1)
    middle = torch.where(known, images, 0.0).sum((2, 3), keepdim=True) / total
    around = torch.where(known, images - middle, 0.0)
    width = (around.flatten(1).amax(1) - around.flatten(1).amin(1)).view(-1, 1, 1, 1)
    width = torch.where(width > 0, width, 1.0)
    around = _laid_out(around / width)
    level = _Level.of(missing, images.shape[1])
    residual = level.apply(around) * -level.mask
    change, direction = torch.zeros_like(residual), torch.zeros_like(residual)
    before = 1.0
    for _ in range(_LIMIT):
        step = level.cycle(residual)
        low, high = _flat(step).aminmax()
        if max(-float(low), float(high)) <= 2 * tolerance:  # the cycle nearly inverts the system
            change += step
            found = change.reshape(images.shape) * width + middle
            return torch.where(known, images, found)
        along = _dot(residual, step)
        direction.mul_(along / before).add_(step)
        applied = level.apply(direction)
        length = along / _dot(direction, applied)
        change.add_(direction, alpha=length)
        residual.addcmul_(level.mask, applied, value=-length)
        before = along
    raise DataError(
        f"pixels could not be filled in to {tolerance:g} of their range in {_LIMIT} steps; ask for a larger tolerance"
    )


@dataclass(frozen=True, eq=False)
class _Level:
    """The system on one grid, of P masks and C channels as P x C channels of one picture (1, PC, h, w).

    On all grids it is M (16 x - K x) + E x with K the outer product of (1, 2, 1) with itself: twelve times the rows of the
    imputation. `mask` M is 1 where missing; `extra` E has what borders lack and, on coarse grids, what a coarse function
    loses at known pixels; `inverse` is the inverse diagonal.
    """

    mask: Tensor
    extra: Tensor
    inverse: Tensor
    convolve: _Kernels
    coarse: _Level | None

    @classmethod
    def of(cls, missing: Tensor, channels: int) -> _Level:
        mask = _laid_out(missing.unsqueeze(1).float())
        one, all_ = _Kernels.of(mask, 1), _Kernels.of(mask, channels)
        return cls._build(mask, mask * _border(mask), one, all_)

    @classmethod
    def _build(cls, mask: Tensor, extra: Tensor, one: _Kernels, all_: _Kernels) -> _Level:
        coarse = None
        smaller = mask[..., ::2, ::2].contiguous(memory_format=_format(mask))
        if max(mask.shape[2:]) > _SMALLEST and smaller.any():
            border = _border(smaller)
            # What A gives to the masked coarse functions together is kept, on the diagonal.
            spread = one.prolong(smaller, mask.shape) * mask
            kept = one.restrict(mask * (one.stencil(spread) + extra * spread))
            lost = (kept - one.stencil(smaller) - border * smaller).clamp_min(0)
            coarse = cls._build(smaller, smaller * (border + lost), one, all_)
        channels = all_.count // one.count
        return cls(
            _repeat(mask, channels),
            _repeat(extra, channels),
            _repeat(mask / (12 + extra), channels),
            all_,
            coarse,
        )

    def apply(self, x: Tensor) -> Tensor:
        """The system times x, meaningless at known pixels."""
        return self.convolve.stencil(x).addcmul_(self.extra, x)

    def cycle(self, residual: Tensor) -> Tensor:
        """About the solution of the system for `residual`, by one symmetric multigrid cycle."""
        x = self.inverse * residual
        if self.coarse is None:
            for _ in range(_SWEEPS):
                x.addcmul_(self.inverse, residual - self.apply(x))
            return x
        left = residual.addcmul(self.mask, self.apply(x), value=-1)
        found = self.coarse.cycle(self.convolve.restrict(left).mul_(self.coarse.mask))
        x.addcmul_(self.mask, self.convolve.prolong(found, x.shape))
        return x.addcmul_(self.inverse, residual - self.apply(x))


def _border(like: Tensor) -> Tensor:
    """What the diagonal lacks of 16 at the borders, (1, 1, h, w): neighbours outside have no weight."""
    line = [torch.full((n,), 4.0, device=like.device) for n in like.shape[2:]]
    for values in line:
        values[0] -= 1
        values[-1] -= 1
    return (torch.outer(*line) - 16).view(1, 1, *like.shape[2:])


@dataclass(frozen=True, eq=False)
class _Kernels:
    """Convolutions that treat each of `count` channels alone."""

    count: int
    edge: Tensor
    half: Tensor

    @classmethod
    def of(cls, masks: Tensor, channels: int) -> _Kernels:
        count = masks.shape[1] * channels
        edge, half = (torch.tensor(line, device=masks.device) for line in (_EDGE, _HALF))
        edge, half = -torch.outer(edge, edge), torch.outer(half, half)
        edge[1, 1] += 16
        return cls(count, *(k.repeat(count, 1, 1, 1) for k in (edge, half)))

    def stencil(self, x: Tensor) -> Tensor:
        """16 x - K x, zeros beyond the borders."""
        return F.conv2d(x, self.edge, padding=1, groups=self.count)

    def prolong(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """A grid at every second pixel, linear between its points, constant beyond the last."""
        spare = [n - (2 * k - 1) for n, k in zip(shape[2:], x.shape[2:], strict=True)]
        fine = F.conv_transpose2d(
            x, self.half, stride=2, padding=1, output_padding=spare, groups=self.count
        )
        return _twice_at_the_end(fine)

    def restrict(self, x: Tensor) -> Tensor:
        """The transpose of `prolong`; changes x."""
        x = _twice_at_the_end(x)
        return F.conv2d(x, self.half, stride=2, padding=1, groups=self.count)


def _twice_at_the_end(x: Tensor) -> Tensor:
    """Double, in place, the last row and column where they lie beyond the last coarse point."""
    if x.shape[2] % 2 == 0:
        x[:, :, -1] *= 2
    if x.shape[3] % 2 == 0:
        x[..., -1] *= 2
    return x


def _laid_out(images: Tensor) -> Tensor:
    """(P, C, H, W) as one picture (1, PC, H, W); on a CPU with channels innermost, which is quick for many channels."""
    one = images.reshape(1, -1, *images.shape[2:])
    return one.contiguous(memory_format=_format(one))


def _format(like: Tensor) -> torch.memory_format:
    return torch.channels_last if like.device.type == "cpu" else torch.contiguous_format


def _repeat(x: Tensor, channels: int) -> Tensor:
    """Each mask of (1, P, h, w) for each of its channels, (1, PC, h, w), laid out alike."""
    wide = x.permute(0, 2, 3, 1).unsqueeze(-1).expand(-1, -1, -1, -1, channels)
    return wide.flatten(3).permute(0, 3, 1, 2).contiguous(memory_format=_format(x))


def _flat(x: Tensor) -> Tensor:
    """All values in the order they lie in: a view."""
    return (x.permute(0, 2, 3, 1) if x.device.type == "cpu" else x).reshape(-1)


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(_flat(a), _flat(b)))
