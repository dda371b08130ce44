"""What a network can be asked about maps: each inquiry, and the scores that its answers give; `panel_answers` asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from saliscope.errors import OptionError, nearest

if TYPE_CHECKING:
    from saliscope.metrics.panel import Panel
    from saliscope.metrics.panel_answers import Answered

__all__ = ["INQUIRIES", "QUALITY", "RADIUS", "Combo", "Inquiry", "InquiryFamily", "inquiries_for"]

Combo = tuple[str, str]
"""A metric and its protocol."""

InquiryFamily = Literal["faithfulness", "robustness", "evidence", "sanity"]
RADIUS, QUALITY = 0.02, 75
"""The radius of noise and the quality of JPEG that robustness is asked at; their protocols say them."""


@dataclass(frozen=True)
class Inquiry:
    """Questions that share their pictures. `combos` are the scores it gives; `seeded` says that seeds change them."""

    name: str
    family: InquiryFamily
    combos: tuple[Combo, ...]
    seeded: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of its scores, without their protocols."""
        return tuple(metric for metric, _ in self.combos)

    def ask(self, panel: Panel, wanted: frozenset[str], seed: int) -> Answered:
        """Ask the network of a panel for some of the `metrics`."""
        from saliscope.metrics.panel_answers import ASKERS  # needs torch, which names do not

        return ASKERS[self.name](panel, wanted, seed)


def _rows() -> tuple[Inquiry, ...]:
    curves = ("deletion", "insertion", "deletion-lerf")
    weighted = ("average-drop", "increase", "gain", "absolute-drop", "coherency", "adcc")
    roads = ("road-morf", "road-lerf", "road-combined")
    moved = ("max-sensitivity", "average-sensitivity")
    twins = ("twin-share", "twin-enrichment")
    kept = (*_by("weighted", weighted), ("win", "reference"), ("mean-heat", "input"))
    faith: InquiryFamily = "faithfulness"
    robust: InquiryFamily = "robustness"
    return (
        Inquiry("curves", faith, _by("saliscope", curves), seeded=True),
        Inquiry("kept", faith, kept),
        Inquiry("road", faith, _by("road", roads), seeded=True),
        Inquiry("infidelity", faith, _by("squares", ("infidelity",)), seeded=True),
        Inquiry("occlusion", faith, _by("patch45-stride15", ("occlusion-rank",))),
        Inquiry("sensitivity", robust, _by(f"radius{RADIUS:g}", moved), seeded=True),
        Inquiry("flip", robust, _by("spearman", ("flip-consistency",))),
        Inquiry("shift", robust, _by("right16", ("shift-consistency",))),
        Inquiry("jpeg", robust, _by(f"quality{QUALITY}", ("jpeg-consistency",))),
        Inquiry("twin", "evidence", _by("contrast", twins)),
    )


def _by(protocol: str, metrics: Sequence[str]) -> tuple[Combo, ...]:
    return tuple((metric, protocol) for metric in metrics)


INQUIRIES: Mapping[str, Inquiry] = MappingProxyType({row.name: row for row in _rows()})
"""What can be asked of a batch of pictures with maps, in the order of asking."""


def inquiries_for(words: Sequence[str]) -> list[tuple[Inquiry, frozenset[str]]]:
    """The inquiries that answer some words, families or metrics, with the metrics wanted of each, in the order of asking.

    Raises `OptionError` for a word that is neither, with the nearest.
    """
    families = {row.family for row in INQUIRIES.values()}
    known = {*families, *(m for row in INQUIRIES.values() for m in row.metrics)}
    for word in words:
        if word not in known:
            raise OptionError(
                f'"{word}" cannot be asked of a network; {nearest(word, sorted(known))}'
            )
    found = []
    for row in INQUIRIES.values():
        wanted = frozenset(row.metrics if row.family in words else set(row.metrics) & set(words))
        if wanted:
            found.append((row, wanted))
    return found
