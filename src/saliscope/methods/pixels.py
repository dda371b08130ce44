"""The gradient of the target at the image itself."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from saliscope.errors import MethodError
from saliscope.methods.base import Captured, Evidence, Method
from saliscope.methods.noise import Moments

__all__ = [
    "Channels",
    "Gradient",
    "InputXGradient",
    "Pixelwise",
    "SmoothGrad",
    "VarGrad",
    "one_map",
]

Channels = Literal["sum", "absmax", "keep"]


def one_map(values: Tensor, channels: Channels, *, axis: int = -3) -> Tensor:
    """Make one value a pixel of those of its channels, (..., C, H, W) to (..., H, W): their sum, or the largest size.

    "keep" leaves all of them.
    """
    if channels == "keep":
        return values
    return values.sum(axis) if channels == "sum" else values.abs().amax(axis)


@dataclass(frozen=True, kw_only=True)
class Pixelwise(Method):
    """A method with one value for each channel of each pixel.

    `channels` says what becomes of the channels: their "sum" keeps the sign, "absmax" takes the largest absolute value,
    "keep" gives maps (B, C, H, W) through `attribute`. With `smooth`, values are averaged over the copies first.
    """

    channels: Channels = "absmax"

    def shown(self, values: Tensor) -> Tensor:
        """The maps of values (..., C, H, W); under noise the channels stay until the copies are averaged."""
        return values if self.smooth else one_map(values, self.channels)

    def average(self, copies: Moments) -> Tensor:
        return one_map(copies.mean, self.channels, axis=2)


@dataclass(frozen=True, kw_only=True)
class PixelGradient(Pixelwise, Captured):
    """The facts that methods share which read the gradient at the image from the common capture."""

    family: ClassVar = "pixel gradients"
    reads: ClassVar[Literal["pixels"]] = "pixels"
    class_discriminative: ClassVar = True
    signed: ClassVar = False
    passes: ClassVar = "1 forward + 1 backward to the image"

    def signed_map(self, evidence: Evidence) -> Tensor:
        return self.shown(self.values(evidence))

    @abstractmethod
    def values(self, evidence: Evidence) -> Tensor:
        """One value for each channel of each pixel, (B, C, H, W), float32."""


@dataclass(frozen=True, kw_only=True)
class Gradient(PixelGradient):
    """How much the target changes with each pixel: the size of its gradient.

    `channels="absmax"`, the largest absolute value over the colours, is the paper's. With `smooth` it is SmoothGrad.
    """

    name: ClassVar = "gradient"
    title: ClassVar = "Gradient"
    paper: ClassVar = "Simonyan et al. 2013, Deep Inside Convolutional Networks"
    equation: ClassVar = "M = max_c |∂y/∂x_c|   (section 3.1)"
    use: ClassVar = "how the score answers to each pixel, at first order; checks of a network that must not look somewhere"
    avoid: ClassVar = (
        "a picture of what matters: it is noisy, and where the score is flat it shows nothing"
    )

    def values(self, evidence: Evidence) -> Tensor:
        return evidence.g


@dataclass(frozen=True, kw_only=True)
class InputXGradient(PixelGradient):
    """Each pixel's gradient times its value: its share of the target, to first order from an input of zeros.

    Zero is what the network takes for zero: the mean colour, after the usual normalisation.
    """

    name: ClassVar = "input-x-gradient"
    title: ClassVar = "Input × Gradient"
    signed: ClassVar = True
    paper: ClassVar = "Shrikumar et al. 2016, Not Just a Black Box"
    equation: ClassVar = "M = Σ_c x_c ∂y/∂x_c"
    use: ClassVar = "a share of the score for each pixel where the network is linear in pieces and has no biases"
    avoid: ClassVar = "dark pixels of the normalised image: whatever they mean, zero times the gradient is nothing"

    channels: Channels = "sum"

    def values(self, evidence: Evidence) -> Tensor:
        return evidence.product


@dataclass(frozen=True, kw_only=True)
class SmoothGrad(Gradient):
    """The gradient averaged over noisy copies of the image, with its sign; what is shown is the size of the average.

    The same as `gradient` with `smooth`.
    """

    name: ClassVar = "smoothgrad"
    title: ClassVar = "SmoothGrad"
    passes: ClassVar = "1 forward + 1 backward to the image, for each of `smooth` copies"
    paper: ClassVar = "Smilkov et al. 2017, SmoothGrad"
    equation: ClassVar = "M = max_c |1/n Σ_i ∂y/∂x_c (x + ε_i)|,  ε_i ~ N(0, σ²)"
    use: ClassVar = "the gradient with less noise in it"
    avoid: ClassVar = "a faithful map: it is that of a blurred score"

    smooth: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smooth < 1:
            raise MethodError(
                f"smoothgrad is the mean over noisy copies: smooth is at least 1; got {self.smooth}. Without any it "
                "is gradient"
            )


@dataclass(frozen=True, kw_only=True)
class VarGrad(Gradient):
    """How much the gradient varies among noisy copies of the image, each channel for itself.

    The variance is divided by the number of copies; "absmax" takes the channel that varies most.
    """

    name: ClassVar = "vargrad"
    title: ClassVar = "VarGrad"
    passes: ClassVar = "1 forward + 1 backward to the image, for each of `smooth` copies"
    paper: ClassVar = (
        "Adebayo et al. 2018, Local Explanation Methods for Deep Neural Networks Lack Sensitivity"
    )
    equation: ClassVar = "M = max_c Var_i [∂y/∂x_c (x + ε_i)],  ε_i ~ N(0, σ²)"
    use: ClassVar = "where the gradient changes most under noise: edges of evidence"
    avoid: ClassVar = "its sign, and single classes: a variance has neither"

    smooth: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smooth < 2:
            raise MethodError(
                f"vargrad is a variance among noisy copies: smooth is at least 2; got {self.smooth}"
            )

    def average(self, copies: Moments) -> Tensor:
        return one_map(copies.variance, self.channels, axis=2)
