"""Finding image files: in folders, by patterns, in the order a person counts."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from saliscope.errors import ImageError

__all__ = ["IMAGE_SUFFIXES", "find_images"]

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".avif",
        ".jp2",
    ]
)
"""The endings, in lower case, by which a picture is recognised inside a folder."""


def find_images(sources: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the picture files that paths, folders and globs stand for.

    A file is kept whatever its suffix. A folder is searched recursively for the suffixes in `IMAGE_SUFFIXES`; hidden
    files and folders are skipped and links to folders are not followed. A glob (`*`, `?`, `[...]`, and `**` for any
    depth) is used where no file of that very name exists; unless its own suffix is spelt out, only picture suffixes
    match. The order of the arguments is kept, each folder and glob is sorted as people count (`img2` before `img10`),
    and a file appears once. Raises `ImageError` naming the path that is missing, or the folder or glob without pictures.
    """
    given = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    if not given:
        raise ImageError("no images were given; name a file, a folder or a glob")
    found: dict[Path, Path] = {}
    for source in given:
        for path in _matches(os.fspath(source)):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _matches(text: str) -> list[Path]:
    path = Path(text).expanduser()
    if path.is_dir():
        pictures = sorted(_pictures_in(path), key=_natural)
        if not pictures:
            raise ImageError(
                f"the folder {path} holds no pictures ({_suffixes()}); hidden files do not count"
            )
        return pictures
    if os.path.lexists(path):
        return [path]
    if not glob.has_magic(text):
        raise ImageError(
            f"there is no file or folder {path}; check the path (relative to {Path.cwd()})"
        )
    return _globbed(str(path))


def _globbed(pattern: str) -> list[Path]:
    matches = glob.glob(pattern, recursive=True)  # noqa: PTH207  Path.glob refuses absolute patterns
    files = [path for path in map(Path, matches) if path.is_file()]
    spelt_out = Path(pattern).suffix and not glob.has_magic(Path(pattern).suffix)
    pictures = [f for f in files if spelt_out or f.suffix.lower() in IMAGE_SUFFIXES]
    if not pictures:
        other = f" ({len(files)} other files do)" if files else ""
        raise ImageError(f'no picture matches "{pattern}"{other}; pictures end in {_suffixes()}')
    return sorted(pictures, key=_natural)


def _pictures_in(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(here, name)
            if name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            if (
                path.is_file() or not path.exists()
            ):  # a dead link is reported; a pipe would wait for ever
                yield path


def _natural(path: Path) -> tuple[list[list[str | int]], str]:
    parts = [re.split(r"([0-9]+)", part.casefold()) for part in path.parts]
    return [[int(p) if p.isdecimal() else p for p in part] for part in parts], str(path)


def _suffixes() -> str:
    return "jpg, png, webp, gif, bmp, tif, ppm and the like"
