"""How many images went through a network, forwards and backwards, while someone counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Tally", "count_passes", "tallied", "uncounted"]


@dataclass
class Tally:
    """Images that went forwards through the network, and images whose scalar was differentiated."""

    forward: int = 0
    backward: int = 0

    def __str__(self) -> str:
        ways = ((self.forward, "forward"), (self.backward, "backward"))
        return " + ".join(f"{n:,} {way}" for n, way in ways if n) or "no pass"


_counting = threading.local()


@contextmanager
def tallied() -> Iterator[Tally]:
    """Count the passes that the calling thread makes inside the block; blocks may be nested."""
    tally, outer = Tally(), getattr(_counting, "now", ())
    _counting.now = (*outer, tally)
    try:
        yield tally
    finally:
        _counting.now = outer


@contextmanager
def uncounted() -> Iterator[None]:
    """Leave the passes inside the block out of every count: those that find out how to ask, once for a network."""
    outer = getattr(_counting, "now", ())
    _counting.now = ()
    try:
        yield
    finally:
        _counting.now = outer


def count_passes(*, forward: int = 0, backward: int = 0) -> None:
    """Add the images of one pass to every count under way in this thread."""
    for tally in getattr(_counting, "now", ()):
        tally.forward += forward
        tally.backward += backward
