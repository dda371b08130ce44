"""Many image files: decoded ahead of the network, drawn and written behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

from saliscope.engine import TargetSpace
from saliscope.errors import OptionError, SaliscopeError
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
) -> Iterator[Outcome[T]]:
    """Explain image files in batches and yield what `finish` makes of each, in the order of `paths`.

    One thread decodes and preprocesses the next two batches while the network runs in the caller's thread; another calls
    `finish(path, explanations)`, which may draw and write. At most three batches are in memory. A file that cannot be
    read or explained yields its error and never stops the others; where a batch does not fit in memory its images are
    tried one by one. What `finish` raises ends the run, as does closing the iterator.

    Raises `OptionError` for a batch size below 1.
    """
    if batch_size < 1:
        raise OptionError(f"batch_size is at least 1; got {batch_size}")
    model.network(
        [s.layer for s in specs if s.layer is not None]
    )  # made here, not inside the first batch

    def explain(batch: list[_Ready]) -> list[Outcome[list[Explanation]]]:
        inputs = torch.cat([r.inputs for r in batch]), [r.frame for r in batch]
        photos = [r.photo for r in batch]
        found = explain_batch(
            model, photos, specs, target=target, top=top, space=space, inputs=inputs
        )
        return [Outcome(r.path, explanations) for r, explanations in zip(batch, found, strict=True)]

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
    except (MemoryError, torch.OutOfMemoryError) as err:
        if len(batch) == 1:
            return [Outcome(batch[0].path, error=err)]
    return [outcome for ready in batch for outcome in _tolerant(explain, [ready])]


def _finished(
    finish: Callable[[Path, list[Explanation]], T], done: Outcome[list[Explanation]] | Outcome[T]
) -> Outcome[T]:
    if done.error is not None:
        return Outcome(done.path, error=done.error)
    return Outcome(done.path, finish(done.path, done.value))  # type: ignore[arg-type] # no error: explanations
