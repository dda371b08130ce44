"""Many image files: decoded ahead of the network, drawn and written behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

from saliscope.engine import TargetSpace
from saliscope.errors import MethodError, OptionError, SaliscopeError, TargetError
from saliscope.explainer import ClassTarget, explain_batch
from saliscope.explanation import Explanation
from saliscope.frames import Frame
from saliscope.images import Photo, load_image
from saliscope.methods import MethodSpec
from saliscope.models import Model

__all__ = ["Outcome", "explain_files"]

T = TypeVar("T")


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
) -> Generator[Outcome[T], None, None]:
    """Explain image files in batches and yield what `finish` makes of each, in the order of `paths`.

    One thread decodes and preprocesses the next two batches while the network runs in the caller's thread; another calls
    `finish(path, explanations)`, which may draw and write. At most three batches are decoded ahead, the one the network
    works on included, and two wait to be finished. A file that cannot be read or explained yields its error and never
    stops the others; where a batch does not fit in memory its images are tried one by one. What `finish` raises ends
    the run, as does closing the generator; the image being finished then is finished, the others are dropped.

    Raises at once, before a file is read: `OptionError` for a batch size below 1, `TargetError` for `top` outside the
    classes or beside a target, `MethodError` for CAM of a probability.
    """
    _check(model, specs, batch_size, target=target, top=top, space=space)
    model.network([s.layer for s in specs if s.layer is not None])  # not inside the first batch

    def explain(batch: list[_Ready]) -> list[Outcome[list[Explanation]]]:
        inputs = torch.cat([r.inputs for r in batch]), [r.frame for r in batch]
        photos = [r.photo for r in batch]
        found = explain_batch(
            model, photos, specs, target=target, top=top, space=space, inputs=inputs
        )
        return [Outcome(r.path, explanations) for r, explanations in zip(batch, found, strict=True)]

    return _stream(model, paths, explain, finish, batch_size)


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
        if spec.method.reads == "head" and space != "logit":
            raise MethodError(
                f"{spec.method.title} reads the weights of a class, so it explains a logit, not a {space}; use grad-cam"
            )


def _stream(
    model: Model,
    paths: Sequence[Path],
    explain: Callable[[list[_Ready]], list[Outcome[list[Explanation]]]],
    finish: Callable[[Path, list[Explanation]], T],
    batch_size: int,
) -> Generator[Outcome[T], None, None]:
    with (
        ThreadPoolExecutor(1, "decode") as decoder,
        ThreadPoolExecutor(1, "finish") as finisher,
    ):
        ahead: deque[Future[_Ready | Outcome[T]]] = deque()
        behind: deque[Future[Outcome[T]]] = deque()
        waiting = iter(paths)
        try:
            while True:
                for path in _take(waiting, 3 * batch_size - len(ahead)):
                    ahead.append(decoder.submit(_decode, model, path))
                if not ahead:
                    break
                batch = [ahead.popleft().result() for _ in range(min(batch_size, len(ahead)))]
                explained = iter(_tolerant(explain, [b for b in batch if isinstance(b, _Ready)]))
                for item in batch:
                    done = item if isinstance(item, Outcome) else next(explained)
                    behind.append(finisher.submit(_finished, finish, done))
                while len(behind) > batch_size or (behind and behind[0].done()):
                    yield behind.popleft().result()
            while behind:
                yield behind.popleft().result()
        finally:
            decoder.shutdown(wait=False, cancel_futures=True)
            finisher.shutdown(wait=False, cancel_futures=True)


def _take(paths: Iterator[Path], count: int) -> Iterator[Path]:
    for _ in range(count):
        if (path := next(paths, None)) is None:
            return
        yield path


def _decode(model: Model, path: Path) -> _Ready | Outcome[T]:
    try:
        photo = load_image(path)
        inputs, (frame,) = model.inputs([photo])
    except (SaliscopeError, OSError, MemoryError) as err:
        return Outcome(path, error=err)
    return _Ready(path, photo, inputs, frame)


def _tolerant(
    explain: Callable[[list[_Ready]], list[Outcome[list[Explanation]]]], batch: list[_Ready]
) -> list[Outcome[list[Explanation]]]:
    if not batch:
        return []
    try:
        return explain(batch)
    except (MemoryError, RuntimeError) as err:
        if not _out_of_memory(err):
            raise
        if len(batch) == 1:
            return [Outcome(batch[0].path, error=err)]
    return [outcome for ready in batch for outcome in _tolerant(explain, [ready])]


def _out_of_memory(err: Exception) -> bool:
    """Whether memory ran out; on the CPU torch says so in a plain `RuntimeError`."""
    known = isinstance(err, MemoryError | torch.OutOfMemoryError)
    return known or "DefaultCPUAllocator" in str(err)


def _finished(
    finish: Callable[[Path, list[Explanation]], T], done: Outcome[list[Explanation]] | Outcome[T]
) -> Outcome[T]:
    if done.error is not None:
        return Outcome(done.path, error=done.error)
    return Outcome(done.path, finish(done.path, done.value))  # type: ignore[arg-type] # no error: explanations
