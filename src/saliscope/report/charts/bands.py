"""Mean curves with bands: panels beside each other that share one legend below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saliscope.report.charts.area import (
    MARGIN,
    SMALL,
    axis_note,
    legend,
    legend_height,
    marker_of,
    plot,
    title,
    title_height,
)
from saliscope.report.charts.style import Look, own_settings
from saliscope.report.page import Page
from saliscope.report.study.scores import Floats
from saliscope.stats import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Band", "Panel", "band_panels"]

_WIDTH, _TALL = 8.2, 2.7
_LEFT, _BETWEEN = 0.62, 0.72  # inches: room for the numbers of an axis
_OVER, _UNDER = 0.3, 0.72


@dataclass(frozen=True, eq=False)
class Band:
    """One method's means with intervals at the places `x`, rising."""

    name: str
    look: Look
    x: Floats
    values: Sequence[Interval]


@dataclass(frozen=True, eq=False)
class Panel:
    """Bands with what is written above them, and under the x axis."""

    name: str
    axis: str
    bands: Sequence[Band]


def band_panels(heading: str, panels: Sequence[Panel]) -> Figure:
    """Draw panels, two in a row; what knows no network lies below, in thinner lines."""
    with own_settings():
        looks = {band.name: band.look for panel in panels for band in panel.bands}
        across = min(2, len(panels))
        rows = -(-len(panels) // across)
        wide = (_WIDTH - _LEFT - MARGIN - 0.05 - (across - 1) * _BETWEEN) / across
        top = title_height(heading, _WIDTH) + _OVER
        step = _TALL + _UNDER + _OVER
        page = Page(_WIDTH, top + rows * step - _OVER + legend_height(looks, _WIDTH - 2 * MARGIN))
        title(page, heading)
        for n, panel in enumerate(panels):
            row, column = divmod(n, across)
            x, y = _LEFT + column * (wide + _BETWEEN), top + row * step
            page.write(x - 0.4, y - 0.26, panel.name, size=SMALL, bold=True)
            axes = plot(page, x, y, wide, _TALL)
            places = {band.name: i for i, band in enumerate(panel.bands)}
            for band in sorted(panel.bands, key=lambda b: not b.look.trivial):
                _draw(axes, band, places[band.name])
            axes.margins(x=0.01)
            axis_note(page, x, y + _TALL + 0.28, wide, panel.axis)
        below = top + rows * step - _OVER - 0.06
        legend(page, MARGIN, below, _WIDTH - 2 * MARGIN, looks, lines=True)
        return page.figure


def _draw(axes: Axes, band: Band, place: int) -> None:
    """Draw one band; methods have their markers at different steps, so that lines that run together stay apart."""
    look, means = band.look, np.array([v.estimate for v in band.values])
    low, high = (np.array([getattr(v, end) for v in band.values]) for end in ("low", "high"))
    axes.fill_between(band.x, low, high, color=look.colour, alpha=0.1 if look.trivial else 0.17, linewidth=0)  # fmt: skip
    every = max(1, len(means) // 4)
    marks = marker_of(look, 4.0) | {"markeredgewidth": 0.9, "markevery": (place % every, every)}
    axes.plot(band.x, means, linestyle=look.dash, linewidth=1.1 if look.trivial else 1.7, **marks)
