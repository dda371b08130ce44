"""Heatmaps as colours: colourise, blend, draw boxes, write a picture. Pixels in, pixels out; nothing is rescaled."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saliscope.boxes import Box
from saliscope.errors import ImageError, OptionError, nearest
from saliscope.files import write_whole

__all__ = [
    "COLORMAP",
    "SUFFIXES",
    "TRUTH_COLOUR",
    "blend",
    "box_colours",
    "colour_table",
    "colourise",
    "draw_boxes",
    "encode",
    "encoded",
]

Rgb = tuple[int, int, int]
Pixels = NDArray[np.uint8]

COLORMAP = (
    "inferno"  # perceptual; its dark end darkens what is cold and keeps the photograph's own hue
)
SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
TRUTH_COLOUR: Rgb = (230, 30, 40)  # the papers' colours: annotated red, CAM blue, Grad-CAM green
_CAM_COLOUR: Rgb = (30, 110, 255)
_GRAD_CAM_COLOUR: Rgb = (20, 190, 70)
_OTHER_COLOURS: tuple[Rgb, ...] = (
    (255, 165, 0),
    (190, 80, 240),
    (0, 205, 215),
    (255, 110, 180),
    (245, 225, 60),
    (150, 90, 40),
    (150, 160, 255),
    (175, 255, 120),
    (0, 120, 120),
    (255, 200, 170),
    (120, 30, 120),
    (200, 200, 200),
)
_LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}  # pixels
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@lru_cache(maxsize=32)
def colour_table(colormap: str = COLORMAP) -> Pixels:
    """Return the 256 colours of a colour map, uint8 (256, 3) RGB, read-only; row 0 is heat 0, row 255 is heat 1.

    Any name matplotlib knows; another raises `OptionError` with the nearest names.
    """
    from matplotlib import colormaps

    if colormap not in colormaps:
        raise OptionError(
            f'colour map "{colormap}" is unknown; {nearest(colormap, colormaps)}. Any matplotlib name is allowed.'
        )
    table = colormaps[colormap].resampled(256)(np.arange(256), bytes=True)[:, :3].copy()
    table.setflags(write=False)
    return np.asarray(table, np.uint8)


def colourise(heat: NDArray[np.floating], *, colormap: str = COLORMAP) -> Pixels:
    """Colour a heatmap (H, W): uint8 (H, W, 3) RGB.

    The value range is fixed: 0 is the first colour, 1 the last, whatever the largest value of this picture, so that two
    pictures compare. Values outside [0, 1] are clipped. NaN (what the network never saw) is hatched grey. Raises
    `OptionError` for another number of axes and for an unknown colour map.
    """
    picture = np.take(colour_table(colormap), _levels(heat), axis=0)
    return _mark_unseen(picture, heat, np.full_like(picture, 150))


def blend(
    photo: Pixels,
    heat: NDArray[np.floating],
    *,
    alpha: float = 0.5,
    colormap: str = COLORMAP,
) -> Pixels:
    """Lay a heatmap (H, W) over its photograph: `(1 - alpha) photo + alpha colour`, uint8 (H, W, 3) RGB.

    Colours are those of `colourise` (fixed range [0, 1], clipped); nothing is squared, smoothed or stretched. Where the
    heatmap is NaN, the network never saw the photograph: it is shown darkened, without colour, and hatched. Raises
    `OptionError` for `alpha` outside [0, 1] or a heatmap of another size, `ImageError` for another kind of picture.
    """
    _check_photo(photo)
    if not 0.0 <= alpha <= 1.0:
        raise OptionError(f"alpha is the share of the heatmap, 0 to 1; got {alpha}")
    if heat.shape != photo.shape[:2]:
        raise OptionError(
            f"the heatmap is {heat.shape} and the photograph {photo.shape[:2]} (H, W); "
            "bring the map to the photograph first: frame.map_to_source(map)"
        )
    if (
        alpha == 0.5
    ):  # (a + b + 1) / 2 without leaving 8 bits: the same numbers in a third of the time
        colours = np.take(colour_table(colormap), _levels(heat), axis=0)
        mixed = photo | colours
        np.bitwise_xor(photo, colours, out=colours)
        mixed -= np.right_shift(colours, 1, out=colours)
        return _mark_unseen(mixed, heat, photo)
    # + 0.5 and truncation round half up; the colours come ready weighted from a table of 256.
    weighted = (colour_table(colormap) * np.float32(alpha) + np.float32(0.5)).astype(np.float32)
    mixed = np.multiply(photo, np.float32(1.0 - alpha), dtype=np.float32)
    mixed += np.take(weighted, _levels(heat), axis=0)
    return _mark_unseen(mixed.astype(np.uint8), heat, photo)


def box_colours(methods: Sequence[str]) -> list[Rgb]:
    """Give each method its own box colour: CAM blue, the first Grad-CAM green, others from a list of twelve.

    `methods` are names or full specifications (`grad-cam@layer4`). The annotated box is `TRUTH_COLOUR`, red.
    """
    reserved = {"cam": _CAM_COLOUR, "grad-cam": _GRAD_CAM_COLOUR}
    colours: list[Rgb] = []
    for method in methods:
        name = method.partition("@")[0].partition(":")[0]
        first = reserved.pop(name, None)
        spare = sum(colour in _OTHER_COLOURS for colour in colours)
        colours.append(first or _OTHER_COLOURS[spare % len(_OTHER_COLOURS)])
    return colours


def draw_boxes(
    picture: Pixels, boxes: Sequence[tuple[Box, Rgb]], *, width: int | None = None
) -> Pixels:
    """Draw boxes on a copy of a picture, later ones above earlier ones; uint8 (H, W, 3) RGB.

    A line lies inside its half-open box, so that the box of the whole picture is visible; corners are rounded to whole
    pixels and clipped, and a box without area in the picture is not drawn. `width` is the line in pixels (default: about 1/120 of the shorter side, 2 at least), with a
    dark rim of one pixel that keeps it readable on any photograph.
    """
    _check_photo(picture)
    drawn = picture.copy()
    line = max(2, round(min(picture.shape[:2]) / 120)) if width is None else width
    for box, colour in boxes:
        corners = _pixel_corners(box, picture.shape[:2])
        if corners is None:
            continue
        x0, y0, x1, y1 = corners
        if min(x1 - x0, y1 - y0) > 4 * line:  # a rim would drown a box of few pixels
            _ring(drawn, (x0 - 1, y0 - 1, x1 + 1, y1 + 1), line + 2, (20, 20, 20))
        _ring(drawn, (x0, y0, x1, y1), line, colour)
    return drawn


def encode(picture: Pixels, path: str | os.PathLike[str], *, quality: int = 92) -> None:
    """Write a picture, JPEG, PNG or WebP by suffix, whole or not at all.

    `quality` is 1 to 100 for JPEG and WebP. Raises `OptionError` for another suffix and `OSError` (missing folder, full
    disk, no permission) naming the path; an existing file is then left as it was.
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise OptionError(
            f'cannot write "{target}": suffix "{target.suffix}" is no picture; use {", ".join(SUFFIXES)}'
        )
    write_whole(target, encoded(picture, SUFFIXES[target.suffix.lower()], quality=quality))


def encoded(picture: Pixels, kind: str, *, quality: int = 92) -> bytes:
    """Encode a picture as the bytes of a `JPEG`, `PNG` or `WEBP` file.

    Raises `ImageError` for a picture larger than the kind can hold (JPEG: 65,500 pixels a side, WebP: 16,383).
    """
    from PIL import Image

    _check_photo(picture)
    height, width = picture.shape[:2]
    limit = _LONGEST_SIDE.get(kind, max(height, width))
    if max(height, width) > limit:
        raise ImageError(
            f"a {kind} picture has at most {limit:,} pixels a side, and this one is {width:,} x {height:,}; "
            "shrink the photograph, draw fewer rows, or write a PNG"
        )
    if kind == "JPEG":
        return _jpeg(picture, quality)
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    if kind == "PNG":
        image.save(buffer, "PNG", compress_level=4)
    else:
        image.save(buffer, kind, quality=quality, method=2)
    return buffer.getvalue()


def _jpeg(picture: Pixels, quality: int) -> bytes:
    """Encode by OpenCV: the same coefficients as Pillow's, but several threads can, where Pillow keeps Python's lock."""
    import cv2

    settings = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,  # half colour smears thin boxes
    ]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), settings)
    return bytes(data)


def _levels(heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    if heat.ndim != 2:
        raise OptionError(f"a heatmap is (H, W); got {heat.shape}. Pass one heatmap at a time.")
    scaled = np.fmax(np.asarray(heat, np.float32), np.float32(0.0))  # of NaN and 0 it takes 0
    np.minimum(scaled, np.float32(1.0), out=scaled)
    scaled *= np.float32(255.0)
    scaled += np.float32(0.5)
    return scaled.astype(np.uint8)


def _mark_unseen(picture: Pixels, heat: NDArray[np.floating], photo: Pixels) -> Pixels:
    """Replace what the network never saw (NaN) by the photograph, darkened, grey and hatched."""
    unseen = np.isnan(heat)
    if not unseen.any():
        return picture
    height, width = heat.shape
    period = max(6, min(height, width) // 40)
    diagonal = np.arange(height, dtype=np.int32)[:, None] + np.arange(width, dtype=np.int32)
    line = diagonal % period < max(1, period // 6)
    dark = _grey(photo) * np.float32(0.6)
    dark[line] = 0.6 * dark[line] + 0.4 * 200.0
    np.copyto(picture, dark.astype(np.uint8)[..., None], where=unseen[..., None])
    return picture


def _grey(photo: Pixels) -> NDArray[np.float32]:
    """Luma of a photograph, plane by plane: a matrix product would wake threads that fight the network's."""
    grey = photo[..., 0] * _LUMA[0]
    grey += photo[..., 1] * _LUMA[1]
    grey += photo[..., 2] * _LUMA[2]
    return np.asarray(grey, np.float32)


def _pixel_corners(box: Box, size: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    visible = box.clip((size[0], size[1]))
    if visible.area == 0:
        return None
    x0, y0, x1, y1 = (round(side) for side in visible)
    x0, y0 = min(x0, size[1] - 1), min(y0, size[0] - 1)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def _ring(picture: Pixels, corners: tuple[int, int, int, int], line: int, colour: Rgb) -> None:
    x0, y0, x1, y1 = corners
    left, top = max(x0, 0), max(y0, 0)
    picture[top : max(min(y0 + line, y1), 0), left:x1] = colour
    picture[max(y1 - line, top) : y1, left:x1] = colour
    picture[top:y1, left : max(min(x0 + line, x1), 0)] = colour
    picture[top:y1, max(x1 - line, left) : x1] = colour


def _check_photo(photo: Pixels) -> None:
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise ImageError(
            f"a picture is uint8 (H, W, 3) RGB; got {photo.dtype} {photo.shape}. load_image makes one of anything."
        )
