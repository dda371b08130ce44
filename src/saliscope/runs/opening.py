"""The door to the results of a run: a light module, since polars changes the environment when it is imported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saliscope.runs.run import Run

__all__ = ["open_run"]


def open_run(folder: str | os.PathLike[str]) -> Run:
    """Open the results of `saliscope evaluate`: `sc.open_run("runs/dogs").scores`.

    `folder` is a path or an address that fsspec knows. Raises `DataError` where there is no run.
    """
    from saliscope.runs.run import Run

    return Run(folder)
