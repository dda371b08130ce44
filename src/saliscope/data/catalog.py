"""Which data sets there are, and what is published about each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from saliscope.errors import DataError, nearest

if TYPE_CHECKING:
    from saliscope.data.sample import DataSet

__all__ = ["Archive", "DataKind", "data_kind", "data_names"]


@dataclass(frozen=True)
class Archive:
    """A published file of a data set.

    `size` is in bytes and `checksum` is written "md5:HEX" or "sha256:HEX"; None where nothing is published. `folder` is
    where its content goes, relative to the root of the data set. `members` names some of what it must bring
    (files or folders relative to the root): where all are there, the archive need not be downloaded.
    """

    url: str
    size: int | None = None
    checksum: str | None = None
    folder: str = "."
    members: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The file's own name."""
        return self.url.partition("?")[0].rsplit("/", 1)[-1]


@dataclass(frozen=True)
class DataKind:
    """A kind of data set: how to open it, where it comes from, on what terms, and what its authors counted.

    `opener` takes the words after the name (its options by name) and returns one split. `counts` gives the published
    number of images of each split; `num_classes` the published number of classes. `by_hand` says why it cannot be
    downloaded by a program, and how to get it; empty where it can. `shape` draws the folders that the opener expects.
    """

    name: str
    title: str
    opener: Callable[..., DataSet]
    splits: tuple[str, ...]
    licence: str = ""
    citation: str = ""
    home: str = ""
    archives: tuple[Archive, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    num_classes: int | None = None
    regions: str = "boxes"
    masks: str = ""
    by_hand: str = ""
    shape: str = ""
    needs: str = "root"
    """What comes after the name: "root" (a folder, else the cache), "path" (folder:PATH), "name" (hf:NAME), "" (nothing)."""


# Each module defines KIND. They are imported when they are asked for.
_HOMES = {
    "stanford_dogs": "saliscope.data.stanford_dogs",
    "voc": "saliscope.data.voc",
    "ilsvrc": "saliscope.data.ilsvrc",
    "cub": "saliscope.data.cub",
    "pets": "saliscope.data.pets",
    "coco": "saliscope.data.coco",
    "openimages-wsol": "saliscope.data.openimages",
    "folder": "saliscope.data.folder",
    "hf": "saliscope.data.hub",
    "critters": "saliscope.data.critters",
}


def data_names() -> tuple[str, ...]:
    """The names of all kinds of data sets."""
    return tuple(_HOMES)


def data_kind(name: str) -> DataKind:
    """Look a kind up by name; raises `DataError` with the nearest names."""
    if name not in _HOMES:
        raise DataError(
            f'no data set is called "{name}"; {nearest(name, _HOMES)}; list them with `saliscope data list`, or give '
            "class folders of your own as folder:PATH"
        )
    kind: DataKind = import_module(_HOMES[name]).KIND
    return kind
