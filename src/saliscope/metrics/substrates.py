"""What stands where pixels were removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from saliscope.errors import OptionError, nearest

__all__ = ["Substrate", "blur", "substrate"]

Substrate = Literal["mean", "black", "white", "blur", "rise-blur"]
"""A picture without what matters; each is defined in `substrate`."""


def substrate(
    images: Tensor,
    name: Substrate,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Tensor:
    """The substrate of images (B, C, H, W) as the network receives them, in the same units and shape.

    `mean` is zero, the mean colour of a network whose input is normalised. `black` and `white` are the colours 0 and 1 in
    those units and need the normalisation, `mean` and `std` by channel. `blur` is a Gaussian of sigma 5 in 31 taps, mirrored
    at the borders. `rise-blur` is that of RISE's program: sigma 5 cut to 11 taps, zero beyond the borders. Raises
    `OptionError` for an unknown name, or colours without a normalisation.
    """
    if name not in get_args(Substrate):
        raise OptionError(f'substrate "{name}" is unknown; {nearest(name, get_args(Substrate))}')
    if name == "mean":
        return torch.zeros_like(images)
    if name == "blur":
        return blur(images, sigma=5.0, taps=31, border="mirror")
    if name == "rise-blur":
        return blur(images, sigma=5.0, taps=11, border="zero")
    if mean is None or std is None:
        raise OptionError(
            f'substrate "{name}" is a colour and needs the normalisation: give mean= and std= by channel'
        )
    colour = float(name == "white")
    values = [(colour - m) / s for m, s in zip(mean, std, strict=True)]
    return images.new_tensor(values).view(1, -1, 1, 1).expand_as(images).clone()


def blur(
    images: Tensor, *, sigma: float, taps: int, border: Literal["mirror", "zero"] = "mirror"
) -> Tensor:
    """Images (B, C, H, W) under a Gaussian of `sigma` pixels, cut to an odd number of `taps` and normalised to sum 1.

    Beyond the borders lie zeros, or the picture mirrored at its outer pixels; pictures narrower than that take fewer taps.
    Raises `OptionError` for an even number of taps.
    """
    if taps < 1 or taps % 2 == 0:
        raise OptionError(f"a blur has an odd number of taps; got {taps}")
    if border == "mirror":
        taps = min(taps, 2 * (min(images.shape[-2:]) - 1) + 1)
    half = taps // 2
    away = torch.arange(-half, half + 1, dtype=torch.float64)
    weights = torch.exp(-(away**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).to(images)
    mode = "reflect" if border == "mirror" else "constant"
    padded = F.pad(images, [half] * 4, mode=mode)
    flat = padded.flatten(0, 1).unsqueeze(1)
    rows = F.conv2d(flat, weights.view(1, 1, -1, 1))
    return F.conv2d(rows, weights.view(1, 1, 1, -1)).reshape(images.shape)
