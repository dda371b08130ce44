"""A matrix of likenesses, like methods beside each other, with the tree that puts them there."""

from __future__ import annotations

from collections.abc import Sequence
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
from saliscope.report.page import INK, LINE, SOFT, Page
from saliscope.report.study.scores import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["likeness_matrix"]

_WIDTH, _TREE = 8.2, 1.5
_WIDEST, _NARROWEST = 0.5, 0.27  # inches a cell; narrower ones have no number
_COLD, _HOT = "#d9822b", "#0b57a4"  # -1 and 1; 0 is white
_DARK = 0.72  # from where ink is white


def likeness_matrix(
    heading: str, names: Sequence[str], trivial: Sequence[bool], values: Floats,
    *, tree: Floats | None = None, note: str,
) -> Figure:  # fmt: skip
    """Draw `values` (m, m) in [-1, 1] as cells with their numbers, rows by name, columns by the number of the row.

    `tree` is scipy's linkage of the first methods, whose leaves stand in the order of the rows; methods behind them have none.
    """
    with own_settings():
        room = size_of_names([f"{i + 1}  {name}" for i, name in enumerate(names)], 2.9)
        left = MARGIN + room + 0.1
        free = _WIDTH - left - MARGIN - (_TREE + 0.3 if tree is not None else 0.0)
        cell = min(_WIDEST, free / len(names))
        top = title_height(heading, _WIDTH) + 0.2
        size = cell * len(names)
        below = 0.12 if tree is None else 0.5
        page = Page(_WIDTH, top + size + below + 0.25)
        title(page, heading)
        _cells(page, values, left, top, cell)
        for i, name in enumerate(names):
            y = top + (i + 0.5) * cell - LINE * SMALL / 144
            text = short(f"{name}  {i + 1}", room)
            page.write(left - 0.08, y, text, size=SMALL, align="right", ink=SOFT if trivial[i] else INK)  # fmt: skip
            page.write(left + (i + 0.5) * cell, top - 0.19, str(i + 1), size=8, align="center")
        page.write(MARGIN, top + size + below, note, size=8, ink=SOFT)
        if tree is not None:
            axes = plot(page, left + size + 0.12, top, _TREE, size)
            _branches(axes, tree, len(names))
            axis_note(page, left + size + 0.12, top + size + 0.28, _TREE, "1 − correlation")
        return page.figure


def _cells(page: Page, values: Floats, left: float, top: float, cell: float) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    size = cell * len(values)
    axes = plot(page, left, top, size, size)
    colours = LinearSegmentedColormap.from_list("likeness", [_COLD, "white", _HOT]).with_extremes(
        bad="#ececef"
    )
    axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=-1, vmax=1, aspect="auto", interpolation="nearest")  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    if cell < _NARROWEST:
        return
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            text = "–" if np.isnan(value) else _short_number(value)
            ink = "white" if abs(value) > _DARK else INK
            axes.text(j, i, text, fontsize=8, color=ink, ha="center", va="center_baseline")


def _short_number(value: float) -> str:
    """Two digits behind the point and nothing before it; what rounds to zero has no sign."""
    text = f"{abs(value):.2f}".removeprefix("0")
    return text if value > 0 or text == ".00" else f"−{text}"


def _branches(axes: Axes, tree: Floats, rows: int) -> None:
    """Draw the tree with its leaves at the rows of the matrix."""
    from scipy.cluster.hierarchy import dendrogram

    found = dendrogram(tree, no_plot=True)
    for places, heights in zip(found["icoord"], found["dcoord"], strict=True):
        axes.plot(heights, (np.array(places) - 5) / 10, color=INK, linewidth=1.1)
    axes.set(ylim=(rows - 0.5, -0.5), yticks=[])
    axes.set_xlim(left=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    axes.locator_params(axis="x", nbins=3)
