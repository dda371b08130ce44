"""How all pictures of docs/metrics.md look: a row of panels, a line of text below each."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from numpy.typing import NDArray
from PIL import Image

from saliscope import Box
from saliscope.pictures import COLORMAP

DRAWINGS: dict[str, Callable[[], Figure]] = {}
"""What draws each picture, by the name of its file."""

BLUE, GREEN, ORANGE, RED, GREY = "#0072b2", "#009e73", "#d55e00", "#cc2222", "#8a8a90"
CHART = 1.5
"""How wide a chart is; a picture is 1."""

_SIDE, _DPI, _LIMIT = 1.7, 110, 30_000
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": "#333338",
    "xtick.color": "#333338",
    "ytick.color": "#333338",
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
}


def drawing(draw: Callable[[], Figure]) -> Callable[[], Figure]:
    """Enter a function that draws the picture of its own name."""
    DRAWINGS[draw.__name__.replace("_", "-")] = draw
    return draw


def row(*widths: float, height: float = 1.0, rows: int = 1) -> tuple[Figure, NDArray[np.object_]]:
    """A figure with panels side by side, in units of a picture's side; the axes (n,), or (rows, n)."""
    mpl.rcParams.update(_STYLE)
    size = (sum(widths) * _SIDE * height + 0.1, rows * (_SIDE * height + 0.32))
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.03, wspace=0.02, hspace=0.02)
    axes = figure.subplots(rows, len(widths), width_ratios=widths, squeeze=False)
    return figure, axes[0] if rows == 1 else axes


def show(axes: Axes, picture: NDArray[np.generic], below: str = "") -> None:
    """A photograph or a map with a line of text below, and no axes."""
    interpolation = "antialiased" if min(picture.shape[:2]) > 60 else "nearest"
    axes.imshow(picture, interpolation=interpolation, cmap=COLORMAP)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_xlabel(below, labelpad=3)


def frame(axes: Axes, box: Box, colour: str, *, dashed: bool = False) -> None:
    """The outline of a half-open box."""
    corner, size = (box.x0 - 0.5, box.y0 - 0.5), (box.x1 - box.x0, box.y1 - box.y0)
    style = "--" if dashed else "-"
    axes.add_patch(Rectangle(corner, *size, fill=False, ec=colour, lw=1.8, ls=style, clip_on=False))


def outline(axes: Axes, mask: NDArray[np.bool_], colour: str = "white") -> None:
    """The edge of a mask."""
    axes.contour(mask.astype(float), [0.5], colors=[colour], linewidths=1.2)


def point(axes: Axes, at: tuple[int, int], colour: str, *, radius: float = 0.0) -> None:
    """A cross at a pixel, and a disk around it."""
    axes.plot(*at, marker="+", ms=10, mew=2.2, color="white")
    axes.plot(*at, marker="+", ms=9, mew=1.3, color=colour)
    if radius:
        axes.add_patch(Circle(at, radius, fill=False, ec=colour, lw=1.6))


def label(axes: Axes, across: str, up: str) -> None:
    """What a chart's axes are."""
    axes.set_xlabel(across, labelpad=2)
    axes.set_ylabel(up, labelpad=2)
    axes.tick_params(length=2, pad=2)


def shares(axes: Axes, rows: list[tuple[str, float]], across: str) -> None:
    """Bars from 0 to 1, each with its number, the first on top."""
    for place, (_, value) in enumerate(rows):
        axes.barh(place, 1, color="#e9e9ec", height=0.5)
        axes.barh(place, value, color=BLUE, height=0.5)
        axes.text(min(max(value, 0), 0.84) + 0.03, place, f"{value:.2f}", va="center", color="#222226" if value <= 0.84 else "white")  # fmt: skip
    axes.set(xlim=(0, 1), yticks=range(len(rows)), yticklabels=[name for name, _ in rows])
    axes.invert_yaxis()
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    label(axes, across, "")


def save(figure: Figure, path: Path) -> None:
    """Write a PNG of as many colours as fit the size that a page can bear."""
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor="white")
    picture = Image.open(file).convert("RGB")
    for colours in (192, 128, 96, 64, 48, 32):
        picture.quantize(colours, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= _LIMIT:
            return
    raise ValueError(f"{path.name} has {path.stat().st_size} bytes, more than {_LIMIT}")
