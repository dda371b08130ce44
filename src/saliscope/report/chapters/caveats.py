"""What everyone must know who sees a map of some method of a run."""

from __future__ import annotations

from saliscope.methods import CAVEATS
from saliscope.report.chapters.evidence import Evidence, listed

__all__ = ["caveats"]


def caveats(evidence: Evidence) -> list[str]:
    """The caveats of the methods of these runs, each once, with the methods that it is of."""
    found: dict[str, dict[str, None]] = {}
    for run in evidence.study.runs:
        for spec in run.methods:
            caveat = CAVEATS.get(spec.partition("@")[0].partition(":")[0])
            if caveat is not None:
                found.setdefault(caveat, {})[spec] = None
    return [f"{listed(specs)}: {caveat}" for caveat, specs in found.items()]
