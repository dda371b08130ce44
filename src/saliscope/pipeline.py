"""Many image files: decoded ahead of the network, drawn and written behind it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from saliscope.engine import Budget, TargetSpace
from saliscope.errors import ImageError, MethodError, OptionError, SaliscopeError, TargetError
from saliscope.explainer import ClassTarget, explain_batch
from saliscope.explanation import Explanation
from saliscope.frames import Frame
from saliscope.images import Photo, image_size, load_image
from saliscope.methods import MethodSpec, layers_of
from saliscope.models import Model
from saliscope.runs.local import cores
from saliscope.runs.stream import Steps, each_or_all, overlapped, works_beside

__all__ = ["Outcome", "explain_files"]

T = TypeVar("T")

_BATCH_PIXELS = 100_000_000  # 300 MB of decoded photographs; drawing takes a few times that


@dataclass(frozen=True, eq=False)
class Outcome(Generic[T]):
    """What became of one image file: the `value` that `finish` returned, or the `error` that stopped it."""

    path: Path
    value: T | None = None
    error: Exception | None = None


@dataclass(frozen=True, eq=False)
class _Ready:
    """One decoded photograph with its network input (1, 3, h, w)."""

    path: Path
    photo: Photo
    inputs: Tensor
    frame: Frame


def explain_files(
    model: Model,
    paths: Sequence[Path],
    specs: Sequence[MethodSpec],
    finish: Callable[[Path, list[Explanation]], T],
    *,
    target: ClassTarget = None,
    top: int | None = None,
    space: TargetSpace = "logit",
    batch_size: int = 8,
    workers: int | None = None,
    budget: Budget | None = None,
) -> Generator[Outcome[T], None, None]:
    """Explain image files in batches and yield what `finish` makes of each, in the order of `paths`.

    The network runs in the caller's thread. `workers` threads (default: one for each core, four at most) decode and
    preprocess the next images, and as many call `finish(path, explanations)`, which may draw and write, at once for
    several images. They work beside the network where it leaves cores free (it runs on a GPU, or on fewer threads than
    there are cores), up to two batches ahead and two behind, else between two batches: a core taken from a network that
    uses all of them halts the others too. Large photographs make small batches: 100 million pixels in each at most.

    A file that cannot be read or explained yields its error and never stops the others; where a batch does not fit in
    memory its images are tried one by one. `budget` bounds what a method that asks the network again has in flight. What `finish` raises ends the run, unless it is an `ImageError` of that one
    image, as does closing the generator; the images being finished then are finished, the others are dropped.

    Raises at once, before a file is read: `OptionError` for a batch size below 1, `TargetError` for `top` outside the
    classes or beside a target, `MethodError` for CAM of a probability.
    """
    _check(model, specs, batch_size, target=target, top=top, space=space)
    model.network(layers_of(specs))  # not inside the first batch

    def explain(batch: list[_Ready]) -> list[Outcome[list[Explanation]]]:
        inputs = torch.cat([r.inputs for r in batch]), [r.frame for r in batch]
        photos = [r.photo for r in batch]
        found = explain_batch(
            model,
            photos,
            specs,
            target=target,
            top=top,
            space=space,
            inputs=inputs,
            budget=budget,
        )
        return [Outcome(r.path, explanations) for r, explanations in zip(batch, found, strict=True)]

    count = min(4, cores()) if workers is None else workers

    def work(ready: list[_Ready | Outcome[T]]) -> Iterator[Outcome[list[Explanation]] | Outcome[T]]:
        read = [r for r in ready if isinstance(r, _Ready)]
        explained = iter(each_or_all(explain, read, lambda r, err: Outcome(r.path, error=err)))
        return (r if isinstance(r, Outcome) else next(explained) for r in ready)

    steps: Steps[Path, Any, Any, Outcome[T]] = Steps(
        read=lambda path: _decode(model, path),
        work=work,
        finish=lambda done: _finished(finish, done),
        threads=count,
        beside=works_beside(model.device),
        behind=batch_size,
    )
    return overlapped(steps, _batches(paths, batch_size))


def _check(
    model: Model,
    specs: Sequence[MethodSpec],
    batch_size: int,
    *,
    target: ClassTarget,
    top: int | None,
    space: TargetSpace,
) -> None:
    if batch_size < 1:
        raise OptionError(f"the batch size is at least 1; got {batch_size}")
    if top is not None and target is not None:
        raise TargetError("give either a target or the number of top classes, not both")
    if top is not None and not 1 <= top <= model.num_classes:
        raise TargetError(
            f"the top {top} of {model.num_classes} classes cannot be explained; ask for 1 to {model.num_classes}"
        )
    for spec in specs:
        why = spec.method.logits_only
        if why and space != "logit":
            raise MethodError(
                f"{spec.method.title} {why}, so it explains a logit, not a {space}; use grad-cam"
            )


def _batches(paths: Sequence[Path], size: int) -> Iterator[list[Path]]:
    """Cut paths into batches of `size` images and of `_BATCH_PIXELS`, whichever is reached first."""
    batch: list[Path] = []
    pixels = 0
    for path in paths:
        more = _pixels(path)
        if batch and (len(batch) == size or pixels + more > _BATCH_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append(path)
        pixels += more
    if batch:
        yield batch


def _pixels(path: Path) -> int:
    """How many pixels a file holds by its header; 0 where it cannot be read, which decoding it will say."""
    try:
        height, width = image_size(path)
    except (SaliscopeError, OSError):
        return 0
    return height * width


def _decode(model: Model, path: Path) -> _Ready | Outcome[T]:
    try:
        photo = load_image(path)
        inputs, (frame,) = model.inputs([photo])
    except (SaliscopeError, OSError, MemoryError) as err:
        return Outcome(path, error=err)
    return _Ready(path, photo, inputs, frame)


def _finished(
    finish: Callable[[Path, list[Explanation]], T], done: Outcome[list[Explanation]] | Outcome[T]
) -> Outcome[T]:
    if done.error is not None:
        return Outcome(done.path, error=done.error)
    try:
        return Outcome(done.path, finish(done.path, done.value))  # type: ignore[arg-type] # no error: explanations
    except ImageError as err:  # of this one picture, such as one too long for a JPEG
        return Outcome(done.path, error=err)
