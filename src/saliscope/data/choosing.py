"""Choosing some samples of a data set to look at."""

from __future__ import annotations

import random
from collections.abc import Sequence

from saliscope.data.sample import DataSet
from saliscope.errors import OptionError, nearest

__all__ = ["choose_samples"]


def choose_samples(
    data: DataSet,
    *,
    limit: int = 24,
    only_class: str | None = None,
    seed: int = 0,
    ids: Sequence[str] | None = None,
) -> list[int]:
    """Positions of at most `limit` samples drawn by `seed`, in the order of the data set; no sample is read.

    `only_class` is the name of a class (case, spaces, "-" and "_" do not matter) or its index. `ids` names the samples
    instead, in the order wanted, each by its id or the end of it after a "/". Raises `OptionError` for classes and ids that
    are not there, with the nearest, and for an end that fits several.
    """
    if ids is not None:
        return [_position(data, wanted) for wanted in ids]
    if limit < 1:
        raise OptionError(f"at least one sample is chosen; got limit={limit}")
    pool = list(range(len(data)))
    if only_class is not None:
        label = _label(data, only_class)
        pool = [i for i in pool if data.labels[i] == label]
        if not pool:
            raise OptionError(f'{data.name}, {data.split}, has no sample of "{only_class}"')
    return sorted(random.Random(seed).sample(pool, min(limit, len(pool))))


def _position(data: DataSet, wanted: str) -> int:
    fitting = [i for i, each in enumerate(data.ids) if each == wanted]
    fitting = fitting or [i for i, each in enumerate(data.ids) if each.endswith(f"/{wanted}")]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise OptionError(f'"{wanted}" is the end of {len(fitting)} ids; write more of it')
    raise OptionError(
        f'{data.name}, {data.split}, has no sample "{wanted}"; {nearest(wanted, data.ids)}. Is it in another split?'
    )


def _label(data: DataSet, wanted: str) -> int:
    def folded(name: str) -> str:
        return name.casefold().replace("_", " ").replace("-", " ")

    if not data.classes:
        raise OptionError(f"{data.name} has no classes, so none can be chosen")
    for label, each in enumerate(data.classes):
        if folded(each) == folded(wanted):
            return label
    if wanted.isdecimal() and int(wanted) < len(data.classes):
        return int(wanted)
    raise OptionError(f'{data.name} has no class "{wanted}"; {nearest(wanted, data.classes)}')
