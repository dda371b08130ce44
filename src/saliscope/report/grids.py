"""Raw maps in few bytes, for a page: whole numbers between the smallest and the largest value."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack_grid", "unpack_grid"]

_FINE = 112  # cells: more along one side than a picture of the page shows are averaged
_MANY = 1024  # cells: maps of more are stored in 8 bits, others in 16


def pack_grid(grid: NDArray[np.floating]) -> dict[str, Any]:
    """Pack a raw, signed map (h, w): `h`, `w`, `bits`, `low`, `high`, and the numbers in base64.

    A value is `low + number * (high - low) / (2**bits - 2)`; the largest number marks NaN and infinities. With 16 bits a value
    moves by at most 1/131,068 of the range, with 8 by 1/508. Maps finer than 112 cells are averaged down to that first.
    """
    cells = _coarser(np.asarray(grid, np.float32))
    bits = 16 if cells.size <= _MANY else 8
    finite = np.isfinite(cells)
    low, high = (float(f(cells[finite])) for f in (np.min, np.max)) if finite.any() else (0.0, 0.0)
    most = 2**bits - 2
    step = (high - low) / most
    kind = np.dtype("<u2" if bits == 16 else "u1")
    numbers = np.full(cells.shape, most + 1, kind)
    if step > 0:
        numbers[finite] = np.rint((cells[finite].astype(np.float64) - low) / step).astype(kind)
    else:
        numbers[finite] = 0
    text = b64encode(numbers.tobytes()).decode()
    height, width = cells.shape
    return {"h": height, "w": width, "bits": bits, "low": low, "high": high, "data": text}


def unpack_grid(packed: dict[str, Any]) -> NDArray[np.float32]:
    """The map (h, w) as the page's script reads it."""
    kind = np.dtype("<u2" if packed["bits"] == 16 else "u1")
    numbers = np.frombuffer(b64decode(packed["data"]), kind).reshape(packed["h"], packed["w"])
    most = 2 ** packed["bits"] - 2
    values = packed["low"] + numbers * ((packed["high"] - packed["low"]) / most)
    return np.where(numbers > most, np.nan, values).astype(np.float32)


def _coarser(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    import cv2

    scale = _FINE / max(cells.shape)
    if scale >= 1.0:
        return cells
    height, width = (max(1, round(side * scale)) for side in cells.shape)
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_AREA), np.float32)
