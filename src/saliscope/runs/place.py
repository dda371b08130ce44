"""Where a run lies: a folder on this machine, or an address that fsspec knows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from saliscope.errors import DataError, DependencyError, OptionError
from saliscope.files import write_whole

__all__ = ["Place", "open_place"]

_WAIT = 10.0  # seconds; who holds a file briefly longer than this will not give it back
_ABANDONED = 3600.0  # seconds after which a half-written file belongs to no living process


class Place(Protocol):
    """A folder of a run. Names are relative, with "/" between folders; a file is there whole or not at all."""

    address: str

    def names(self, folder: str = "") -> list[str]:
        """The names of the files directly in a folder, sorted; empty where it is not there."""
        ...

    def exists(self, name: str) -> bool: ...

    def read(self, name: str) -> bytes:
        """The content of a file; raises `DataError` where it cannot be read."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole; raises `DataError` where that fails, and then leaves nothing."""
        ...

    def remove(self, names: Sequence[str]) -> None:
        """Remove files; what is gone already is no error. Raises `DataError` where that fails."""
        ...

    def alone(self, name: str) -> Any:
        """A context in which no other process holds `name`; raises `OptionError` where one does."""
        ...

    def briefly(self, name: str) -> Any:
        """A context to change the file `name` in, which other processes wait for; best effort where nothing can be locked."""
        ...


def open_place(address: str | os.PathLike[str]) -> Place:
    """Open a folder by its path, or by an address like s3://bucket/runs/dogs.

    Raises `OptionError` for no address and for one of a kind that fsspec does not know, and `DependencyError` where the
    package for that kind is not installed.
    """
    text = os.fspath(address)
    if not text:
        raise OptionError("the folder of a run has no name; give one, e.g. runs/dogs")
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    if "://" not in text:
        return LocalPlace(Path(text).expanduser())
    import fsspec

    try:
        system, path = fsspec.url_to_fs(text)
    except ImportError as err:
        raise DependencyError(f"{text} needs another package: {err}") from None
    except ValueError as err:
        raise OptionError(
            f"{text} is no address that fsspec knows ({err}); give a folder, or e.g. s3://bucket/folder"
        ) from None
    return RemotePlace(text, system, path)


class LocalPlace:
    """A folder on this machine, or one that is mounted here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = str(folder)

    def names(self, folder: str = "") -> list[str]:
        here = self.folder / folder
        if not here.is_dir():
            return []
        with os.scandir(here) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_file())

    def exists(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as err:
            raise DataError(f"{self.folder / name} cannot be read: {err.strerror or err}") from None

    def write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data, durable=True)
        except OSError as err:
            raise DataError(
                f"{err.filename or path} cannot be written ({err.strerror or err}); nothing that was done is lost: the same "
                "command continues"
            ) from err

    def remove(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                (self.folder / name).unlink(missing_ok=True)
            except OSError as err:
                raise DataError(
                    f"{self.folder / name} cannot be removed: {err.strerror or err}"
                ) from None

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / f".{name}.lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise OptionError(
                f"another process works on {self.folder}; wait for it, or stop it (what is done is kept)"
            ) from None
        except OSError as err:
            raise DataError(
                f"cannot write into {self.folder}: {err.strerror or err}; choose another folder with -o"
            ) from None
        try:
            self._clean()
            yield
        finally:
            lock.release()

    @contextmanager
    def briefly(self, name: str) -> Iterator[None]:
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / f".{name}.lock")
        try:
            lock.acquire(timeout=_WAIT)
        except (Timeout, OSError):  # some mounted folders have no locks
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def _clean(self) -> None:
        """Remove what killed processes left half-written; other machines may be writing just now."""
        ours = (
            ".run.json.*.new",
            ".errors.jsonl.*.new",
            "*/.part-*.new",
        )  # others have such files too
        for path in (found for name in ours for found in self.folder.glob(name)):
            try:
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()
            except OSError:
                continue


class RemotePlace:
    """A folder on a file system that fsspec reaches. Object stores put an object whole; others get a name last."""

    def __init__(self, address: str, system: Any, path: str) -> None:
        self.address = address.rstrip("/")
        self.system = system
        self.path = path.rstrip("/")

    def names(self, folder: str = "") -> list[str]:
        here = f"{self.path}/{folder}".rstrip("/")
        self.system.invalidate_cache(here)
        try:
            entries = self.system.ls(here, detail=True)
        except FileNotFoundError:
            return []
        found = (e["name"].rsplit("/", 1)[-1] for e in entries if e["type"] == "file")
        return sorted(name for name in found if name and not name.startswith("."))

    def exists(self, name: str) -> bool:
        return bool(self.system.isfile(f"{self.path}/{name}"))

    def read(self, name: str) -> bytes:
        try:
            return bytes(self.system.cat_file(f"{self.path}/{name}"))
        except OSError as err:
            raise DataError(f"{self.address}/{name} cannot be read: {err}") from None

    def write(self, name: str, data: bytes) -> None:
        target = f"{self.path}/{name}"
        hidden = "/".join([*target.split("/")[:-1], f".{name.rsplit('/', 1)[-1]}.new"])
        try:
            self.system.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            self.system.pipe_file(hidden, data)
            self.system.mv(hidden, target)
        except OSError as err:
            raise DataError(
                f"{self.address}/{name} cannot be written ({err}); nothing that was done is lost: the same command continues"
            ) from err

    def remove(self, names: Sequence[str]) -> None:
        for name in names:
            if self.exists(name):
                self.system.rm_file(f"{self.path}/{name}")

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:  # noqa: ARG002 - no file system here has locks
        yield

    @contextmanager
    def briefly(self, name: str) -> Iterator[None]:  # noqa: ARG002 - nor to wait for
        yield
