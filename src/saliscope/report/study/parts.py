"""The parts of a run's tables, column by column: what is too large to be sorted and held as a whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from saliscope.runs import Run
from saliscope.runs.store import Store
from saliscope.runs.tables import TABLES, from_bytes

__all__ = ["read_parts", "read_table"]

_AHEAD = 3  # parts that are read before they are used


def read_parts(run: Run, table: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The parts of a table one after the other, of measured tables those with the scores that count now.

    Rows may stand in two parts where two processes worked on a run: they are equal.
    """
    names = Store(run.place).parts(table)
    if table != "maps":
        names = [name for name in names if name.endswith(f".{run.record.measured}")]

    def read(name: str) -> pl.DataFrame:
        path = f"{table}/{name}.parquet"
        return from_bytes(run.place.read(path), f"{run.place.address}/{path}", columns)

    with ThreadPoolExecutor(_AHEAD) as pool:
        waiting: deque[str] = deque(names)
        coming = deque(pool.submit(read, waiting.popleft()) for _ in range(min(_AHEAD, len(names))))
        while coming:
            part = coming.popleft().result()
            if waiting:
                coming.append(pool.submit(read, waiting.popleft()))
            yield part


def read_table(
    run: Run, table: str, columns: Sequence[str], *, split: str | None = None
) -> pl.DataFrame:
    """All rows of some columns, unsorted; of one split where it is named, whose column is then left out."""
    wanted = [*columns, *(["split"] if split is not None else [])]
    frames = []
    for part in read_parts(run, table, wanted):
        own = part if split is None else part.filter(pl.col("split") == split).drop("split")
        if len(own):
            frames.append(own)
    if not frames:
        return pl.DataFrame(schema={name: TABLES[table][name] for name in columns})
    return pl.concat(frames, rechunk=False)
