"""A sheet of tiles: pictures of one size in rows, two lines below each, a title above and a key to the colours below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saliscope.pictures.drawing import Pixels, Rgb
from saliscope.pictures.fonts import drawable, font
from saliscope.pictures.panels import ellipsised

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Tile", "lay_out"]

_MARGIN, _GAP = 16, 10
_LINE = 16  # height of a line of caption
_LETTERS = 12
_INK, _SOFT, _PAPER = (25, 25, 28), (95, 95, 102), (255, 255, 255)
_BACK = (240, 240, 242)  # behind a picture that does not fill its square


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture uint8 (h, w, 3) of the tile's size at most, and the two lines below it; the first is cut at its front."""

    picture: Pixels
    lines: tuple[str, str]


def lay_out(
    tiles: Sequence[Tile],
    across: int,
    *,
    size: int,
    title: str = "",
    key: Mapping[str, Rgb] | None = None,
) -> Pixels:
    """Lay tiles of `size` pixels out in rows of `across`: uint8 (H, W, 3) RGB on white.

    `key` says what the colours mean, in one flow below. Words that are too long end in an ellipsis.
    """
    key = key or {}
    from PIL import Image, ImageDraw

    width = 2 * _MARGIN + across * size + (across - 1) * _GAP
    head = _MARGIN + (28 if title else 0)
    step = size + 2 * _LINE + _GAP + 6
    rows = math.ceil(len(tiles) / across)
    legend = _flow(key, width - 2 * _MARGIN)
    foot = 20 * (1 + max((line for _, line, _ in legend), default=-1))
    sheet = Image.new("RGB", (width, head + rows * step + foot + _MARGIN - 4), _PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        text = ellipsised(drawable(title), 16, width - 2 * _MARGIN, bold=True)
        draw.text((_MARGIN, _MARGIN + 8), text, _INK, font(16, text, bold=True), anchor="lm")
    for number, tile in enumerate(tiles):
        left = _MARGIN + number % across * (size + _GAP)
        _draw_tile(sheet, tile, left, head + number // across * step, size)
    for text, line, left in legend:
        top = head + rows * step + 20 * line
        draw.rectangle((_MARGIN + left, top + 3, _MARGIN + left + 10, top + 13), fill=key[text])
        draw.text((_MARGIN + left + 16, top + 8), text, _SOFT, font(_LETTERS, text), anchor="lm")
    return np.asarray(sheet)


def _draw_tile(sheet: Image.Image, tile: Tile, left: int, top: int, size: int) -> None:
    from PIL import Image, ImageDraw

    draw = ImageDraw.Draw(sheet)
    draw.rectangle((left, top, left + size - 1, top + size - 1), fill=_BACK)
    height, width = tile.picture.shape[:2]
    place = (left + (size - width) // 2, top + (size - height) // 2)
    sheet.paste(Image.fromarray(tile.picture), place)
    first, second = tile.lines
    text = _end_of(first, size)
    draw.text((left, top + size + 10), text, _INK, font(_LETTERS, text), anchor="lm")
    text = ellipsised(drawable(second), _LETTERS, size)
    draw.text((left, top + size + 10 + _LINE), text, _SOFT, font(_LETTERS, text), anchor="lm")


def _flow(key: Mapping[str, Rgb], room: int) -> list[tuple[str, int, int]]:
    """Place the entries of the key one after another: text, line, pixels from the left."""
    placed, line, left = [], 0, 0
    for text in key:
        long = 16 + math.ceil(font(_LETTERS, text).getlength(text)) + 18
        if left and left + long > room:
            line, left = line + 1, 0
        placed.append((text, line, left))
        left += long
    return placed


def _end_of(text: str, room: int) -> str:
    """The end of an id that fits, whole names between "/" where possible."""
    text = drawable(text)
    face = font(_LETTERS, text)
    if face.getlength(text) <= room:
        return text
    ends = [text[n:] for n in range(1, len(text))]
    whole = [end for end in ends if end.startswith("/")]
    fitting = (f"…{end}" for end in [*whole, *ends] if face.getlength(f"…{end}") <= room)
    return next(fitting, "…")
