"""A planted tag, where the data has one: do the maps look at it more than even heat would?"""

from __future__ import annotations

import math

import numpy as np

from saliscope.report.chapters.evidence import MOST, Evidence, listed, say
from saliscope.report.study.together import Method
from saliscope.stats import Interval

__all__ = ["Cue"]

_MASK = "mask:tag"


class Cue:
    """The methods whose heat is clearly denser on the tag than elsewhere: the lower end of their mean enrichment is above 1."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        every = [m for m in evidence.study.methods if self._is_dense(m)]
        self.flagged = [m for m in every if not m.trivial]
        self.flagged.sort(key=lambda m: m is not evidence.reference)
        self.trivial = [m for m in every if m.trivial]

    def _enrichment(self, method: Method) -> Interval | None:
        cell = self.evidence.grid.get("mask-enrichment", _MASK, method.name)
        return None if cell is None else cell.estimate

    def _is_dense(self, method: Method) -> bool:
        found = self._enrichment(method)
        return found is not None and found.low > 1

    @property
    def sentence(self) -> str:
        """What the answer says of it; empty where no map looks at the tag."""
        if not self.flagged:
            return ""
        first = self.flagged[0]
        cell = self.evidence.grid.get("relevance-mass", _MASK, first.name)
        share = math.nan if cell is None else cell.estimate.estimate
        what = f"{first.name} puts {_percent(share)} of its heat on the planted tag, which covers {_percent(self._covered)} of the picture"
        return f"{what}: the network may have learned the tag."

    @property
    def warnings(self) -> list[str]:
        """The same with how dense the heat of every such method is, and what knows no network and is dense there too."""
        if not self.flagged:
            return []
        said = f"{self.sentence} Heat is denser there than even heat: {self._dense(self.flagged)} times."
        if self.trivial:
            said += f" So it is without any network: {self._dense(self.trivial)} times; what a method has beyond that is the network's."
        return [said]

    def _dense(self, methods: list[Method]) -> str:
        found = [(m.name, self._enrichment(m)) for m in methods]
        return listed((f"{n} {say(e, 1)}" for n, e in found if e is not None), MOST)

    @property
    def _covered(self) -> float:
        """The tag's share of the picture, on average over the images that have one."""
        study, name = self.evidence.study, self.flagged[0].name
        mass = study.values("relevance-mass", _MASK).get(name)
        dense = study.values("mask-enrichment", _MASK).get(name)
        if mass is None or dense is None:
            return math.nan
        known = ~(np.isnan(mass) | np.isnan(dense)) & (dense > 0)
        return float((mass[known] / dense[known]).mean()) if known.any() else math.nan


def _percent(share: float) -> str:
    if math.isnan(share):
        return "an unknown share"
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
