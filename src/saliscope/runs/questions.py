"""Which questions a run's settings ask, and the names that their answers are kept under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from saliscope.errors import OptionError, nearest
from saliscope.metrics import INQUIRIES, Inquiry, every_metric, inquiries_for
from saliscope.runs.record import hash_of
from saliscope.runs.settings import RunSettings

__all__ = [
    "ALL",
    "SANITY",
    "Asked",
    "asks_sanity",
    "check_words",
    "needs_asking",
    "questions_of",
    "replaced_by",
    "sanity_facts",
    "sanity_key",
]

ALL, SANITY = "all", "sanity"
"""Words for everything that can be asked, and for the randomisation of the network's weights."""


@dataclass(frozen=True)
class Asked:
    """An inquiry with the metrics wanted of it, and `how` it is asked; `key` names both, so that other answers are told apart."""

    inquiry: Inquiry
    wanted: frozenset[str]
    how: Mapping[str, Any]

    @property
    def key(self) -> str:
        return f"{self.inquiry.name}-{hash_of(self.facts)}"

    @property
    def facts(self) -> dict[str, Any]:
        """What run.json keeps of it."""
        return {"metrics": sorted(self.wanted), **self.how}


def check_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words of `ask`, each once. Raises `OptionError` for one that nothing answers, with the nearest."""
    families = dict.fromkeys(row.family for row in INQUIRIES.values())
    metrics = [metric for row in INQUIRIES.values() for metric in row.metrics]
    known = [ALL, *families, SANITY, *metrics]
    for word in words:
        if word in known:
            continue
        row = every_metric().get(word)
        if row is not None and row.family == SANITY:
            raise OptionError(f'"{word}" comes with "{SANITY}": --ask {SANITY}')
        if row is not None:
            raise OptionError(f'"{word}" needs no asking: the maps and the annotation tell it')
        raise OptionError(f'"{word}" cannot be asked of a network; {nearest(word, known)}')
    return tuple(dict.fromkeys(words))


def needs_asking(metric: str) -> bool:
    """Whether the network has to be asked for a metric, by its own name as a word of `ask`."""
    return any(metric in row.metrics for row in INQUIRIES.values())


def questions_of(
    settings: RunSettings, earlier: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> list[Asked]:
    """What is asked about each part of maps, in the order of asking.

    `earlier` are the facts of what was asked, by key: metrics that were asked in the same way keep their answers, and
    only the others are asked anew.
    """
    families = {row.family for row in INQUIRIES.values()}
    words = families if ALL in settings.ask else set(settings.ask) - {SANITY}
    found = []
    for inquiry, wanted in inquiries_for(sorted(words)):
        how = {
            "seeds": settings.ask_seeds if inquiry.seeded else 1,
            "precision": settings.ask_precision,
            "reference": settings.reference,
            "trivial": settings.trivial,
        }
        there = [
            Asked(inquiry, frozenset(facts["metrics"]), how)
            for key, facts in earlier.items()
            if _kind(key) == inquiry.name and {**facts, "metrics": None} == {**how, "metrics": None}
        ]
        own = [one for one in there if one.wanted & wanted]
        left = wanted.difference(*(one.wanted for one in own))
        found += own
        if left:
            found.append(Asked(inquiry, left, how))
    return found


def replaced_by(
    new: Mapping[str, Mapping[str, Any]], old: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """The keys of old answers that newer ones hold all metrics of, asked in another way."""
    return [
        key
        for key, facts in old.items()
        if key not in new
        and set(facts["metrics"])
        <= {m for k, f in new.items() if _kind(k) == _kind(key) for m in f["metrics"]}
    ]


def _kind(key: str) -> str:
    return key.rpartition("-")[0]


def asks_sanity(settings: RunSettings) -> bool:
    """Whether the network's weights are randomised."""
    return bool({ALL, SANITY} & set(settings.ask))


def sanity_facts(images: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """What run.json keeps of the sanity checks: of which images and classes they are."""
    return {
        "metrics": [SANITY],
        "images": len(images),
        "of": hash_of({"images": [list(i) for i in images]}),
    }


def sanity_key(facts: Mapping[str, Any]) -> str:
    """What the answers of the sanity checks are kept under."""
    return f"{SANITY}-{facts['of']}"
