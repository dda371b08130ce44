"""The scores that a run can be judged by, METRIC@PROTOCOL: what may be declared before it, and what a report may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from saliscope.errors import OptionError, nearest
from saliscope.runs.measuring import measures_of
from saliscope.runs.questions import needs_asking, questions_of
from saliscope.runs.scoring import MASK_SCORES, Combo, combos_of
from saliscope.runs.settings import RunSettings

__all__ = ["MAXIMISED", "TOP", "ScoreNames", "check_primary", "score_names", "swept_rules"]

MAXIMISED = ("max-box-acc", "max-box-acc-v2")
"""What takes the best threshold of a sweep by definition; its protocol is a rule."""

TOP = ("top-1", "top-5")
"""Errors of localisation; their protocol is that of a box."""

_AT_BEST = ("iou", "gt-known")  # what is also scored at thresholds that were chosen
_ANY_MASK = "mask:"
_OF_MASKS = (*MASK_SCORES, "pointing-mask")


@dataclass(frozen=True)
class ScoreNames:
    """The names of scores, from what maps are measured by (`combos`) and the `rules` that thresholds are swept by, the usual one first.

    `masks`: which masks the data has is not known, so any may be named.
    """

    combos: tuple[Combo, ...]
    rules: tuple[str, ...] = ()
    top: bool = True
    masks: bool = False

    @cached_property
    def plain(self) -> tuple[Combo, ...]:
        """Metrics and the protocols that they are measured by, the errors of localisation with them."""
        boxes = [protocol for metric, protocol in self.combos if metric == "gt-known"]
        errors = [(metric, protocol) for metric in TOP for protocol in boxes if self.top]
        return (*self.combos, *errors)

    @cached_property
    def known(self) -> tuple[str, ...]:
        """Every name in full, without those of masks that are not known."""
        words = [word for word in ("chosen", "oracle") if self.rules]
        ways = [*words, *(f"{word}:{rule}" for rule in self.rules for word in words)]
        swept = [(metric, way) for way in ways for metric in _AT_BEST]
        swept += [(metric, rule) for rule in self.rules for metric in MAXIMISED]
        return tuple(f"{metric}@{protocol}" for metric, protocol in (*self.plain, *swept))

    def find(self, text: str, *, failing: str, command: str | None = None) -> Combo:
        """The metric and protocol of a score; where the protocol is left out, the only one that there is.

        Raises `OptionError` for a name that is none of these; `failing` says what is the matter with it ("was not measured"). For
        one that the network was not asked for it says so, with the `command` that `--ask` belongs to; None where it is that which runs.
        """
        metric, at, protocol = text.partition("@")
        protocol = protocol if at else self._only_protocol(metric, text)
        named = f"{metric}@{protocol}"
        if named in self.known or (self.masks and self._is_of_a_mask(metric, protocol)):
            return metric, protocol
        if needs_asking(metric) and not any(metric == known for known, _ in self.combos):
            how = f"{command or 'add'} --ask {metric}"
            failing += f"; the network has to be asked for it first: {how}"
        raise OptionError(f'the primary score "{text}" {failing}; {nearest(text, self.known)}')

    def _is_of_a_mask(self, metric: str, protocol: str) -> bool:
        named = protocol.startswith(_ANY_MASK) and protocol != _ANY_MASK
        return metric in _OF_MASKS and named

    def _only_protocol(self, metric: str, text: str) -> str:
        if self.masks and metric in _OF_MASKS:
            raise OptionError(
                f'the primary score "{text}" names no mask; write {metric}@mask:NAME, e.g. {metric}@mask:object'
            )
        if metric in MAXIMISED:
            return next(iter(self.rules), "")
        found = [f"{m}@{p}" for m, p in self.plain if m == metric]
        found = found or [name for name in self.known if name.partition("@")[0] == metric]
        if len(found) > 1:
            raise OptionError(
                f'the primary score "{text}" names no protocol; write METRIC@PROTOCOL: {", ".join(found)}'
            )
        return found[0].partition("@")[2] if found else ""


def swept_rules(settings: RunSettings) -> tuple[str, ...]:
    """The rules that curves over all thresholds are read by; without a sweep only that of `wsol`, if it was asked for."""
    own = settings.rules if settings.thresholds else ()
    return (*own, *(["wsol"] if settings.wsol else []))


def score_names(settings: RunSettings, *, several: bool = False) -> ScoreNames:
    """The names of what a run with these settings measures; `several`: its images have several classes each."""
    asked = [
        combo
        for question in questions_of(settings)
        for combo in question.inquiry.combos
        if combo[0] in question.wanted
    ]
    combos = (*combos_of(measures_of(settings), several=several), *asked)
    return ScoreNames(combos, swept_rules(settings), top=not several, masks=True)


def check_primary(settings: RunSettings, *, several: bool = False) -> None:
    """Raise `OptionError`, naming the nearest, where the score that decides is none that these settings measure."""
    where = "where images have several classes" if several else "by these settings"
    names = score_names(settings, several=several)
    if not names.rules and "@chosen" in settings.primary:
        where += ", which leave the sweep out (thresholds = 0)"
    names.find(settings.primary, failing=f"is not measured {where}")
