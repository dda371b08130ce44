"""How alike the maps of a run's methods are: each with each, on one grid, on average over images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saliscope.metrics import linkage_of, spearman_rows, top_overlap
from saliscope.report.study.asked import reported
from saliscope.report.study.flat import grids_of
from saliscope.report.study.parts import read_parts
from saliscope.report.study.scores import Floats
from saliscope.report.study.together import Study

__all__ = ["Alike", "alike_of"]

_ENOUGH = 256  # images, evenly over the data: a mean over more of them says no more
_FINEST = 56  # cells a side: finer maps are compared on this grid
_SAME_GROUP = 0.3  # 1 - correlation below which methods are said to be of one opinion


@dataclass(frozen=True, eq=False)
class Alike:
    """Mean likeness of the maps of `names` over `images`, on a `grid` (h, w): rank correlations and overlaps of the hottest tenth, (m, m).

    NaN where no image has two maps to compare. `ties` is the share of the hottest places that ties left open, on average.
    """

    names: tuple[str, ...]
    grid: tuple[int, int]
    images: int
    correlation: Floats
    overlap: Floats
    ties: float

    @property
    def known(self) -> tuple[int, ...]:
        """The places of the methods that were compared with all others that can be."""
        defined = ~np.isnan(self.correlation)
        rows = [i for i in range(len(self.names)) if defined[i].sum() > 1]
        return tuple(i for i in rows if defined[i, rows].all())

    @property
    def tree(self) -> Floats | None:
        """The linkage of the `known` methods; None for fewer than two."""
        places = list(self.known)
        return linkage_of(self.correlation[np.ix_(places, places)]) if len(places) > 1 else None

    @property
    def order(self) -> tuple[int, ...]:
        """The places of all methods, like ones beside each other, those without a map last."""
        tree = self.tree
        if tree is None:
            return tuple(range(len(self.names)))
        from scipy.cluster.hierarchy import leaves_list

        own = [self.known[leaf] for leaf in leaves_list(tree)]
        return (*own, *(i for i in range(len(self.names)) if i not in own))

    @property
    def groups(self) -> list[list[str]]:
        """The methods whose maps hang together by a mean correlation above .7, largest group first."""
        tree = self.tree
        if tree is None:
            return []
        from scipy.cluster.hierarchy import fcluster

        labels = fcluster(tree, _SAME_GROUP, criterion="distance").tolist()
        found = [
            [self.names[self.known[i]] for i, own in enumerate(labels) if own == label]
            for label in dict.fromkeys(labels)
        ]
        return sorted(found, key=lambda group: -len(group))


def alike_of(study: Study, run: int) -> Alike | None:
    """Compare the stored maps of a run, those of what knows no network too; None for fewer than two methods with maps."""
    named = {m.spec: m.name for m in study.methods if run in m.runs}
    grids = {spec: grid for spec, grid in grids_of(study.runs[run]).items() if spec in named}
    specs = [m.spec for m in study.methods if run in m.runs and m.spec in grids]
    if len(specs) < 2:
        return None
    height, width = (min(_FINEST, *(grids[spec][side] for spec in specs)) for side in (0, 1))
    maps = list(_maps(study, run, specs, (height, width)))
    if not maps:
        return None
    stacked = np.stack(maps)
    correlation, (overlap, ties) = _correlations(stacked), _overlaps(stacked)
    names = tuple(named[spec] for spec in specs)
    return Alike(names, (height, width), len(maps), correlation, overlap, ties)


def _maps(
    study: Study, number: int, specs: Sequence[str], grid: tuple[int, int]
) -> Iterator[Floats]:
    """The maps of one image and class, (methods, h, w), NaN where a method has none or one that is not finite."""
    run = study.runs[number]
    units = study.main[number].units.select("index", "target")
    chosen = units[np.unique(np.linspace(0, len(units) - 1, _ENOUGH).round().astype(int)).tolist()]
    columns = ("index", "split", "spec", "target", "rank", "is_truth", "map", "height", "width")
    for part in read_parts(run, "maps", columns):
        rows = reported(run, part).filter(pl.col("map").is_not_null(), pl.col("spec").is_in(specs))
        rows = rows.join(chosen, on=["index", "target"], how="semi")
        for _, own in rows.group_by("index", "target", maintain_order=True):
            found = np.full((len(specs), *grid), math.nan)
            for spec, values, height, width in own.select("spec", "map", "height", "width").iter_rows():  # fmt: skip
                cells = np.array(values, np.float32).reshape(height, width)
                if np.isfinite(cells).all():
                    found[specs.index(spec)] = _coarser(cells, grid)
            yield found


def _coarser(cells: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    import cv2

    if cells.shape == grid:
        return cells
    return np.asarray(cv2.resize(cells, grid[::-1], interpolation=cv2.INTER_AREA), np.float32)


def _correlations(maps: Floats) -> Floats:
    """Mean rank correlations (m, m) of maps (images, m, h, w)."""
    count = maps.shape[1]
    found = np.full((count, count), math.nan)
    for i, j in combinations(range(count), 2):
        found[i, j] = found[j, i] = _mean(spearman_rows(maps[:, i], maps[:, j]))
    for i in range(count):
        found[i, i] = _mean(spearman_rows(maps[:, i], maps[:, i]))
    return found


def _overlaps(maps: Floats) -> tuple[Floats, float]:
    """Mean overlaps of the hottest tenth (m, m) of maps (images, m, h, w), and the mean share of ties."""
    count = maps.shape[1]
    found, ties = np.full((count, count), math.nan), []
    for i in range(count):
        for j in range(i, count):
            pairs = [top_overlap(one[i], one[j]) for one in maps]
            found[i, j] = found[j, i] = _mean(np.array([pair.value for pair in pairs]))
            ties += [pair.ties for pair in pairs if i == j]
    return found, _mean(np.array(ties))


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
