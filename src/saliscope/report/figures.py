"""The figures of the papers, for print: matplotlib figures that touch neither pyplot nor anyone's settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from saliscope.boxes import Box
from saliscope.explanation import Explanation, boxes_of
from saliscope.localization import NormaliseRule, Protocol, parse_protocol
from saliscope.pictures import COLORMAP
from saliscope.report.page import LINE, SOFT, Page, save_figure, wrapped
from saliscope.report.parts import (
    Heading,
    LegendTable,
    Scores,
    View,
    draw_lines,
    fit,
    names_of,
    stamp_status,
)
from saliscope.views import check_one_photo

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "boxes_figure",
    "comparison_figure",
    "method_figure",
    "save_figure",
    "stages_figure",
]

_WIDTH, _MARGIN, _GAP = 7.2, 0.12, 0.1  # inches; the text width of a page in A4 and letter
_ROOM = _WIDTH - 2 * _MARGIN
_LABEL = 8.5  # points
_LINE = LINE * _LABEL / 72  # inches


def method_figure(
    explanation: Explanation,
    *,
    alpha: float = 0.5,
    colormap: str = COLORMAP,
    normalise: NormaliseRule = "min-max",
) -> Figure:
    """Draw photograph, heatmap and blend in one row with a colour bar (Yun, figures 3 and 4).

    Colours span the fixed range [0, 1]; what a crop never saw is grey and hatched; a status other than "ok" is written
    on the pictures. Raises `OptionError` as `Explanation.overlay` does.
    """
    size = explanation.photo.pixels.shape
    cell = fit((_ROOM - 2 * _GAP - 0.45) / 3, size)
    step = max(cell[0], 0.85) + _GAP
    head = Heading([explanation], _ROOM, explanation.spec)
    bar = max(cell[1], 0.42)
    page = Page(_WIDTH, head.height + max(cell[1] + 0.24, bar) + _MARGIN)
    top = head.draw(page)
    view = View.of(explanation, normalise)
    pictures = {
        "photograph": view.photo,
        "heatmap": view.coloured(colormap),
        "blend": view.blended(alpha, colormap),
    }
    for place, (name, pixels) in enumerate(pictures.items()):
        left = _MARGIN + place * step
        axes = page.picture(left, top, cell, pixels, source=size)
        if place:
            stamp_status(axes, explanation.status)
        page.write(left, top + cell[1] + 0.05, name, ink=SOFT)
    page.colour_bar(_MARGIN + 2 * step + cell[0] + _GAP, top, (0.1, bar), colormap)
    return page.figure


def stages_figure(
    explanations: Sequence[Explanation],
    *,
    alpha: float = 0.5,
    colormap: str = COLORMAP,
    normalise: NormaliseRule = "min-max",
) -> Figure:
    """Draw one map per stage in a row, heatmap above blend, the photograph first (Shin, figure 2; Yang, figure 4).

    Any explanations of one photograph; more than five go on in further rows. Raises `OptionError` for none, or for
    photographs of different sizes.
    """
    check_one_photo(explanations)
    size = explanations[0].photo.pixels.shape
    rows = math.ceil(len(explanations) / 5)
    across = math.ceil(len(explanations) / rows)
    column = min((_ROOM - across * _GAP) / (across + 1), 2.2)
    cell = fit(column, size)
    title, names = _common_title(explanations)
    labels = [wrapped(name, column, size=_LABEL, bold=True) for name in names]
    label = max(map(len, labels)) * _LINE + 0.04
    block = label + max(2 * cell[1] + 0.22, cell[1] + 0.6)  # the colour bar below the photograph
    head = Heading(explanations, _ROOM, title)
    page = Page(_WIDTH, head.height + rows * block)
    top = head.draw(page)
    photo = View.of(explanations[0], "none").photo
    page.picture(_MARGIN, top + label, cell, photo, source=size)
    page.write(_MARGIN, top + label - _LINE - 0.04, "photograph", size=_LABEL, ink=SOFT)
    for index, explanation in enumerate(explanations):
        row, place = divmod(index, across)
        left = _MARGIN + (place + 1) * (column + _GAP)
        upper = top + row * block + label
        lines = labels[index]
        y = upper - len(lines) * _LINE - 0.04
        page.paragraph(left, y, lines, size=_LABEL, bold=True)
        view = View.of(explanation, normalise)
        for pixels in (view.coloured(colormap), view.blended(alpha, colormap)):
            axes = page.picture(left, upper, cell, pixels, source=size)
            stamp_status(axes, explanation.status)
            upper += cell[1] + 0.06
    bar = (min(1.3, column - 0.2), 0.1)
    page.colour_bar(_MARGIN + 0.05, top + block - 0.42, bar, colormap)
    return page.figure


def boxes_figure(
    explanations: Sequence[Explanation],
    truth: Box | Sequence[Box],
    *,
    protocol: str | Protocol = "yang2025",
) -> Figure:
    """Draw one photograph with the box of each method and the annotated box, the IoU table beside it (Yun, figures 5, 6).

    Annotated red, CAM blue, Grad-CAM green, others in colours and dashes of their own; the table is the legend. Without
    an annotated box IoU is undefined. Raises `OptionError` for no explanations, photographs of different sizes, or an
    unknown protocol.
    """
    check_one_photo(explanations)
    size = explanations[0].photo.pixels.shape
    scores = Scores(explanations, boxes_of(truth), parse_protocol(protocol))
    cell = fit(3.4 if size[1] > size[0] else 2.9, size)
    table = LegendTable(scores, _ROOM - cell[0] - 0.2, ("IoU", "status"))
    head = Heading(
        explanations, _ROOM, "Boxes and their overlap with the annotated box", hatched=False
    )
    page = Page(_WIDTH, head.height + max(cell[1], table.height) + 0.06 + _MARGIN)
    top = head.draw(page)
    photo = View.of(explanations[0], "none").photo
    axes = page.picture(_MARGIN, top, cell, photo, source=size)
    draw_lines(axes, scores.lines)
    table.draw(page, _MARGIN + cell[0] + 0.2, top)
    return page.figure


def comparison_figure(
    explanations: Sequence[Explanation],
    truth: Box | Sequence[Box] = (),
    *,
    protocol: str | Protocol = "yang2025",
    alpha: float = 0.5,
    colormap: str = COLORMAP,
    normalise: NormaliseRule = "min-max",
) -> Figure:
    """Draw a photograph with all boxes, then each method's blend with its box, IoU and status, and the table below.

    One to a dozen methods or more; a row holds up to five pictures. Colours as in `boxes_figure`. Raises `OptionError`
    for no explanations, photographs of different sizes, or an unknown protocol.
    """
    check_one_photo(explanations)
    size = explanations[0].photo.pixels.shape
    scores = Scores(explanations, boxes_of(truth), parse_protocol(protocol))
    count = len(explanations) + 1
    across = math.ceil(count / math.ceil(count / 5))
    column = min((_ROOM - (across - 1) * _GAP) / across, 2.6)
    cell = fit(column, size)
    captions = _captions(scores, column)
    blocks = [
        cell[1] + max(len(a) + len(b) for a, b, _ in captions[at : at + across]) * _LINE + 0.16
        for at in range(0, count, across)
    ]
    table = LegendTable(scores, _ROOM, ("IoU", "box", "status", "seconds"))
    head = Heading(explanations, _ROOM, "Comparison" if count > 2 else scores.names[0])
    page = Page(_WIDTH, head.height + sum(blocks) + table.height + 0.06 + _MARGIN)
    top = head.draw(page)
    views = (View.of(e, normalise) for e in explanations)
    pictures = [
        View.of(explanations[0], "none").photo,
        *(v.blended(alpha, colormap) for v in views),
    ]
    boxes = [scores.on_photograph, *([*scores.truth, line] for line in scores.found)]
    for index, (pixels, lines) in enumerate(zip(pictures, boxes, strict=True)):
        row, place = divmod(index, across)
        left, upper = _MARGIN + place * (column + _GAP), top + sum(blocks[:row])
        axes = page.picture(left, upper, cell, pixels, source=size)
        draw_lines(axes, lines, scale=max(0.75, min(cell[0] / 2.6, 1.0)))
        stamp_status(axes, "ok" if index == 0 else explanations[index - 1].status)
        name, score, ink = captions[index]
        below = page.paragraph(left, upper + cell[1] + 0.05, name, size=_LABEL, bold=True)
        page.paragraph(left, below, score, size=_LABEL, ink=ink)
    table.draw(page, _MARGIN, top + sum(blocks) + 0.04)
    return page.figure


def _captions(scores: Scores, room: float) -> list[tuple[list[str], list[str], str]]:
    """What stands under the photograph and under each blend: name, score, and the ink of the score."""
    texts = [("photograph", "", SOFT)]
    texts += [(name, *scores.score(index)) for index, name in enumerate(scores.names)]
    return [
        (wrapped(name, room, size=_LABEL, bold=True), wrapped(score, room, size=_LABEL), ink)
        for name, score, ink in texts
    ]


def _common_title(explanations: Sequence[Explanation]) -> tuple[str, list[str]]:
    """The method all share and the layers that differ; where methods differ, no title and whole specifications."""
    methods = {e.method for e in explanations}
    layers = [str(e.layer) for e in explanations]
    if (
        len(methods) == 1
        and None not in {e.layer for e in explanations}
        and len(set(layers)) == len(layers)
    ):
        return methods.pop(), layers
    return "", names_of(explanations)
