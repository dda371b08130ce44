"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

__all__ = ["fresh_name", "settle", "write_whole"]


def write_whole(path: str | os.PathLike[str], data: bytes, *, durable: bool = False) -> None:
    """Write a file under a temporary name in its folder, then rename: readers see the old file or the whole new one.

    `durable` waits until the disk has it, so that it survives a crash of the machine too. Raises `OSError` (its own kind
    kept) that names the path and says what to do.
    """
    target = Path(path)
    token = secrets.token_hex(6)
    # A killed process leaves it behind: where that matters, its name says whose it is.
    temporary = target.with_name(f".{target.name}.{token}.new" if durable else f".{token}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        if durable:
            settle(temporary, target)
        else:
            temporary.replace(target)
    except OSError as err:
        temporary.unlink(missing_ok=True)
        raise _write_error(target, err) from err
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_error(target: Path, err: OSError) -> OSError:
    if not target.parent.is_dir():
        advice = f'the folder "{target.parent}" does not exist; create it first'
    elif err.errno == errno.ENOSPC:
        advice = "the disk is full; free some space or choose another folder"
    elif target.is_dir():
        advice = "there is a folder of that name; choose another"
    else:
        advice = f"{err.strerror or err}; choose a folder you may write to"
    return OSError(err.errno, f"cannot write: {advice}", str(target))


def fresh_name(path: Path) -> Path:
    """Where a file that a library writes by itself goes before it gets its name: beside it, hidden."""
    return path.with_name(f".{path.name}.new")


def settle(fresh: Path, path: Path) -> None:
    """Give a finished file its name: after a crash of the machine, too, either the old or the new one is there."""
    with fresh.open("rb+") as stream:
        os.fsync(stream.fileno())
    fresh.replace(path)
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
