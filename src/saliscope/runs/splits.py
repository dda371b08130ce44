"""The splits of the data that a run is of."""

from __future__ import annotations

from collections.abc import Mapping

from saliscope.data import DataSet, open_data
from saliscope.data.opening import parse_data
from saliscope.errors import OptionError
from saliscope.runs.settings import RunSettings

__all__ = ["check_splits", "moved", "open_splits"]


def open_splits(settings: RunSettings) -> dict[str, DataSet]:
    """The split to evaluate and, where thresholds are tuned, the one to choose them on."""
    names = dict.fromkeys([settings.split, *([settings.tune] if settings.tune else [])])
    return {name: open_data(settings.data, name, root=settings.root) for name in names}


def check_splits(settings: RunSettings, data: Mapping[str, DataSet]) -> None:
    """Raise `OptionError` where data is given that lacks a split which the settings name."""
    for split in filter(None, (settings.split, settings.tune)):
        if split not in data:
            raise OptionError(
                f'the settings name the split "{split}", the data given has {", ".join(data) or "none"}; give one for each'
            )


def moved(settings: RunSettings) -> RunSettings:
    """Settings whose `root` says where data lies now that is named by its path (folder:PATH)."""
    kind, place, _ = parse_data(settings.data)
    if settings.root is None or kind.needs != "path":
        return settings
    head = f"{kind.name}:"
    tail = settings.data.removeprefix(head).removeprefix(place)
    return settings.model_copy(update={"data": f"{head}{settings.root}{tail}", "root": None})
