"""The gallery: every method that applies, family by family, with what it cost."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

from saliscope.boxes import Box, best_iou
from saliscope.localization import NormaliseRule
from saliscope.pictures import COLORMAP, TRUTH_COLOUR
from saliscope.report.page import ALERT, INK, LINE, RULE, SOFT, Page, wrapped
from saliscope.report.parts import Heading, View, fit, stamp_status

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    from saliscope.every import Every, Found

__all__ = ["every_figure"]

_WIDTH, _MARGIN, _GAP, _ACROSS = 10.8, 0.15, 0.12, 8  # inches; pictures in a row
_ROOM = _WIDTH - 2 * _MARGIN
_COLUMN = (_ROOM - (_ACROSS - 1) * _GAP) / _ACROSS
_NAME, _NOTE = 8.0, 6.8  # points
_LEGEND = "each method run alone; forward: images that went through the network; backward: times a score was differentiated"


def every_figure(every: Every, *, alpha: float = 0.5, colormap: str = COLORMAP) -> Figure:
    """Draw the blend of each method, grouped by family; under each its passes of images, its seconds and its IoU.

    `n forward` counts images that went through the network, `n backward` scalars differentiated. Methods that do not
    apply are listed below with the beginning of the reason.
    """
    explanations = [f.explanation for f in every.found]
    cell = fit(_COLUMN, explanations[0].photo.pixels.shape)
    families = [(name, list(group)) for name, group in groupby(every.found, lambda f: f.family)]
    captions = {id(f): _caption(f, every) for f in every.found}
    head = Heading(explanations, _ROOM, "Every method that applies")
    head.notes += wrapped(_LEGEND, _ROOM, size=8.5, most=2)
    left_out = _left_out(every)
    heights = [sum(_rows(group, captions, cell)) + 0.3 for _, group in families]
    notes = len(left_out) * LINE * _NOTE / 72 + (0.35 if left_out else 0)
    page = Page(_WIDTH, head.height + sum(heights) + notes + _MARGIN)
    y = head.draw(page, _MARGIN)
    for (name, group), height in zip(families, heights, strict=True):
        page.rule(_MARGIN, y + 0.04, _WIDTH - _MARGIN, color=RULE)
        page.write(_MARGIN, y + 0.07, name, size=9.5, bold=True)
        _draw_family(page, group, every, captions, cell, y + 0.28, alpha, colormap)
        y += height
    if left_out:
        page.rule(_MARGIN, y + 0.04, _WIDTH - _MARGIN, color=RULE)
        page.write(_MARGIN, y + 0.07, "does not apply here", size=9.5, bold=True)
        page.paragraph(_MARGIN, y + 0.28, left_out, size=_NOTE, ink=SOFT)
    return page.figure


def _draw_family(
    page: Page,
    group: list[Found],
    every: Every,
    captions: dict[int, list[tuple[list[str], float, bool, str]]],
    cell: tuple[float, float],
    top: float,
    alpha: float,
    colormap: str,
) -> None:
    rows = _rows(group, captions, cell)
    for index, found in enumerate(group):
        row, place = divmod(index, _ACROSS)
        left, upper = _MARGIN + place * (_COLUMN + _GAP), top + sum(rows[:row])
        rule: NormaliseRule = "percentile" if found.explanation.per_pixel else "min-max"
        pixels = View.of(found.explanation, rule).blended(alpha, colormap)
        axes = page.picture(left, upper, cell, pixels, source=found.explanation.photo.pixels.shape)
        stamp_status(axes, found.explanation.status)
        for box in every.truth:
            axes.add_patch(_outline(box))
        below = upper + cell[1] + 0.04
        for lines, size, bold, ink in captions[id(found)]:
            below = page.paragraph(left, below, lines, size=size, bold=bold, ink=ink)


def _outline(box: Box) -> Rectangle:
    from matplotlib.patches import Rectangle

    x0, y0, x1, y1 = box
    colour = tuple(c / 255 for c in TRUTH_COLOUR)
    return Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=1.0)


def _caption(found: Found, every: Every) -> list[tuple[list[str], float, bool, str]]:
    """Lines under a picture: the method, its cost, and its IoU where a box is annotated."""
    e = found.explanation
    lines = [
        (wrapped(e.method, _COLUMN, size=_NAME, bold=True, most=3), _NAME, True, INK),
        (wrapped(str(found.passes), _COLUMN, size=_NOTE, most=2), _NOTE, False, SOFT),
        ([_seconds(found.seconds)], _NOTE, False, SOFT),
    ]
    if every.truth:
        overlap = best_iou(e.box(every.protocol), every.truth)
        ink = SOFT if e.status == "ok" else ALERT
        lines.append(([f"IoU {overlap:.2f}"], _NOTE, False, ink))
    return lines


def _seconds(value: float) -> str:
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"


def _rows(
    group: list[Found],
    captions: dict[int, list[tuple[list[str], float, bool, str]]],
    cell: tuple[float, float],
) -> list[float]:
    """The height of each row of a family in inches."""
    heights = [
        sum(len(lines) * LINE * size / 72 for lines, size, _, _ in captions[id(f)]) for f in group
    ]
    count = math.ceil(len(group) / _ACROSS)
    return [cell[1] + 0.14 + max(heights[r * _ACROSS : (r + 1) * _ACROSS]) for r in range(count)]


def _left_out(every: Every) -> list[str]:
    lines = [f"{name}: {why}" for name, why in every.left_out]
    return [part for line in lines for part in wrapped(line, _ROOM, size=_NOTE, most=2)]
