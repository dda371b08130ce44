"""A run, opened: its settings and its tables as frames."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from saliscope.boxes import Box
from saliscope.data import DataSet, Failed
from saliscope.errors import DataError, DependencyError, OptionError, nearest
from saliscope.explanation import Explanation, Target
from saliscope.frames import Frame
from saliscope.localization import even_grid
from saliscope.metrics.wsol import wsol_grid
from saliscope.runs.measuring import SHUFFLED, SIDES, sample_of
from saliscope.runs.place import open_place
from saliscope.runs.record import Record, read_record
from saliscope.runs.settings import RunSettings
from saliscope.runs.splits import open_splits
from saliscope.runs.store import SANITY_TABLE, Store, once
from saliscope.runs.tables import SCORES, TABLES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Role", "Run", "over_seeds", "role_filter"]

Role = Literal["truth", "predicted"]
"""Which maps of an image: those of its own classes, or that of the predicted one."""


class Run:
    """The results of one evaluation. Frames are read when they are first asked for; nothing is written.

    `scores`, `maps`, `images`, `boxes`, `curves` and `pixels` are polars frames, and so are `answers`, `removal`, `costs` and
    `sanity` where the network was asked about the maps, in the order of the data; their columns
    stand in `saliscope.runs.tables`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.place = open_place(folder)
        self.record: Record = read_record(self.place)
        self.settings: RunSettings = self.record.settings()
        self._store = Store(self.place)

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} of {s}" for s, n in self.record.selected.items())
        return f"<Run {self.place.address}: {self.record.resolved['model']} on {self.settings.data} ({counts})>"

    @cached_property
    def maps(self) -> pl.DataFrame:
        """One row a map, `map` flat with `height` and `width`; failed samples have a row without one."""
        return self._store.table("maps")

    @cached_property
    def scores(self) -> pl.DataFrame:
        """One row an image, map, metric and protocol; of what was asked with several seeds the mean of those defined."""
        measured = self._measured("scores")
        if self.answers.is_empty():
            return measured
        return pl.concat([measured, over_seeds(self.answers)]).sort(
            "split", "index", maintain_order=True
        )

    @cached_property
    def answers(self) -> pl.DataFrame:
        """What the network answered: one row an image, map, metric, protocol and seed."""
        return self._asked("answers")

    @cached_property
    def removal(self) -> pl.DataFrame:
        """The probability of the class as pixels go or come: one row an image, map and kind of curve."""
        return self._asked("removal")

    @cached_property
    def costs(self) -> pl.DataFrame:
        """What each question took, batch by batch."""
        return self._asked("costs")

    @cached_property
    def sanity(self) -> pl.DataFrame:
        """How alike maps stay while the network forgets: one row an image, method, stage, seed and likeness."""
        return self._asked("sanity")

    @cached_property
    def boxes(self) -> pl.DataFrame:
        """One row an image, map and protocol; null where there is no box."""
        return self._measured("boxes")

    @cached_property
    def curves(self) -> pl.DataFrame:
        """IoU at every threshold, one row an image, map and rule; `thresholds(rule)` are the places."""
        return self._measured("curves")

    @cached_property
    def pixels(self) -> pl.DataFrame:
        """Histograms of heat inside and outside each mask."""
        return self._measured("pixels")

    @cached_property
    def images(self) -> pl.DataFrame:
        """One row a sample: class, prediction, what is annotated, status."""
        return self._measured("images")

    @property
    def methods(self) -> list[str]:
        """The methods that were asked for and the trivial ones, as they are written in the column `spec`."""
        return list(self.record.resolved["methods"])

    @property
    def has_maps(self) -> bool:
        """Whether the raw maps are in the folder: they take most of its room, and may have been left behind."""
        return bool(self._store.parts("maps"))

    @property
    def unmeasured(self) -> int:
        """How many parts of maps have no scores yet: 0 for a run that is finished."""
        return len(self._store.unmeasured(self.record.measured))

    @property
    def half_asked(self) -> bool:
        """Whether there are answers that are not shown yet: the network was asked about some of the maps, and then stopped."""
        names = [*self._store.parts("answers"), *self._store.parts(SANITY_TABLE)]
        return not {name.rpartition(".")[2] for name in names} <= set(self.record.asked)

    @property
    def unanswered(self) -> int:
        """How many samples have no answers to what the network was asked about the others."""
        return self._store.without_answers(self.record.asked)

    @property
    def missing(self) -> int:
        """How many of the selected samples are neither explained nor failed; where the maps were left behind, not measured."""
        if self.has_maps:
            progress = self._store.progress()
            there = sum(len(progress.closed(split)) for split in self.record.selected)
        else:
            there = self.images.select("split", "id").n_unique()
        return max(0, sum(self.record.selected.values()) - there)

    def thresholds(self, rule: str) -> NDArray[np.float64]:
        """The places of the curves of a rule: thresholds, or for "side" the sizes of the centred box."""
        if rule == "side":
            return SIDES
        return wsol_grid() if rule == "wsol" else even_grid(self.settings.thresholds)

    def by_method(
        self,
        metric: str,
        protocol: str | None = None,
        *,
        target: Role = "truth",
        split: str | None = None,
    ) -> pl.DataFrame:
        """One row an image (and class), one column a method: the values of one metric by one protocol.

        Methods without a map keep their own protocol, "box". `target` takes the maps of the images' own classes or of the
        predicted ones. Raises `OptionError` for a metric or protocol that was not measured, and for classes that were not
        explained.
        """
        rows = self._rows(metric, protocol, target, split or self.settings.split)
        keys = ["id", "index", "target"]
        wide = rows.pivot("spec", index=keys, values="value", aggregate_function="first")
        order = [m for m in [*self.methods, SHUFFLED, *wide.columns[3:]] if m in wide.columns]
        return wide.select([*keys, *dict.fromkeys(order)])

    def to_pandas(
        self, metric: str, protocol: str | None = None, *, target: Role = "truth"
    ) -> pd.DataFrame:
        """`by_method` as a pandas frame with the ids as index. Raises `DependencyError` without pandas."""
        try:
            import pandas as pd
        except ImportError:
            raise DependencyError("pandas is not installed: pip install pandas") from None
        wide = self.by_method(metric, protocol, target=target).drop("index", "target")
        columns = {name: wide[name].to_numpy() for name in wide.columns[1:]}
        return pd.DataFrame(columns, index=pd.Index(wide["id"].to_list(), name="id"))

    def _rows(self, metric: str, protocol: str | None, target: Role, split: str) -> pl.DataFrame:
        wanted_role = role_filter(target)
        if self.settings.target not in (target, "both"):
            raise OptionError(
                f"this run explained the {self.settings.target} classes only: of the {target} ones it has but those of correct "
                "predictions; evaluate with --target both"
            )
        rows = self.scores.filter(pl.col("metric") == metric, pl.col("split") == split)
        known = rows["protocol"].unique().sort().to_list()
        if not known:
            names = self.scores["metric"].unique().sort().to_list()
            raise OptionError(f'no metric "{metric}" was measured; {nearest(metric, names)}')
        named = [name for name in known if name != "box"]
        if protocol is None and len(named) > 1:
            raise OptionError(f"{metric} was measured by {', '.join(named)}; name one of them")
        wanted = protocol or (named or known)[0]
        if wanted not in known:
            raise OptionError(f'{metric} was not measured by "{wanted}"; {nearest(wanted, known)}')
        return rows.filter(pl.col("protocol").is_in([wanted, "box"]), wanted_role)

    def explanations(
        self,
        name: str,
        *,
        data: Mapping[str, DataSet] | None = None,
    ) -> list[Explanation]:
        """The stored maps of the sample with this id as explanations, with its photograph read from the data.

        Raises `DataError` where the sample has no maps or cannot be read.
        """
        rows = self.maps.filter(pl.col("id") == name, pl.col("status") != "failed")
        if not len(rows):
            raise DataError(f'there are no maps of "{name}" in {self.place.address}')
        parts = data if data is not None else open_splits(self.settings)
        first = rows.row(0, named=True)
        rows = rows.filter(pl.col("split") == first["split"])
        sample = sample_of(parts[first["split"]], first)
        if isinstance(sample, Failed):
            raise DataError(sample.message)
        photo = sample.photo()
        return [_explanation(row, photo, self.record.resolved["model"]) for row in rows.to_dicts()]

    def _asked(self, table: str) -> pl.DataFrame:
        """The answers to all questions; where two hold the same metric, the newer one's."""
        frames = [self._store.table(table, key) for key in self.record.asked]
        rows = pl.concat([pl.DataFrame(schema=TABLES[table]), *frames])
        return rows if table == "costs" else once(rows, table)

    def _measured(self, table: str) -> pl.DataFrame:
        return self._store.table(table, self.record.measured)


def over_seeds(answers: pl.DataFrame) -> pl.DataFrame:
    """Answers as scores: for each metric of a map the mean over the seeds for which it is defined."""
    keys = [name for name in SCORES if name != "value"]
    mean = pl.col("value").fill_nan(None).mean().fill_null(float("nan"))
    return answers.group_by(keys, maintain_order=True).agg(mean)


def role_filter(target: Role) -> pl.Expr:
    """Which rows are maps of the images' own classes, or of the predicted ones."""
    if target not in ("truth", "predicted"):
        raise OptionError(f'maps are of the "truth" or the "predicted" class; got "{target}"')
    return pl.col("is_truth") if target == "truth" else pl.col("rank") == 0


def _explanation(row: Mapping[str, Any], photo: Any, model: str) -> Explanation:
    import numpy as np

    name, colon, options = row["method"].partition(":")
    return Explanation(
        map=np.array(row["map"], np.float32).reshape(row["height"], row["width"]),
        frame=Frame(
            (row["source_height"], row["source_width"]),
            Box(*row["region"]),
            (row["input_height"], row["input_width"]),
        ),
        target=Target(
            row["target"], row["label"], row["space"], row["logit"], row["probability"], row["rank"]
        ),
        status=row["status"],
        method=f"{name}{colon}{options}",
        layer=row["layer"],
        model=model,
        photo=photo,
        predicted=Target(row["predicted"], None),
        seconds=row["seconds"],
    )
