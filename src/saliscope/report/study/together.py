"""Several runs side by side: the same images in the same rows, every method under a name of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saliscope.errors import OptionError
from saliscope.report.study.draws import Draws, strata_of
from saliscope.report.study.endpoint import BOX_METRICS
from saliscope.report.study.naming import run_names
from saliscope.report.study.parts import read_table
from saliscope.report.study.scores import Combo, Floats, RunScores, read_scores, role_of
from saliscope.report.study.sweeps import CENTRE_BOX, Goal, Job, Sweep, read_sweeps
from saliscope.runs import Run
from saliscope.runs.measuring import FULL_BOX, SHUFFLED, TRIVIAL

__all__ = ["Method", "Study", "kind_of", "study_of"]

_WITHOUT = (
    *TRIVIAL,
    SHUFFLED,
)  # maps that know no network, or not where it looked, in the order of tables
_SAME = 1e-6  # scores of methods without a network that agree to this in all runs are shown once
_NAMES = {FULL_BOX: "full-image box", CENTRE_BOX: "centred box"}


@dataclass(frozen=True)
class Method:
    """A row of the tables: a method of one run, or one that knows no network and is the same in the runs `runs`."""

    name: str
    spec: str
    runs: tuple[int, ...]
    trivial: bool

    @property
    def run(self) -> int:
        return self.runs[0]


@dataclass(frozen=True, eq=False)
class Study:
    """Runs and their arrays. Rows are images and classes of all runs, `units`: key, id, class, share and what else the data says.

    `label` names the class of a row also where an image has several. `methods` in the order of tables: those of the networks, then those without one. `main` are the scores of the maps that the runs are
    about; `other` those of the predicted classes where a run explained both.
    """

    runs: tuple[Run, ...]
    names: tuple[str, ...]
    units: pl.DataFrame
    methods: tuple[Method, ...]
    draws: Draws
    main: tuple[RunScores, ...]
    other: tuple[RunScores | None, ...]
    sweeps: tuple[Mapping[Job, Sweep], ...]
    places: tuple[NDArray[np.intp], ...]
    _found: dict[Combo, dict[str, Floats]] = field(default_factory=dict, repr=False)

    @property
    def networks(self) -> tuple[Method, ...]:
        """The methods that were asked for."""
        return tuple(m for m in self.methods if not m.trivial)

    @property
    def trivial(self) -> tuple[Method, ...]:
        return tuple(m for m in self.methods if m.trivial)

    @cached_property
    def combos(self) -> tuple[Combo, ...]:
        """The metrics and protocols that maps were measured by, in the order of the settings."""
        found = {combo for run in self.main for combo in run.values if combo[1] != "box"}
        order = [p for run in self.runs for p in run.settings.protocols]
        return tuple(
            sorted(found, key=lambda c: (order.index(c[1]) if c[1] in order else len(order), c))
        )

    @property
    def several(self) -> bool:
        """Whether images have several rows, one for each of their classes."""
        return self.draws.clusters is not None

    def method(self, name: str) -> Method:
        return next(m for m in self.methods if m.name == name)

    def values(self, metric: str, protocol: str) -> dict[str, Floats]:
        """The scores (units,) of every method that has them, by name; boxes without a heatmap have them by any protocol."""
        combo = (metric, protocol)
        if combo not in self._found:
            kept = {m.name: self._values(m, combo) for m in self.methods}
            self._found[combo] = {name: v for name, v in kept.items() if v is not None}
        return self._found[combo]

    def _values(self, method: Method, combo: Combo) -> Floats | None:
        alone = method.spec == FULL_BOX and combo[0] in BOX_METRICS
        wanted = (combo[0], "box") if alone else combo
        found = None
        for run in method.runs:
            own = self.main[run].values.get(wanted, {}).get(method.spec)
            if own is not None:
                here = self.spread(run, own)
                found = here if found is None else np.where(np.isnan(found), here, found)
        return found

    def spread(self, run: int, rows: NDArray[Any]) -> NDArray[Any]:
        """Numbers of the rows of one run as rows of all, NaN where the run has none."""
        every = np.full(
            (len(self.units), *rows.shape[1:]), np.nan, np.result_type(rows, np.float32)
        )
        every[self.places[run]] = rows
        return every

    def fact(self, run: int, column: str) -> Floats:
        """A number that a run knows of each of its rows, such as "rank" or "correct", NaN where it knows none."""
        own = self.main[run].units[column].cast(pl.Float64).to_numpy()
        return np.asarray(self.spread(run, own), np.float64)

    def sweep(self, method: Method, rule: str) -> Sweep | None:
        """The curves of a method by a rule; those of the centred box whatever the rule."""
        wanted = "side" if method.spec == CENTRE_BOX else rule
        return self.sweeps[method.run].get((method.spec, wanted))

    def swept(self, method: Method, rule: str, goal: Goal, what: str) -> Floats | None:
        """Scores at thresholds, (units, ...) of "at_oracle", "at_chosen" or "near"; None where there are none."""
        sweep = self.sweep(method, rule)
        found = None if sweep is None else getattr(sweep.aims[goal], what)
        return None if found is None else np.asarray(self.spread(method.run, found), np.float64)


def study_of(runs: Sequence[Run], *, replicates: int = 10_000, seed: int = 0) -> Study:
    """Read runs into arrays and bring their images together by id, and by class where images have several.

    Raises `OptionError` for a run without scores.
    """
    scores = [read_scores(run) for run in runs]
    roles = [role_of(run) for run in runs]
    for run, found, role in zip(runs, scores, roles, strict=True):
        if not len(found[role].units):
            raise OptionError(
                f"{run.place.address} has no scores of {run.settings.split}; `saliscope measure {run.place.address}` makes them, once there are maps"
            )
    main = tuple(found[role] for found, role in zip(scores, roles, strict=True))
    sweeps = tuple(
        read_sweeps(run, own.units, role) for run, own, role in zip(runs, main, roles, strict=True)
    )
    units, places = _together(runs, main)
    ids = units["id"].to_numpy()
    several = units["id"].n_unique() < len(units)
    strata = strata_of(units["class"].fill_null("").to_numpy(), ids)
    draws = Draws(strata, ids if several else None, replicates, seed)
    names = run_names(runs)
    other = tuple(found.get("predicted") if len(found) > 1 else None for found in scores)
    methods = _methods(runs, names, main, sweeps, places, len(units))
    return Study(tuple(runs), names, units, methods, draws, main, other, sweeps, places)


def _together(
    runs: Sequence[Run], main: Sequence[RunScores]
) -> tuple[pl.DataFrame, tuple[NDArray[np.intp], ...]]:
    """The rows of all runs, each once, and where those of each run are among them."""
    several = any(own.units["id"].n_unique() < len(own.units) for own in main)
    keyed = [
        own.units.with_columns(_label(run, own.units)).with_columns(
            key=pl.concat_str("id", pl.lit("\n"), "label") if several else pl.col("id")
        )
        for run, own in zip(runs, main, strict=True)
    ]
    shared = ["key", "id", "class", "label", "share", "instances"]
    units = pl.concat([k.select(shared) for k in keyed])
    units = units.unique("key", keep="first", maintain_order=True)
    where = units.select("key", pl.int_range(pl.len(), dtype=pl.Int64).alias("place"))
    places = tuple(
        k.join(where, on="key", how="left", maintain_order="left")["place"].to_numpy()
        for k in keyed
    )
    return units, places


def _label(run: Run, units: pl.DataFrame) -> pl.Series:
    """The name of each row's class, for networks number them differently: the data's, else the network's, else its number."""
    labels = read_table(run, "maps", ("target", "label")).unique("target").drop_nulls("target")
    named = units.join(labels, on="target", how="left", maintain_order="left")
    number = pl.col("target").cast(pl.String)
    return named.select(pl.coalesce("class", "label", number).alias("label")).to_series()


def _methods(
    runs: Sequence[Run],
    names: Sequence[str],
    main: Sequence[RunScores],
    sweeps: Sequence[Mapping[Job, Sweep]],
    places: Sequence[NDArray[np.intp]],
    count: int,
) -> tuple[Method, ...]:
    networks, trivial = [], []
    for i, (run, name) in enumerate(zip(runs, names, strict=True)):
        own = [m for m in run.methods if kind_of(m) not in _WITHOUT]
        networks += [Method(_named(name, spec), spec, (i,), trivial=False) for spec in own]
    maps = dict.fromkeys(m for run in runs for m in run.methods if kind_of(m) in _WITHOUT)
    maps[SHUFFLED] = None  # it is measured without being stored
    for spec in (*sorted(maps, key=lambda m: _WITHOUT.index(kind_of(m))), FULL_BOX, CENTRE_BOX):
        have = [i for i in range(len(runs)) if _has(spec, main[i], sweeps[i])]
        have.sort(key=lambda i: -len(main[i].units))  # curves are those of the run that has most
        same = have and all(_agree(spec, main, places, count, have[0], i) for i in have[1:])
        groups = [tuple(have)] if same else [(i,) for i in have]
        trivial += [
            Method(
                _named("" if same else names[g[0]], _NAMES.get(spec, spec)), spec, g, trivial=True
            )
            for g in groups
        ]
    return (*networks, *trivial)


def kind_of(spec: str) -> str:
    """The name of a method without its layer and options."""
    return spec.partition("@")[0].partition(":")[0]


def _named(run: str, spec: str) -> str:
    return f"{run} · {spec}" if run else spec


def _has(spec: str, scores: RunScores, sweeps: Mapping[Job, Sweep]) -> bool:
    if spec == CENTRE_BOX:
        return (spec, "side") in sweeps
    return any(spec in found for found in scores.values.values())


def _agree(
    spec: str, main: Sequence[RunScores], places: Sequence[NDArray[np.intp]], count: int, a: int, b: int
) -> bool:  # fmt: skip
    """Whether a method without a network has the same scores in two runs wherever they share images; boxes alone always have."""
    if not len(np.intersect1d(places[a], places[b])):
        return False
    if kind_of(spec) not in _WITHOUT:
        return True
    for combo in main[a].values.keys() & main[b].values.keys():
        both = [main[i].values[combo].get(spec) for i in (a, b)]
        rows = np.full((2, count), np.nan)
        for row, i, value in zip(rows, (a, b), both, strict=True):
            if value is not None:
                row[places[i]] = value
        shared = ~np.isnan(rows).any(axis=0)
        if not np.allclose(rows[0, shared], rows[1, shared], rtol=0, atol=_SAME):
            return False
    return True
