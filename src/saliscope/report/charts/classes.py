"""Classes: how a score spreads over them, and whose heat lies outside the boxes more than the size of their objects explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saliscope.report.charts.area import (
    MARGIN,
    SMALL,
    axis_note,
    plot,
    short,
    size_of_names,
    title,
    title_height,
)
from saliscope.report.charts.style import own_settings
from saliscope.report.page import ALERT, INK, LINE, SOFT, Page, measured
from saliscope.report.study.scores import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Dot", "class_dots", "outside_chart"]

_WIDTH = 8.2
_MOST = 44  # classes that each get a row; of more the lowest and the highest do


@dataclass(frozen=True)
class Dot:
    """A class with its mean and an interval."""

    name: str
    mean: float
    low: float
    high: float


def class_dots(
    heading: str, dots: Sequence[Dot], *, score: str, overall: float, colour: str,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Figure:  # fmt: skip
    """One row a class, lowest first; of more than 44 classes the 22 lowest and the 22 highest. The axis keeps within `bounds`."""
    with own_settings():
        rows = sorted((d for d in dots if not np.isnan(d.mean)), key=lambda d: d.mean)
        hidden = max(0, len(rows) - _MOST)
        if hidden:
            rows = [*rows[: _MOST // 2], *rows[-_MOST // 2 :]]
        step = 0.17
        room = size_of_names([d.name for d in rows], 2.6)
        gap = step if hidden else 0.0
        top, tall = title_height(heading, _WIDTH) + 0.1, step * len(rows) + gap
        page = Page(_WIDTH, top + tall + 0.8)
        title(page, heading)
        left = MARGIN + room + 0.12
        wide = _WIDTH - left - 0.25
        axes = plot(page, left, top, wide, tall)
        axes.axvline(overall, color=INK, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1)
        for i, dot in enumerate(rows):
            y = i + (1 if hidden and i >= _MOST // 2 else 0)
            if not np.isnan(dot.low):
                axes.plot([dot.low, dot.high], [y, y], color=colour, linewidth=1.2)
            axes.plot([dot.mean], [y], marker="o", markersize=4, color=colour, linestyle="none")
            text = short(dot.name, room, 8)
            page.write(MARGIN + room, top + (y + 0.5) * step - LINE * 8 / 144, text, size=8, align="right")  # fmt: skip
        if hidden:
            between = top + (_MOST // 2 + 0.5) * step - LINE * 8 / 144
            page.write(left + wide / 2, between, f"{hidden} classes in between", size=8, ink=SOFT, align="center")  # fmt: skip
        slots = max(1, len(rows) + (1 if hidden else 0))
        axes.set(ylim=(slots - 0.5, -0.5), yticks=[])
        _keep_within(axes, bounds)
        axes.spines["left"].set_visible(False)
        axis_note(page, left, top + tall + 0.3, wide, f"{score}; dashed: mean over images")
        return page.figure


def _keep_within(axes: Axes, bounds: tuple[float, float]) -> None:
    """Cut the x axis to what a score can be, with room for a marker that lies on the edge."""
    low, high = axes.get_xlim()
    pad = 0.02 * (high - low)
    axes.set_xlim(max(low, bounds[0] - pad), min(high, bounds[1] + pad))


def outside_chart(
    heading: str, names: Sequence[str], even: Floats, outside: Floats, stand_out: Sequence[bool],
    *, colour: str,
) -> Figure:  # fmt: skip
    """One dot a class: the share of its heat outside the boxes over the share of the picture there; those that stand out are named."""
    with own_settings():
        top, tall, left = title_height(heading, _WIDTH) + 0.3, 4.2, 0.75
        page = Page(_WIDTH, top + tall + 0.95)
        title(page, heading)
        wide = _WIDTH - 1.0
        page.write(MARGIN, top - 0.25, "share of heat outside every box", size=SMALL)
        axes = plot(page, left, top, wide, tall)
        known = ~(np.isnan(even) | np.isnan(outside))
        low, high = _span(even[known]), _span(outside[known])
        axes.set(xlim=low, ylim=high)
        axes.axline((0, 0), (1, 1), color=SOFT, linewidth=1.0, linestyle=(0, (4, 2)))
        marked = np.array(stand_out, np.bool_)
        dots = known & ~marked
        axes.plot(even[dots], outside[dots], linestyle="none", marker="o", markersize=5, color=colour, alpha=0.85)  # fmt: skip
        dots = known & marked
        axes.plot(even[dots], outside[dots], linestyle="none", marker="D", markersize=6.5, color=ALERT, markeredgecolor=INK)  # fmt: skip
        taken: list[tuple[float, float, float]] = []
        for i in np.flatnonzero(known & marked)[np.argsort(-outside[known & marked])]:
            x = left + (even[i] - low[0]) / (low[1] - low[0]) * wide
            y = top + (high[1] - outside[i]) / (high[1] - high[0]) * tall
            _label(page, names[i], (x, y), taken, left + wide)
        dashed = max(low[0], high[0]) < min(low[1], high[1])
        axis_note(page, left, top + tall + 0.3, wide, "share of the picture outside every box" + (": there lies even heat (dashed)" if dashed else ""))  # fmt: skip
        said = "named: more heat outside than objects of that size have on average (Benjamini-Hochberg over classes)"
        if not marked.any():
            said = "no class has clearly more heat outside than objects of its size have on average"
        page.write(MARGIN, top + tall + 0.62, said, size=8, ink=SOFT)
        return page.figure


def _span(values: Floats) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    pad = max(0.02, 0.08 * float(np.ptp(values)))
    return max(0.0, float(values.min()) - pad), min(1.0, float(values.max()) + pad)


def _label(
    page: Page, name: str, at: tuple[float, float], taken: list[tuple[float, float, float]], edge: float
) -> None:  # fmt: skip
    """Name a dot where no other name stands; dots in a crowd stay without one."""
    width, step = measured(name, 8), LINE * 8 / 72
    x = at[0] + 0.08 if at[0] + 0.08 + width < edge else at[0] - 0.08 - width
    for y in (at[1] - step / 2, at[1] - step * 1.2, at[1] + step * 0.2):
        if all(abs(y - t) >= step or x > end or x + width < start for start, end, t in taken):
            page.write(x, y, name, size=8, ink=ALERT)
            taken.append((x, x + width, y))
            return
