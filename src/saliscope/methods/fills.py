"""What stands where a part of a picture is taken away."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["BLUR", "Fill", "blurred", "filled"]

Fill = Literal["grey", "mean", "black", "white", "blur"]

BLUR = 10 / 224
"""Standard deviation of the blur as a share of the longer side: 10 pixels of 224 (Fong and Vedaldi 2017)."""


def filled(images: Tensor, how: Fill) -> Tensor:
    """What the images (B, C, H, W) are filled with, of the same shape, float32.

    A network's inputs do not say what their numbers mean, so colours are named by what is known of them. "grey" is 0,
    the mean colour of the training images where inputs are normalised by mean and deviation; "mean" each channel's mean
    over the image; "black" and "white" the darkest and the lightest value of each channel in the image; "blur" the image
    out of focus.
    """
    if how == "blur":
        return blurred(images, BLUR * max(images.shape[2:]))
    if how == "grey":
        colour = torch.zeros_like(images[:, :, :1, :1])
    elif how == "mean":
        colour = images.mean((2, 3), keepdim=True)
    elif how == "black":
        colour = images.amin((2, 3), keepdim=True)
    else:
        colour = images.amax((2, 3), keepdim=True)
    return colour.expand_as(images)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Images (B, C, H, W) blurred by a Gaussian of `sigma` pixels; at the borders the weights inside sum to 1."""
    rows, columns = (_gaussian(side, sigma, images.device) for side in images.shape[2:])
    with torch.autocast(images.device.type, enabled=False):
        return rows @ images @ columns.mT


def _gaussian(side: int, sigma: float, device: torch.device) -> Tensor:
    place = torch.arange(side, dtype=torch.float64)
    weights = torch.exp(-((place[:, None] - place) ** 2) / (2 * sigma**2))
    return (weights / weights.sum(1, keepdim=True)).to(device, torch.float32)
