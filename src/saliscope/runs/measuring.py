"""The measure stage: a part of maps and the annotations become parts of scores, boxes and curves; no network is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from saliscope.boxes import Box
from saliscope.data import DataSet, Failed, Region, Sample, read_samples
from saliscope.errors import DataError, OptionError, SaliscopeError
from saliscope.frames import Frame
from saliscope.localization import parse_protocol
from saliscope.metrics import METRICS, box_region, is_difficult, mask_hit, union_iou
from saliscope.runs.naming import folded
from saliscope.runs.scoring import (
    MASK_SCORES,
    Annotated,
    Heat,
    Measures,
    Scores,
    add_pointing,
    box_alone,
    iou_of_sides,
    score_map,
)
from saliscope.runs.settings import RunSettings
from saliscope.runs.tables import BOXES, CURVES, IMAGES, KEY, PIXELS, SCORES, frame_of, to_bytes

__all__ = [
    "CENTRE_BOX",
    "FULL_BOX",
    "SHUFFLED",
    "SIDES",
    "TRIVIAL",
    "check_wsol",
    "grid_of",
    "measure_part",
    "measures_of",
    "sample_of",
    "shuffled_map",
]

TRIVIAL = ("random", "centre", "edges")
"""Methods that know no network, which every comparison has to beat."""

FULL_BOX, CENTRE_BOX = "full-box", "centre-box"
"""Rows without a map: the whole image as box and as even heat; a centred box of any size."""

SHUFFLED = "shuffled"
"""Rows of the reference method's own map with its cells in random places: what a score owes to values, not to places."""

SIDES = np.arange(1, 101) / 100
"""The sizes of the centred box, as shares of each side."""

_FLAT: Mapping[str, Callable[[np.ndarray[Any, Any]], float]] = {
    "nonfinite": lambda _: 0.0,
    "constant": lambda grid: float(grid.flat[0]),
}
_MASKS = ("object", "body", "evidence", "twin", "tag")
_IGNORED = ("ignore", "border")


def measures_of(settings: RunSettings) -> Measures:
    """What a run's settings ask to measure."""
    return Measures(
        tuple(map(parse_protocol, settings.protocols)),
        settings.rules,
        settings.thresholds,
        settings.pointing,
        settings.wsol,
    )


def check_wsol(settings: RunSettings, resolved: Mapping[str, Any]) -> None:
    """Raise `OptionError` where wsol scores are asked for and maps do not cover their images whole, as that program takes it."""
    resize = resolved["preprocessing"]["resize"]
    if settings.wsol and resize != "squash":
        raise OptionError(
            f"wsol scores lay each map over its whole image, but these maps are of a {resize}: use --resize squash, or leave out --wsol"
        )


@dataclass(eq=False)
class _Tables:
    """The rows of one part, table by table."""

    scores: list[dict[str, Any]] = field(default_factory=list)
    boxes: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    pixels: list[dict[str, Any]] = field(default_factory=list)
    images: list[dict[str, Any]] = field(default_factory=list)

    def take(self, key: dict[str, Any], found: Scores) -> None:
        self.scores += [key | row for row in found.values]
        self.boxes += [key | row for row in found.boxes]
        self.curves += [key | row for row in found.curves]
        self.pixels += [key | row for row in found.pixels]


def measure_part(
    maps: pl.DataFrame,
    data: Mapping[str, DataSet],
    measures: Measures,
    *,
    trivial: bool = True,
    reference: str | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> dict[str, bytes]:
    """Score all maps of one part: the files of the tables, by name of the table.

    `data` are the splits that the rows speak of. With `trivial` each image and class also gets the rows of boxes alone, and of
    the map of the `reference` (by default the first method) shuffled.
    `tell` is told each image that is done. An annotation that cannot be read makes the scores of its image undefined, and
    the row of the image says why. Raises `DataError` where the data is another than the maps were made of.
    """
    tables = _Tables()
    for rows in _images(maps):
        _measure_image(tables, rows, data, measures, trivial=trivial, reference=reference)
        tell(1)
    schemas = {
        "scores": SCORES,
        "boxes": BOXES,
        "curves": CURVES,
        "pixels": PIXELS,
        "images": IMAGES,
    }
    return {
        name: to_bytes(frame_of(getattr(tables, name), schema)) for name, schema in schemas.items()
    }


def _images(maps: pl.DataFrame) -> Iterator[list[dict[str, Any]]]:
    for group in maps.partition_by("split", "index", maintain_order=True):
        rows = group.drop("map").to_dicts()
        for row, grid in zip(rows, group["map"], strict=True):
            row["map"] = None if grid is None else grid.to_numpy()
        yield rows


def _measure_image(
    tables: _Tables, rows: Sequence[dict[str, Any]], data: Mapping[str, DataSet],
    measures: Measures, *, trivial: bool, reference: str | None,
) -> None:  # fmt: skip
    first = rows[0]
    part = data[first["split"]]
    if first["status"] == "failed":  # not read again: it may be what ended a process
        _check_place(part, first)
        tables.images.append(_failed_row(part, first))
        return
    found = sample_of(part, first)
    sample = None if isinstance(found, Failed) else found
    masks, problem = _masks(sample)
    if isinstance(found, Failed):
        problem = found.message
    size = (first["source_height"], first["source_width"])
    base = _failed_row(part, first)
    own = base["class"]
    tables.images.append(base | _facts(first, sample, problem, size, masks, own))
    known: dict[int | None, Annotated] = {}
    for row in rows:
        target = row["target"]
        if target not in known:
            known[target] = annotated_for(sample, row["label"], size, masks, own=own)
            if trivial:
                _boxes_alone(tables, row, known[target], measures)
        tables.take({k: row[k] for k in KEY}, score_map(_heat(row), known[target], measures))
    if trivial and not any(row["spec"] == SHUFFLED for row in rows):
        for row in _references(rows, reference):
            key = {k: row[k] for k in KEY} | {"spec": SHUFFLED}
            tables.take(key, score_map(_shuffled(row), known[row["target"]], measures))


def _references(rows: Sequence[dict[str, Any]], reference: str | None) -> Iterator[dict[str, Any]]:
    """For each class of an image the row that is shuffled."""
    first: dict[int | None, dict[str, Any]] = {}
    for row in rows:
        if row["spec"] == reference or row["target"] not in first:
            first[row["target"]] = row
    yield from first.values()


def _shuffled(row: Mapping[str, Any]) -> Heat:
    return _heat({**row, "map": shuffled_map(grid_of(row), row["id"])})


def grid_of(row: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """The stored map of a row on its own grid, float32 (h, w)."""
    return np.array(row["map"], np.float32).reshape(row["height"], row["width"])


def shuffled_map(grid: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """The values of a map (h, w) in other places, drawn by the id of its image: the same wherever it is drawn."""
    digest = hashlib.blake2b(f"shuffled/{name}".encode(), digest_size=8).digest()
    generator = np.random.default_rng(int.from_bytes(digest, "little"))
    return generator.permutation(grid.ravel()).reshape(grid.shape)


def sample_of(part: DataSet, row: Mapping[str, Any]) -> Sample | Failed:
    """The sample that a row of maps is of; raises `DataError` where the data has another in its place."""
    _check_place(part, row)
    ((_, sample),) = read_samples(part, [row["index"]])
    return sample


def _check_place(part: DataSet, row: Mapping[str, Any]) -> None:
    index = row["index"]
    if index >= len(part) or part.ids[index] != row["id"]:
        raise DataError(
            f'{part.name}, {row["split"]}, has no "{row["id"]}" at place {index}: the maps were made of another copy; give its '
            "folder with --root"
        )


def _masks(sample: Sample | None) -> tuple[dict[str, np.ndarray[Any, Any]], str | None]:
    if sample is None:
        return {}, None
    try:
        return dict(sample.masks()), None
    except SaliscopeError as err:
        return {}, str(err)


def annotated_for(
    sample: Sample | None, label: str | None, size: tuple[int, int],
    masks: Mapping[str, np.ndarray[Any, Any]], *, own: str | None,
) -> Annotated:  # fmt: skip
    """What the map of the class `label` is judged by: whole things of its image, never crowds.

    Where the image has one class, `own`, they are the things called so, whichever class is explained: a map of a wrong
    prediction is judged by what the photograph is of. Where nothing bears that name, the boxes mean it without saying so,
    and all count. Where the image has several classes (`own` is None), they are those of the class explained.
    """
    if sample is None:
        return Annotated(size, (), (), {})
    things = _things(sample, own)
    if own is None:
        things = _called(things, label)
    ignore = [masks[name] for name in _IGNORED if name in masks]
    chosen = [*_MASKS, *([label] if label is not None else [])]
    return Annotated(
        size,
        tuple(r.box for r in things if not r.difficult),
        tuple(r.box for r in things),
        {
            name: masks[name]
            for name in dict.fromkeys(chosen)
            if name in masks and masks[name].any()
        },
        np.logical_or.reduce(ignore) if ignore else None,
        bool(things)
        and is_difficult([r.box for r in things], size, other_classes=len(_others(sample, things))),
    )


def _things(sample: Sample, own: str | None) -> list[Region]:
    """The whole things that an image is of, never crowds: those called as its class, where anything is; else all."""
    whole = [r for r in sample.regions if r.part is None]
    called = _called(whole, own)
    return [r for r in called or whole if not r.crowd]


def _others(sample: Sample, things: Sequence[Region]) -> set[str]:
    """The classes of a sample that none of these things is of."""
    return {folded(r.label) for r in sample.regions} - {folded(r.label) for r in things}


def _called(regions: Sequence[Region], name: str | None) -> list[Region]:
    return [r for r in regions if name is not None and folded(r.label) == folded(name)]


def _heat(row: Mapping[str, Any]) -> Heat:
    grid = grid_of(row)
    frame = Frame(
        (row["source_height"], row["source_width"]),
        Box(*row["region"]),
        (row["input_height"], row["input_width"]),
    )
    flat = _FLAT.get(row["status"])
    if flat is None:
        return Heat(frame.map_to_source(grid), grid, row["status"])
    # What has no place to point at is scored as exactly even: rounding, or an infinity, would rank its pixels.
    even = frame.map_to_source(np.zeros_like(grid)) + np.float32(flat(grid))
    return Heat(even, grid, row["status"])


def _boxes_alone(
    tables: _Tables, row: Mapping[str, Any], truth: Annotated, measures: Measures
) -> None:
    """The rows that need no map: once an image and class."""
    key = {k: row[k] for k in KEY}
    height, width = truth.size
    whole = Box(0, 0, width, height)
    found = box_alone(whole, truth)
    _even_heat(found, truth, measures)
    tables.take(key | {"spec": FULL_BOX}, found)
    if truth.boxes:
        curve = iou_of_sides(truth, SIDES)
        ones = np.ones(len(SIDES), np.uint16)
        tables.curves.append(
            key | {"spec": CENTRE_BOX, "rule": "side", "iou": curve, "best": curve, "parts": ones}
        )


def _even_heat(found: Scores, truth: Annotated, measures: Measures) -> None:
    """What heat scores that is the same everywhere, its point taken in the middle."""
    height, width = truth.size
    region = box_region(truth.boxes, truth.size) if truth.boxes else None
    share = float(region.mean()) if region is not None else np.nan
    found.add("energy", "boxes", share)
    found.add("enrichment", "boxes", 1.0 if share > 0 else np.nan)
    found.add("inside-outside", "boxes", 1.0 if 0 < share < 1 else np.nan)
    middle = width // 2, height // 2
    add_pointing(found, middle, truth, measures.pointing)
    for name, mask in truth.masks.items():
        even = np.ones(truth.size, np.float32)
        if truth.ignore is not None:
            even[truth.ignore & ~mask] = np.nan
        for metric in MASK_SCORES:
            found.add(metric, f"mask:{name}", METRICS[metric](even, mask))
        found.add("pointing-mask", f"mask:{name}", mask_hit(middle, mask))


def _failed_row(part: DataSet, row: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a sample without its image and annotation."""
    label = part.labels[row["index"]]
    base = {k: row[k] for k in ("id", "index", "split", "truth", "predicted", "message")}
    return base | {"status": "failed", "class": None if label is None else part.classes[label]}


def _facts(
    row: Mapping[str, Any], sample: Sample | None, message: str | None,
    size: tuple[int, int], masks: Mapping[str, Any], own: str | None,
) -> dict[str, Any]:  # fmt: skip
    boxes = [r.box for r in _things(sample, own)] if sample is not None else []
    whole = Box(0, 0, size[1], size[0])
    return {
        "status": "ok",
        "message": message,
        "correct": row["truth"] == row["predicted"] if row["truth"] is not None else None,
        "height": size[0],
        "width": size[1],
        "instances": len(boxes),
        "share": union_iou(whole, [b.clip(size) for b in boxes]) if boxes else None,
        "boxes": [v for b in boxes for v in b],
        "masks": sorted(masks),
    }
