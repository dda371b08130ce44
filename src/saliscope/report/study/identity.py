"""Are CAM and Grad-CAM one method here? On a network with pooling and one linear layer they are, up to a factor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from saliscope.report.study.parts import read_parts
from saliscope.report.study.scores import Floats
from saliscope.runs import Run

__all__ = ["SAME", "SameHeat", "same_heat"]

SAME = 1e-4
"""Heat that agrees to this share of a map's maximum is the same: the rest is rounding."""

_ENOUGH = 512  # maps of each method that are compared


@dataclass(frozen=True)
class SameHeat:
    """Two methods on one layer: how far their positive heat, each divided by its maximum, differs at most, over `maps` maps."""

    cam: str
    grad_cam: str
    layer: str
    largest: float
    maps: int

    @property
    def identical(self) -> bool:
        return self.largest <= SAME


def same_heat(run: Run) -> tuple[SameHeat, ...]:
    """Compare CAM with Grad-CAM wherever a run has both on one layer, on the first 512 maps or more, or all there are.

    A negative value is no heat: Grad-CAM has cut it off already.
    """
    found = []
    for cam, grad_cam, layer in _pairs(run):
        largest, count = 0.0, 0
        for one, two in _maps(run, cam, grad_cam):
            largest, count = max(largest, float(np.abs(one - two).max())), count + len(one)
            if count >= _ENOUGH:
                break
        if count:
            found.append(SameHeat(cam, grad_cam, layer, largest, count))
    return tuple(found)


def _pairs(run: Run) -> Iterator[tuple[str, str, str]]:
    specs = {
        name: str(spec).partition("@") for name, spec in run.record.resolved["methods"].items()
    }
    for cam, (kind, _, layer) in specs.items():
        for other, (own, _, place) in specs.items():
            if (kind, own) == ("cam", "grad-cam") and layer and layer == place:
                yield cam, other, layer


def _maps(run: Run, cam: str, grad_cam: str) -> Iterator[tuple[Floats, Floats]]:
    """The heat of two methods on the same images, part by part: (maps, cells) each."""
    keys = ["split", "index", "target"]
    for part in read_parts(run, "maps", (*keys, "spec", "map")):
        one, two = (
            part.filter(pl.col("spec") == name).drop("spec").drop_nulls()
            for name in (cam, grad_cam)
        )
        both = one.join(two, on=keys, suffix="_two")
        size = pl.col("map").list.len()
        both = both.filter(size == size.first(), pl.col("map_two").list.len() == size)
        if len(both):
            width = len(both["map"][0])
            yield tuple(_heat(both[name], width) for name in ("map", "map_two"))  # type: ignore[misc] # two of them


def _heat(maps: pl.Series, width: int) -> Floats:
    heat = np.maximum(np.nan_to_num(maps.list.to_array(width).to_numpy().astype(np.float64)), 0)
    top = heat.max(axis=1, keepdims=True)
    found: Floats = np.divide(heat, top, out=np.zeros_like(heat), where=top > 0)
    return found
