"""Which samples a run takes, and the batches they are worked on in."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from saliscope.data import DataSet

__all__ = ["Unit", "first_by_hash", "first_of", "select", "split_unit", "units_of"]


@dataclass(frozen=True)
class Unit:
    """A batch of samples that is done, and written, as a whole: their places in a split."""

    split: str
    positions: tuple[int, ...]
    name: str


def select(data: DataSet, limit: int | None = None) -> list[int]:
    """The places of the samples, in order: all, or `limit` of them by the hash of their ids.

    A larger limit takes the same samples and more; the choice depends on the ids alone.
    """
    return list(range(len(data))) if limit is None else first_by_hash(data.ids, limit)


def first_by_hash(ids: Sequence[str], count: int) -> list[int]:
    """The places, in order, of the `count` ids that come first by their hash: a larger count takes the same and more."""
    ranks = [hashlib.sha256(f"limit/{name}".encode()).digest() for name in ids]
    return sorted(sorted(range(len(ids)), key=lambda i: ranks[i])[:count])


def units_of(
    data: DataSet,
    split: str,
    chosen: Sequence[int],
    done: Collection[str],
    *,
    batch_size: int,
    slot: tuple[int, int] = (0, 1),
) -> list[Unit]:
    """The batches that are still to do, of the shard `slot` (position, number of shards).

    Batches are cut before what is done is taken out, so that a continued run has the same batches as an uninterrupted one:
    the last digits of a map may depend on what stands beside it in a batch.
    """
    found = []
    for number, start in enumerate(range(0, len(chosen), batch_size)):
        if number % slot[1] != slot[0]:
            continue
        left = tuple(i for i in chosen[start : start + batch_size] if data.ids[i] not in done)
        if left:
            found.append(_unit(data, split, left))
    return found


def split_unit(unit: Unit, data: DataSet) -> list[Unit]:
    """A unit for each sample of one."""
    return [_unit(data, unit.split, (place,)) for place in unit.positions]


def _unit(data: DataSet, split: str, positions: tuple[int, ...]) -> Unit:
    return Unit(split, positions, _name(split, positions[0], [data.ids[i] for i in positions]))


def first_of(name: str) -> tuple[str, int]:
    """The split of a unit and the place of its first sample, from its name."""
    split, first, _ = name.removeprefix("part-").rsplit("-", 2)
    return split, int(first)


def _name(split: str, first: int, ids: Sequence[str]) -> str:
    """The same samples always have the same name: written twice, they are written once."""
    digest = hashlib.sha256("\0".join(ids).encode()).hexdigest()[:10]
    return f"part-{split}-{first:08d}-{digest}"
