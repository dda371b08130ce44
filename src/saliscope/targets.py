"""Scalars to explain beside a class logit: differences of classes, embeddings, masks, boxes, plain numbers.

Every target here is a function of the network's output that gives one scalar for each image, (B,). Heat above zero is
where the image raises that scalar, heat below zero where it lowers it. A function of your own does as well; with a method
`of(rows)`, which gives the target of some images of the batch, probes ask it about many variants in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from saliscope.boxes import Box
from saliscope.errors import TargetError
from saliscope.models import logits_of

__all__ = ["ClassDifference", "DetectionScore", "EmbeddingSimilarity", "MaskMean", "OutputValue"]


@dataclass(frozen=True, eq=False)
class _PerImage:
    """A target whose tensor fields hold one entry for each image; anything else is for all of them."""

    def of(self, rows: Tensor) -> Self:
        """The target of the images `rows` (n,) of the batch, in that order and as often."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        own = {k: v[rows.to(v.device)] for k, v in named.items() if self._is_per_image(k, v)}
        return replace(self, **own)

    def _is_per_image(self, name: str, value: Any) -> bool:  # noqa: ARG002 - the name matters to some
        return isinstance(value, Tensor) and value.ndim > 0


@dataclass(frozen=True, eq=False)
class ClassDifference(_PerImage):
    """What speaks for class `a` rather than class `b`: logit a - logit b.

    Each is an index for all images or a LongTensor (B,) with one for each.

    >>> import torch
    >>> ClassDifference(0, 2)(torch.tensor([[4.0, 1.0, 3.0]]))
    tensor([1.])
    """

    a: int | Tensor
    b: int | Tensor

    def __post_init__(self) -> None:
        for given in (self.a, self.b):
            if not isinstance(given, int | Tensor) or isinstance(given, bool):
                raise TargetError(
                    f"a class is an index, or a LongTensor with one for each image; got {given!r}. A label becomes an index "
                    "by model.class_index"
                )

    @property
    def name(self) -> str:
        """As tables and pictures show it."""
        return f"{_class_name(self.a)} rather than {_class_name(self.b)}"

    def __call__(self, output: Any) -> Tensor:
        logits = logits_of(output)
        return _column(logits, self.a) - _column(logits, self.b)


@dataclass(frozen=True, eq=False)
class OutputValue(_PerImage):
    """A number the network returns, as in regression: `output[:, index]`, or what lowers it with `sign=-1`.

    Outputs (B,) have the one index 0.
    """

    index: int = 0
    sign: int = 1

    def __post_init__(self) -> None:
        if self.sign not in (1, -1):
            raise TargetError(
                f"sign is 1 (what raises the value) or -1 (what lowers it); got {self.sign}"
            )

    @property
    def name(self) -> str:
        """As tables and pictures show it."""
        return f"{'-' if self.sign < 0 else ''}output {self.index}"

    def __call__(self, output: Any) -> Tensor:
        values = output if isinstance(output, Tensor) else logits_of(output)
        columns = values.reshape(len(values), -1)
        return self.sign * _column(columns, self.index)


@dataclass(frozen=True, eq=False)
class EmbeddingSimilarity(_PerImage):
    """The cosine between the network's output (B, D) and a reference embedding (D,) for all images or (B, D).

    For towers of CLIP and for retrieval: the heat shows what makes the image like the reference. Objects with
    `image_embeds`, `pooler_output` or `last_hidden_state` give the first of these they have (of the last, the mean of the tokens).
    """

    reference: Tensor

    @property
    def name(self) -> str:
        """As tables and pictures show it."""
        return "similarity to an embedding"

    def __call__(self, output: Any) -> Tensor:
        found = _embedding(output)
        reference = self.reference.to(found.device, found.dtype)
        if reference.shape[-1] != found.shape[1]:
            raise TargetError(
                f"the reference has {reference.shape[-1]} numbers and the network's output {found.shape[1]}; "
                "embed it with the same network"
            )
        return F.cosine_similarity(found, reference.expand_as(found), dim=1)

    def _is_per_image(self, name: str, value: Any) -> bool:  # noqa: ARG002 - one name only
        return isinstance(value, Tensor) and value.ndim == 2


@dataclass(frozen=True, eq=False)
class MaskMean(_PerImage):
    """The mean of one class's scores over a region of a segmentation (B, N, h, w).

    `mask` is (h, w) for all images or (B, h, w), at the output's size, true where the region is; usually what the network
    itself gave to the class. Dicts with "out" (torchvision) and objects with `logits` (transformers) are read. An image
    whose mask is empty has no such mean: `TargetError`.
    """

    channel: int
    mask: Tensor

    @property
    def name(self) -> str:
        """As tables and pictures show it."""
        return f"#{self.channel} over a mask"

    def __call__(self, output: Any) -> Tensor:
        scores = _segmentation(output)
        mask = self.mask.to(scores.device).bool()
        if mask.shape[-2:] != scores.shape[-2:]:
            raise TargetError(
                f"the mask is {tuple(mask.shape[-2:])} and the network's output {tuple(scores.shape[-2:])}; "
                "resize the mask to the output (nearest)"
            )
        if not 0 <= self.channel < scores.shape[1]:
            raise TargetError(
                f"class {self.channel} is outside the {scores.shape[1]} classes of the output"
            )
        inside = mask.expand(len(scores), *mask.shape[-2:])
        size = inside.sum((1, 2))
        if not bool(size.all()):
            raise TargetError("a mask is empty, so there is no mean over it; leave that image out")
        return (scores[:, self.channel] * inside).sum((1, 2)) / size

    def _is_per_image(self, name: str, value: Any) -> bool:  # noqa: ARG002 - one name only
        return isinstance(value, Tensor) and value.ndim == 3


@dataclass(frozen=True, eq=False)
class DetectionScore(_PerImage):
    """How well a detector finds one object: the largest IoU x score among its detections of class `label`.

    `box` is half-open xyxy in pixels of the network's input (Petsiuk et al. 2021, D-RISE, without its class vector). The
    network returns a list of dicts with "boxes", "scores" and "labels", as torchvision's detectors do. Only the score is
    differentiated, the overlap is a weight; an image without such a detection scores 0 and gets no gradient.
    """

    label: int
    box: Box

    @property
    def name(self) -> str:
        """As tables and pictures show it."""
        return f"detection of #{self.label} at {', '.join(f'{v:g}' for v in self.box)}"

    def __call__(self, output: Any) -> Tensor:
        listed = isinstance(output, Sequence) and all(isinstance(o, Mapping) for o in output)
        if not listed or not output or not {"boxes", "scores", "labels"} <= set(output[0]):
            raise TargetError(
                'a detector returns a list of dicts with "boxes", "scores" and "labels", one for each image; got '
                f"{type(output).__name__}"
            )
        return torch.stack([self._score(found) for found in output])

    def _score(self, found: Mapping[str, Tensor]) -> Tensor:
        scores = found["scores"]
        overlap = _overlap(found["boxes"].detach(), self.box) * (found["labels"] == self.label)
        if not len(scores):
            return scores.sum()  # 0 with the graph, where there is one
        return (overlap.to(scores.dtype) * scores).max()


def _overlap(boxes: Tensor, box: Box) -> Tensor:
    """IoU of boxes (n, 4), half-open xyxy, with one box: (n,)."""
    given = boxes.new_tensor(tuple(box))
    sides = (torch.minimum(boxes[:, 2:], given[2:]) - torch.maximum(boxes[:, :2], given[:2])).clamp(
        min=0
    )
    shared = sides.prod(1)
    return shared / ((boxes[:, 2:] - boxes[:, :2]).prod(1) + box.area - shared)


def _column(values: Tensor, index: int | Tensor) -> Tensor:
    """One entry (B,) of each row (B, N); `TargetError` outside."""
    chosen = torch.as_tensor(index, device=values.device).expand(len(values))
    if bool((chosen < 0).any()) or bool((chosen >= values.shape[1]).any()):
        raise TargetError(
            f"index {_class_name(index)} is outside the {values.shape[1]} values the network returns"
        )
    return values.gather(1, chosen[:, None])[:, 0]


def _class_name(index: int | Tensor) -> str:
    if isinstance(index, Tensor) and index.ndim:
        return f"#({', '.join(map(str, index.tolist()[:6]))}{', ...' if len(index) > 6 else ''})"
    return f"#{int(index)}"


def _embedding(output: Any) -> Tensor:
    for key in ("image_embeds", "pooler_output", "last_hidden_state"):
        found = output.get(key) if isinstance(output, Mapping) else getattr(output, key, None)
        if isinstance(found, Tensor):
            return found.mean(1) if found.ndim == 3 else found
    if isinstance(output, Tensor) and output.ndim == 2:
        return output
    raise TargetError(
        f"no embedding (B, D) was found in what the network returned, a {type(output).__name__}"
    )


def _segmentation(output: Any) -> Tensor:
    found = output.get("out") if isinstance(output, Mapping) else getattr(output, "logits", output)
    if isinstance(found, Tensor) and found.ndim == 4:
        return found
    raise TargetError(
        f"no segmentation (B, classes, h, w) was found in what the network returned, a {type(output).__name__}"
    )
