"""run.json: what a training folder holds, so that the same call continues it and another one is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

from saliscope.errors import DataError, OptionError
from saliscope.files import write_whole
from saliscope.provenance import now, versions
from saliscope.settings import differences, plain

__all__ = ["FREE", "RUN", "Record", "clear", "open_record"]

RUN = "run.json"
SCHEMA = 1

FREE = frozenset({"recipe.workers", "recipe.cache"})
"""Settings that may differ when a training is continued: the result does not depend on them."""

_OURS = (RUN, "last.ckpt", "model.safetensors", "model.json", "curves.csv", "curves.png", "skipped.csv")  # fmt: skip
_FOLDERS = ("tensorboard", "mlflow")


@dataclass
class Record:
    """One training: its settings by name, where it ran, when it began and ended, and with which scores.

    `mlflow` is the id of the run there, where it is logged to. `settings` decide the result and must be the same when it is continued: the network, the recipe's fields, the data set
    and the fingerprints of its splits.
    """

    settings: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    device: str = ""
    started: str = ""
    finished: str | None = None
    scores: dict[str, Any] = field(default_factory=dict)
    mlflow: str | None = None

    def save(self, folder: Path) -> None:
        """Write run.json whole."""
        content = {"schema": SCHEMA, **self.__dict__}
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_whole(folder / RUN, text.encode(), durable=True)


def open_record(
    folder: Path, settings: Mapping[str, Any], *, overwrite: bool = False, first: bool = True
) -> Record:
    """Continue the training in a folder, or begin one there; of several processes only the `first` changes the folder.

    Raises `OptionError`, naming each differing field, where the folder holds another training and `overwrite` is False;
    `DataError` for a run.json that cannot be read.
    """
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        if overwrite:
            clear(folder)
    path = folder / RUN
    if not path.exists():
        if first:
            clear(folder, leftovers=True)
        return Record(plain(settings), versions(), started=now())
    record = _read(path)
    changed = differences(record.settings, plain(settings), free=FREE)
    if changed:
        raise OptionError(
            f"{folder} holds another training: {'; '.join(changed)}. Name another folder, or overwrite it with --overwrite"
        )
    if first:  # not before: what is half-written may be another training's
        clear(folder, leftovers=True)
    record.settings = plain(settings)  # the free fields may be new
    return record


def clear(folder: Path, *, leftovers: bool = False) -> None:
    """Remove what a training wrote, and nothing else; with `leftovers` only what a killed one left half-written."""
    for name in _OURS:
        for half in folder.glob(f".{name}.*new"):
            half.unlink(missing_ok=True)
        if not leftovers:
            (folder / name).unlink(missing_ok=True)
    if not leftovers:
        for name in _FOLDERS:
            rmtree(folder / name, ignore_errors=True)


def _read(path: Path) -> Record:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        schema = found.pop("schema")
        record = Record(**found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as err:
        raise DataError(
            f"{path} is no record of a training ({err}): name another folder, or overwrite it with --overwrite"
        ) from err
    if schema != SCHEMA:
        raise DataError(
            f"{path} has schema {schema}, this version of saliscope writes {SCHEMA}: name another folder"
        )
    return record
