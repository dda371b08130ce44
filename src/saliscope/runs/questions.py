"""Which questions a run's settings ask, and the names that their answers are kept under."""

from __future__ import annotations

from dataclasses import dataclass

from saliscope.errors import OptionError, nearest
from saliscope.metrics import INQUIRIES, Inquiry, inquiries_for
from saliscope.runs.record import hash_of
from saliscope.runs.settings import RunSettings

__all__ = ["ALL", "SANITY", "Asked", "asks_sanity", "check_words", "questions_of", "sanity_key"]

ALL, SANITY = "all", "sanity"
"""Words for everything that can be asked, and for the randomisation of the network's weights."""


@dataclass(frozen=True)
class Asked:
    """An inquiry with the metrics wanted of it; `key` names the settings of its answers, so that others are told apart."""

    inquiry: Inquiry
    wanted: frozenset[str]
    key: str


def check_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words of `ask`, each once. Raises `OptionError` for one that nothing answers, with the nearest."""
    families = dict.fromkeys(row.family for row in INQUIRIES.values())
    metrics = [metric for row in INQUIRIES.values() for metric in row.metrics]
    known = [ALL, *families, SANITY, *metrics]
    for word in words:
        if word not in known:
            raise OptionError(f'"{word}" cannot be asked of a network; {nearest(word, known)}')
    return tuple(dict.fromkeys(words))


def questions_of(settings: RunSettings) -> list[Asked]:
    """What is asked about each part of maps, in the order of asking."""
    families = {row.family for row in INQUIRIES.values()}
    words = families if ALL in settings.ask else set(settings.ask) - {SANITY}
    found = []
    for inquiry, wanted in inquiries_for(sorted(words)):
        how = {
            "metrics": sorted(wanted),
            "seeds": settings.ask_seeds if inquiry.seeded else 1,
            "precision": settings.ask_precision,
            "reference": settings.reference,
            "trivial": settings.trivial,
        }
        found.append(Asked(inquiry, wanted, f"{inquiry.name}-{hash_of(how)}"))
    return found


def asks_sanity(settings: RunSettings) -> bool:
    """Whether the network's weights are randomised."""
    return bool({ALL, SANITY} & set(settings.ask))


def sanity_key(settings: RunSettings) -> str:
    """What the answers of the sanity checks are kept under."""
    return f"sanity-{hash_of({'images': settings.sanity_images})}"
