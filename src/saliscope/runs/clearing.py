"""What `--overwrite` removes: a run, and the report that was made of it; what others keep in the folder stays."""

from __future__ import annotations

import json
import re

from saliscope.errors import DataError
from saliscope.runs.place import Place
from saliscope.runs.record import RUN, check_ours
from saliscope.runs.tables import TABLES

__all__ = ["clear"]

_PAGE = "report.html"
_OURS = '<meta name="generator" content="saliscope '
_LINK = re.compile(r'href="((?:tables|figures)/[A-Za-z0-9.-]+)"')


def clear(place: Place) -> None:
    """Remove a run, its report with the tables and figures beside it, and nothing else.

    Raises `OptionError` where run.json belongs to something else, such as a training.
    """
    check_ours(place)
    place.remove(_report(place))  # first: run.json says whether it is of this run
    for table in TABLES:
        names = [n for n in place.names(table) if n.startswith("part-") and n.endswith(".parquet")]
        place.remove([f"{table}/{name}" for name in names])
    place.remove([RUN, "errors.jsonl"])


def _report(place: Place) -> list[str]:
    """The page that was made of this run, and the files that it names as its own; none where it is of another run."""
    mark = _mark(place)
    if mark is None or not place.exists(_PAGE):
        return []
    try:
        page = place.read(_PAGE).decode()
    except (DataError, UnicodeDecodeError):
        return []
    if _OURS not in page or mark not in page:
        return []
    return [_PAGE, "tables/provenance.json", *dict.fromkeys(_LINK.findall(page))]


def _mark(place: Place) -> str | None:
    """The hash of the run, which a report of it names."""
    if not place.exists(RUN):
        return None
    try:
        found = json.loads(place.read(RUN))["hash"]
    except (ValueError, TypeError, KeyError):
        return None
    return found if isinstance(found, str) and found else None
