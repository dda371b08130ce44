"""What the pictures and rows of a page are chosen from: the methods of one or several runs, their images and maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saliscope.pictures import Rgb, box_colours
from saliscope.report.study.primary import Primary
from saliscope.report.study.together import Method, Study
from saliscope.runs import Run
from saliscope.runs.store import Store
from saliscope.runs.tables import MAPS, from_bytes

__all__ = ["Material", "Metric", "Source"]

_FACTS = (
    *("id", "index", "split", "spec", "target", "rank", "is_truth"),
    *("label", "status", "probability", "predicted"),
)
_MASKS = ("object", "evidence", "body")  # of several masks, whose score is shown
_MOST_METRICS = 8
_TWINS = 1e-3  # shares of heat that differ by no more are of the same heat, but for rounding
_WORDS = {"iou": "IoU", "pixel-ap": "pixel AP", "gt-known": "GT-known"}
_GREY: Rgb = (140, 140, 146)


@dataclass(frozen=True, eq=False)
class Source:
    """A method as the page names it. `run` is the number of the run that its maps are taken from.

    `trivial`: it knows no network. `drawn`: it has maps; boxes alone have none.
    """

    label: str
    spec: str
    run: int
    colour: Rgb
    trivial: bool
    drawn: bool


@dataclass(frozen=True)
class Metric:
    """A score by a protocol, as the page names it. `binary`: each value is 0 or 1."""

    metric: str
    protocol: str
    binary: bool = False

    @property
    def label(self) -> str:
        return f"{_WORDS.get(self.metric, self.metric)} ({self.protocol})"


class Material:
    """One or several runs, read side by side: an image has the same id in all of them, a class the same name.

    `sources` are their methods, `reference` is the place of the one that others are compared with, `primary` the score by
    which images are chosen, `lower` whether less of it is better.
    """

    def __init__(self, study: Study, primary: Primary, reference: Method) -> None:
        self.study = study
        self.runs = study.runs
        self.sources = tuple(_sources(study))
        self.reference = study.methods.index(reference)
        self.primary = Metric(primary.metric, primary.protocol)
        self.lower = primary.endpoint.better == "lower"
        self._scored = primary.scored.values

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The scores that the page shows image by image, the primary first."""
        known = self.study.combos
        found = [Metric(m, p) for m, p in known if m == "iou"]
        found += [Metric(m, "boxes") for m in ("enrichment", "energy") if (m, "boxes") in known]
        found += [Metric(m, p, binary=True) for m, p in known if m == "pointing"][:1]
        masks = [p for name in _MASKS if ("pixel-ap", p := f"mask:{name}") in known]
        found += [Metric("pixel-ap", p) for p in masks[:1]]
        return tuple(dict.fromkeys([self.primary, *found]))[:_MOST_METRICS]

    @cached_property
    def images(self) -> pl.DataFrame:
        """One row an image of the reported splits, from the first run that has it well; `run` is that run's number."""
        frames = [
            run.images.filter(pl.col("split") == run.settings.split).with_columns(run=pl.lit(i))
            for i, run in enumerate(self.runs)
        ]
        every = pl.concat(frames, how="diagonal")  # another version may have noted more
        every = every.sort(pl.col("status") == "failed", maintain_order=True)
        return every.unique("id", keep="first", maintain_order=True).sort("index", "id")

    @cached_property
    def rows(self) -> pl.DataFrame:
        """One row an image and class that was scored, in the order of the study, then one for each image that failed.

        `id`, `class`, `target` (the name of the class that was explained), `predicted` (its name), `correct`, `status`.
        """
        facts = [self._row_facts(number) for number in range(len(self.runs))]
        scored = pl.concat(facts).unique("place", keep="first").sort("place").drop("place")
        scored = scored.with_columns(status=pl.lit("ok"))
        failed = self.images.filter(pl.col("status") == "failed").select("id", "class", "status")
        return pl.concat([scored, failed], how="diagonal")

    @cached_property
    def twins(self) -> frozenset[int]:
        """The places of methods whose heat is that of the reference up to a factor: as much of it lies inside the boxes, on every image."""
        shares = self.study.values("energy", "boxes")
        own = shares.get(self.sources[self.reference].label)
        if own is None:
            return frozenset()
        gaps = {
            place: np.abs(shares[source.label] - own)
            for place, source in enumerate(self.sources)
            if place != self.reference and source.label in shares
        }
        known = {place: gap[~np.isnan(gap)] for place, gap in gaps.items()}
        return frozenset(p for p, gap in known.items() if len(gap) and gap.max() <= _TWINS)

    def values(self, metric: Metric) -> NDArray[np.float64]:
        """The scores of all rows, float64 (rows, sources); NaN where undefined."""
        found = np.full((len(self.rows), len(self.sources)), np.nan)
        named = self._by_name(metric)
        for place, source in enumerate(self.sources):
            if source.label in named:
                found[: len(self.study.units), place] = named[source.label]
        return found

    def scores_of(self, run: int, spec: str, name: str, target: int) -> list[float | None]:
        """The scores of one map by all metrics; None where they are undefined or were not measured."""
        label = next((s.label for s in self.sources if (s.run, s.spec) == (run, spec)), "")
        found: list[float] = []
        for metric in self.metrics:
            main = self._places(run, main=True).get((name, target))
            other = self._places(run, main=False).get((name, target))
            value = np.nan
            if main is not None and label in (named := self._by_name(metric)):
                value = named[label][self.study.places[run][main]]
            elif other is not None and (scores := self.study.other[run]) is not None:
                own = scores.values.get((metric.metric, metric.protocol), {}).get(spec)
                value = np.nan if own is None else own[other]
            found.append(float(value))
        return [None if np.isnan(value) else round(value, 5) for value in found]

    @cached_property
    def maps(self) -> pl.DataFrame:
        """One row a map of the reported splits, all but its values: `run` and `part` say where these are."""
        return pl.concat([self._facts(number, run) for number, run in enumerate(self.runs)])

    def stored(self, wanted: pl.DataFrame) -> Iterator[dict[str, Any]]:
        """The rows of `maps` that are in `wanted`, with values and frame, as the run holds them, and `run`."""
        keys = ["split", "id", "spec", "target"]
        for number, part in wanted.select("run", "part").unique(maintain_order=True).iter_rows():
            chosen = wanted.filter(pl.col("run") == number, pl.col("part") == part)
            rows = Store(self.runs[number].place).read("maps", part)
            rows = rows.join(chosen.select(keys), on=keys, how="semi", maintain_order="left")
            for row in rows.to_dicts():
                yield row | {"run": number}

    @cached_property
    def _labels(self) -> dict[tuple[int, int], str]:
        named = self.maps.filter(pl.col("label").is_not_null()).unique(["run", "target"])
        return {
            (run, i): label for run, i, label in named.select("run", "target", "label").iter_rows()
        }

    def label(self, run: int, target: int | None) -> str | None:
        """The name of a class of a run's network, as far as maps name it, else its index."""
        return None if target is None else self._labels.get((run, target), f"#{target}")

    def _by_name(self, metric: Metric) -> Mapping[str, NDArray[np.float64]]:
        if metric == self.primary:
            return self._scored
        return self.study.values(metric.metric, metric.protocol)

    def _row_facts(self, number: int) -> pl.DataFrame:
        own = self.study.main[number].units
        named = [
            pl.Series(column, [self.label(number, i) for i in own[column]], pl.String)
            for column in ("target", "predicted")
        ]
        return own.select("id", "class", "correct").with_columns(
            *named, place=pl.Series(self.study.places[number])
        )

    def _places(self, run: int, *, main: bool) -> dict[tuple[str, int], int]:
        """Where the row of an image and class lies in the arrays of a run."""
        scores = self.study.main[run] if main else self.study.other[run]
        key = (run, main)
        if key not in self._found:
            rows = [] if scores is None else scores.units.select("id", "target").iter_rows()
            self._found[key] = {row: place for place, row in enumerate(rows)}
        return self._found[key]

    @cached_property
    def _found(self) -> dict[tuple[int, bool], dict[tuple[str, int], int]]:
        return {}

    def _facts(self, number: int, run: Run) -> pl.DataFrame:
        store = Store(run.place)

        def read(name: str) -> pl.DataFrame:
            path = f"maps/{name}.parquet"
            where = f"{run.place.address}/{path}"
            return from_bytes(run.place.read(path), where, _FACTS).with_columns(part=pl.lit(name))

        none = pl.DataFrame(schema={**{k: MAPS[k] for k in _FACTS}, "part": pl.String})
        with ThreadPoolExecutor(4) as pool:
            rows = pl.concat([none, *pool.map(read, store.parts("maps"))])
        rows = rows.filter(pl.col("split") == run.settings.split, pl.col("status") != "failed")
        rows = rows.unique(["id", "spec", "target"], keep="first", maintain_order=True)
        return rows.with_columns(run=pl.lit(number)).sort("index", maintain_order=True)


def _sources(study: Study) -> Iterator[Source]:
    colours = iter(box_colours([m.spec for m in study.networks]))
    stored = {spec for run in study.runs for spec in run.methods}
    for method in study.methods:
        colour = _GREY if method.trivial else next(colours)
        drawn = method.spec in stored
        yield Source(method.name, method.spec, method.run, colour, method.trivial, drawn)
