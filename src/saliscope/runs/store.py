"""The parts of a run on disk: which samples are done, what is missing, and all tables as frames."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl

from saliscope.errors import DataError
from saliscope.runs.place import Place
from saliscope.runs.tables import KEY, TABLES, from_bytes, to_bytes

__all__ = ["ASKED", "MEASURED", "SANITY_TABLE", "Progress", "Store", "measured_name", "once"]

MEASURED = ("boxes", "curves", "pixels", "images", "scores")
"""The tables of the measure stage."""

ASKED = ("answers", "removal", "costs")
"""The tables of the ask stage."""

SANITY_TABLE = "sanity"
"""The table of the sanity checks, a part for each method."""

_STATE = ("split", "id", "status")


@dataclass(frozen=True)
class Progress:
    """The ids of the samples of each split that are explained, and those of the ones that failed."""

    done: dict[str, frozenset[str]]
    failed: dict[str, frozenset[str]]

    def closed(self, split: str, *, retry: bool = False) -> frozenset[str]:
        """What need not be done again; with `retry` what failed is to be done again."""
        done = self.done.get(split, frozenset())
        return done if retry else done | self.failed.get(split, frozenset())


class Store:
    """Reads and writes the parts of one run. `measured` names the settings of the scores, so that others are told apart."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def progress(self) -> Progress:
        """What the parts of maps hold. Raises `DataError` naming a damaged one."""
        done: dict[str, set[str]] = {}
        failed: dict[str, set[str]] = {}
        for frame in self._parts("maps", self.parts("maps"), _STATE):
            for split, name, status in frame.select(_STATE).unique().iter_rows():
                (failed if status == "failed" else done).setdefault(split, set()).add(name)
        gone = {s: failed[s] - done.get(s, set()) for s in failed}
        return Progress(
            {s: frozenset(v) for s, v in done.items()}, {s: frozenset(v) for s, v in gone.items()}
        )

    def parts(self, table: str) -> list[str]:
        """The names of the parts of a table, without folder and suffix."""
        found = self.place.names(table)
        return [n.removesuffix(".parquet") for n in found if n.endswith(".parquet")]

    def unmeasured(self, key: str) -> list[str]:
        """The parts of maps that lack one of the measured tables by the settings whose hash is `key`."""
        there = frozenset.intersection(*(frozenset(self.parts(t)) for t in MEASURED))
        return [name for name in self.parts("maps") if measured_name(name, key) not in there]

    def is_asked(self, name: str, key: str) -> bool:
        """Whether a question was asked about a part of maps by the settings that `key` names."""
        return all(self.holds(table, measured_name(name, key)) for table in ASKED)

    def holds(self, table: str, name: str) -> bool:
        """Whether a table has a part of this name."""
        return self.place.exists(f"{table}/{name}.parquet")

    def unasked(self, keys: Sequence[str]) -> list[str]:
        """The parts of maps about which one of the questions `keys` has not been asked."""
        there = frozenset.intersection(*(frozenset(self.parts(t)) for t in ASKED))
        return [
            name
            for name in self.parts("maps")
            if not there.issuperset(measured_name(name, key) for key in keys)
        ]

    def without_answers(self, keys: Collection[str]) -> int:
        """How many samples have no answer to one of the questions `keys`; sanity checks, which are of a few, do not count."""
        asked = [key for key in keys if not key.startswith(f"{SANITY_TABLE}-")]
        return self.images_in(self.unasked(asked)) if asked else 0

    def damaged(self, table: str, names: Collection[str]) -> list[str]:
        """Those of some parts of a table that are there and hold no table: cut short, or changed by a disk or a copy.

        Raises `DataError` where one cannot be read at all, which may pass.
        """
        there = [name for name in self.parts(table) if name in names]

        def is_damaged(name: str) -> bool:
            path = f"{table}/{name}.parquet"
            try:
                data = self.place.read(path)
            except DataError:
                if self.place.exists(path):
                    raise
                return False  # another shard removed it meanwhile
            try:
                from_bytes(data, path)
            except DataError:
                return True
            return False

        with ThreadPoolExecutor(8) as pool:
            found = pool.map(is_damaged, there)
            return [name for name, damaged in zip(there, found, strict=True) if damaged]

    def images_in(self, names: Sequence[str]) -> int:
        """How many samples some parts of maps hold."""
        return sum(f["index"].n_unique() for f in self._parts("maps", names, ("index",)))

    def failures(self) -> pl.DataFrame:
        """The samples that failed: split, index, id, message, in the order of the data."""
        columns = ("split", "index", "id", "status", "message")
        rows = once(self.table("maps", columns=columns), "images")
        failed = rows.filter(pl.col("status") == "failed")
        return failed.select("split", "index", "id", "message").sort("split", "index")

    def write(self, table: str, name: str, data: bytes) -> None:
        self.place.write(f"{table}/{name}.parquet", data)

    def write_measured(self, name: str, key: str, tables: dict[str, bytes]) -> None:
        """Write the tables of the measure stage for a part of maps."""
        for table in MEASURED:
            self.write(table, measured_name(name, key), tables[table])

    def write_asked(self, name: str, key: str, tables: Mapping[str, bytes]) -> None:
        """Write what a question about a part of maps gave."""
        for table in ASKED:
            self.write(table, measured_name(name, key), tables[table])

    def read(self, table: str, name: str) -> pl.DataFrame:
        """One part. Raises `DataError` naming it where it is damaged."""
        path = f"{table}/{name}.parquet"
        return from_bytes(self.place.read(path), f"{self.place.address}/{path}")

    def forget(self, names: Sequence[str]) -> None:
        """Remove parts of maps that are to be made anew, and what was measured of them; most are not there."""
        old = frozenset(names)
        for table in ("maps", *MEASURED, *ASKED):
            found = self.parts(table)
            there = [n for n in found if (n if table == "maps" else n.rpartition(".")[0]) in old]
            self.place.remove([f"{table}/{name}.parquet" for name in there])

    def forget_failures(self, ids: Mapping[str, Collection[str]]) -> None:
        """Take the rows of samples that failed, by split, out of all parts: they are to be tried again, and the new reason counts.

        A part in which nothing is left is removed, with what was measured of it.
        """
        again = pl.any_horizontal(
            (pl.col("split") == split) & pl.col("id").is_in(list(own)) for split, own in ids.items()
        )
        stale = (pl.col("status") == "failed") & again
        for table in ("maps", "images"):
            names = self.parts(table)
            for name, rows in zip(names, self._parts(table, names, _STATE), strict=True):
                count = rows.select(stale.sum()).item()
                if count and count == len(rows):
                    self.forget([name if table == "maps" else name.rpartition(".")[0]])
                elif count:
                    self.write(table, name, to_bytes(self.read(table, name).filter(~stale)))

    def forget_answers(self, keys: Collection[str]) -> None:
        """Remove what the questions of these keys answered."""
        for table in (*ASKED, SANITY_TABLE):
            old = [name for name in self.parts(table) if name.rpartition(".")[2] in keys]
            self.place.remove([f"{table}/{name}.parquet" for name in old])

    def forget_other_scores(self, key: str) -> int:
        """Remove the parts of scores that other settings made; how many files that are."""
        old = [
            f"{table}/{name}.parquet"
            for table in MEASURED
            for name in self.parts(table)
            if not name.endswith(f".{key}")
        ]
        self.place.remove(old)
        return len(old)

    def table(
        self, table: str, key: str | None = None, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """All rows of a table, in the order of the data, each once; of measured tables those whose settings are `key`."""
        names = [n for n in self.parts(table) if key is None or n.endswith(f".{key}")]
        schema = TABLES[table] if columns is None else {c: TABLES[table][c] for c in columns}
        frames = list(self._parts(table, names, columns))
        if not frames:
            return pl.DataFrame(schema=schema)
        rows = pl.concat(frames)
        order = [c for c in ("split", "index") if c in rows.columns]
        rows = rows.sort(order, maintain_order=True) if order else rows
        return once(rows, table) if columns is None else rows

    def _parts(
        self, table: str, names: Iterable[str], columns: Sequence[str] | None
    ) -> Iterator[pl.DataFrame]:
        def read(name: str) -> pl.DataFrame:
            path = f"{table}/{name}.parquet"
            return from_bytes(self.place.read(path), f"{self.place.address}/{path}", columns)

        with ThreadPoolExecutor(8) as pool:
            yield from pool.map(read, names)


def measured_name(name: str, key: str) -> str:
    """What the scores of a part of maps are called, by the hash of the settings that made them."""
    return f"{name}.{key}"


def once(rows: pl.DataFrame, table: str) -> pl.DataFrame:
    """Each row once, should two processes have written it; a sample that failed and then did not is no failure."""
    extra = {
        "scores": ["metric", "protocol"],
        "boxes": ["protocol"],
        "curves": ["rule"],
        "pixels": ["mask"],
        "answers": ["metric", "protocol", "seed"],
        "removal": ["kind"],
        "sanity": ["how", "likeness", "stage", "seed"],
    }
    whole = {"images": ["split", "id"], "costs": ["split", "index", "question"]}
    keys = whole.get(table, [*_identity(), *extra.get(table, [])])
    if "status" in rows.columns:
        well = rows.filter(pl.col("status") != "failed").select("split", "id").unique()
        stale = pl.col("status") == "failed"
        bad = rows.filter(stale).join(well, on=["split", "id"], how="anti")
        if len(bad) < rows.select(stale.sum()).item():
            rows = pl.concat([rows.filter(~stale), bad]).sort("split", "index", maintain_order=True)
    return rows.unique(keys, keep="first", maintain_order=True)


def _identity() -> list[str]:
    return [name for name in KEY if name not in ("index", "rank", "is_truth")]
