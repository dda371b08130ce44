"""Random numbers that are the same everywhere: a stream of its own for each sample and each question about it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

__all__ = ["Dice"]

T = TypeVar("T")
_BLOCK = 64


class Dice:
    """Draws in a fixed order from the stream that the given words name.

    Philox's raw bits are promised never to change, which NumPy's distributions are not, so the few that are needed are
    made here.
    """

    def __init__(self, *words: object) -> None:
        key = hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=16).digest()
        self._bits = np.random.Philox(key=int.from_bytes(key, "little"))
        self._drawn: list[float] = []

    def unit(self) -> float:
        """Draw from [0, 1)."""
        if not self._drawn:
            raw = self._bits.random_raw(_BLOCK)
            self._drawn = ((raw >> np.uint64(11)) * 2.0**-53).tolist()
        return self._drawn.pop()

    def uniform(self, low: float, high: float) -> float:
        """Draw from [low, high)."""
        return low + (high - low) * self.unit()

    def below(self, count: int) -> int:
        """Draw one of 0 .. count - 1."""
        return int(self.unit() * count)

    def choice(self, options: Sequence[T]) -> T:
        """Draw one of the options."""
        return options[self.below(len(options))]

    def chance(self, probability: float) -> bool:
        """Be true with this probability."""
        return self.unit() < probability
