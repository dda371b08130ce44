"""Networks that end in pooling + linear: found by what they compute, not by how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Classifier", "Head", "PooledGrid", "find_head"]


@dataclass(frozen=True, eq=False)
class Head:
    """`logits = weight @ mean(A) + bias` over the cells of a feature map A (after a ReLU if `rectified`).

    `layers` are the layers whose output is A, the outermost last. `weight` is (N, C) float32 in the network's own
    numbers; None where A already has one channel per class (a 1x1-convolution classifier before the pooling).
    """

    layers: tuple[str, ...]
    rectified: bool
    classifier: str
    weight: Tensor | None

    @property
    def layer(self) -> str:
        return self.layers[-1]

    def of(self, module: nn.Module) -> Head:
        """The head of a copy of the network that has other numbers: the same structure, the copy's weight."""
        if self.weight is None:
            return self
        return replace(self, weight=_weight(module.get_submodule(self.classifier)))

    def class_weights(self, classes: Tensor, channels: int) -> Tensor:
        """The weights (B, C) of one class (B,) for each image."""
        if self.weight is None:
            return F.one_hot(classes, channels).float()
        return self.weight.to(classes.device)[classes]

    def features(self, activation: Tensor) -> Tensor:
        """What is pooled: the layer's output, after the ReLU that stands between them, if any."""
        return activation.relu() if self.rectified else activation

    def gradient(self, by_logits: Tensor, activation: Tensor) -> Tensor:
        """Gradient (B, C, h, w) at the feature map, from the gradient (B, N) at the logits."""
        cells = activation.shape[-2] * activation.shape[-1]
        by_mean = by_logits.float()
        if self.weight is not None:
            by_mean = by_mean @ self.weight.to(by_mean.device)
        spread = (by_mean / cells)[..., None, None].expand(activation.shape)
        return spread * (activation > 0) if self.rectified else spread


@dataclass(frozen=True, eq=False)
class Classifier:
    """A linear layer or 1x1 convolution that ran once: its name, its input and output vectors (B, C) and (B, N)."""

    name: str
    module: nn.Module
    given: Tensor
    returned: Tensor

    def describe(self) -> str:
        return f'"{self.name}" ({self.given.shape[1]} -> {self.returned.shape[1]})'


@dataclass(frozen=True, eq=False)
class PooledGrid:
    """The spatial means (B, C) of one layer's output, as it is and after a ReLU."""

    name: str
    mean: Tensor
    rectified_mean: Tensor


def find_head(
    logits: Tensor, classifiers: Sequence[Classifier], grids: Sequence[PooledGrid]
) -> tuple[Head | None, str]:
    """Find the pooling + linear head in the numbers of one pass, or say in a phrase what was found instead.

    A network qualifies if its logits are one linear layer's output whose input is the spatial mean of some layer's
    output (after a ReLU, perhaps), or are themselves such a mean. Dropout, flatten and batch norm before the pooling
    make no difference to that.
    """
    rounding = max(1e-4, 4 * torch.finfo(logits.dtype).eps)
    logits = logits.float()
    last = next((c for c in reversed(classifiers) if _same(c.returned, logits, rounding)), None)
    if last is not None and not _is_affine(last, rounding):
        return None, f"its last linear layer {last.describe()} computes something else than W x + b"
    pooled = logits if last is None else last.given
    for rectified in (False, True):
        names = _pooled_layers(grids, pooled, rounding, rectified=rectified)
        if not names:
            continue
        if last is None:
            return Head(names, rectified, names[-1], None), ""
        return Head(names, rectified, last.name, _weight(last.module)), ""
    return None, _what_instead(last, classifiers)


def _pooled_layers(
    grids: Sequence[PooledGrid], pooled: Tensor, rounding: float, *, rectified: bool
) -> tuple[str, ...]:
    """The last layers in a row whose spatial mean is `pooled`: one tensor, and the containers that return it.

    Only a row: where residual branches start at zero, earlier blocks return the same numbers, but another tensor.
    """
    names: list[str] = []
    for grid in reversed(grids):
        if _equal(grid.rectified_mean if rectified else grid.mean, pooled, rounding):
            names.append(grid.name)
        elif names:
            break
    return tuple(reversed(names))


def _what_instead(last: Classifier | None, classifiers: Sequence[Classifier]) -> str:
    if last is None:
        return "its logits are no linear layer's output and no layer's spatial mean"
    if len(classifiers) > 1:
        found = ", ".join(c.describe() for c in classifiers)
        return f"it ends in several linear layers, {found}"
    return f"the input of its last linear layer {last.describe()} is not the spatial mean of any layer's output"


def _is_affine(classifier: Classifier, rounding: float) -> bool:
    """Whether the layer gave W x + b: a subclass (cosine similarity, low-rank updates) may compute anything."""
    weight, bias = classifier.module.weight, classifier.module.bias
    if not isinstance(weight, Tensor) or weight[0].numel() != classifier.given.shape[1]:
        return False
    shift = bias.detach().float() if isinstance(bias, Tensor) else None
    expected = F.linear(classifier.given, _weight(classifier.module), shift)
    return _same(expected, classifier.returned, rounding)


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.detach().float().flatten(1)


def _same(a: Tensor, b: Tensor, rounding: float) -> bool:
    """Equal to rounding, as a share of the largest value."""
    return a.shape == b.shape and bool((a - b).abs().max() <= rounding * b.abs().max())


def _equal(a: Tensor, b: Tensor, rounding: float) -> bool:
    """Equal to rounding, and not by both being nothing: a dead network proves no structure."""
    return _same(a, b, rounding) and bool(b.abs().max() > 0)
