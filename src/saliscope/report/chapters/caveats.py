"""What everyone must know who sees a map of some method of a run."""

from __future__ import annotations

from saliscope.methods import METHODS
from saliscope.report.chapters.evidence import Evidence, listed

__all__ = ["caveats"]


def caveats(evidence: Evidence) -> list[str]:
    """The caveats of the methods of these runs, each once, with the methods that it is of."""
    found: dict[str, dict[str, None]] = {}
    for run in evidence.study.runs:
        for spec in run.methods:
            kind = METHODS.get(spec.partition("@")[0].partition(":")[0])
            if kind is not None and kind.caveat:
                found.setdefault(kind.caveat, {})[spec] = None
    return [f"{listed(specs)}: {caveat}" for caveat, specs in found.items()]
