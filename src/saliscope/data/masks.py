"""Masks: mask files, COCO's polygons and run lengths, and the box that just holds a mask."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from saliscope.boxes import Box
from saliscope.errors import DataError
from saliscope.images import image_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_mask_size", "decode_runs", "fill_polygon", "read_levels", "tight_box"]

_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, struct.error)


def read_levels(path: Path, *, indices: bool = False) -> NDArray[np.uint8]:
    """Read a mask file as its grey levels, uint8 (H, W); with `indices`, a palette file as its indices instead.

    Raises `DataError`, naming the file, where it is missing or damaged.
    """
    try:
        with Image.open(path) as image:
            image.load()  # truncated files raise here
            plain = image.mode == "L" or (indices and image.mode == "P")
            return np.array(image if plain else image.convert("L"), dtype=np.uint8)
    except FileNotFoundError as err:
        raise DataError(f"there is no mask file {path}; unpack the masks again") from err
    except (*_DAMAGE, zlib.error, Image.DecompressionBombError) as err:
        raise DataError(f"the mask file {path} is damaged ({err}); unpack the masks again") from err


def check_mask_size(mask: NDArray[np.generic], path: Path, image: Path) -> None:
    """Check that a mask read from `path` covers `image` pixel for pixel; raises `DataError`."""
    size = image_size(image)
    if mask.shape != size:
        raise DataError(
            f"the mask {path} is {mask.shape[1]} x {mask.shape[0]} pixels, but {image.name} is {size[1]} x {size[0]} "
            "(width x height); use the image that was annotated"
        )


def tight_box(mask: NDArray[np.bool_]) -> Box | None:
    """The smallest half-open box that holds every True pixel of a mask (H, W); None where there is none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def decode_runs(counts: str | bytes | Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Decode a mask of COCO written as run lengths, as numbers or as its compressed text, to bool (H, W).

    Runs go down the columns, one column after the other, and alternate between outside and inside, outside first. Raises
    `DataError` where they do not fill the image exactly.
    """
    height, width = size
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", "replace")
    runs = _unpack(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise DataError(
            f"a run-length mask covers {sum(runs)} pixels in {len(runs)} runs, but its image is {width} x {height}; "
            "unpack the annotations again"
        )
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def _unpack(text: str) -> list[int]:
    """Each character carries five bits of a number, lowest first, and a sixth that says whether more follow.

    The last group's highest bit is the sign. From the fourth number on, the difference to the one two places before is written.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise DataError(
                f'"{character}" cannot stand in a compressed run-length mask; unpack the annotations again'
            )
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise DataError("a compressed run-length mask breaks off; unpack the annotations again")
    return runs


def fill_polygon(points: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill one closed polygon, float (N, 2) of x, y in image pixels, to bool (H, W).

    A pixel is inside where its centre is (even-odd rule). A centre on a left or upper edge is inside, one on a right or
    lower edge is not, so polygons that share an edge share no pixel and leave no gap.
    """
    height, width = size
    x0, y0 = np.asarray(points, np.float64).T
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    # Edge by edge, the rows whose centre lies between its ends: the lower end belongs to it, the upper does not.
    first = np.ceil(np.minimum(y0, y1) - 0.5).clip(0, height).astype(np.int64)
    last = np.ceil(np.maximum(y0, y1) - 0.5).clip(0, height).astype(np.int64)
    edge = np.repeat(np.arange(len(x0)), last - first)
    starts = np.cumsum(last - first) - (last - first)
    rows = np.arange(len(edge)) - starts[edge] + first[edge]
    slope = (x1 - x0)[edge] / (y1 - y0)[edge]
    crossing = x0[edge] + (rows + 0.5 - y0[edge]) * slope
    columns = np.ceil(crossing - 0.5).clip(0, width).astype(np.int64)
    crossed = np.zeros((height, width + 1), np.int64)
    np.add.at(crossed, (rows, columns), 1)
    inside: NDArray[np.bool_] = np.cumsum(crossed, axis=1)[:, :width] % 2 == 1
    return inside
