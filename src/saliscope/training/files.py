"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["fresh_name", "settle", "write_whole"]


def fresh_name(path: Path) -> Path:
    """Where a file is written before it gets its name: beside it, hidden."""
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


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    fresh = fresh_name(path)
    fresh.write_bytes(content)
    settle(fresh, path)
