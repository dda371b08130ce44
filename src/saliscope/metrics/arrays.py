"""Maps in whatever form they come."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliscope.errors import DataError

__all__ = ["numbers"]


def numbers(values: Any) -> NDArray[np.float64]:
    """A float64 copy of an array, a tensor on any device, or lists of lists. Raises `DataError` for anything else."""
    if hasattr(values, "detach"):  # a tensor, which has to be known without loading torch
        values = values.detach().cpu().double().numpy()
    try:
        return np.array(values, np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"a map is an array, a tensor or lists of numbers, (H, W); got {type(values).__name__}"
        ) from None
