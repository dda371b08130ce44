"""Finding the folders and reading the lists that data sets consist of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from saliscope.errors import DataError, OptionError, nearest
from saliscope.finding import IMAGE_SUFFIXES

__all__ = ["Classes", "check_options", "find_place", "list_folders", "list_images", "read_rows"]

Classes = Literal["present", "all"]
"""Which classes count: those that have an image in this copy, in any split, or all that the data set defines."""


def check_options(kind: str, **options: tuple[object, Any]) -> None:
    """Check each option (its value, and the `Literal` of those allowed); raises `OptionError`."""
    for option, (given, allowed) in options.items():
        values = get_args(allowed)
        if given not in values or type(given) not in map(type, values):
            words = nearest(str(given), map(str, values))
            raise OptionError(f'{kind} has no {option} "{given}"; {words}')


def find_place(root: Path, places: Sequence[str], *, kind: str, hint: str) -> Path:
    """Give the first of `places` below `root` that exists; raises `DataError` with what to do (`hint`) where none does."""
    for place in places:
        if (root / place).exists():
            return root / place
    looked = ", ".join(f'"{place}"' for place in places)
    raise DataError(f"{kind}: {root} holds none of {looked}; {hint}")


def list_images(folder: Path) -> dict[str, str]:
    """File names by stem, sorted. One look into the folder: asking file by file takes seconds on a network disk."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    files: dict[str, str] = {}
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        if dot + suffix.lower() in IMAGE_SUFFIXES:
            files.setdefault(stem, name)
    return files


def list_folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted by name; hidden ones left out."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and entry.name[0] != "."]
    return [folder / name for name in sorted(names)]


def read_rows(
    path: Path, *, kind: str, columns: int, hint: str, separator: str | None = None
) -> list[list[str]]:
    """Read a text table: one row a line, `columns` values each, apart by blanks or by `separator`.

    Blank lines and lines that begin with "#" are left out; the last column takes the rest of its line. Raises `DataError`
    naming the file, and the line where one is short.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as err:
        raise DataError(f"{kind}: the list {path} cannot be read ({err}); {hint}") from err
    rows: list[list[str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        row = [word.strip() for word in line.split(separator, columns - 1)]
        if len(row) != columns:
            raise DataError(
                f'{kind}: line {number} of {path} is "{line.strip()}", but needs {columns} values; {hint}'
            )
        rows.append(row)
    return rows
