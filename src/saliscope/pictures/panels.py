"""Panels: photograph, heatmap and blend side by side with captions, composed fast enough for folders of photographs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from saliscope.boxes import Box
from saliscope.errors import OptionError
from saliscope.pictures.drawing import (
    COLORMAP,
    TRUTH_COLOUR,
    Pixels,
    Rgb,
    blend,
    colour_table,
    colourise,
    draw_boxes,
)
from saliscope.pictures.fonts import drawable, font

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

__all__ = ["PanelRow", "ellipsised", "panel", "shrink_heat", "shrink_photo", "stamp"]

_MARGIN, _GAP = 14, 8
_INK, _SOFT, _PAPER, _ALERT = (25, 25, 28), (95, 95, 102), (255, 255, 255), (150, 60, 0)
_TITLE, _NOTE = 15, 13  # letter sizes in pixels
_LINE = 20  # height of a line of caption
_TINY = 120  # photographs smaller than this are enlarged to it, pixels kept as squares


@dataclass(frozen=True, eq=False)
class PanelRow:
    """One method of a panel: its heatmap (H, W) in [0, 1] with NaN unseen, its boxes, and the words above it.

    `heat` has the photograph's size or any other of the same aspect. `title` is the method and layer, `note` the target
    or anything else; `status` is written on the pictures when it is not "ok"; `iou` NaN or None is left out. `colour`
    marks the title and `box`.
    """

    title: str
    heat: NDArray[np.floating]
    note: str = ""
    status: str = "ok"
    box: Box | None = None
    colour: Rgb = (20, 190, 70)
    iou: float | None = None


def panel(
    photo: Pixels,
    rows: Sequence[PanelRow],
    *,
    title: str = "",
    footnote: str = "",
    truth: Sequence[Box] = (),
    width: int = 320,
    alpha: float = 0.5,
    colormap: str = COLORMAP,
) -> Pixels:
    """Compose one row `photograph | heatmap | blend with boxes` per method; uint8 (H, W, 3) RGB on white.

    `footnote` stands below, beside the key to the colours. Boxes are in pixels of the photograph: `truth` red on photograph and blend, a row's own box in its colour. `width`
    is the width of one picture; photographs are shrunk to it, never enlarged beyond 120 pixels. Long captions end in an
    ellipsis. No rows: the photograph alone. Raises `OptionError` for `width` under 16.
    """
    from PIL import ImageDraw

    if width < 16:
        raise OptionError(f"a panel's pictures are at least 16 pixels wide; got width={width}")
    cell = cell_size(photo.shape[:2], width)
    column = max(cell[1], min(width, 150))
    caption = 2 * _LINE + 4 if any(row.note for row in rows) else _LINE + 4
    head = _MARGIN + (_LINE + 6 if title else 0)
    step = caption + cell[0] + 14
    across, foot = 2 * _MARGIN + 3 * column + 2 * _GAP, _LINE + 10 + _MARGIN
    sheet = np.full(
        (head + step * max(len(rows), 1) + _LINE - 4 + _MARGIN, across, 3), _PAPER[0], np.uint8
    )
    room = across - 2 * _MARGIN
    if title:
        with _strip(sheet, 0, head) as strip:
            _write(ImageDraw.Draw(strip), (_MARGIN, _MARGIN), title, _TITLE + 1, room, bold=True)
    small = shrink_photo(photo, cell)
    scale = (cell[1] / photo.shape[1], cell[0] / photo.shape[0])
    marked = _with_boxes(small, truth, None, scale)
    for index, row in enumerate(rows):
        top = head + index * step
        with _strip(sheet, top, caption) as strip:
            _caption(ImageDraw.Draw(strip), row, 0, room)
        heat = shrink_heat(row.heat, cell)
        coloured = colourise(heat, colormap=colormap)
        mixed = _with_boxes(blend(small, heat, alpha=alpha, colormap=colormap), truth, row, scale)
        for place, picture in enumerate((marked, coloured, mixed)):
            left = _MARGIN + place * (column + _GAP)
            _paste(sheet, top + caption, left, stamp(picture, row.status) if place else picture)
    if not rows:
        _paste(sheet, head + caption, _MARGIN, marked)
    if any(np.isnan(row.heat).any() for row in rows):
        footnote = "hatched: not seen   " + footnote
    sheet[-foot:] = _key(
        (foot, across), footnote, bar=bool(rows), truth=bool(truth), colormap=colormap
    )
    return sheet


@contextmanager
def _strip(sheet: Pixels, top: int, height: int) -> Iterator[Image.Image]:
    """Draw on rows `top` to `top + height` of a sheet: only where words stand do pixels go to Pillow and back."""
    from PIL import Image

    strip = Image.new("RGB", (sheet.shape[1], height), _PAPER)
    yield strip
    sheet[top : top + height] = np.asarray(strip)


def _paste(sheet: Pixels, top: int, left: int, picture: Pixels) -> None:
    sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture


def cell_size(size: tuple[int, ...], width: int) -> tuple[int, int]:
    """The size (h, w) in which a photograph of `size` is shown: `width` wide, 1.5 times that high at most."""
    height, full = size[0], size[1]
    scale = min(width / full, 1.5 * width / height)
    if scale > 1.0:
        scale = min(scale, max(1.0, _TINY / max(height, full)))
    return max(1, round(height * scale)), max(1, round(full * scale))


def shrink_photo(photo: Pixels, size: tuple[int, int]) -> Pixels:
    """Bring a photograph to `size` (h, w): averaged when shrunk, squares when enlarged."""
    from PIL import Image

    if photo.shape[:2] == size:
        return photo
    smaller = size[0] < photo.shape[0] or size[1] < photo.shape[1]
    how = Image.Resampling.BILINEAR if smaller else Image.Resampling.NEAREST
    image = Image.fromarray(photo).resize((size[1], size[0]), how, reducing_gap=2.0)
    return np.asarray(image)


def shrink_heat(heat: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bring a heatmap to `size` (h, w) for display: each pixel takes the heat at its centre, so none is invented."""
    rows, columns = (
        ((np.arange(new) + 0.5) * (old / new)).astype(np.intp)
        for new, old in zip(size, heat.shape, strict=True)
    )
    return np.asarray(heat[rows][:, columns], np.float32)


def stamp(picture: Pixels, status: str) -> Pixels:
    """Write a status on a picture's lower left corner, unless it is "ok"; the letters fit the picture.

    A picture of a map that says nothing looks like one that says "cold everywhere": the word tells them apart.
    """
    if status == "ok":
        return picture
    from PIL import Image, ImageDraw

    height, width = picture.shape[:2]
    size = max(7, min(round(0.05 * min(height, width)), 64, width // 12), min(11, width // 12))
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    text, face = f"status: {status}", font(size, bold=True)
    pad = size // 2
    long = math.ceil(face.getlength(text)) + 2 * pad
    box = (0, height - round(1.9 * size), min(long, width) - 1, height - 1)
    draw.rectangle(box, fill=(255, 214, 90))
    draw.text((pad, (box[1] + box[3] + 1) / 2), text, (40, 20, 0), face, anchor="lm")
    return np.asarray(image)


def ellipsised(text: str, size: int, room: float, *, bold: bool = False) -> str:
    """Cut `text` so that it is at most `room` pixels long in letters of `size`, with an ellipsis where it was cut."""
    face = font(size, text, bold=bold)
    if face.getlength(text) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if face.getlength(text[:middle].rstrip() + "…") <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"


def _with_boxes(
    picture: Pixels, truth: Sequence[Box], row: PanelRow | None, scale: tuple[float, float]
) -> Pixels:
    boxes = [(box, TRUTH_COLOUR) for box in truth]
    if row is not None and row.box is not None:
        boxes.append((row.box, row.colour))
    x, y = scale
    scaled = [(Box(b.x0 * x, b.y0 * y, b.x1 * x, b.y1 * y), colour) for b, colour in boxes]
    return draw_boxes(picture, scaled) if scaled else picture


def _caption(draw: ImageDraw.ImageDraw, row: PanelRow, top: int, room: int) -> None:
    left, used = _MARGIN, 0
    if row.iou is not None and not math.isnan(row.iou):
        score = f"IoU {row.iou:.3f}" if row.box is not None else f"no box, IoU {row.iou:.3f}"
        used = _write_right(draw, (left + room, top), score, _TITLE) + 16
    if row.box is not None:
        draw.rectangle((left, top + 3, left + 11, top + 14), fill=row.colour)
        left, used = left + 18, used + 18
    status = "" if row.status == "ok" else f"status: {row.status}"
    title = ellipsised(drawable(row.title), _TITLE, room - used, bold=True)
    _write(draw, (left, top), title, _TITLE, room - used, bold=True)
    taken = font(_TITLE, title, bold=True).getlength(title) + 14
    if status and room - used - taken > 40:
        _write(draw, (left + taken, top), status, _TITLE, room - used - taken, ink=_ALERT)
    _write(draw, (_MARGIN, top + _LINE), row.note, _NOTE, room, ink=_SOFT)


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    room: float,
    *,
    bold: bool = False,
    ink: Rgb = _INK,
) -> None:
    if text := ellipsised(drawable(text), size, room, bold=bold):
        draw.text(
            (at[0], at[1] + _LINE / 2 - 1), text, ink, font(size, text, bold=bold), anchor="lm"
        )


def _write_right(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int) -> int:
    face = font(size, bold=True)
    draw.text((at[0], at[1] + _LINE / 2 - 1), text, _INK, face, anchor="rm")
    return math.ceil(face.getlength(text))


@lru_cache(maxsize=16)  # one key for all the photographs of a folder
def _key(size: tuple[int, int], footnote: str, *, bar: bool, truth: bool, colormap: str) -> Pixels:
    """Write what the colours mean along the lower edge: the value range, the annotated box, the hatching."""
    key = np.full((*size, 3), _PAPER[0], np.uint8)
    with _strip(key, 0, size[0]) as strip:
        _draw_key(strip, footnote, bar=bar, truth=truth, colormap=colormap)
    key.setflags(write=False)
    return key


def _draw_key(strip: Image.Image, footnote: str, *, bar: bool, truth: bool, colormap: str) -> None:
    from PIL import Image, ImageDraw

    draw = ImageDraw.Draw(strip)
    left, middle = _MARGIN, strip.height - _MARGIN - 6
    if bar:
        colours = np.broadcast_to(colour_table(colormap)[np.arange(96) * 255 // 95], (10, 96, 3))
        draw.text((left, middle), "0", _SOFT, font(_NOTE), anchor="lm")
        strip.paste(Image.fromarray(np.ascontiguousarray(colours)), (left + 14, middle - 5))
        draw.text((left + 116, middle), "1", _SOFT, font(_NOTE), anchor="lm")
        left += 140
    if truth:
        draw.rectangle((left, middle - 5, left + 10, middle + 5), fill=TRUTH_COLOUR)
        draw.text((left + 16, middle), "annotated", _SOFT, font(_NOTE), anchor="lm")
        left += 104
    _write(draw, (left, middle - 9), footnote, _NOTE, strip.width - left - _MARGIN, ink=_SOFT)
