"""Some variants of some images, asked about in as few passes as memory allows, with word of how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from saliscope.engine.budget import Budget
from saliscope.engine.room import Room

__all__ = ["Draw", "Group", "gathered", "told"]

Draw = Callable[[Tensor, Tensor], Tensor]
"""What is asked about variants `numbers` (m,) of the images `rows` (m,): tensors (m, ...)."""


@dataclass(frozen=True, eq=False)
class Group:
    """Variants `numbers` (n,) of images `rows` (n,) that may share passes; `ask` gives the scores (m, K) of some of them.

    `room` says how many go at once; None where all have to go together, in this order.
    """

    rows: Tensor
    numbers: Tensor
    room: Room | None
    ask: Draw

    def pieces(self) -> Iterator[tuple[slice, Tensor]]:
        """Places among the pairs, in order, and the scores (m, K) of those."""
        whole = slice(0, len(self.rows))
        if self.room is None:
            yield whole, self.ask(self.rows, self.numbers)
            return

        def job(pairs: range, _: slice) -> Tensor:
            some = slice(pairs.start, pairs.stop)
            return self.ask(self.rows[some], self.numbers[some])[:, None]

        start = 0
        while start < whole.stop:
            stop = start + self.room.portion(whole.stop - start)
            yield slice(start, stop), self.room.ask(job, range(start, stop), slice(0, 1))[:, 0]
            start = stop


def gathered(
    groups: Sequence[Group], shape: tuple[int, int, int], tell: Callable[[int], None]
) -> Tensor:
    """The scores of all groups in one tensor `shape` (B, n, K), float32; NaN where nothing was asked."""
    found: Tensor | None = None
    done = 0
    for group in groups:
        for some, scores in group.pieces():
            if found is None:
                found = torch.full(shape, float("nan"), device=scores.device)
            rows, numbers = group.rows[some], group.numbers[some]
            found[rows.to(found.device), numbers.to(found.device)] = scores.float()
            done += len(rows)
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
