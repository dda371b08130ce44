"""PxAP: average precision of all pixels of a set, from the histograms of its maps, with intervals that draw images again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from saliscope.metrics import precision_under
from saliscope.report.study.draws import Draws, bare, interval_of
from saliscope.report.study.parts import read_parts
from saliscope.report.study.scores import Floats, masks_named, role_of, with_places
from saliscope.report.study.together import Study
from saliscope.runs.run import role_filter
from saliscope.stats import Interval, resample

__all__ = ["pixel_precision"]

_POOLS = (
    32,
    128,
)  # of bins, for the replicates: 128 change an interval by 0.0002 at most, 32 by 0.001
_BUDGET = 6e9  # products of a bootstrap of one method and mask
_ROWS = 500


@dataclass(eq=False)
class _Histograms:
    """Pixels by heat, (units, bins) inside and outside, of one method and mask."""

    inside: NDArray[np.uint32]
    outside: NDArray[np.uint32]
    seen: NDArray[np.bool_]


def pixel_precision(study: Study) -> Mapping[tuple[str, str], Interval]:
    """PxAP by mask and method's name; empty where no masks were measured.

    The estimate is exact. Replicates are made of pooled bins of heat, and moved by what pooling changes in the estimate: that is a
    hundredth of the interval's width.
    """
    found: dict[tuple[str, str], Interval] = {}
    for i in range(len(study.runs)):
        for spec, mask, held in _read(study, i):
            own = next((m for m in study.methods if m.spec == spec and m.run == i), None)
            if own is not None:
                every = np.zeros(len(study.units), np.bool_)
                every[study.places[i]] = held.seen
                found[mask, own.name] = _precision(held, study.draws, every, study.places[i])
    return found


def _read(study: Study, place: int) -> list[tuple[str, str, _Histograms]]:
    run, units = study.runs[place], study.main[place].units
    known = with_places(units)
    held: dict[tuple[str, str], _Histograms] = {}
    columns = ("split", "index", "target", "rank", "is_truth", "spec", "mask", "inside", "outside")
    for part in read_parts(run, "pixels", columns):
        own = part.filter(role_filter(role_of(run)), pl.col("split") == run.settings.split)
        own = own.with_columns(masks_named("mask")).join(known, on=["index", "target"])
        for (spec, mask), group in own.partition_by("spec", "mask", as_dict=True).items():
            inside, outside = (
                group[c].list.to_array(len(group[c][0])).to_numpy() for c in ("inside", "outside")
            )
            size = (len(units), inside.shape[1])
            if (spec, mask) not in held:
                held[spec, mask] = _Histograms(
                    np.zeros(size, np.uint32), np.zeros(size, np.uint32), np.zeros(len(units), np.bool_)
                )  # fmt: skip
            one, at = held[spec, mask], group["place"].to_numpy()
            one.inside[at], one.outside[at], one.seen[at] = inside, outside, True
    return [(spec, mask, one) for (spec, mask), one in held.items()]


def _precision(
    held: _Histograms, draws: Draws, every: NDArray[np.bool_], places: NDArray[np.intp]
) -> Interval:
    inside, outside = (h[held.seen].astype(np.float64) for h in (held.inside, held.outside))
    exact = float(precision_under(inside.sum(axis=0)[None], outside.sum(axis=0)[None])[0])
    bins = _pools(inside.sum(axis=0) + outside.sum(axis=0), len(inside) * draws.replicates)
    starts = np.flatnonzero(np.diff(bins, prepend=-1))
    pooled = [np.add.reduceat(h, starts, axis=1) for h in (inside, outside)]
    wide = len(starts)

    def statistic(sums: Floats) -> Floats:
        return precision_under(sums[:, :wide], sums[:, wide:])[:, None]

    parts = np.empty((len(every), 2 * wide), np.float32)
    parts[places[held.seen]] = np.concatenate(pooled, axis=1)
    (found,) = resample(
        parts[every], statistic, undefined=int((~every).sum()), **draws.options_of(every)
    )
    moved = exact - found.estimate
    interval = interval_of(found)
    if draws.few(every):
        interval = bare(interval)
    return Interval(
        exact, interval.low + moved, interval.high + moved, interval.n, interval.undefined
    )


def _pools(pixels: Floats, cost: float) -> NDArray[np.intp]:
    """For each bin its pool: as many as the budget allows, the hottest pixels in the finest."""
    count = int(np.clip(_BUDGET / cost / 2, *_POOLS))
    hotter = np.cumsum(pixels[::-1])[::-1] / max(pixels.sum(), 1)
    depth = np.floor((1 - np.sqrt(np.minimum(hotter, 1))) * count).astype(np.intp)
    return np.maximum.accumulate(np.minimum(depth, count - 1))
