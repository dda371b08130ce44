"""Dots with intervals: the same methods in several groups of images, or on several layers."""

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
    short,
    size_of_names,
    title,
    title_height,
)
from saliscope.report.charts.style import Look, own_settings
from saliscope.report.page import INK, LINE, SOFT, Page, measured, wrapped
from saliscope.stats import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Series", "grouped_dots", "layer_lines", "paired_dots"]

_WIDTH, _TALL = 8.2, 3.4
_ROW = 0.27


@dataclass(frozen=True, eq=False)
class Series:
    """One method's values, one a group; None or NaN where a group has none."""

    name: str
    look: Look
    values: Sequence[Interval | None]


def grouped_dots(
    heading: str, groups: Sequence[str], series: Sequence[Series], *, score: str, axis: str
) -> Figure:
    """Groups along the x axis, in each the methods beside each other; a group's name may have two lines."""
    with own_settings():
        looks = {s.name: s.look for s in series}
        top = title_height(heading, _WIDTH) + 0.26
        bottom = 0.9 + legend_height(looks, _WIDTH - 2 * MARGIN)
        page = Page(_WIDTH, top + _TALL + bottom)
        title(page, heading)
        left, wide = 0.75, _WIDTH - 0.95
        page.write(MARGIN, top - 0.24, score, size=SMALL)
        axes = plot(page, left, top, wide, _TALL)
        axes.grid(visible=False, axis="x")
        step = min(0.8 / max(len(series), 1), 0.11)
        for i, one in enumerate(series):
            shift = (i - (len(series) - 1) / 2) * step
            _dots(axes, one, [g + shift for g in range(len(groups))])
        for g in range(1, len(groups)):
            axes.axvline(g - 0.5, color="#cfcfd4", linewidth=0.8)
        axes.set(xlim=(-0.5, len(groups) - 0.5), xticks=[])
        for g, name in enumerate(groups):
            middle, y = left + (g + 0.5) * wide / len(groups), top + _TALL + 0.06
            for line in name.split("\n"):
                (text,) = wrapped(line, wide / len(groups), size=SMALL, most=1) or [""]
                page.write(middle, y, text, size=SMALL, align="center")
                y += LINE * SMALL / 72
        axis_note(page, left, top + _TALL + 0.46, wide, axis)
        legend(page, MARGIN, top + _TALL + 0.74, _WIDTH - 2 * MARGIN, looks, lines=False)
        return page.figure


def _dots(axes: Axes, one: Series, places: Sequence[float]) -> None:
    for x, value in zip(places, one.values, strict=True):
        if value is None or np.isnan(value.estimate):
            continue
        if not np.isnan(value.low):
            axes.plot([x, x], [value.low, value.high], color=one.look.colour, linewidth=1.3)
        axes.plot([x], [value.estimate], linestyle="none", **marker_of(one.look, 4.5))


def paired_dots(
    heading: str, series: Sequence[Series], *, names: tuple[str, str], score: str
) -> Figure:
    """One row a method with two values: the first filled, the second hollow, a line between them."""
    with own_settings():
        room = size_of_names([s.name for s in series], 3.0)
        top, tall = title_height(heading, _WIDTH) + 0.28, _ROW * len(series)
        page = Page(_WIDTH, top + tall + 0.8)
        title(page, heading)
        left = MARGIN + room + 0.12
        wide = _WIDTH - left - 0.25
        axes = plot(page, left, top, wide, tall)
        for i, one in enumerate(series):
            _pair(axes, one, i)
            text = short(one.name, room)
            y = top + (i + 0.5) * _ROW - LINE * SMALL / 144
            page.write(MARGIN + room, y, text, size=SMALL, align="right", ink=SOFT if one.look.trivial else INK)  # fmt: skip
        axes.set(ylim=(len(series) - 0.5, -0.5), yticks=[])
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.05)
        x = left
        for name, face in zip(names, (INK, "white"), strict=True):
            page.rule(x + 0.06, top - 0.16, x + 0.06, marker="o", markersize=5.5, color=INK, markerfacecolor=face, linestyle="none")  # fmt: skip
            page.write(x + 0.18, top - 0.16 - LINE * SMALL / 144, name, size=SMALL)
            x += 0.4 + measured(name, SMALL)
        axis_note(page, left, top + tall + 0.3, wide, score)
        return page.figure


def _pair(axes: Axes, one: Series, row: int) -> None:
    known = [v for v in one.values if v is not None and not np.isnan(v.estimate)]
    colour = one.look.colour
    if len(known) == 2:
        axes.plot([v.estimate for v in known], [row, row], color=colour, linewidth=0.8, alpha=0.6)
    for value, face, shift in zip(one.values, (colour, "white"), (-0.14, 0.14), strict=True):
        if value is None or np.isnan(value.estimate):
            continue
        y = row + shift
        axes.plot([value.low, value.high], [y, y], color=colour, linewidth=1.5)
        axes.plot(
            [value.estimate], [y], marker="o", markersize=5.5, markerfacecolor=face,
            markeredgecolor=colour, linestyle="none", markeredgewidth=1.2,
        )  # fmt: skip


def layer_lines(
    heading: str,
    layers: Sequence[str],
    panels: Sequence[tuple[str, Sequence[Series]]],
    *,
    axis: str = "layer, from the input to the output of the network",
) -> Figure:
    """Panels under each other, layers along the x axis in the order given, which `axis` says, one line a method.

    Layers whose names do not fit are numbered, and named below.
    """
    with own_settings():
        looks = {s.name: s.look for _, series in panels for s in series}
        tall, gap = 2.0, 0.42
        left, wide = 0.75, _WIDTH - 0.95
        slot = wide / max(len(layers) - 0.2, 1)
        fits = all(measured(layer, SMALL) < slot for layer in layers)
        listing = [] if fits else _listing(layers)
        top, step = title_height(heading, _WIDTH) + 0.26, LINE * SMALL / 72
        page = Page(
            _WIDTH,
            top + len(panels) * (tall + gap) + 0.45 + legend_height(looks, _WIDTH - 0.3) + len(listing) * step,
        )  # fmt: skip
        title(page, heading)
        for n, (score, series) in enumerate(panels):
            y = top + n * (tall + gap)
            page.write(MARGIN, y - 0.24, score, size=SMALL)
            axes = plot(page, left, y, wide, tall)
            for i, one in enumerate(series):
                shift = (i - (len(series) - 1) / 2) * 0.04
                _line(axes, one, [p + shift for p in range(len(layers))])
            axes.set(xlim=(-0.4, len(layers) - 0.6), xticks=range(len(layers)), xticklabels=[])
        y = top + len(panels) * (tall + gap) - gap + 0.06
        for i, layer in enumerate(layers):
            text = layer if fits else str(i + 1)
            page.write(left + (i + 0.4) * slot, y, text, size=SMALL, align="center")
        axis_note(page, left, y + 0.2, wide, axis)
        y = page.paragraph(MARGIN, y + 0.46, listing, size=SMALL)
        legend(page, MARGIN, y + 0.02, _WIDTH - 2 * MARGIN, looks, lines=True)
        return page.figure


def _listing(layers: Sequence[str]) -> list[str]:
    """The numbers and names of layers, as many in a line as fit."""
    lines: list[str] = []
    for i, layer in enumerate(layers):
        word = f"{i + 1} {layer}"
        longer = f"{lines[-1]}   {word}" if lines else word
        if lines and measured(longer, SMALL) <= _WIDTH - 2 * MARGIN:
            lines[-1] = longer
        else:
            lines.append(short(word, _WIDTH - 2 * MARGIN))
    return lines


def _line(axes: Axes, one: Series, places: Sequence[float]) -> None:
    known = [(x, v) for x, v in zip(places, one.values, strict=True) if v is not None]
    x = [p for p, _ in known]
    y = [v.estimate for _, v in known]
    axes.plot(x, y, color=one.look.colour, linestyle=one.look.dash, linewidth=1.4)
    _dots(axes, one, places)
