"""How much a method that asks the network many times may take, and whom it tells how far it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from saliscope.engine.footprint import Footprint
from saliscope.errors import OptionError

__all__ = ["Budget", "Tell", "make_budget", "memory_in_bytes"]

Tell = Callable[[str, int, int], object]
"""Is told a method, how many of its images have passed the network, and their number in all; the last call says all."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_MANY = {"cpu": 128 << 20, "cuda": 4 << 30}
"""Bytes in flight beyond which larger batches were no faster: on a CPU they leave the caches (docs/speed.md)."""
_FEWEST, _MOST = 8, 1024  # images; small networks gain nothing from more


@dataclass(frozen=True)
class Budget:
    """Limits for methods that ask the network again and again.

    `memory` is in bytes: so many variants are asked at once as fit into it, as long as more are faster, and at least
    one. `tell` is called with the method, the number of images done, and their number in all.
    """

    memory: int = 1 << 30
    tell: Tell | None = None

    def images(self, footprint: Footprint, device: torch.device) -> int:
        """How many images go through the network at once; at least 1, which runs whether it fits or not."""
        each = max(1, footprint.each)
        fit = (self.memory - footprint.fixed) // each
        many = _MANY.get(device.type, _MANY["cpu"]) // each
        return max(1, min(fit, _MOST, max(_FEWEST, many)))


def memory_in_bytes(given: int | str) -> int:
    """Read an amount of memory: bytes, or a text like "500MB", "2 GB" or "1.5GiB" (1,000s; with the i, 1,024s).

    >>> memory_in_bytes("2GB"), memory_in_bytes("1.5 GiB"), memory_in_bytes(4096)
    (2000000000, 1610612736, 4096)

    Raises `OptionError` for anything else, and for nothing at all.
    """
    text = str(given).strip()
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([KMGT]?)(I?)B?", text.upper())
    count = 0
    if found and not isinstance(given, bool) and (found[2] or not found[3]):
        unit = 1024 ** ("KMGT".index(found[2]) + 1) if found[3] else _UNITS[found[2]]
        count = int(float(found[1]) * unit)
    if count < 1:
        raise OptionError(
            f'memory is a number of bytes or a text like "500MB", "2GB" or "1.5GiB"; got {given!r}'
        )
    return count


def make_budget(memory: int | str | None = None, tell: Tell | None = None) -> Budget:
    """A budget with memory as users write it; None is the usual one."""
    usual = Budget.memory
    return Budget(usual if memory is None else memory_in_bytes(memory), tell)
