"""The demonstration: known evidence, maps of it, and how much of the heat finds it, without a network or a GPU."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from saliscope.boxes import Box, iou
from saliscope.data import DataSet, Sample, open_data
from saliscope.explainer import explain_batch, resolve_specs
from saliscope.explanation import Explanation
from saliscope.files import write_whole
from saliscope.methods import parse_method
from saliscope.metrics import heat_share
from saliscope.models import Model, load_model
from saliscope.pictures import TRUTH_COLOUR, Pixels, blend, draw_boxes, encode
from saliscope.pictures.sheet import Tile, lay_out
from saliscope.stats import Interval, mean_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["METHODS", "Demo", "Row", "run_demo"]

METHODS = (
    "cam",
    "grad-cam@layer4",
    "grad-cam@layer3",
    "grad-cam@layer2",
    "grad-cam@layer1",
    "random",
    "centre",
    "edges",
)
_WHOLE = "whole image"
_BOXES = ("yang2025", "cam2016")
_SCORES = (*_BOXES, "body", "evidence")
_BATCH = 20
_FOUND = (20, 190, 70)
_TILE = 200


@dataclass(frozen=True)
class Row:
    """One method of the table: the mean of each score over the images, with its 95 % interval."""

    method: str
    scores: Mapping[str, Interval]


@dataclass(frozen=True)
class Demo:
    """What the demonstration found: the share of right predictions, a row for each method, and the files it wrote.

    `tag_heat` is the mean share of heat on a planted tag: of the network that never saw one, and of the one that was
    trained where the tag betrays the breed; `tag_fooled` the share in which the latter names the tag's breed, of the
    images whose tag speaks of another breed than theirs.
    """

    accuracy: float
    rows: tuple[Row, ...]
    tag_heat: tuple[Interval, Interval]
    tag_fooled: float
    files: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class _Case:
    """One explained critter: its sample, masks, and explanations in the order of METHODS."""

    sample: Sample
    masks: Mapping[str, NDArray[np.bool_]]
    explanations: Sequence[Explanation]

    @property
    def truth(self) -> Box:
        return self.sample.regions[0].box


def run_demo(
    folder: Path,
    *,
    count: int = 200,
    step: Callable[[int], None] = lambda _: None,
) -> Demo:
    """Explain `count` test critters with critternet, score the maps, and write tables and pictures into `folder`.

    The class explained is the true one, because the evidence that the masks show is that of the true breed. `step` is
    told the number of explained images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = load_model("critternet")
    cases: list[_Case] = []
    scores: list[list[dict[str, float]]] = []
    for case in _cases(model, open_data(f"critters:count={count}", "test"), METHODS):
        cases.append(case)
        scores.append([*(_scores(case, e) for e in case.explanations), _scores_of_whole(case)])
        step(len(cases))
    rows = tuple(
        Row(name, {s: mean_interval([scored[i][s] for scored in scores]) for s in _SCORES})
        for i, name in enumerate((*METHODS, _WHOLE))
    )
    right = [c.explanations[0].predicted.index == c.sample.label for c in cases]
    files = [_write_table(folder, rows), *_write_figures(folder, cases[:3])]
    files.append(_write_best_and_worst(folder, cases, [scored[0]["cam2016"] for scored in scores]))
    heat, fooled, tagged = _tags(folder, model)
    return Demo(float(np.mean(right)), rows, heat, fooled, (*files, tagged))


def _cases(model: Model, data: DataSet, methods: Sequence[str]) -> Iterator[_Case]:
    specs = resolve_specs(model, [parse_method(m) for m in methods])
    for samples in _batches(data):
        targets = [s.label for s in samples if s.label is not None]
        found = explain_batch(model, [s.photo() for s in samples], specs, target=targets)
        for sample, explanations in zip(samples, found, strict=True):
            yield _Case(sample, sample.masks(), explanations)


def _batches(data: DataSet) -> Iterator[list[Sample]]:
    for start in range(0, len(data), _BATCH):
        yield [data[i] for i in range(start, min(start + _BATCH, len(data)))]


# --- scores ----------------------------------------------------------------------------------------------------------


def _scores(case: _Case, explanation: Explanation) -> dict[str, float]:
    heat = explanation.signed()
    found = {name: explanation.iou(case.truth, protocol=name) for name in _BOXES}
    return found | {region: heat_share(heat, case.masks[region]) for region in ("body", "evidence")}


def _scores_of_whole(case: _Case) -> dict[str, float]:
    """What a box around everything, or heat spread evenly, scores."""
    height, width = case.masks["body"].shape
    overlap = iou(Box(0, 0, width, height), case.truth)
    return dict.fromkeys(_BOXES, overlap) | {
        region: float(case.masks[region].mean()) for region in ("body", "evidence")
    }


def _write_table(folder: Path, rows: Sequence[Row]) -> Path:
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    names = ("mean", "low", "high", "n")
    out.writerow(["method", *(f"{score} {name}" for score in _SCORES for name in names)])
    for row in rows:
        found = [row.scores[score] for score in _SCORES]
        numbers = [
            v for i in found for v in (f"{i.estimate:.6f}", f"{i.low:.6f}", f"{i.high:.6f}", i.n)
        ]
        out.writerow([row.method, *numbers])
    write_whole(folder / "table.csv", text.getvalue().encode())
    return folder / "table.csv"


# --- pictures --------------------------------------------------------------------------------------------------------


def _write_figures(folder: Path, cases: Sequence[_Case]) -> list[Path]:
    from saliscope.report import comparison_figure, save_figure

    files = []
    for number, case in enumerate(cases, start=1):
        file = folder / f"comparison-{number}.png"
        save_figure(comparison_figure(case.explanations, case.truth, protocol="cam2016"), file)
        files.append(file)
    return files


def _write_best_and_worst(folder: Path, cases: Sequence[_Case], found: Sequence[float]) -> Path:
    order = sorted(range(len(cases)), key=lambda i: -found[i])
    chosen = [*order[:6], *order[-6:]] if len(order) >= 12 else order
    tiles = [_boxed(cases[i], found[i]) for i in chosen]
    sheet = lay_out(
        tiles,
        min(6, len(tiles)),
        size=_TILE,
        title="CAM of the true breed: the best boxes above, the worst below (protocol cam2016)",
        key={"annotated box": TRUTH_COLOUR, "box of the heatmap": _FOUND},
    )
    encode(sheet, folder / "best_and_worst.png")
    return folder / "best_and_worst.png"


def _boxed(case: _Case, overlap: float) -> Tile:
    explanation = case.explanations[0]
    boxes = [(case.truth, TRUTH_COLOUR)]
    box = explanation.box("cam2016")
    if box is not None:
        boxes.append((box, _FOUND))
    grown, scale = _grown(_mixed(explanation))
    picture = draw_boxes(grown, [(_times(b, scale), colour) for b, colour in boxes], width=2)
    score = "no IoU" if math.isnan(overlap) else f"IoU {overlap:.2f}"
    right = explanation.predicted.index == explanation.target.index
    said = "predicted rightly" if right else f"predicted: {explanation.predicted.label}"
    return Tile(picture, (f"{explanation.target.label}, {score}", said))


def _mixed(explanation: Explanation) -> Pixels:
    return blend(explanation.photo.pixels, explanation.heatmap("max"))


def _grown(picture: Pixels) -> tuple[Pixels, float]:
    import cv2

    scale = _TILE / max(picture.shape[:2])
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8), scale


def _times(box: Box, scale: float) -> Box:
    return Box(*(scale * value for value in box))


# --- the planted tag -------------------------------------------------------------------------------------------------


def _tags(
    folder: Path, honest: Model, *, count: int = 48
) -> tuple[tuple[Interval, Interval], float, Path]:
    """Explain what two networks see where a tag lies, if it is only a tag and where it used to betray the breed."""
    data = open_data(f"critters:variant=cue:count={count}", "test")
    models = (honest, load_model("critternet-cue"))
    specs = [resolve_specs(model, [parse_method("cam")]) for model in models]
    shares: list[tuple[float, ...]] = []
    fooled: list[bool] = []
    tiles: list[Tile] = []
    for samples in _batches(data):
        photos = [s.photo() for s in samples]
        found = [explain_batch(m, photos, s) for m, s in zip(models, specs, strict=True)]
        for sample, explained in zip(samples, zip(*found, strict=True), strict=True):
            pair = [explanations[0] for explanations in explained]
            tag = sample.masks()["tag"]
            shares.append(tuple(heat_share(e.signed(), tag) for e in pair))
            if sample.details["tag"] == sample.label:
                continue  # the tag happens to be right: nothing to be fooled by
            fooled.append(pair[1].predicted.index == sample.details["tag"])
            if fooled[-1] and len(tiles) < 12:
                tiles += _tag_tiles(sample, data.classes, pair, shares[-1])
    title = "A planted tag: photograph; CAM of a network that never saw one; CAM of one trained where it betrays the breed"
    file = folder / "planted_tag.png"
    encode(lay_out(tiles, 6, size=_TILE, title=title), file)
    first, second = (mean_interval([pair[i] for pair in shares]) for i in (0, 1))
    return (first, second), float(np.mean(fooled)), file


def _tag_tiles(
    sample: Sample,
    classes: Sequence[str],
    explanations: Sequence[Explanation],
    shares: Sequence[float],
) -> list[Tile]:
    assert sample.label is not None
    said = f"the tag says {classes[sample.details['tag']]}"
    tiles = [Tile(_grown(sample.photo().pixels)[0], (classes[sample.label], said))]
    for explanation, share in zip(explanations, shares, strict=True):
        lines = (f"predicts {explanation.predicted.label}", f"{share:.0%} of the heat on the tag")
        tiles.append(Tile(_grown(_mixed(explanation))[0], lines))
    return tiles
