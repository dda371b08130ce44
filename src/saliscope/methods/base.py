"""What a method is: a small frozen value that knows its facts and turns evidence into a map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from saliscope.errors import MethodError
from saliscope.methods.layers import average

if TYPE_CHECKING:
    from saliscope.engine import Question
    from saliscope.methods.noise import Moments

__all__ = ["Asking", "Captured", "Evidence", "Method", "Reads", "Scalar", "weighted_sum"]

_BLOCK = 2**19  # activations that a CPU looks at together: 2 MB

Reads = Literal["inputs", "head", "activations", "gradients", "curvature", "pixels", "network"]

Scalar = Callable[[Tensor, Tensor], Tensor]
"""A scalar (B,) of a method's own, from the logits (B, N) and one class (B,) for each image; equal ones share a pass."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one capture holds for one layer and one target of each image; maps are made from this and nothing else.

    `inputs` is the batch (B, C, H, W) in float32. `activation` and `gradient` are (B, C, h, w), in the network's
    precision, None where the method asked for neither; `class_weights` (B, C) are the head's weights for the target, and
    `curvature` (B, C, h, w) is the Hessian of the target applied to the activation. `seen` is the evidence of the same
    activation without a target: what no target changes is computed there. What several methods compute from these is
    computed once: `a` and `g`, both in float32 so that half precision cannot overflow, and what follows them.
    """

    inputs: Tensor
    activation: Tensor | None = None
    gradient: Tensor | None = None
    class_weights: Tensor | None = None
    curvature: Tensor | None = None
    seen: Evidence | None = None

    @cached_property
    def a(self) -> Tensor:
        """The activation in float32 (B, C, h, w); raises `MethodError` where the capture holds none."""
        return self.seen.a if self.seen else needed(self.activation, "a layer").float()

    @cached_property
    def g(self) -> Tensor:
        """The gradient in float32 (B, C, h, w); raises `MethodError` where the capture holds none."""
        gradient = needed(self.gradient, "gradients").float()
        if self.activation is None or 0 in (order := self.activation.stride()):
            return gradient
        if gradient.stride() == order or 0 in gradient.stride():
            return gradient
        return torch.empty_like(self.a).copy_(
            gradient
        )  # two orders in memory make every product slow

    @cached_property
    def product(self) -> Tensor:
        """Gradient times activation, cell by cell, (B, C, h, w)."""
        return self._products[0]

    @cached_property
    def by_cell(self) -> Tensor:
        """The sum of that over the channels, HiResCAM's map (B, h, w)."""
        return self._products[1]

    @cached_property
    def by_channel(self) -> Tensor:
        """The sum of that over the cells, (B, C)."""
        return self._products[2]

    @cached_property
    def _products(self) -> tuple[Tensor, Tensor, Tensor]:
        a, g = self.a, self.g
        made, by_cell, by_channel = (
            torch.empty_like(a),
            a.new_empty(a[:, 0].shape),
            a.new_zeros(a.shape[:2]),
        )
        for images, rows in tiles(a):
            product = torch.mul(g[images, :, rows], a[images, :, rows], out=made[images, :, rows])
            torch.sum(product, 1, out=by_cell[images, rows])
            by_channel[images] += product.sum((2, 3))
        return made, by_cell, by_channel

    @cached_property
    def mean_gradient(self) -> Tensor:
        """The spatial mean of each channel's gradient, Grad-CAM's weights (B, C)."""
        return self.g.mean((2, 3))

    @cached_property
    def averaged(self) -> Tensor:
        """The activation weighted by the mean gradient: Grad-CAM's map (B, h, w) before any ReLU."""
        return weighted_sum(self.mean_gradient, self.a)

    @cached_property
    def total(self) -> Tensor:
        """The sum of each channel's activation over the cells, (B, C)."""
        return self.seen.total if self.seen else self.a.sum((2, 3))

    @cached_property
    def channel_sum(self) -> Tensor:
        """The sum of the activation over the channels, (B, h, w)."""
        return self.seen.channel_sum if self.seen else self.a.sum(1)

    @cached_property
    def size(self) -> Tensor:
        """The sum of each channel's absolute activation over the cells, (B, C)."""
        if self.seen:
            return self.seen.size
        return self.total if bool(self.a.amin() >= 0) else self.a.abs().sum((2, 3))

    def made_by(self, method: Captured) -> Tensor:
        """The signed map (B, h, w) of a method, made once however many ask for it."""
        if self.seen and method.reads in ("inputs", "activations"):
            return self.seen.made_by(method)
        if method not in self._made:
            self._made[method] = method.signed_map(self)
        return self._made[method]

    @cached_property
    def _made(self) -> dict[Captured, Tensor]:
        return {}


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A way to make maps. Class attributes state its facts; fields are the options a user may set.

    `reads` names what it needs: nothing but the `inputs`, the `head` of a pooling + linear network, the `activations` of
    a layer, their `gradients` too, or also the `curvature` (a second backward pass); the gradient at the `pixels`; or the
    `network` itself, which it asks again. `class_discriminative`: another target gives another map. `signed`: values
    below zero speak against the target. `passes`: what it costs. `paper` and `equation` say where it is defined.
    `use` and `avoid`: when to take it, when not, as the rest of a sentence. `caveat`: what everyone who sees such a map
    must know; reports print it. `else_pixels`: whether it is read from the pixels, not from the recommended layer, where
    no layer is named.

    With `smooth` the map is the mean over that many noisy copies of the image (Smilkov et al. 2017): Gaussian noise whose
    standard deviation is `noise` times the range of the image's values, drawn from `seed` and the image itself.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    family: ClassVar[str]
    reads: ClassVar[Reads]
    class_discriminative: ClassVar[bool]
    signed: ClassVar[bool]
    passes: ClassVar[str]
    paper: ClassVar[str]
    equation: ClassVar[str]
    use: ClassVar[str]
    avoid: ClassVar[str]
    caveat: ClassVar[str] = ""
    else_pixels: ClassVar[bool] = False

    smooth: int = 0
    noise: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        if self.smooth < 0:
            raise MethodError(
                f"{self.name}:smooth is a number of noisy copies, 0 for none; got {self.smooth}"
            )
        if not 0 <= self.noise < float("inf"):
            raise MethodError(
                f"{self.name}:noise is a share of the range of an image's values; got {self.noise}"
            )

    @property
    @abstractmethod
    def on_layer(self) -> bool:
        """Whether a map is read from a layer of the network."""

    @property
    def logits_only(self) -> str:
        """Why the method explains nothing but class logits, as the rest of a sentence; empty where it explains anything."""
        return ""

    def for_network(self, module: nn.Module) -> Method:  # noqa: ARG002 - most do not look
        """The method with the options that "auto" stands for on a network, so that results name them."""
        return self

    def average(self, copies: Moments) -> Tensor:
        """Make one map of those of several noisy copies: their mean."""
        return copies.mean

    def finish(self, signed: Tensor) -> Tensor:
        """Apply the ReLU of the method's definition, if it has one and it is not switched off."""
        return signed.relu() if getattr(self, "relu", False) else signed

    def options(self) -> dict[str, object]:
        """The options that differ from their defaults."""
        return {
            f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default
        }

    def __str__(self) -> str:
        return "".join([self.name, *(f":{k}={_text(v)}" for k, v in self.options().items())])


@dataclass(frozen=True, kw_only=True)
class Captured(Method):
    """A method whose map is a pure function of what one capture holds: any number of them share its passes."""

    @property
    def on_layer(self) -> bool:
        return self.reads not in ("inputs", "pixels")

    @property
    def logits_only(self) -> str:
        if self.reads == "head":
            return "reads the weights of a class"
        return "makes a score of all class logits" if self.scalar() is not None else ""

    def scalar(self) -> Scalar | None:
        """The scalar this method differentiates in place of the target's own; None for the target as it is."""
        return None

    def fuse(self, maps: Sequence[Tensor]) -> Tensor:
        """Make one map of those of several layers, finest grid first or not: (B, h_i, w_i) each to (B, h, w)."""
        return average(maps)

    @abstractmethod
    def signed_map(self, evidence: Evidence) -> Tensor:
        """Make the map (B, h, w), float32, before any ReLU."""


@dataclass(frozen=True, kw_only=True)
class Asking(Method):
    """A method that asks the network again: with other images, or with other rules for going back through it.

    `at_layer`: whether it is read from a layer, whose activations the question then holds.
    """

    reads: ClassVar[Reads] = "network"
    at_layer: ClassVar[bool] = False

    @property
    def on_layer(self) -> bool:
        return self.at_layer

    @abstractmethod
    def ask(self, question: Question) -> Tensor:
        """Make the maps (B, K, h, w) of all K targets of the question, float32, before any ReLU."""


def needed(value: Tensor | None, what: str, method: Method | None = None) -> Tensor:
    """The piece of evidence that a method, or any map, cannot do without."""
    if value is None:
        who, which = ("this map", "the") if method is None else (method.title, "this")
        raise MethodError(f"{who} needs {what}, and {which} capture holds none")
    return value


def at_most(method: Method, **limits: int) -> None:
    """Refuse options whose tables would not fit into any memory: `MethodError` above a limit."""
    for option, limit in limits.items():
        if (value := getattr(method, option)) > limit:
            raise MethodError(f"{method.name}:{option} is at most {limit:,}; got {value:,}")


def tiles(like: Tensor) -> Iterator[tuple[slice, slice]]:
    """The images and rows of cells of (B, C, h, w) that a CPU looks at together, so that its caches hold them; all on a GPU."""
    batch, _, height, _ = like.shape
    images = rows = max(batch, height)
    if like.device.type == "cpu":
        rows = max(1, min(height, _BLOCK // like[0, :, 0].numel()))
        images = max(1, _BLOCK // like[0].numel())
    for i in range(0, batch, images):
        for j in range(0, height, rows):
            yield slice(i, i + images), slice(j, j + rows)


def few(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors (B, ...) a few images at a time on a CPU, whose caches then hold what is made on the way; all on a GPU."""
    together = len(tensors[0])
    if tensors[0].device.type == "cpu":
        together = max(1, _BLOCK // max(1, tensors[0].shape[1:].numel()))
    return zip(*(torch.split(t, together) for t in tensors), strict=True)


def weighted_sum(weights: Tensor, activation: Tensor) -> Tensor:
    """sum_k w_k A^k: channel weights (B, C) or (B, K, C) over a grid (B, C, h, w), giving (B, h, w) or (B, K, h, w).

    In float32, whatever precision the caller's autocast asks for.
    """
    with torch.autocast(activation.device.type, enabled=False):
        return torch.einsum("b...c,bchw->b...hw", weights.float(), activation.float())


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
