"""One call from a name to a data set."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from typing import Any

from saliscope.data.catalog import DataKind, data_kind
from saliscope.data.sample import DataSet
from saliscope.errors import DataError, OptionError, nearest
from saliscope.options import option_value

__all__ = ["cache_folder", "data_root", "open_data"]


def open_data(
    name: str, split: str = "test", *, root: str | os.PathLike[str] | None = None
) -> DataSet:
    """Open one split of a data set: `open_data("stanford_dogs", "test")`.

    `name` is one of `saliscope data list`, "folder:PATH" or "hf:NAME", with options as `:option=value`
    ("stanford_dogs:validation=0.2", "critters:variant=cue:rho=0.9"). `root` is the folder it was unpacked in; by default
    where `saliscope data download` puts it. Raises `DataError` where it is not there or is damaged, `OptionError` for
    unknown options and splits.
    """
    kind, place, options = parse_data(name)
    if kind.needs == "root":
        options["root"] = data_root(kind, options.get("root", root))
    elif root is not None:
        raise OptionError(
            f'{kind.name} takes no root; write what it needs in its name, got "{name}"'
        )
    if kind.needs in ("path", "name"):
        options["place"] = place
    known = [key for key in inspect.signature(kind.opener).parameters if key not in _FIXED]
    for key in options:
        if key not in (*known, *_FIXED):
            words = nearest(key, known) if known else "it takes none"
            raise OptionError(f'{kind.name} has no option "{key}"; {words}')
    if split not in kind.splits:
        raise OptionError(f'{kind.name} has no split "{split}"; {nearest(split, kind.splits)}')
    return kind.opener(name=name, split=split, **options)


_FIXED = ("name", "split", "root", "place")


def parse_data(name: str) -> tuple[DataKind, str, dict[str, Any]]:
    """Take a data set's name apart: its kind, what comes after the first colon, and its options."""
    head, *parts = name.split(":")
    kind = data_kind(head)
    place = ""
    if kind.needs in ("path", "name"):
        # A path may hold colons itself: it ends where the first option begins.
        while parts and not _is_option(parts[0]):
            place += (":" if place else "") + parts.pop(0)
        if not place:
            what = "PATH" if kind.needs == "path" else "NAME"
            raise DataError(f'"{name}" names no data: write {head}:{what}')
    options: dict[str, Any] = {}
    for part in parts:
        if not _is_option(part):
            raise OptionError(f'"{part}" in "{name}" is no option; write {head}:option=value')
        key, _, value = part.partition("=")
        options[key] = value if key == "root" else option_value(value)
    return kind, place, options


def _is_option(part: str) -> bool:
    key, equals, value = part.partition("=")
    return bool(equals and value and key.isidentifier())


def cache_folder() -> Path:
    """Where downloads go: $SALISCOPE_CACHE, or the platform's cache folder for saliscope."""
    own = os.environ.get("SALISCOPE_CACHE")
    if own:
        return Path(own).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "saliscope"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/saliscope"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "saliscope"


def data_root(kind: DataKind, root: str | os.PathLike[str] | None = None) -> Path:
    """The folder of a data set: the one given, or its place in the cache. Raises `DataError` where there is none."""
    place = Path(root).expanduser() if root is not None else cache_folder() / "data" / kind.name
    if not place.is_dir():
        got = kind.by_hand or f"run `saliscope data download {kind.name}`"
        raise DataError(
            f"{kind.name} is not in {place}: {got}, or give the folder that holds it with --root DIR "
            f'(Python: root="DIR", in a name: {kind.name}:root=DIR)'
        )
    return place
