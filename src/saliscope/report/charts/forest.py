"""Forest plots: one row a method, its estimate with the interval, and beside it the difference to the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saliscope.report.charts.area import (
    MARGIN,
    SMALL,
    axis_note,
    marker_of,
    plot,
    short,
    size_of_names,
    title,
    title_height,
)
from saliscope.report.charts.style import Look, own_settings
from saliscope.report.page import INK, LINE, SOFT, Page, measured
from saliscope.stats import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

__all__ = ["Entry", "forest"]

_ROW = 0.24  # inches
_WIDTH = 6.4  # inches beside the names


@dataclass(frozen=True, eq=False)
class Entry:
    """One row: a method with its estimate, and its difference to the reference, None for the reference itself."""

    name: str
    look: Look
    estimate: Interval
    difference: Interval | None = None


def forest(
    heading: str,
    entries: Sequence[Entry],
    *,
    score: str,
    against: str = "",
    line: tuple[float, str] | None = None,
    margin: float | None = None,
) -> Figure:
    """Draw estimates, and differences to `against` where there are any; methods without a network stand below a rule.

    `line` is a value with its name, drawn through the estimates; `margin` shades the differences that do not matter.
    """
    with own_settings():
        return _forest(heading, entries, score, against, line, margin)


def _forest(
    heading: str, entries: Sequence[Entry], score: str, against: str,
    line: tuple[float, str] | None, margin: float | None,
) -> Figure:  # fmt: skip
    names = size_of_names([e.name for e in entries], 3.0)
    wide = _WIDTH + max(names, 1.6)
    both = any(e.difference is not None for e in entries)
    top, tall = title_height(heading, wide) + (0.2 if line else 0.0), _ROW * len(entries)
    page = Page(wide, top + tall + 0.78)
    title(page, heading)
    left = MARGIN + names + 0.12
    numbers = 1.42  # the column of estimates as numbers
    room = wide - left - numbers - MARGIN - 0.1
    width = (room - 0.15) / 2 if both else room
    axes = plot(page, left, top, width, tall)
    _rows(axes, entries, [e.estimate for e in entries])
    if line is not None:
        axes.axvline(line[0], color=INK, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1)
        where = float(
            axes.transAxes.inverted().transform(axes.transData.transform((line[0], 0)))[0]
        )
        _above(page, left + where * width, top, line[1], left, left + width)
    axis_note(page, left, top + tall + 0.3, width, score)
    for i, entry in enumerate(entries):
        y = top + (i + 0.5) * _ROW - LINE * SMALL / 144
        text = short(entry.name, names)
        ink = SOFT if entry.look.trivial else INK
        page.write(MARGIN + names, y, text, size=SMALL, align="right", ink=ink)
        page.write(left + width + 0.12, y, _number(entry.estimate), size=8, ink=ink)
    if both:
        right = left + width + numbers + 0.15
        axes = plot(page, right, top, width, tall)
        if margin is not None:
            axes.axvspan(-margin, margin, color="#f0e6c8", zorder=0, linewidth=0)
        axes.axvline(0, color=INK, linewidth=1.0, zorder=1)
        _rows(axes, entries, [e.difference for e in entries])
        shaded = f"; shaded: within ±{margin:g}" if margin is not None else ""
        axis_note(page, right, top + tall + 0.3, width, f"difference to {against}{shaded}")
    return page.figure


def _above(page: Page, x: float, top: float, text: str, low: float, high: float) -> None:
    align, half = "center", measured(text, 8) / 2
    if x - half < low:
        align, x = "left", max(x, low)
    elif x + half > high:
        align, x = "right", min(x, high)
    page.write(x, top - 0.19, text, size=8, ink=SOFT, align=align)  # type: ignore[arg-type] # one of the three


def _rows(axes: Axes, entries: Sequence[Entry], values: Sequence[Interval | None]) -> None:
    for i, (entry, value) in enumerate(zip(entries, values, strict=True)):
        if value is None or np.isnan(value.estimate):
            continue
        if not np.isnan(value.low):
            axes.plot([value.low, value.high], [i, i], color=entry.look.colour, linewidth=1.6, solid_capstyle="butt")  # fmt: skip
        axes.plot([value.estimate], [i], linestyle="none", **marker_of(entry.look))
    parts = [i for i in range(1, len(entries)) if entries[i].look.trivial != entries[i - 1].look.trivial]  # fmt: skip
    for i in parts:
        axes.axhline(i - 0.5, color=SOFT, linewidth=0.8)
    axes.set(ylim=(len(entries) - 0.5, -0.5), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    axes.xaxis.set_major_locator(_locator())


def _locator() -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5)


def _number(value: Interval) -> str:
    if np.isnan(value.estimate):
        return "undefined"
    digits = 3 if abs(value.estimate) < 10 else 1
    if np.isnan(value.low):
        return f"{value.estimate:.{digits}f}"
    return f"{value.estimate:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"
