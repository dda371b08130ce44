"""skipped.csv: the samples that a training leaves out, since they cannot be read."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from saliscope.data.sample import Failed
from saliscope.errors import DataError
from saliscope.files import write_whole

__all__ = ["SKIPPED", "read_skipped", "write_skipped"]

SKIPPED = "skipped.csv"
_COLUMNS = ["split", "id", "reason"]


def write_skipped(folder: Path, failed: Mapping[str, Sequence[Failed]]) -> None:
    """Write the samples left out of each split; a header alone says that all could be read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for split, rows in failed.items():
        writer.writerows([split, row.id, row.message] for row in rows)
    write_whole(folder / SKIPPED, text.getvalue().encode(), durable=True)


def read_skipped(folder: Path) -> dict[str, list[Failed]] | None:
    """Read them back by split; None before they were written. Raises `DataError` for a file that is none of ours."""
    path = folder / SKIPPED
    if not path.exists():
        return None
    found: dict[str, list[Failed]] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    if not rows or rows[0] != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        raise DataError(f"{path} is damaged; begin anew with --overwrite")
    for split, name, reason in rows[1:]:
        found.setdefault(split, []).append(Failed(name, reason))
    return found
