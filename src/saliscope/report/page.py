"""A sheet laid out in inches: pictures, measured text and lines on a matplotlib figure, so that nothing overlaps."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from saliscope.errors import OptionError
from saliscope.files import write_whole
from saliscope.pictures import colour_table
from saliscope.pictures.fonts import drawable, fallback_family, font
from saliscope.pictures.panels import ellipsised

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Page", "figure_bytes", "save_figure", "wrapped"]

_FORMATS = {".png": "png", ".svg": "svg", ".pdf": "pdf"}
_RULER = 40  # pixels: the size at which letters are measured
INK, SOFT, ALERT, RULE = "#19191c", "#5f5f66", "#963c00", "#c8c8cc"
LINE = 1.35  # height of a line of text in units of its size


@dataclass
class Page:
    """A white sheet of `width` x `height` inches; x runs right and y down from its top left corner."""

    width: float
    height: float
    figure: Figure = field(init=False)
    _canvas: Axes = field(init=False)

    def __post_init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(self.width, self.height), facecolor="white")
        self.figure.set_layout_engine("none")  # whatever the user's own settings prefer
        FigureCanvasAgg(self.figure)
        self._canvas = self.figure.add_axes((0, 0, 1, 1), label="page")
        self._canvas.set(xlim=(0, self.width), ylim=(self.height, 0))
        self._canvas.set_axis_off()

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 9.0,
        bold: bool = False,
        ink: str = INK,
        align: Literal["left", "center", "right"] = "left",
    ) -> None:
        """Write one line whose upper edge is at `y`; no mathematics, no TeX, letters of any installed script."""
        text = drawable(text)
        family = [name for name in ("DejaVu Sans", fallback_family(text)) if name]
        self._canvas.text(
            x,
            y + LINE * size / 144,
            text,
            fontsize=size,
            fontweight="bold" if bold else "normal",
            family=family,
            color=ink,
            ha=align,
            va="center_baseline",
            parse_math=False,
            usetex=False,
        )

    def paragraph(self, x: float, y: float, lines: list[str], **style: Any) -> float:
        """Write lines under each other; returns the y below them."""
        for text in lines:
            self.write(x, y, text, **style)
            y += LINE * style.get("size", 9.0) / 72
        return y

    def rule(self, x0: float, y: float, x1: float, **style: Any) -> None:
        """Draw a level line."""
        self._canvas.plot(
            [x0, x1], [y, y], **{"color": RULE, "linewidth": 0.8, "solid_capstyle": "butt", **style}
        )

    def picture(
        self,
        x: float,
        y: float,
        shown: tuple[float, float],
        pixels: NDArray[np.uint8],
        *,
        source: tuple[int, ...],
    ) -> Axes:
        """Show pixels at `shown` (width, height) inches; the axes count in pixels of `source` (H, W)."""
        height, width = source[0], source[1]
        axes = self._axes(x, y, shown)
        tiny = max(pixels.shape[:2]) < 64
        axes.imshow(
            pixels,
            extent=(0, width, height, 0),
            aspect="auto",
            interpolation="nearest" if tiny else "auto",
        )
        axes.set_axis_off()
        return axes

    def colour_bar(self, x: float, y: float, size: tuple[float, float], colormap: str) -> None:
        """Draw the colours of heat 0 to 1: upwards when `size` (width, height) is tall, else rightwards."""
        axes = self._axes(x, y, size)
        tall = size[1] > size[0]
        table = colour_table(colormap)
        pixels = table[::-1, None] if tall else table[None]
        axes.imshow(pixels, extent=(0, 1, 0, 1), aspect="auto", interpolation="auto")
        axes.set_axis_off()
        for value in (0.0, 0.5, 1.0) if max(size) > 0.5 else (0.0, 1.0):
            text = f"{value:g}"
            if tall:
                self.write(
                    x + size[0] + 0.05, y + (1 - value) * size[1] - LINE * 7.5 / 144, text, size=7.5
                )
            else:
                self.write(x + value * size[0], y + size[1] + 0.01, text, size=7.5, align="center")

    def _axes(self, x: float, y: float, size: tuple[float, float]) -> Axes:
        place = (
            x / self.width,
            1 - (y + size[1]) / self.height,
            size[0] / self.width,
            size[1] / self.height,
        )
        return self.figure.add_axes(place)


def measured(text: str, size: float, *, bold: bool = False) -> float:
    """The length of one line of text in inches, `size` in points."""
    return font(_RULER, text, bold=bold).getlength(text) / _RULER * size / 72


def wrapped(
    text: str, room: float, *, size: float = 9.0, bold: bool = False, most: int = 3
) -> list[str]:
    """Break text into at most `most` lines of at most `room` inches, at spaces, else after punctuation, else anywhere.

    What does not fit ends in an ellipsis.
    """
    lines: list[str] = []
    rest = drawable(text).strip()
    while rest:
        if len(lines) == most - 1 or measured(rest, size, bold=bold) <= room:
            return [*lines, ellipsised(rest, _RULER, room * 72 / size * _RULER, bold=bold)]
        cut = _cut(rest, room, size, bold=bold)
        lines.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return lines


def _cut(text: str, room: float, size: float, *, bold: bool) -> int:
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if measured(text[:middle].rstrip(), size, bold=bold) <= room:
            low = middle
        else:
            high = middle - 1
    if text[low : low + 1] == " ":
        return low
    for marks in (" ", "@:._/-,="):
        last = max(text.rfind(mark, 0, low) for mark in marks) + 1
        if last > low // 3:
            return last
    return low


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 200) -> None:
    """Write a figure as PNG, SVG or PDF by suffix: the same figure gives the same bytes, whole or not at all.

    Raises `OptionError` for another suffix and `OSError` naming the path.
    """
    target = Path(path)
    kind = _FORMATS.get(target.suffix.lower())
    if kind is None:
        raise OptionError(
            f'cannot write "{target}": suffix "{target.suffix}" is no figure; use {", ".join(_FORMATS)}'
        )
    write_whole(target, figure_bytes(figure, kind, dpi=dpi))


def figure_bytes(figure: Figure, kind: str, *, dpi: int = 200, about: str = "") -> bytes:
    """A figure as a file of the `kind` "png", "svg" or "pdf": the same figure gives the same bytes.

    Text in PDF is embedded TrueType, in SVG outlines that look the same everywhere; no date is stored. `about` is kept in the file, for
    those who find it alone.
    """
    import matplotlib as mpl

    kept: dict[str, dict[str, str | None]] = {
        "png": {"Software": None} | ({"Description": about} if about else {}),
        "svg": {"Date": None} | ({"Description": about} if about else {}),
        "pdf": {"CreationDate": None} | ({"Subject": about} if about else {}),
    }
    settings: Any = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "saliscope"}
    buffer = io.BytesIO()
    with mpl.rc_context(settings):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=kept[kind])
    return buffer.getvalue()
