"""Evaluations over data sets: explained, measured, stored in a folder, continued after any stop."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if TYPE_CHECKING:
    from saliscope.runs.execution import evaluate
    from saliscope.runs.measurement import measure
    from saliscope.runs.opening import open_run
    from saliscope.runs.run import Run
    from saliscope.runs.settings import RunSettings, make_run_settings, read_run_settings
    from saliscope.runs.working import Outcome, Watch


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: the stream of `explain` needs none of the tables."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
