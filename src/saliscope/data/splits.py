"""A validation split for data sets that have none."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from saliscope.errors import OptionError

__all__ = ["choose_split", "held_out"]


def held_out(
    ids: Sequence[str], labels: Sequence[int | None], *, share: float = 0.1, seed: int = 0
) -> frozenset[str]:
    """Choose the ids that a validation split takes from train: `share` of every class, rounded, and at least one.

    A class of a single sample gives none. The choice depends on the seed and on the ids alone, neither on their order
    nor on the machine: each class is sorted by the hash of seed and id. Raises `OptionError` for a share outside [0, 1).
    """
    if isinstance(share, str) or not 0 <= share < 1:
        raise OptionError(f"the validation share must be at least 0 and below 1, got {share}")
    groups: defaultdict[int | None, list[str]] = defaultdict(list)
    for name, label in zip(ids, labels, strict=True):
        groups[label].append(name)
    chosen: set[str] = set()
    for members in groups.values():
        count = max(1, round(share * len(members))) if share and len(members) > 1 else 0
        chosen.update(sorted(members, key=lambda name: _rank(seed, name))[:count])
    return frozenset(chosen)


def choose_split(
    ids: Sequence[str],
    labels: Sequence[int | None],
    *,
    split: str,
    share: float = 0.1,
    seed: int = 0,
) -> list[int]:
    """Positions of "train" (without what is held out), "val" (what is) or "trainval" (both) in an official train list."""
    if split not in ("train", "val", "trainval"):
        raise OptionError(
            f'a train list is divided into "train", "val" and "trainval", not "{split}"'
        )
    if split == "trainval":
        return list(range(len(ids)))
    chosen = held_out(ids, labels, share=share, seed=seed)
    return [i for i, name in enumerate(ids) if (name in chosen) == (split == "val")]


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
