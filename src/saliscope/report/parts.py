"""What the figures share: pictures of one explanation, the heading, box lines, and the table that is their legend."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from saliscope.boxes import Box, best_iou
from saliscope.explanation import Explanation
from saliscope.localization import NormaliseRule, Protocol
from saliscope.pictures import TRUTH_COLOUR, Rgb, blend, box_colours, colourise
from saliscope.pictures.panels import cell_size, shrink_heat, shrink_photo
from saliscope.report.page import ALERT, INK, LINE, SOFT, Page, measured, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Heading",
    "LegendTable",
    "Line",
    "Scores",
    "View",
    "draw_lines",
    "fit",
    "names_of",
    "stamp_status",
]

Dashes = tuple[float, tuple[float, ...]]
_MOST_PIXELS = 900  # the width at which photographs are embedded
# Dashes tell boxes apart where colours do not; a dashed box on an equal solid one leaves both visible.
_OTHER_DASHES: tuple[Dashes, ...] = (
    (0, (1, 1)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (5, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)
_MOST_BOXES = 6  # more on one photograph hide it


def fit(width: float, size: tuple[int, ...]) -> tuple[float, float]:
    """Width and height in inches of a picture of `size` (H, W) in a column of `width`: 1.4 times as high at most."""
    height = min(width * size[0] / size[1], 1.4 * width)
    return height * size[1] / size[0], height


def names_of(explanations: Sequence[Explanation]) -> list[str]:
    """Name each explanation by its specification, and by target and network where these differ."""
    targets = len({e.target.name for e in explanations}) > 1
    models = len({e.model for e in explanations}) > 1
    return [
        ", ".join([e.spec, *([e.target.name] if targets else []), *([e.model] if models else [])])
        for e in explanations
    ]


@dataclass(frozen=True, eq=False)
class View:
    """The photograph and the heatmap of one explanation, shrunk alike to what a figure can show."""

    photo: NDArray[np.uint8]
    heat: NDArray[np.float32]

    @classmethod
    def of(cls, explanation: Explanation, normalise: NormaliseRule) -> View:
        pixels = explanation.photo.pixels
        size = pixels.shape[:2]
        if max(size) > _MOST_PIXELS:
            size = cell_size(size, _MOST_PIXELS)
        heat = shrink_heat(explanation.heatmap(normalise), (size[0], size[1]))
        return cls(shrink_photo(pixels, (size[0], size[1])), heat)

    def coloured(self, colormap: str) -> NDArray[np.uint8]:
        return colourise(self.heat, colormap=colormap)

    def blended(self, alpha: float, colormap: str) -> NDArray[np.uint8]:
        return blend(self.photo, self.heat, alpha=alpha, colormap=colormap)


class Heading:
    """The lines above a figure: what was explained, of which photograph and network."""

    def __init__(
        self,
        explanations: Sequence[Explanation],
        room: float,
        title: str = "",
        *,
        hatched: bool = True,
    ) -> None:
        first = explanations[0]
        targets = list(dict.fromkeys(str(e.target) for e in explanations))
        what = "target: " + "; ".join(t.replace("   ", ", ") for t in targets)
        if any(e.target.index != e.predicted.index for e in explanations):
            what += f"; predicted: {first.predicted.name}"
        height, width = first.photo.pixels.shape[:2]
        where = f"{first.photo.name}, {width} × {height}" + (
            f", {first.model}" if first.model else ""
        )
        whole = Box(0, 0, width, height)
        if hatched and any(e.frame.seen != whole for e in explanations):
            where += "; hatched: not seen by the network"
        self.title = wrapped(title, room, size=10.5, bold=True, most=2)
        self.notes = wrapped(what, room, size=8.5, most=3) + wrapped(where, room, size=8.5, most=2)

    @property
    def height(self) -> float:
        """Inches from the upper edge of the page to where the figure goes on."""
        lines = len(self.title) * 10.5 + len(self.notes) * 8.5
        return 0.1 + LINE * lines / 72 + 0.08

    def draw(self, page: Page, left: float = 0.12) -> float:
        y = page.paragraph(left, 0.1, self.title, size=10.5, bold=True)
        page.paragraph(left, y, self.notes, size=8.5, ink=SOFT)
        return self.height


@dataclass(frozen=True)
class Line:
    """How a box is drawn: its corners, colour, and dashes (None: solid)."""

    box: Box | None
    colour: Rgb
    dashes: Dashes | None

    @property
    def width(self) -> float:
        """Points: the annotated box, widest, shows on both sides of a box that equals it."""
        return 2.5 if self.colour == TRUTH_COLOUR else 1.8

    @property
    def style(self) -> Dashes | str:
        return self.dashes or "-"

    @property
    def rgb(self) -> tuple[float, float, float]:
        red, green, blue = self.colour
        return red / 255, green / 255, blue / 255


class Scores:
    """The box and the IoU of each explanation against the annotated boxes, by one protocol."""

    def __init__(
        self, explanations: Sequence[Explanation], truth: Sequence[Box], protocol: Protocol
    ) -> None:
        self.explanations = list(explanations)
        self.protocol = protocol
        colours = box_colours([e.spec for e in explanations])
        found = [e.box(protocol) for e in explanations]
        self.ious = [best_iou(box, truth) for box in found]
        self.truth = [Line(box, TRUTH_COLOUR, None) for box in truth]
        self.names = names_of(explanations)
        dashes = _dashes(colours)
        self.found = [Line(*parts) for parts in zip(found, colours, dashes, strict=True)]

    @property
    def lines(self) -> list[Line]:
        """All boxes, the annotated ones first, so that they lie below."""
        return self.truth + self.found

    @property
    def on_photograph(self) -> list[Line]:
        """The boxes that fit on one photograph: all, or only the annotated ones where there are too many."""
        return self.lines if len(self.found) <= _MOST_BOXES else self.truth

    def score(self, index: int) -> tuple[str, str]:
        """The IoU and the status of one explanation in words, with the ink they are written in."""
        explanation, value = self.explanations[index], self.ious[index]
        words = [] if math.isnan(value) else [f"IoU {value:.3f}"]
        if self.found[index].box is None:
            words.append("no box")
        if explanation.status != "ok":
            words.append(f"status: {explanation.status}")
        return ", ".join(words) or "status: ok", INK if explanation.status == "ok" else ALERT

    def cells(self, index: int) -> dict[str, str]:
        """One row of the table by column name."""
        explanation, value, box = self.explanations[index], self.ious[index], self.found[index].box
        return {
            "IoU": "–" if math.isnan(value) else f"{value:.3f}",
            "box": _corners(box),
            "status": explanation.status
            + ("" if box or explanation.status != "ok" else ", no box"),
            "seconds": f"{explanation.seconds:.3f}",
        }


class LegendTable:
    """A table that is also the legend: a piece of each box's line, its method, and columns of numbers."""

    def __init__(self, scores: Scores, width: float, columns: Sequence[str]) -> None:
        self.scores, self.width, self.columns = scores, width, list(columns)
        self.rows: list[tuple[Line, str, dict[str, str]]] = []
        if scores.truth:
            many = (
                f"annotated ({len(scores.truth)} boxes)" if len(scores.truth) > 1 else "annotated"
            )
            shown = _corners(scores.truth[0].box) if len(scores.truth) == 1 else ""
            self.rows.append((scores.truth[0], many, {"box": shown}))
        for index, name in enumerate(scores.names):
            self.rows.append((scores.found[index], name, scores.cells(index)))
        self.widths = [
            max(measured(t, 8.5, bold=True) for t in (c, *(row[2].get(c, "") for row in self.rows)))
            + 0.16
            for c in self.columns
        ]
        room = width - 0.42 - sum(self.widths)
        self.names = [wrapped(name, room, size=8.5, most=3) for _, name, _ in self.rows]
        note = f"box: {scores.protocol}"
        if scores.truth:
            note += "; IoU: half-open" + (
                ", best of the annotated boxes" if len(scores.truth) > 1 else ""
            )
        self.note = wrapped(note, width, size=7.5, most=2)

    @property
    def height(self) -> float:
        return (
            0.3 + sum(map(self._row_height, self.names)) + 0.06 + len(self.note) * LINE * 7.5 / 72
        )

    def _row_height(self, lines: list[str]) -> float:
        return len(lines) * LINE * 8.5 / 72 + 0.07

    def draw(self, page: Page, x: float, y: float) -> None:
        page.write(x + 0.42, y + 0.02, "method", size=8.5, bold=True)
        for right, name in self._rights(x):
            page.write(right, y + 0.02, name, size=8.5, bold=True, align="right")
        y += 0.24
        page.rule(x, y, x + self.width, color=INK)
        y += 0.06
        for (line, _, cells), lines in zip(self.rows, self.names, strict=True):
            self._draw_row(page, x, y, line, lines, cells)
            y += self._row_height(lines)
        page.rule(x, y, x + self.width)
        page.paragraph(x, y + 0.05, self.note, size=7.5, ink=SOFT)

    def _draw_row(
        self, page: Page, x: float, y: float, line: Line, lines: list[str], cells: dict[str, str]
    ) -> None:
        middle = y + LINE * 8.5 / 144
        if line.box is not None:
            page.rule(
                x, middle, x + 0.34, color=line.rgb, linewidth=line.width, linestyle=line.style
            )
        page.paragraph(x + 0.42, y, lines, size=8.5)
        for right, name in self._rights(x):
            text = cells.get(name, "")
            alert = name == "status" and text not in ("ok", "")
            page.write(right, y, text, size=8.5, align="right", ink=ALERT if alert else INK)

    def _rights(self, x: float) -> Iterator[tuple[float, str]]:
        right = x + self.width - sum(self.widths)
        for width, name in zip(self.widths, self.columns, strict=True):
            right += width
            yield right, name


def draw_lines(axes: Axes, lines: Sequence[Line], *, scale: float = 1.0) -> None:
    """Draw boxes, each with a thin dark rim, on a picture whose axes count its pixels; `scale` thins the lines."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    for line in lines:
        if line.box is None:
            continue
        width = scale * line.width
        rectangle = Rectangle(
            (line.box.x0, line.box.y0),
            line.box.width,
            line.box.height,
            fill=False,
            edgecolor=line.rgb,
            linewidth=width,
            linestyle=line.style,
            joinstyle="miter",
            clip_on=False,
        )
        rectangle.set_path_effects([withStroke(linewidth=width + 0.8, foreground="#141414")])
        axes.add_patch(rectangle)


def stamp_status(axes: Axes, status: str) -> None:
    """Write a status on the lower left corner of a picture unless it is "ok"."""
    if status == "ok":
        return
    axes.annotate(
        f"status: {status}",
        (0, 0),
        xycoords="axes fraction",
        xytext=(2.5, 2.5),
        textcoords="offset points",
        fontsize=7.5,
        fontweight="bold",
        family="DejaVu Sans",
        color="#281400",
        va="bottom",
        ha="left",
        parse_math=False,
        usetex=False,
        bbox={"facecolor": "#ffd65a", "edgecolor": "none", "pad": 2.5},
    )


def _dashes(colours: Sequence[Rgb]) -> list[Dashes | None]:
    cam, grad_cam = box_colours(["cam", "grad-cam"])
    named: dict[Rgb, Dashes | None] = {cam: None, grad_cam: (0, (3, 1.5))}
    others = (colour for colour in dict.fromkeys(colours) if colour not in named)
    named.update((c, _OTHER_DASHES[i % len(_OTHER_DASHES)]) for i, c in enumerate(others))
    return [named[colour] for colour in colours]


def _corners(box: Box | None) -> str:
    return "none" if box is None else ", ".join(f"{side:.0f}" for side in box)
