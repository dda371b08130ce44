"""Mean IoU at every threshold, with the thresholds that protocols and splits chose, and what needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saliscope.report.charts.area import (
    MARGIN,
    SMALL,
    axis_note,
    legend,
    legend_height,
    plot,
    title,
    title_height,
)
from saliscope.report.charts.style import Look, own_settings
from saliscope.report.page import LINE, SOFT, Page, measured
from saliscope.report.study.scores import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Curve", "Mark", "threshold_curves"]

_WIDTH, _TALL = 8.2, 3.6
_STEP = LINE * 8 / 72


@dataclass(frozen=True, eq=False)
class Curve:
    """Means of one method over thresholds; without thresholds one value that is the same at all. `chosen` is where it was chosen."""

    name: str
    look: Look
    thresholds: Floats
    means: Floats
    oracle: int | None = None
    chosen: int | None = None


@dataclass(frozen=True)
class Mark:
    """A threshold with a name: that of a protocol."""

    threshold: float
    name: str


def threshold_curves(
    heading: str, curves: Sequence[Curve], marks: Sequence[Mark] = (), *, score: str, axis: str
) -> Figure:
    """Draw the curves; a filled marker is at the threshold chosen for tuning, a ring at the oracle's."""
    with own_settings():
        return _draw(heading, curves, marks, score, axis)


def _draw(
    heading: str, curves: Sequence[Curve], marks: Sequence[Mark], score: str, axis: str
) -> Figure:
    looks = {c.name: c.look for c in curves}
    levels = _levels([(m.threshold, measured(m.name, 8)) for m in marks], _WIDTH - 1.0)
    top = title_height(heading, _WIDTH) + _STEP * (max(levels, default=0) + 1) + 0.1
    bottom = 0.62 + legend_height(looks, _WIDTH - 2 * MARGIN) + 0.3
    page = Page(_WIDTH, top + _TALL + bottom)
    title(page, heading)
    left, wide = 0.75, _WIDTH - 1.0
    axes = plot(page, left, top, wide, _TALL)
    axes.set(xlim=(0, 1), ylim=_limits(curves))
    for mark, level in zip(marks, levels, strict=True):
        axes.axvline(mark.threshold, color=SOFT, linewidth=0.9, linestyle=(0, (1.5, 1.5)), zorder=1)
        x = left + mark.threshold * wide
        over = x + measured(mark.name, 8) > left + wide
        page.write(x, top - (level + 1) * _STEP - 0.02, mark.name, size=8, ink=SOFT, align="right" if over else "left")  # fmt: skip
    for curve in sorted(curves, key=lambda c: not c.look.trivial):
        _one(axes, curve)
    _flat_names(
        page, [c for c in curves if len(c.means) == 1], axes.get_ylim()[1], top, left + wide
    )
    page.write(MARGIN, top - 0.24, score, size=SMALL)
    axis_note(page, left, top + _TALL + 0.28, wide, axis)
    y = legend(page, MARGIN, top + _TALL + 0.58, _WIDTH - 2 * MARGIN, looks, lines=True)
    if any(c.chosen is not None or c.oracle is not None for c in curves):
        said = "filled: chosen on the images for tuning; ring: oracle, best on these very images"
        page.write(MARGIN, y, said, size=8, ink=SOFT)
    return page.figure


def _one(axes: object, curve: Curve) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    look, width = curve.look, 1.1 if curve.look.trivial else 1.7
    style = {"color": look.colour, "linestyle": look.dash, "linewidth": width}
    if len(curve.means) == 1:
        axes.axhline(float(curve.means[0]), **style)
        return
    axes.plot(curve.thresholds, curve.means, **style)
    for place, filled in ((curve.oracle, False), (curve.chosen, True)):
        if place is not None:
            axes.plot(
                curve.thresholds[place], curve.means[place], marker="o", markersize=6 if filled else 8.5,
                markerfacecolor=look.colour if filled else "none", markeredgecolor=look.colour,
                linestyle="none", markeredgewidth=1.1,
            )  # fmt: skip


def _flat_names(page: Page, flat: Sequence[Curve], high: float, top: float, right: float) -> None:
    """Name the level lines at their right ends, above each, where they are far enough apart."""
    taken: list[float] = []
    for curve in sorted(flat, key=lambda c: -float(c.means[0])):
        y = top + (1 - float(curve.means[0]) / high) * _TALL - _STEP
        if all(abs(y - other) >= _STEP for other in taken):
            page.write(right, y, curve.name, size=8, ink=curve.look.colour, align="right")
            taken.append(y)


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    top = max((float(np.nanmax(c.means)) for c in curves if len(c.means)), default=1.0)
    return 0.0, min(1.0, top * 1.08 + 0.01)


def _levels(marks: Sequence[tuple[float, float]], wide: float) -> list[int]:
    """On which line above the plot each name fits without touching another on the same."""
    ends: Mapping[int, float] = {}
    levels = [0] * len(marks)
    for i in sorted(range(len(marks)), key=lambda i: marks[i][0]):
        start, length = marks[i][0] * wide, marks[i][1]
        level = next(n for n in range(len(marks) + 1) if ends.get(n, -1.0) < start - 0.08)
        levels[i], ends = level, {**ends, level: start + length}
    return levels
