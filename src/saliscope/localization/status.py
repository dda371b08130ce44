"""What a map is, in one word that travels with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from saliscope.errors import OptionError
from saliscope.localization.normalise import is_constant

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Status", "has_no_box", "status_of"]

Status = Literal["ok", "zero", "constant", "negative", "nonfinite", "saturated"]
"""What a map is; the first that applies, in the order of `status_of`."""


def status_of(signed_map: NDArray[np.floating], *, saturated: bool = False) -> Status:
    """Say what a raw, signed map (h, w) is, so that a flat picture is never shown without its reason.

    The first that applies:

    - `nonfinite`: it contains NaN or an infinity, so nothing can be read from it.
    - `zero`: every value is exactly 0; no evidence, or no gradient, arrived.
    - `constant`: all values are equal, but for rounding (always so for a map of one cell); there is no place to
      point at.
    - `negative`: nothing is above 0; all evidence speaks against the target, and a ReLU leaves an empty picture.
    - `saturated`: the caller says that the explained probability lies so close to 0 or 1 that its gradient has
      vanished; what is left in the map is rounding. Explain the logit instead.
    - `ok`: none of these.

    Raises `OptionError` for a map without cells.
    """
    grid = np.asarray(signed_map)
    if grid.size == 0:
        raise OptionError(f"a map has at least one cell; got shape {grid.shape}")
    low, high = float(grid.min()), float(grid.max())
    if not np.isfinite([low, high]).all():
        return "nonfinite"
    if low == high == 0:
        return "zero"
    if is_constant(low, high):
        return "constant"
    if high <= 0:
        return "negative"
    return "saturated" if saturated else "ok"


def has_no_box(status: Status) -> bool:
    """Whether a map of this status has no place to put a box: it is zero, constant or not finite."""
    return status in ("zero", "constant", "nonfinite")
