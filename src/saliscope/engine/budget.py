"""How much a method that asks the network many times may take, and whom it tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Budget"]


@dataclass(frozen=True)
class Budget:
    """Limits for methods that ask the network again and again.

    `memory` is in bytes: so many variants are asked at once as fit into it, and at least one. `tell` is called with the
    method, the number of passes of images done, and their number in all.
    """

    memory: int = 1 << 30
    tell: Callable[[str, int, int], object] | None = None
