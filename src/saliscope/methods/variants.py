"""Some variants of some images, asked about in as few passes as memory allows, with word of how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from saliscope.engine import Budget, Room

__all__ = ["Draw", "Group", "gathered", "told"]

Draw = Callable[[Tensor, Tensor], Tensor]
"""What is asked about variants `numbers` (m,) of the images `rows` (m,): tensors (m, ...)."""


@dataclass(frozen=True, eq=False)
class Group:
    """Variants `numbers` (n,) of images `rows` (n,) that may share passes; `ask` gives the scores (m, K) of some of them."""

    rows: Tensor
    numbers: Tensor
    room: Room
    ask: Draw


def gathered(groups: Sequence[Group], shape: tuple[int, int, int], tell: Callable[[int], None]) -> Tensor:  # fmt: skip
    """The scores of all groups in one tensor `shape` (B, n, K), float32; NaN where nothing was asked."""
    found: Tensor | None = None
    done = 0
    for group in groups:

        def job(pairs: range, _: slice, group: Group = group) -> Tensor:
            some = slice(pairs.start, pairs.stop)
            return group.ask(group.rows[some], group.numbers[some])[:, None]

        start = 0
        while start < len(group.rows):
            stop = min(start + group.room.limit, len(group.rows))
            scores = group.room.ask(job, range(start, stop), slice(0, 1))[:, 0].float()
            if found is None:
                found = torch.full(shape, float("nan"), device=scores.device)
            rows, numbers = group.rows[start:stop], group.numbers[start:stop]
            found[rows.to(found.device), numbers.to(found.device)] = scores
            done += stop - start
            start = stop
            tell(done)
    return torch.full(shape, float("nan")) if found is None else found


@contextmanager
def told(budget: Budget, method: str, total: int) -> Iterator[Callable[[int], None]]:
    """What is told how much is done; whoever leaves early, contented, has told that all is."""

    def tell(done: int) -> None:
        if budget.tell is not None and total:
            budget.tell(method, done, total)

    tell(0)
    try:
        yield tell
    except GeneratorExit:
        tell(total)
        raise
