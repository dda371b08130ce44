"""A planted tag, where the data has one: do the maps look at it more than even heat would?"""

from __future__ import annotations

import math

import numpy as np

from saliscope.report.chapters.evidence import MOST, Evidence, listed, say
from saliscope.report.study.together import Method
from saliscope.stats import Interval

__all__ = ["Cue"]

_MASK = "mask:tag"
_NONE = Interval(math.nan, math.nan, math.nan, 0)


class Cue:
    """The methods whose heat is clearly denser on the tag than elsewhere: the lower end of their mean enrichment is above 1."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        every = [m for m in evidence.study.methods if self._is_dense(m)]
        every.sort(key=lambda m: -self._enrichment(m).estimate)
        self.flagged = [m for m in every if not m.trivial]
        self.trivial = [m for m in every if m.trivial]

    def _enrichment(self, method: Method) -> Interval:
        cell = self.evidence.grid.get("mask-enrichment", _MASK, method.name)
        return _NONE if cell is None else cell.estimate

    def _is_dense(self, method: Method) -> bool:
        return self._enrichment(method).low > 1

    def _share(self, method: Method) -> float:
        cell = self.evidence.grid.get("relevance-mass", _MASK, method.name)
        return math.nan if cell is None else cell.estimate.estimate

    @property
    def sentence(self) -> str:
        """What the answer says of it; empty where no map looks at the tag."""
        if not self.flagged:
            return ""
        most, reference = self.flagged[0], self.evidence.reference
        first = reference if reference in self.flagged else most
        what = f"{first.name} puts {_percent(self._share(first))} of its heat on the planted tag, which covers {_percent(self._covered(first))} of the picture"
        if self._share(most) >= 2 * self._share(first):
            what += f", and {most.name} {_percent(self._share(most))}"
        return f"{what}: the network may have learned the tag."

    @property
    def warnings(self) -> list[str]:
        """The same with how dense the heat of every such method is, and what knows no network and is dense there too."""
        if not self.flagged:
            return []
        said = f"{self.sentence} So much denser than even heat (1) is the heat there: {self._dense(self.flagged)}."
        if self.trivial:
            said += f" Without any network: {self._dense(self.trivial)}; only what lies beyond that is the network's."
        return [said]

    def _dense(self, methods: list[Method]) -> str:
        return listed((f"{m.name} {say(self._enrichment(m), 1)}" for m in methods), MOST)

    def _covered(self, method: Method) -> float:
        """The tag's share of the picture, on average over the images of a method: its heat there over how dense it is."""
        study = self.evidence.study
        mass = study.values("relevance-mass", _MASK).get(method.name)
        dense = study.values("mask-enrichment", _MASK).get(method.name)
        if mass is None or dense is None:
            return math.nan
        known = ~(np.isnan(mass) | np.isnan(dense)) & (dense > 0)
        return float((mass[known] / dense[known]).mean()) if known.any() else math.nan


def _percent(share: float) -> str:
    if math.isnan(share):
        return "an unknown share"
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
