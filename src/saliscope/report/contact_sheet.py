"""Contact sheets: many samples of a data set on one picture, with what is annotated on them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from saliscope.boxes import Box
from saliscope.data import Failed, Region, Sample
from saliscope.data.sample import Masks
from saliscope.errors import OptionError, SaliscopeError
from saliscope.pictures import TRUTH_COLOUR, Pixels, Rgb, box_colours, draw_boxes
from saliscope.pictures.fonts import drawable, font
from saliscope.pictures.panels import shrink_photo
from saliscope.pictures.sheet import Tile, lay_out

__all__ = ["contact_sheet"]

_LINE, _LETTERS = 16, 12  # of the words on a damaged sample's tile
_INK, _ALERT, _TILE = (25, 25, 28), (150, 60, 0), (240, 240, 242)
_PART_COLOUR: Rgb = (30, 110, 255)
_SIDE_COLOUR: Rgb = (150, 150, 155)
_ALPHA = 0.4
_MOST_MASKS, _TELLING = 4, ("body", "object", "evidence", "tag", "ignore")


@dataclass(eq=False)
class _Key:
    """Which colours stand on the sheet, by what they mean, in the order in which they came."""

    entries: dict[str, Rgb] = field(default_factory=dict)
    masks: list[str] = field(default_factory=list)

    def box(self, region: Region) -> Rgb:
        """The colour of a region's box."""
        if region.crowd or region.difficult:
            return self._remembered("crowd" if region.crowd else "difficult", _SIDE_COLOUR)
        if region.part is not None:
            return self._remembered("box of a part", _PART_COLOUR)
        return self._remembered("box", TRUTH_COLOUR)

    def mask(self, name: str) -> Rgb:
        """The colour of the masks called `name`."""
        if name == "ignore":
            return self._remembered("mask: ignore", _SIDE_COLOUR)
        if name not in self.masks:
            self.masks.append(name)
        colour = box_colours([f"mask {mask}" for mask in self.masks])[self.masks.index(name)]
        return self._remembered(f"mask: {name}", colour)

    def _remembered(self, what: str, colour: Rgb) -> Rgb:
        return self.entries.setdefault(what, colour)


def contact_sheet(
    samples: Iterable[Sample | Failed],
    *,
    classes: Sequence[str] = (),
    columns: int | None = None,
    size: int = 220,
    title: str = "",
    masks: Sequence[str] | None = None,
    on_failed: Callable[[Failed], None] | None = None,
) -> Pixels:
    """Draw samples in rows of `columns`, each in a square of `size` pixels; uint8 (H, W, 3) RGB on white.

    Boxes of whole things are red, of parts blue, of difficult ones and crowds grey; masks are translucent with an
    outline, one colour a name, what is "ignore" grey. `masks` chooses some by name; by default all are drawn, but of a
    sample with more than four only "body", "object", "evidence", "tag" and "ignore": more would hide it. Below each stand its id (cut at the front: ids differ at the end), its class (`classes` in the order that labels count; without a label,
    what its regions are called) and its split. A key says what the colours mean. A sample that cannot be read is a tile
    that says so, and is given to `on_failed`. `columns`: as many as make the sheet about 4 : 3.

    Raises `OptionError` where there are no samples, and for a size under 64 or no columns.
    """
    if size < 64 or (columns is not None and columns < 1):
        raise OptionError(
            f"a contact sheet has squares of 64 pixels and one column at least; got size={size}, columns={columns}"
        )
    key, tiles = _Key(), []
    for sample in samples:
        tile = _tile(sample, size, classes, masks, key)
        if isinstance(tile, Failed):
            if on_failed is not None:
                on_failed(tile)
            tile = _damaged(tile, sample, size, classes)
        tiles.append(tile)
    if not tiles:
        raise OptionError("a contact sheet needs samples; none were given")
    across = min(len(tiles), columns or max(1, round(math.sqrt(len(tiles) * 4 / 3))))
    boxes_first = sorted(key.entries, key=lambda what: what.startswith("mask"))
    entries = {what: key.entries[what] for what in boxes_first}
    return lay_out(tiles, across, size=size, title=title, key=entries)


# --- tiles -----------------------------------------------------------------------------------------------------------


def _tile(
    sample: Sample | Failed,
    size: int,
    classes: Sequence[str],
    masks: Sequence[str] | None,
    key: _Key,
) -> Tile | Failed:
    if isinstance(sample, Failed):
        return sample
    try:
        photo = sample.photo().pixels
        found = _chosen(sample.masks(), masks)
    except SaliscopeError as err:
        return Failed(sample.id, str(err))
    picture = _fitted(photo, size)
    # The larger first, so that a part is not hidden by the whole.
    for name in sorted(found, key=lambda name: -np.count_nonzero(found[name])):
        picture = _with_mask(picture, found[name], key.mask(name))
    picture = _with_boxes(picture, sample.regions, photo.shape[:2], key)
    return Tile(picture, (sample.id, _words(sample, classes)))


def _chosen(found: Masks, wanted: Sequence[str] | None) -> Masks:
    if wanted is None:
        wanted = tuple(found) if len(found) <= _MOST_MASKS else _TELLING
    return {name: mask for name, mask in found.items() if name in wanted}


def _fitted(photo: Pixels, size: int) -> Pixels:
    """Bring a photograph into a square; one of few pixels is enlarged by a whole number, so that they stay squares."""
    from PIL import Image

    height, width = photo.shape[:2]
    scale = size / max(height, width)
    if scale >= 2:
        return photo.repeat(int(scale), axis=0).repeat(int(scale), axis=1)
    fit = (max(1, round(height * scale)), max(1, round(width * scale)))
    if scale <= 1:
        return shrink_photo(photo, fit)
    return np.asarray(Image.fromarray(photo).resize(fit[::-1], Image.Resampling.BICUBIC))


def _with_mask(picture: Pixels, mask: NDArray[np.bool_], colour: Rgb) -> Pixels:
    import cv2

    height, width = picture.shape[:2]
    share = cv2.resize(np.asarray(mask, np.float32), (width, height), interpolation=cv2.INTER_AREA)
    inside = share >= 0.5
    # A mask thinner than a pixel of the thumbnail would vanish: then all it touches is shown.
    inside = inside if inside.any() else share > 0
    edge = inside & ~cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    drawn = picture.astype(np.float32)
    paint = np.asarray(colour, np.float32)
    drawn[inside] = (1 - _ALPHA) * drawn[inside] + _ALPHA * paint
    drawn[edge] = paint
    return drawn.round().astype(np.uint8)


def _with_boxes(
    picture: Pixels, regions: Sequence[Region], source: tuple[int, ...], key: _Key
) -> Pixels:
    y, x = picture.shape[0] / source[0], picture.shape[1] / source[1]
    # Whole things last: they are what matters most.
    order = sorted(regions, key=lambda r: (r.part is None, not (r.crowd or r.difficult)))
    scaled = [
        (Box(r.box.x0 * x, r.box.y0 * y, r.box.x1 * x, r.box.y1 * y), key.box(r)) for r in order
    ]
    return draw_boxes(picture, scaled, width=2)


def _words(sample: Sample, classes: Sequence[str]) -> str:
    """The class of a sample and its split, in one line."""
    if sample.label is not None:
        known = sample.label < len(classes)
        name = classes[sample.label] if known else f"class {sample.label}"
    else:
        named = Counter(region.label for region in sample.regions if region.part is None)
        name = ", ".join(f"{n} × {label}" if n > 1 else label for label, n in named.items())
    return f"{name or 'no class'} · {sample.split}"


def _damaged(failed: Failed, sample: Sample | Failed, size: int, classes: Sequence[str]) -> Tile:
    """An empty tile that says what is wrong with its sample."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (size, size), _TILE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, size - 1, size - 1), outline=_ALERT, width=2)
    draw.text((10, 20), "cannot be read", _ALERT, font(_LETTERS + 1, bold=True), anchor="lm")
    lines = _wrapped(failed.message, size - 20)
    for number, line in enumerate(lines[: (size - 40) // _LINE]):
        draw.text((10, 42 + number * _LINE), line, _INK, font(_LETTERS, line), anchor="lm")
    words = _words(sample, classes) if isinstance(sample, Sample) else "damaged annotation"
    return Tile(np.asarray(image), (failed.id, words))


def _wrapped(text: str, room: int) -> list[str]:
    """Break a text into lines of `room` pixels, inside long words too: messages name paths."""
    lines, line = [], ""
    for word in drawable(text).split():
        rest = word
        if line and font(_LETTERS, word).getlength(f"{line} {word}") <= room:
            line += f" {word}"
            continue
        lines.append(line)
        while font(_LETTERS, rest).getlength(rest) > room and len(rest) > 1:
            cut = next(n for n in range(len(rest) - 1, 0, -1) if n == 1 or font(_LETTERS, rest).getlength(rest[:n]) <= room)  # fmt: skip
            lines.append(rest[:cut])
            rest = rest[cut:]
        line = rest
    return [line for line in [*lines, line] if line]
