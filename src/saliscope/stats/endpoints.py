"""What is compared: the name of a score, its words, its direction and the difference that matters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from saliscope.errors import OptionError

__all__ = ["ENDPOINTS", "Endpoint", "find_endpoint"]


@dataclass(frozen=True)
class Endpoint:
    """A score to compare methods by.

    `name` stands in tables ("mean IoU"); `more` and `less` complete "CAM's ..." ("boxes overlap more"), by default "NAME is higher" and
    "NAME is lower". `better` is the better direction. `margin` is the largest difference that does not matter (no equivalence
    test without it). `kind` "proportion": scores are 0 or 1, tested by McNemar; "mean": any scores, tested by
    Wilcoxon; "auto": a proportion where all scores are 0 or 1. `primary`: declared before the run.
    """

    name: str
    more: str = ""
    less: str = ""
    better: Literal["higher", "lower"] = "higher"
    margin: float | None = None
    kind: Literal["auto", "mean", "proportion"] = "auto"
    primary: bool = False

    def words(self, difference: float) -> str:
        """What a positive or negative difference means, e.g. "boxes overlap more"."""
        if difference > 0:
            return self.more or f"{self.name} is higher"
        return self.less or f"{self.name} is lower"

    def is_better(self, difference: float) -> bool:
        """Whether a difference is in the better direction."""
        return difference > 0 if self.better == "higher" else difference < 0


ENDPOINTS = {
    "iou": Endpoint("mean IoU", "boxes overlap more", "boxes overlap less", margin=0.01, kind="mean"),
    "localised": Endpoint("share localised", "boxes are right more often", "boxes are right less often", margin=0.01, kind="proportion"),
    "pointing": Endpoint("pointing accuracy", "maps point at the object more often", "maps point at the object less often", margin=0.01, kind="proportion"),
    "energy": Endpoint("energy in the box", "maps hold more of their heat in the box", "maps hold less of their heat in the box", margin=0.01, kind="mean"),
    "enrichment": Endpoint("enrichment", "maps are denser inside the box", "maps are less dense inside the box", margin=0.05, kind="mean"),
}  # fmt: skip
"""Endpoints known by name, with their words and margins."""


def find_endpoint(endpoint: str | Endpoint) -> Endpoint:
    """An `Endpoint` as given, one of `ENDPOINTS` by its key, or a new one of that name without a margin."""
    if isinstance(endpoint, Endpoint):
        return endpoint
    if not endpoint.strip():
        raise OptionError('an endpoint has a name, such as "iou" or "mean IoU"')
    return ENDPOINTS.get(endpoint, Endpoint(endpoint))
