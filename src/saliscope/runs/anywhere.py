"""Settings that mean the same from any working folder: what run.json keeps."""

from __future__ import annotations

import os
from pathlib import Path

from saliscope.data.opening import parse_data
from saliscope.models.sources import KEYWORDS, is_folder, parse_spec
from saliscope.runs.settings import RunSettings

__all__ = ["from_anywhere"]


def from_anywhere(settings: RunSettings, *, model: bool = True, data: bool = True) -> RunSettings:
    """The same settings with absolute paths. `model` and `data`: whether these are named, so that their names hold paths.

    Raises what opening them would for names that cannot be taken apart.
    """
    found: dict[str, str] = {}
    if model:
        found["model"] = _network(settings.model)
        if settings.weights not in KEYWORDS:
            found["weights"] = _absolute(settings.weights)
        if settings.labels is not None:
            found["labels"] = _absolute(settings.labels)
    if data:
        found["data"] = _data(settings.data)
        if settings.root is not None:
            found["root"] = _absolute(settings.root)
    return settings.model_copy(update=found)


def _absolute(path: str) -> str:
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - "..": two ways to the same folder are the same


def _network(name: str) -> str:
    if is_folder(name):
        return _absolute(name)
    spec = parse_spec(name)
    if spec.library == "file":
        file, tail = spec.name.rpartition(":")[0], name
        return _absolute(file) + tail.removeprefix(file)
    if spec.library == "hf" and Path(spec.name).is_dir():
        return f"hf:{_absolute(spec.name)}{name.removeprefix(f'hf:{spec.name}')}"
    return name


def _data(name: str) -> str:
    kind, place, options = parse_data(name)
    head = kind.name
    if kind.needs == "path":
        head = f"{kind.name}:{_absolute(place)}"
    tail = [part for part in name.split(":") if part.partition("=")[0] in options]
    return ":".join([head if kind.needs != "name" else f"{head}:{place}", *map(_option, tail)])


def _option(part: str) -> str:
    """root=DIR, and boxes=FILE where that is not inside the data."""
    key, _, value = part.partition("=")
    if key == "root" or (key == "boxes" and Path(value).expanduser().exists()):
        path = _absolute(value)
        return part if ":" in path else f"{key}={path}"
    return part
