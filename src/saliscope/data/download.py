"""Bringing a data set into its folder: what is missing is downloaded, what lies there as archives is unpacked."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from saliscope.data.archives import finish_unpacking, is_archive, is_unfinished, unpack
from saliscope.data.catalog import Archive, DataKind
from saliscope.data.fetch import UnavailableError, difference, fetch
from saliscope.data.opening import cache_folder
from saliscope.errors import DataError

__all__ = ["Plan", "Step", "download", "plan_download"]

_log = logging.getLogger(__name__)
_LOCK = ".saliscope-lock"


@dataclass(frozen=True)
class Step:
    """Where a download stands: what is done to which file, and how many bytes of how many (None: not known) are done."""

    doing: Literal["download", "unpack"]
    file: str
    done: int
    total: int | None


@dataclass(frozen=True)
class Plan:
    """What a download would do in `root`.

    The content of the archives `present` is in place; those in `files` lie in `root` as files, to be checked and unpacked;
    those `missing` have to come from the network, or by hand.
    """

    kind: DataKind
    root: Path
    present: tuple[Archive, ...]
    files: tuple[Archive, ...]
    missing: tuple[Archive, ...]

    @property
    def bytes_missing(self) -> int | None:
        """How much has to be downloaded, less what came before; None where a size is not published."""
        sizes = [archive.size for archive in self.missing]
        if None in sizes:
            return None
        return max(0, sum(size or 0 for size in sizes) - self._begun())

    @property
    def bytes_needed(self) -> int:
        """How much room the files and their content take at most, as far as sizes are published."""
        sizes = [archive.size or 0 for archive in self.missing]
        content = sum(sizes) + sum(archive.size or 0 for archive in self.files)
        return max(0, content + max(sizes, default=0) - self._begun())

    def _begun(self) -> int:
        parts = (self.root / f"{archive.file}.part" for archive in self.missing)
        return sum(part.stat().st_size for part in parts if part.is_file())


def plan_download(kind: DataKind, root: str | os.PathLike[str] | None = None) -> Plan:
    """Look what of a data set is in `root` (default: its place in the cache folder); nothing is changed.

    Raises `DataError` for kinds that are not kept in a folder of their own.
    """
    if kind.needs != "root":
        what = {"path": "is a folder of your own", "name": "is fetched when it is opened"}
        raise DataError(
            f"there is nothing to download: {kind.name} {what.get(kind.needs, 'is made by the program')}"
        )
    place = Path(root).expanduser() if root is not None else cache_folder() / "data" / kind.name
    if place.exists() and not place.is_dir():
        raise DataError(f"{place} is a file; give a folder with --root DIR")
    found: dict[str, list[Archive]] = {"present": [], "files": [], "missing": []}
    for archive in kind.archives:
        found[_state(archive, place)].append(archive)
    return Plan(kind, place, *(tuple(found[state]) for state in ("present", "files", "missing")))


def download(
    kind: DataKind,
    root: str | os.PathLike[str] | None = None,
    *,
    keep: bool = False,
    watch: Callable[[Step], None] | None = None,
) -> Path:
    """Download and unpack what is missing of a data set into `root` (default: its place in the cache folder).

    Returns the folder. Where it was interrupted, the same call continues. An archive put into the folder by hand is used
    once its checksum is right, and kept; those downloaded are deleted when they are unpacked, unless `keep`. `watch` is
    told each step.

    Raises `DataError`: where a file cannot be had (one sentence: the files, their addresses, the folder to put them in);
    where it has to be got by hand; for files other than the published ones; where the disk has too little room; and while
    another process downloads into the same folder.
    """
    plan = plan_download(kind, root)
    if not kind.archives:
        if plan.root.is_dir() and any(plan.root.iterdir()):
            return plan.root
        raise DataError(_by_hand(plan))
    _check_plain(plan)
    folders = {plan.root / archive.folder for archive in kind.archives}
    if not plan.missing and not plan.files and not any(map(is_unfinished, folders)):
        return plan.root  # perhaps a folder that only others may write to
    with _locked(plan.root):
        for folder in folders:
            finish_unpacking(folder)
        plan = plan_download(kind, plan.root)
        if kind.by_hand and plan.missing:
            raise DataError(_by_hand(plan))
        _check_room(plan, keep=keep)
        for archive in (*plan.files, *plan.missing):
            _bring(plan, archive, keep=keep, watch=watch or _ignore)
    return plan.root


def _ignore(_: Step) -> None:
    pass


def _state(archive: Archive, root: Path) -> str:
    if _is_present(archive, root):
        return "present"
    return "files" if (root / archive.file).is_file() else "missing"


def _is_present(archive: Archive, root: Path) -> bool:
    if not is_archive(archive.file):
        return _place(archive, root).is_file()
    if archive.members:
        return all((root / member).exists() for member in archive.members)
    return _stamp(archive, root).is_file()


def _place(archive: Archive, root: Path) -> Path:
    """Where a file that is no archive belongs."""
    return root / archive.folder / archive.file


def _stamp(archive: Archive, root: Path) -> Path:
    """A hidden file that says that an archive was unpacked, for those whose members are not known."""
    return root / f".saliscope-done.{archive.file}"


def _check_plain(plan: Plan) -> None:
    for archive in plan.present:
        if not is_archive(archive.file):
            _check(_place(archive, plan.root), archive)


def _check(file: Path, archive: Archive) -> None:
    if wrong := difference(file, archive.size, archive.checksum):
        raise DataError(
            f"{file} is not the published file ({wrong}): delete it, or replace it by {archive.url}, and run the same "
            "command again"
        )


def _bring(plan: Plan, archive: Archive, *, keep: bool, watch: Callable[[Step], None]) -> None:
    file = plan.root / archive.file
    came = not file.is_file()
    if came:
        _fetch(plan, archive, file, watch)
    else:
        _check(file, archive)
    if not is_archive(archive.file):
        with _disk(plan.root):
            _place(archive, plan.root).parent.mkdir(parents=True, exist_ok=True)
            file.replace(_place(archive, plan.root))
        return
    _unpack(plan, archive, file, watch)
    with _disk(plan.root):
        if not archive.members:
            _stamp(archive, plan.root).touch()
        if came and not keep:
            file.unlink()


def _fetch(plan: Plan, archive: Archive, file: Path, watch: Callable[[Step], None]) -> None:
    _log.info("downloading %s to %s", archive.url, file)
    try:
        fetch(
            archive.url,
            file,
            size=archive.size,
            checksum=archive.checksum,
            watch=lambda done, total: watch(
                Step("download", archive.file, done, archive.size if total is None else total)
            ),
        )
    except UnavailableError as err:
        missing = plan_download(plan.kind, plan.root).missing
        raise DataError(
            f"{plan.kind.name} cannot be downloaded from here ({err}): put {_files(missing)} into the folder {plan.root} and "
            "run the same command again"
        ) from err


def _unpack(plan: Plan, archive: Archive, file: Path, watch: Callable[[Step], None]) -> None:
    unpack(
        file,
        plan.root / archive.folder,
        watch=lambda done: watch(Step("unpack", archive.file, done, None)),
    )
    lost = [member for member in archive.members if not (plan.root / member).exists()]
    if lost:
        raise DataError(
            f"{archive.file} was unpacked, but brought no {lost[0]}: it is another file than the published one; delete it "
            "and get it again"
        )


def _files(archives: Sequence[Archive]) -> str:
    names = [f"{archive.file} ({archive.url})" for archive in archives]
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def _by_hand(plan: Plan) -> str:
    kind = plan.kind
    how = kind.by_hand or f"it has no files that a program could fetch; see {kind.home}"
    if not plan.missing:
        return f"{kind.name} has to be got by hand: {how}; its folder is {plan.root}, or any other given with --root DIR"
    put = f"put {_files(plan.missing)} into the folder {plan.root} and run the same command again"
    return f"{kind.name} has to be got by hand: {how}; {put}"


def _check_room(plan: Plan, *, keep: bool) -> None:
    needed = plan.bytes_needed
    if keep:
        needed += sum(archive.size or 0 for archive in plan.missing)
    free = shutil.disk_usage(plan.root).free
    if needed > free:
        raise DataError(
            f"{plan.kind.name} needs about {needed / 1e9:.2f} GB in {plan.root}, and {free / 1e9:.2f} GB are free: free "
            "some space, or choose another folder with --root DIR"
        )


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the folder for this process: two downloads into one file would spoil it."""
    from filelock import FileLock, Timeout

    with _disk(root):
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout as err:
            raise DataError(
                f"another process is downloading into {root}; wait for it, then run the same command again"
            ) from err
    try:
        yield
    finally:
        lock.release()
        (root / _LOCK).unlink(missing_ok=True)


@contextmanager
def _disk(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise DataError(
            f"cannot write into {root}: {err.strerror or err}; choose another folder with --root DIR"
        ) from err
