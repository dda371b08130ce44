"""What is explained: classes of the network, or a scalar of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from saliscope.errors import OptionError, TargetError

__all__ = [
    "BatchTarget",
    "OwnClasses",
    "TargetFunction",
    "TargetSpace",
    "TopClasses",
    "class_indices",
    "class_scores",
    "function_scores",
]

TargetSpace = Literal["logit", "probability", "log-probability"]
TargetFunction = Callable[[Any], Tensor]


@dataclass(frozen=True)
class TopClasses:
    """The `count` classes of the largest logits of each image, best first."""

    count: int


@dataclass(frozen=True)
class OwnClasses:
    """The classes that each image holds, any number an image, and with `predicted` the class of the largest logit first."""

    classes: tuple[tuple[int, ...], ...]
    predicted: bool = False


@dataclass(frozen=True, eq=False)
class BatchTarget:
    """One scalar for each image of a batch: of one class (B,) an image in a space, or of a function of the user's own."""

    classes: Tensor | None
    space: TargetSpace = "logit"
    function: TargetFunction | None = None

    def scores(self, output: Any, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """The scalars (n,) of what the network answered; `rows` (n,) says of which images these are variants.

        Without `rows` it is the batch as it is. A function of the user's own may count on the batch it was written for:
        it is asked about variants a whole batch at a time, each image in its place, unless it has a method `of(rows)` that
        gives its like for other rows.
        """
        if self.function is not None:
            of = getattr(self.function, "of", None)
            own = self.function if rows is None or of is None else of(rows)
            return function_scores(own, output, len(logits))
        assert self.classes is not None
        classes = self.classes.to(logits.device)
        if rows is not None:
            # Rows come from the CPU, and without waiting the pass after this one can be prepared meanwhile.
            classes = classes[rows.to(classes.device, non_blocking=rows.device.type == "cpu")]
        return class_scores(logits, classes, space=self.space)

    @property
    def row_by_row(self) -> bool:
        """Whether any number of variants of any images may be asked in one batch."""
        return self.function is None or hasattr(self.function, "of")


_ALLOWED = "None (the predicted class), an int, one int per image, or a LongTensor (B,) or (B, K) of class indices"


def class_indices(
    target: int | Sequence[int] | Tensor | TopClasses | OwnClasses | None, logits: Tensor
) -> tuple[Tensor, bool]:
    """Resolve a target to class indices (B, K) on the device of `logits` (B, N), and whether K was asked for.

    None is the predicted class of each image. Raises `TargetError` for anything else than `int`, B ints, or integer
    tensors (B,) and (B, K), for classes outside [0, N), and for a number of targets that is not the number of images.
    """
    batch, classes = logits.shape
    if target is None:
        return logits.argmax(1, keepdim=True), False
    if isinstance(target, TopClasses):
        if not 1 <= target.count <= classes:
            raise TargetError(
                f"the top {target.count} of {classes} classes cannot be explained; ask for 1 to {classes}"
            )
        return logits.topk(target.count).indices, True
    if isinstance(target, OwnClasses):
        return class_indices(_own_classes(target, logits), logits)[0], True
    if isinstance(target, bool) or (isinstance(target, Tensor) and target.dtype == torch.bool):
        raise TargetError(f"a target is a class index, not a boolean; allowed: {_ALLOWED}")
    if isinstance(target, int | Integral):  # numpy's argmax gives an Integral that is no int
        indices = torch.full((batch,), int(target))
    else:
        indices = _as_tensor(target)
    several = indices.ndim == 2
    if indices.ndim == 1:
        indices = indices[:, None]
    if indices.ndim != 2 or indices.shape[0] != batch or indices.shape[1] < 1:
        raise TargetError(
            f"{tuple(indices.shape[:1] if not several else indices.shape)} targets for {batch} images; "
            f"allowed: {_ALLOWED}"
        )
    if indices.numel() and not (int(indices.min()) >= 0 and int(indices.max()) < classes):
        wrong = next(int(i) for i in indices.flatten() if not 0 <= int(i) < classes)
        raise TargetError(
            f"class {wrong} is outside the network's {classes} classes (0 to {classes - 1})"
        )
    if indices.is_inference():  # autograd could not save it
        indices = indices.clone()
    return indices.to(logits.device), several


def _own_classes(target: OwnClasses, logits: Tensor) -> Tensor:
    """The classes as (B, K), each row filled up with its first class; an image without any takes the predicted one."""
    if len(target.classes) != len(logits):
        raise TargetError(f"classes of {len(target.classes)} images were given for {len(logits)}")
    rows = []
    for best, own in zip(logits.argmax(1).tolist(), target.classes, strict=True):
        rows.append(list(dict.fromkeys([*([best] if target.predicted or not own else []), *own])))
    width = max(map(len, rows))
    return torch.tensor([row + row[:1] * (width - len(row)) for row in rows])


def _as_tensor(target: Sequence[int] | Tensor) -> Tensor:
    if isinstance(target, Tensor):
        if target.is_floating_point() or target.is_complex():
            raise TargetError(f"targets are integers, got {target.dtype}; allowed: {_ALLOWED}")
        return target.long() if target.ndim else target.long()[None]
    try:
        listed = list(target)
    except TypeError:
        raise TargetError(f"a {type(target).__name__} is no target; allowed: {_ALLOWED}") from None
    if not all(isinstance(t, int) and not isinstance(t, bool) for t in listed):
        try:
            listed = [int(t) for t in map(_exact_int, listed)]
        except (TypeError, ValueError, AttributeError):
            raise TargetError(
                f"targets {listed!r} are not all integers; allowed: {_ALLOWED}"
            ) from None
    return torch.tensor(listed, dtype=torch.long)


def _exact_int(value: Any) -> int:
    """An int out of numpy integers and 0-d tensors, nothing else."""
    if isinstance(value, bool | float | str):
        raise TypeError
    return int(value.__index__())


def class_scores(logits: Tensor, classes: Tensor, *, space: TargetSpace = "logit") -> Tensor:
    """The scalar (B,) of one class (B,) for each image: its logit, its softmax probability, or the logarithm of that."""
    scores = scores_in(logits, space)
    return scores.gather(1, classes[:, None])[:, 0]


def scores_in(logits: Tensor, space: TargetSpace) -> Tensor:
    """The scores (B, N) of all classes in a space; `OptionError` for an unknown one."""
    if space == "logit":
        return logits
    if space == "probability":
        return logits.float().softmax(1)
    if space == "log-probability":
        return logits.float().log_softmax(1)
    known = ", ".join(f'"{s}"' for s in get_args(TargetSpace))
    raise OptionError(f'target space "{space}" is unknown; use one of {known}')


def function_scores(function: TargetFunction, output: Any, batch: int) -> Tensor:
    """Call a target of the user's own on the network's output and check that it gives one scalar per image."""
    scores = function(output)
    if not isinstance(scores, Tensor) or scores.shape != (batch,):
        found = (
            f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
        )
        raise TargetError(
            f"a target function returns one scalar per image, a tensor of shape ({batch},); got {found}"
        )
    return scores
