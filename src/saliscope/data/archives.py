"""Unpacking downloaded archives: nothing leaves the folder, nothing explodes, nothing stays half unpacked."""

from __future__ import annotations

import errno
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Self, cast

from saliscope.errors import DataError

__all__ = ["MAX_MEMBERS", "finish_unpacking", "is_archive", "is_unfinished", "size_bound", "unpack"]

MAX_MEMBERS = 5_000_000
"""How many files an archive may hold by default; ImageNet has 1.3 million photographs."""

_GB = 10**9
_CHUNK = 1 << 20
_ENDINGS = re.compile(r"(?i)\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$")
# What unpacking leaves in a folder where it was interrupted: content still incomplete, and complete but not in place.
_COMING, _READY = ".saliscope-unpacking-", ".saliscope-unpacked-"
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression that Python does not know
    RuntimeError,  # encrypted
)


@dataclass(frozen=True)
class _Member:
    name: str
    folder: bool
    size: int
    open: Callable[[], IO[bytes]]


def is_archive(name: str) -> bool:
    """Whether a file of this name is unpacked (tar, tar.gz, tar.bz2, tar.xz, zip) rather than used as it is."""
    return _ENDINGS.search(name) is not None


def size_bound(size: int) -> int:
    """How many bytes an archive of `size` bytes may unpack to by default.

    A hundred times its own size, which text in XML does not reach and a bomb exceeds, but 1 GB at least; and no more
    than 20 GB or twenty times its own size, whichever is larger, since large archives hold photographs.
    """
    return max(_GB, min(100 * size, max(20 * _GB, 20 * size)))


def unpack(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    max_bytes: int | None = None,
    max_members: int = MAX_MEMBERS,
    watch: Callable[[int], None] | None = None,
) -> int:
    """Unpack a tar (plain or compressed) or zip archive into `folder`, whole or not at all; return the number of files.

    Content goes to a hidden folder inside `folder` first and is moved into place when all of it is there; folders
    that exist are added to, files of the same name replaced. Modes, owners and times are not taken over. The leavings of
    macOS ("._x", ".DS_Store", "__MACOSX") are left out. `watch` is called with the number of bytes written so far.

    Raises `DataError`, naming the member, for one that is absolute, leaves the folder, or is neither file nor folder
    (links, devices, pipes); for more than `max_bytes` (default: `size_bound`) or `max_members`; for a damaged archive; and
    where the disk is full. `folder` is then as it was.
    """
    source, target = Path(archive), Path(folder)
    bound = size_bound(_size_of(source)) if max_bytes is None else max_bytes
    coming = target / f"{_COMING}{source.name}"
    with _disk(f"{source.name} cannot be unpacked into {target}"):
        target.mkdir(parents=True, exist_ok=True)
        finish_unpacking(target)
        try:
            coming.mkdir()
            count = _extract(source, coming, bound, max_members, watch or _ignore)
            coming.rename(target / f"{_READY}{source.name}")
        finally:
            shutil.rmtree(coming, ignore_errors=True)
        finish_unpacking(target)
    return count


def finish_unpacking(folder: Path) -> None:
    """Complete what an interrupted `unpack` left in `folder`: move what was whole into place, delete what was not.

    Raises `DataError` where the disk does not let it.
    """
    with _disk(f"what was unpacked into {folder} before cannot be moved into place"):
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            if entry.name.startswith(_COMING):
                shutil.rmtree(entry)
            elif entry.name.startswith(_READY):
                _merge(entry, folder)


def is_unfinished(folder: Path) -> bool:
    """Whether an `unpack` into `folder` was interrupted and `finish_unpacking` has something to do."""
    if not folder.is_dir():
        return False
    return any(entry.name.startswith((_COMING, _READY)) for entry in folder.iterdir())


def _ignore(_: int) -> None:
    pass


def _size_of(source: Path) -> int:
    try:
        return source.stat().st_size
    except OSError as err:
        raise DataError(f"there is no archive {source} ({err.strerror}); check the path") from err


def _merge(source: Path, target: Path) -> None:
    """Move the content of a folder into another: at once where that has no such folder, else file by file."""
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if place.is_dir() and entry.is_dir():
            _merge(entry, place)
        elif place.is_dir():
            raise DataError(
                f"{place} is a folder, and the archive has a file of that name; move it away"
            )
        else:
            _move(entry, place)
    source.rmdir()


def _move(entry: Path, place: Path) -> None:
    try:
        entry.replace(place)
    except OSError as err:
        if err.errno != errno.EXDEV:  # a folder that was linked to another disk beforehand
            raise
        shutil.move(entry, place)


def _extract(
    source: Path, folder: Path, bound: int, max_members: int, watch: Callable[[int], None]
) -> int:
    count = written = 0
    with _damage(source), _members(source, bound) as members:
        for number, member in enumerate(members, 1):
            if number > max_members:
                raise DataError(
                    f"{source.name} holds more than {max_members:,} files; unpack it by hand if it is to be trusted"
                )
            parts = _safe_parts(member.name, source)
            if not parts or _is_litter(parts):
                continue
            place = folder.joinpath(*parts)
            if member.folder:
                _make_folder(place, member.name, source)
                continue
            _make_folder(place.parent, member.name, source)
            written = _write(member, place, written, bound, source, watch)
            count += 1
    if not count:
        raise DataError(f"{source.name} holds no files; delete it and get it again")
    return count


def _write(
    member: _Member,
    place: Path,
    written: int,
    bound: int,
    source: Path,
    watch: Callable[[int], None],
) -> int:
    if place.is_dir():
        raise DataError(f'{source.name}: "{member.name}" is both a file and a folder; get it again')
    if written + member.size > bound:  # what it says, before anything is written
        raise _too_large(source, bound)
    with member.open() as content, place.open("wb") as file:
        while chunk := content.read(_CHUNK):
            written += len(chunk)
            if written > bound:
                raise _too_large(source, bound)
            file.write(chunk)
            watch(written)
    return written


def _make_folder(place: Path, name: str, source: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as err:
        raise DataError(
            f'{source.name}: "{name}" is both a file and a folder; get it again'
        ) from err


def _safe_parts(name: str, source: Path) -> tuple[str, ...]:
    """Take a member's name apart; none of its parts may lead anywhere but down."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    # A colon is a drive or a hidden stream on Windows, a backslash a separator.
    if name.startswith("/") or ".." in parts or any(c in name for c in ("\\", ":", "\0")):
        raise DataError(
            f'{source.name} is refused: its member "{name}" would be written outside the folder; nothing was unpacked'
        )
    return parts


def _is_litter(parts: tuple[str, ...]) -> bool:
    return "__MACOSX" in parts or parts[-1] == ".DS_Store" or parts[-1].startswith("._")


def _refused(source: Path, name: str, what: str) -> DataError:
    return DataError(
        f'{source.name} is refused: its member "{name}" is {what}, and only files and folders are unpacked; nothing was '
        "unpacked"
    )


def _too_large(source: Path, bound: int) -> DataError:
    return DataError(
        f"{source.name} is refused: it unpacks to more than {bound / _GB:.3g} GB, which is more than an archive of its size "
        "should; nothing was unpacked"
    )


@contextmanager
def _damage(source: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        if (
            err.errno is not None
        ):  # the disk's own errors have a number, those of gzip and bz2 have none
            raise
        raise DataError(f"{source} is damaged ({err}); delete it and get it again") from err
    except _DAMAGE as err:
        reason = f"{err}" or type(err).__name__
        if "\n" in reason:  # what each way of reading a tar has to say
            reason = "it is no archive of its kind"
        raise DataError(f"{source} is damaged ({reason}); delete it and get it again") from err


@contextmanager
def _disk(problem: str) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        advice = f"{err.strerror or err}; choose a folder you may write to"
        if err.errno == errno.ENOSPC:
            advice = "the disk is full; free some space, or choose another folder"
        raise DataError(f"{problem}: {advice}") from err


@contextmanager
def _members(source: Path, bound: int) -> Iterator[Iterator[_Member]]:
    if source.suffix.lower() == ".zip":
        with zipfile.ZipFile(source) as zipped:
            yield _zip_members(zipped, source, bound)
    else:
        header = type("Header", (_Header,), {})  # its own, since it remembers
        with tarfile.open(source, "r:*", tarinfo=header) as tar:
            yield _tar_members(tar, source, header)


def _zip_members(archive: zipfile.ZipFile, source: Path, bound: int) -> Iterator[_Member]:
    """Check the whole table of contents before the first member."""
    entries = archive.infolist()
    for entry in entries:
        _safe_parts(entry.orig_filename, source)
        kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where the archive was made on Windows
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(source, entry.filename, "a link" if kind == stat.S_IFLNK else "a device")
    if sum(entry.file_size for entry in entries) > bound:
        raise _too_large(source, bound)
    for entry in entries:
        yield _Member(entry.filename, entry.is_dir(), entry.file_size, partial(archive.open, entry))


class _Header(tarfile.TarInfo):
    """A member's header, which remembers whether the last one was the mark of the end.

    Python takes garbage and the end of the file for the end of the archive as well, without a word.
    """

    ended = False

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        cls.ended = len(buf) == tarfile.BLOCKSIZE and not any(buf)
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0:  # Python would go backwards, and round for ever
            raise tarfile.ReadError("a member has a negative size")
        return header


def _tar_members(
    archive: tarfile.TarFile, source: Path, header: type[_Header]
) -> Iterator[_Member]:
    while (entry := archive.next()) is not None:
        cast("Any", archive).members.clear()  # or a million headers stay in memory
        if not entry.isreg() and not entry.isdir():
            link = entry.issym() or entry.islnk()
            raise _refused(source, entry.name, "a link" if link else "a device or a pipe")
        content = cast("Callable[[], IO[bytes]]", partial(archive.extractfile, entry))
        yield _Member(entry.name, entry.isdir(), entry.size, content)
    if not header.ended:
        raise tarfile.ReadError("it is cut short")
