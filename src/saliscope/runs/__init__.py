"""Evaluations over data sets: explained, measured, stored in a folder, continued after any stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saliscope.lazy import lazy_names

__all__ = [
    "Outcome",
    "Run",
    "RunSettings",
    "Watch",
    "evaluate",
    "make_run_settings",
    "measure",
    "open_run",
    "read_run_settings",
]

_HOMES = {
    "saliscope.runs.execution": ("evaluate",),
    "saliscope.runs.measurement": ("measure",),
    "saliscope.runs.opening": ("open_run",),
    "saliscope.runs.run": ("Run",),
    "saliscope.runs.settings": ("RunSettings", "make_run_settings", "read_run_settings"),
    "saliscope.runs.working": ("Outcome", "Watch"),
}

if TYPE_CHECKING:
    from saliscope.runs.execution import evaluate
    from saliscope.runs.measurement import measure
    from saliscope.runs.opening import open_run
    from saliscope.runs.run import Run
    from saliscope.runs.settings import RunSettings, make_run_settings, read_run_settings
    from saliscope.runs.working import Outcome, Watch

# The stream of `explain` needs none of the tables.
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
