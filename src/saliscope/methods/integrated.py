"""Gradients integrated along the way from an image without information."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from saliscope.engine import PIXELS, Network, Question
from saliscope.errors import MethodError
from saliscope.methods.base import Asking, at_most
from saliscope.methods.pixels import Channels, Pixelwise
from saliscope.methods.variants import gradients_of

__all__ = ["IntegratedGradients"]

Baseline = Literal["mean", "black", "white", "blur"]
Quadrature = Literal["gauss-legendre", "trapezoid", "midpoint"]


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(Pixelwise, Asking):
    """The gradient averaged along the straight line from a baseline to the image, times the way each pixel went.

    Its values sum to the target's score less that of the baseline, to the accuracy of the quadrature: `steps` points of
    `rule`. The `baseline` is in the network's own units: "mean" is an input of zeros, the mean colour after the usual
    normalisation; "black" and "white" are those colours as a `Model` normalises them (unknown through `attribute` on a
    bare module, and refused there); "blur" is the image under a Gaussian whose standard deviation is `sigma` times each
    side.
    """

    name: ClassVar = "integrated-gradients"
    title: ClassVar = "Integrated Gradients"
    family: ClassVar = "pixel gradients"
    class_discriminative: ClassVar = True
    signed: ClassVar = True
    passes: ClassVar = "1 forward + 1 backward to the image, for each of `steps` points"
    paper: ClassVar = "Sundararajan et al. 2017, Axiomatic Attribution for Deep Networks"
    equation: ClassVar = "M = Σ_c (x_c - x'_c) ∫₀¹ ∂y/∂x_c (x' + α (x - x')) dα   (eqs. 1, 3)"
    use: ClassVar = "shares that add up to the score, against a baseline that you name"
    avoid: ClassVar = (
        "images whose meaning is the baseline itself: what is as black as the baseline gets nothing"
    )

    channels: Channels = "sum"
    steps: int = 50
    rule: Quadrature = "gauss-legendre"
    baseline: Baseline = "mean"
    sigma: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        at_most(self, steps=10_000)
        least = 2 if self.rule == "trapezoid" else 1
        if self.steps < least:
            raise MethodError(
                f"integrated-gradients:steps is at least {least} with {self.rule}; got {self.steps}"
            )
        if not 0 < self.sigma < float("inf"):
            raise MethodError(
                f"integrated-gradients:sigma is a positive share of the side; got {self.sigma}"
            )

    def ask(self, question: Question) -> Tensor:
        images = question.images
        start = self._start(images, question.network)
        away = images - start
        points, weights = quadrature(self.rule, self.steps)
        path = gradients_of(question, (PIXELS,), (start + float(p) * away for p in points))
        total = torch.zeros(())
        for weight, found in zip(weights, path, strict=True):
            at_point = torch.stack([g[PIXELS] for g in found], 1)
            total = total.to(at_point) + float(weight) * at_point
        return self.shown(total * away[:, None])

    def _start(self, images: Tensor, network: Network) -> Tensor:
        if self.baseline == "mean":
            return torch.zeros_like(images)
        if self.baseline == "blur":
            return blurred(images, self.sigma)
        if network.colours is None:
            raise MethodError(
                f"baseline={self.baseline} needs to know what {self.baseline} is in the network's units, and a bare "
                "module does not say it; give a sc.Model with its mean and std, or take baseline=mean or blur"
            )
        colour = network.colours[0 if self.baseline == "black" else 1]
        return images.new_tensor(colour)[:, None, None].expand_as(images)


def quadrature(rule: Quadrature, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Points in [0, 1] and weights, summing to 1, of a rule for the mean of a function there."""
    if rule == "gauss-legendre":
        points, weights = np.polynomial.legendre.leggauss(steps)
        return (points + 1) / 2, weights / 2
    if rule == "midpoint":
        return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)
    weights = np.full(steps, 1.0)
    weights[[0, -1]] = 0.5
    return np.linspace(0, 1, steps), weights / (steps - 1)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Images (B, C, H, W) under a Gaussian of `sigma` times each side; at a border its weights are those inside."""
    rows, columns = (_weights(side, sigma * side).to(images) for side in images.shape[2:])
    with torch.autocast(images.device.type, enabled=False):
        return rows @ images @ columns.T


def _weights(side: int, spread: float) -> Tensor:
    """Row i: how much each place counts for the blurred value at place i."""
    place = torch.arange(side, dtype=torch.float64)
    weights = torch.exp(-((place[:, None] - place) ** 2) / (2 * spread**2))
    return weights / weights.sum(1, keepdim=True)
