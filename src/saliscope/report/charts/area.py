"""A plot on a sheet: axes placed in inches, and a legend that wraps and never covers anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from saliscope.report.charts.style import GRID, Look
from saliscope.report.page import INK, LINE, SOFT, Page, measured, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MARGIN", "SMALL", "axis_note", "legend", "legend_height", "plot", "short", "size_of_names", "title"]  # fmt: skip

MARGIN = 0.15
SMALL = 8.5  # points: the size of most text
_SIGN = 0.42  # inches: the sample of a line in a legend
_TITLE = 10.5


def plot(page: Page, x: float, y: float, width: float, height: float) -> Axes:
    """Axes whose inner area is `width` x `height` inches with its top left corner at (x, y), light grid, no box."""
    place = (
        x / page.width,
        1 - (y + height) / page.height,
        width / page.width,
        height / page.height,
    )
    axes = page.figure.add_axes(place)
    axes.patch.set_visible(False)
    page.figure.axes[0].set_zorder(axes.get_zorder() + 1)  # words of the sheet lie over grid lines
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=SOFT, linewidth=0.8)
    axes.tick_params(labelsize=8, colors=INK, length=3, width=0.8, color=SOFT)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    return axes


def title(page: Page, text: str, *, y: float = 0.12) -> float:
    """Write the heading of a chart, two lines at most; returns the y below."""
    lines = wrapped(text, page.width - 2 * MARGIN, size=_TITLE, bold=True, most=2)
    return page.paragraph(MARGIN, y, lines, size=_TITLE, bold=True) + 0.06


def title_height(text: str, width: float) -> float:
    """The inches that `title` takes."""
    lines = wrapped(text, width - 2 * MARGIN, size=_TITLE, bold=True, most=2)
    return 0.12 + len(lines) * LINE * _TITLE / 72 + 0.06


def axis_note(page: Page, x: float, y: float, width: float, text: str) -> None:
    """Write what an axis counts, centred under it, at (x, y) and `width` inches wide; in two lines where one does not fit."""
    middle = x + width / 2
    room = min(width + 1.2, 2 * (middle - 0.05), 2 * (page.width - middle - 0.05))
    for line in wrapped(text, room, size=SMALL, most=2):
        page.write(middle, y, line, size=SMALL, align="center")
        y += LINE * SMALL / 72


def short(name: str, room: float, size: float = SMALL) -> str:
    """A name in `room` inches; of a longer one the middle is left out, since names of layers differ at their ends."""
    if measured(name, size) <= room:
        return name
    head = name.partition("@")[0] if "@" in name else name[: len(name) // 4]
    for start in range(len(head), len(name)):
        cut = f"{head}@…{name[start:]}" if "@" in name else f"{head}…{name[start:]}"
        if measured(cut, size) <= room:
            return cut
    (cut,) = wrapped(name, room, size=size, most=1)
    return cut


def size_of_names(names: Sequence[str], most: float) -> float:
    """The inches that a column of names needs, `most` at most."""
    return min(most, max((measured(name, SMALL) for name in names), default=0.0) + 0.02)


def legend_height(looks: Mapping[str, Look], width: float) -> float:
    """The inches that `legend` takes."""
    columns, _ = _columns(list(looks), width)
    return -(-len(looks) // columns) * LINE * SMALL / 72 + 0.05 if looks else 0.0


def legend(
    page: Page, x: float, y: float, width: float, looks: Mapping[str, Look], *, lines: bool
) -> float:
    """Write what each colour and marker is, in columns; returns the y below. With `lines` dashes are shown too."""
    columns, room = _columns(list(looks), width)
    rows = -(-len(looks) // columns) if looks else 0
    step = LINE * SMALL / 72
    for i, (name, look) in enumerate(looks.items()):
        left, top = x + (i // rows) * room, y + (i % rows) * step
        middle = top + step / 2
        if lines:
            page.rule(left, middle, left + _SIGN - 0.1, color=look.colour, linestyle=look.dash, linewidth=1.4)  # fmt: skip
        sign(page, left + (_SIGN - 0.1) / 2, middle, look)
        page.write(left + _SIGN, top, short(name, room - _SIGN - 0.1), size=SMALL)
    return y + rows * step + 0.05


def sign(page: Page, x: float, y: float, look: Look) -> None:
    """Draw the marker of a look on the sheet."""
    page.rule(x, y, x, **marker_of(look), linestyle="none")


def marker_of(look: Look, size: float = 5.5) -> dict[str, Any]:
    """Options that draw a look's marker."""
    return {
        "marker": look.marker, "markersize": size, "markerfacecolor": look.face,
        "markeredgecolor": look.colour, "markeredgewidth": 1.2, "color": look.colour,
    }  # fmt: skip


def _columns(names: Sequence[str], width: float) -> tuple[int, float]:
    """How many columns of a legend fit, and how wide each is."""
    needed = _SIGN + 0.15 + max((measured(n, SMALL) for n in names), default=0.0)
    columns = max(1, min(len(names) or 1, int(width / needed)))
    return columns, width / columns
