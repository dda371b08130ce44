"""What one map scores against what is annotated: boxes, shares of heat, points, and curves over all thresholds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from saliscope.boxes import Box, best_iou
from saliscope.localization import (
    NormaliseRule,
    Protocol,
    Status,
    even_grid,
    find_box,
    has_no_box,
    normalise,
    sweep_boxes,
)
from saliscope.localization.normalise import finite_range, is_constant
from saliscope.metrics import (
    COMPLEXITY_METRICS,
    METRICS,
    box_region,
    complexity_scores,
    hottest_point,
    mask_hit,
    pixel_histogram,
    pixels_of,
    pointing_hit,
    precision_under,
)
from saliscope.metrics.wsol import wsol_curve, wsol_grid, wsol_resize_box, wsol_scoremap

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BOX",
    "BOX_SCORES",
    "COMPLEXITY",
    "MASK_SCORES",
    "REGION_SCORES",
    "Annotated",
    "Combo",
    "Heat",
    "Measures",
    "Scores",
    "add_pointing",
    "box_alone",
    "combos_of",
    "iou_of_sides",
    "pointing_protocols",
    "score_map",
]

BOX = "box"
"""The protocol of a box that needs no heatmap."""

BOX_SCORES = ("iou", "union-iou", "gt-known", "no-box")
"""What is counted of the box of each box protocol."""

REGION_SCORES = ("energy", "enrichment", "inside-outside")
"""What is counted of the heat in the annotated boxes; their protocol is "boxes"."""

COMPLEXITY = ("map", "image")
"""The protocols of how spread out the heat is: on the map's own grid, and over the pixels of the image."""

MASK_SCORES = ("relevance-mass", "mask-enrichment", "relevance-rank", "pixel-ap")
"""What is counted of the heat in each mask; the protocol is "mask:NAME"."""

Combo = tuple[str, str]
"""A metric and its protocol, as the scores name them."""

_RADIUS = 15.0
_COVERAGE = (0.0, 0.25, 0.5)


@dataclass(frozen=True, eq=False)
class Annotated:
    """What is annotated for one class in one image of `size` (H, W).

    `boxes` are its instances without the difficult ones, `every` with them. `masks` are bool (H, W) by name; `ignore` marks
    pixels that no mask score counts. `difficult`: the class is small here and not alone (Zhang et al. 2018).
    """

    size: tuple[int, int]
    boxes: tuple[Box, ...]
    every: tuple[Box, ...]
    masks: Mapping[str, NDArray[np.bool_]]
    ignore: NDArray[np.bool_] | None = None
    difficult: bool = False


@dataclass(frozen=True)
class Measures:
    """What is measured: box protocols, rules and number of thresholds of the sweep, variants of pointing, wsol."""

    protocols: tuple[Protocol, ...]
    rules: tuple[NormaliseRule, ...] = ("min-max",)
    thresholds: int = 1000
    pointing: tuple[str, ...] = ("torchray",)
    wsol: bool = False


def pointing_protocols(variant: str, *, difficult: bool) -> tuple[str, ...]:
    """The protocols that a trial of the pointing game counts for: a difficult one for two."""
    named = f"{variant}-{_RADIUS:g}px"
    return (named, f"{named}-difficult") if difficult else (named,)


def _coverage_protocol(delta: float) -> str:
    return f"delta={delta:g}"


def combos_of(measures: Measures, *, several: bool = False) -> tuple[Combo, ...]:
    """What a map is measured by, but for masks, which only the data knows; `several`: images have several classes each."""
    found = [(name, str(protocol)) for name in BOX_SCORES for protocol in measures.protocols]
    found += [(name, "boxes") for name in REGION_SCORES]
    found += [("box-coverage", _coverage_protocol(delta)) for delta in _COVERAGE]
    played = [pointing_protocols(variant, difficult=several) for variant in measures.pointing]
    found += [("pointing", protocol) for protocols in played for protocol in protocols]
    found += [(metric, grid) for grid in COMPLEXITY for metric in COMPLEXITY_METRICS]
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Heat:
    """A map brought to its image, signed (H, W), finite but NaN where unseen, with the raw map and its status."""

    signed: NDArray[np.float32]
    grid: NDArray[np.float32]
    status: Status


@dataclass(eq=False)
class Scores:
    """The rows of one map, without the columns that name it."""

    values: list[dict[str, Any]] = field(default_factory=list)
    boxes: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    pixels: list[dict[str, Any]] = field(default_factory=list)

    def add(self, metric: str, protocol: str, value: float) -> None:
        self.values.append({"metric": metric, "protocol": protocol, "value": value})

    def add_box(self, box: Box | None, truth: Sequence[Box], protocol: str) -> None:
        """A box with all that is counted of it alone."""
        corners = dict(zip(("x0", "y0", "x1", "y1"), box or (None,) * 4, strict=True))
        self.boxes.append({"protocol": protocol, **corners})
        for name in BOX_SCORES:
            value = float(box is None) if name == "no-box" else METRICS[name](box, truth)
            self.add(name, protocol, value)


def score_map(heat: Heat, truth: Annotated, measures: Measures) -> Scores:
    """Score one map. Metrics are NaN where nothing is annotated, or where a map without heat leaves them undefined."""
    found = Scores()
    rules: set[NormaliseRule] = {"min-max", *measures.rules, *(p.rule for p in measures.protocols)}
    low, high = finite_range(heat.signed)
    # Of a map whose lowest value is 0, as those with a ReLU often are, the two rules make the same.
    same = low == 0.0
    scaled: dict[NormaliseRule, NDArray[np.float32]] = {"min-max": normalise(heat.signed)}
    for rule in rules - {"min-max"}:
        scaled[rule] = scaled["min-max"] if same else normalise(heat.signed, rule)
    flat = has_no_box(heat.status) or is_constant(low, high)
    for protocol in measures.protocols:
        box = find_box(heat.signed, protocol, scaled=scaled[protocol.rule], flat=flat)
        found.add_box(box, truth.boxes, str(protocol))
    _heat_in_boxes(found, heat, truth, scaled["min-max"])
    # Where no place is hotter than another there is no point, and the map has had its chance.
    point = None if flat else hottest_point(heat.signed)
    add_pointing(found, point, truth, measures.pointing)
    for name, mask in truth.masks.items():
        _heat_in_mask(found, heat, name, mask, truth.ignore, scaled["min-max"])
        found.add("pointing-mask", f"mask:{name}", mask_hit(point, mask))
    _spread(found, heat)
    if truth.boxes and measures.thresholds:
        for rule in measures.rules:
            found.curves.append(_curve(rule, scaled[rule], truth.boxes, measures.thresholds))
    if truth.boxes and measures.wsol:
        found.curves.extend(_wsol(heat, truth))
    return found


class _Inside:
    """The pixels of the annotated boxes; those of a single box need no mask."""

    def __init__(self, truth: Annotated) -> None:
        self.region: Any
        if len(truth.boxes) == 1:
            self.region = pixels_of(truth.boxes[0], truth.size)
        else:
            self.region = box_region(truth.boxes, truth.size)

    def sum(self, values: NDArray[np.float32]) -> float:
        return float(values[self.region].sum(dtype=np.float64))

    def count(self, flags: NDArray[np.bool_]) -> int:
        return int(np.count_nonzero(flags[self.region]))


def _heat_in_boxes(
    found: Scores, heat: Heat, truth: Annotated, scaled: NDArray[np.float32]
) -> None:
    if not truth.boxes:
        for name in REGION_SCORES:
            found.add(name, "boxes", math.nan)
        for delta in _COVERAGE:
            found.add("box-coverage", _coverage_protocol(delta), math.nan)
        return
    inside = _Inside(truth)
    seen = ~np.isnan(heat.signed)
    positive = np.fmax(heat.signed, np.float32(0))  # of NaN and 0 it takes 0
    total, within = float(positive.sum(dtype=np.float64)), inside.sum(positive)
    cells, own = int(np.count_nonzero(seen)), inside.count(seen)
    share = within / total if total > 0 else math.nan
    found.add("energy", "boxes", share)
    found.add("enrichment", "boxes", share / (own / cells) if own else math.nan)
    around = (total - within) / (cells - own) if own < cells else math.nan
    ratio = within / own / around if own and around > 0 else math.nan
    found.add("inside-outside", "boxes", ratio)
    for delta in _COVERAGE:
        above = scaled > np.float32(delta)
        hit = inside.count(above)
        missed = int(np.count_nonzero(above)) - hit
        found.add(
            "box-coverage", _coverage_protocol(delta), hit / (own + missed) if own else math.nan
        )


def add_pointing(
    found: Scores, point: tuple[int, int] | None, truth: Annotated, variants: Sequence[str]
) -> None:
    """The pointing game with one point (x, y); no point misses, and where nothing is annotated there is no trial."""
    for variant in variants:
        hit = math.nan
        if truth.boxes:
            hit = float(
                point is not None
                and pointing_hit(point, truth.every, truth.size, variant=variant, radius=_RADIUS)  # type: ignore[arg-type] # checked by the settings
            )
        for protocol in pointing_protocols(variant, difficult=truth.difficult):
            found.add("pointing", protocol, hit)


def _heat_in_mask(
    found: Scores, heat: Heat, name: str, mask: NDArray[np.bool_],
    ignore: NDArray[np.bool_] | None, scaled: NDArray[np.float32],
) -> None:  # fmt: skip
    protocol = f"mask:{name}"
    signed = heat.signed if ignore is None else np.where(ignore & ~mask, np.nan, heat.signed)
    for metric in ("relevance-mass", "mask-enrichment", "relevance-rank"):
        found.add(metric, protocol, METRICS[metric](signed, mask))
    inside, outside = pixel_histogram(scaled, mask, ignore=ignore)
    found.add("pixel-ap", protocol, float(precision_under(inside[None], outside[None])[0]))
    found.pixels.append({"mask": name, "inside": inside, "outside": outside})


def _spread(found: Scores, heat: Heat) -> None:
    """How spread out the heat is, whatever is annotated."""
    seen = ~np.isnan(heat.signed)
    grids = (heat.grid, None), (heat.signed, None if seen.all() else seen)
    for protocol, (values, part) in zip(COMPLEXITY, grids, strict=True):
        for metric, value in complexity_scores(values, seen=part).items():
            found.add(metric, protocol, value)


def _curve(
    rule: NormaliseRule, scaled: NDArray[np.float32], truth: Sequence[Box], count: int
) -> dict[str, Any]:
    sweep = sweep_boxes(scaled, even_grid(count), truth=truth)
    return {
        "rule": rule,
        "iou": sweep.iou.astype(np.float32),
        "best": sweep.best_iou.astype(np.float32),
        "parts": np.minimum(sweep.components, 65535),
    }


def _wsol(heat: Heat, truth: Annotated) -> Iterator[dict[str, Any]]:
    corners = [wsol_resize_box(box, truth.size) for box in truth.boxes]
    scoremap = wsol_scoremap(heat.grid)
    largest, _ = wsol_curve(scoremap, corners, wsol_grid())
    best, count = wsol_curve(scoremap, corners, wsol_grid(), every=True)
    yield {
        "rule": "wsol",
        "iou": largest.astype(np.float32),
        "best": best.astype(np.float32),
        "parts": np.minimum(count, 65535),
    }


def box_alone(box: Box, truth: Annotated, protocol: str = BOX) -> Scores:
    """What a box scores that no heatmap was needed for."""
    found = Scores()
    found.add_box(box, truth.boxes, protocol)
    return found


def iou_of_sides(truth: Annotated, sides: NDArray[np.float64]) -> NDArray[np.float32]:
    """IoU of centred boxes whose sides are the given shares of the image's, with the instance that fits best."""
    height, width = truth.size
    found = []
    for side in sides:
        w, h = width * side, height * side
        box = Box((width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2)
        found.append(best_iou(box, truth.boxes))
    return np.array(found, np.float32)
