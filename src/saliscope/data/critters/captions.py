"""What can be said about a picture, with the mask of what each noun refers to."""

from __future__ import annotations

from dataclasses import dataclass

from saliscope.data.critters.breeds import KINDS
from saliscope.data.critters.clutter import THINGS
from saliscope.data.critters.dice import Dice
from saliscope.data.critters.world import Figure, Scene

__all__ = ["Caption", "Noun", "Question", "caption_of", "questions_of"]


@dataclass(frozen=True)
class Noun:
    """A phrase of a caption: the characters [start, end) and the name of the mask it refers to."""

    start: int
    end: int
    mask: str


@dataclass(frozen=True)
class Caption:
    """A sentence and its nouns."""

    text: str
    nouns: tuple[Noun, ...]


@dataclass(frozen=True)
class Question:
    """A question, its answer in one or two words, and the names of the masks where the answer is seen; none for a "no"."""

    text: str
    answer: str
    masks: tuple[str, ...]


_PHRASES = {
    ("ears", "prick"): "pricked ears",
    ("ears", "lop"): "hanging ears",
    ("ears", "hare"): "long ears",
    ("ears", "round"): "round ears",
    ("tail", "curl"): "a curled tail",
    ("tail", "brush"): "a bushy tail",
    ("tail", "pompon"): "a pompon tail",
    ("tail", "lion"): "a tufted tail",
    ("muzzle", "long"): "a long snout",
    ("muzzle", "boxy"): "a boxy snout",
    ("muzzle", "trunk"): "a trunk",
    ("coat", "spots"): "spots",
    ("coat", "stripes"): "stripes",
    ("coat", "saddle"): "a saddle patch",
    ("horn", "one"): "one horn",
    ("horn", "two"): "two horns",
    ("horn", "antlers"): "antlers",
    ("collar", "band"): "a collar",
    ("collar", "scarf"): "a scarf",
    ("collar", "ruff"): "a ruff",
    ("back", "ridge"): "a spiked ridge",
    ("back", "mane"): "a mane",
    ("feet", "socks"): "white socks",
    ("feet", "rings"): "ringed feet",
}
_ASKED = {
    "tail": "kind of tail",
    "ears": "shape of ears",
    "muzzle": "kind of snout",
    "coat": "pattern",
}


def caption_of(scene: Scene, visible: frozenset[str]) -> Caption:
    """Describe the first animal by the parts its breed is known by, and a thing beside it.

    `visible` names the masks that are not empty: what cannot be seen is not spoken of.
    """
    figure = scene.figures[0]
    words = _Sentence("A ")
    words.noun(figure.breed.family, "body")
    parts = [(slot, kind) for slot, kind in figure.breed.evidence if slot in visible]
    for number, (slot, kind) in enumerate(parts):
        joint = " with " if number == 0 else " and " if number == len(parts) - 1 else ", "
        words.text += joint
        words.noun(_PHRASES[slot, kind], slot)
    thing = next((t.noun for t in scene.things if f"distractor/{t.noun}" in visible), None)
    if thing is not None:
        words.text += " stands near a "
        words.noun(thing, f"distractor/{thing}")
    words.text += "."
    return Caption(words.text, tuple(words.nouns))


class _Sentence:
    def __init__(self, text: str) -> None:
        self.text = text
        self.nouns: list[Noun] = []

    def noun(self, phrase: str, mask: str) -> None:
        self.nouns.append(Noun(len(self.text), len(self.text) + len(phrase), mask))
        self.text += phrase


def questions_of(scene: Scene, visible: frozenset[str]) -> tuple[Question, ...]:
    """Ask about the breed, its parts, and things that are there or not."""
    figure = scene.figures[0]
    evidence = tuple(slot for slot, _ in figure.breed.evidence if slot in visible)
    found = [Question("Which breed is it?", figure.breed.name, evidence)]
    found += [
        Question(
            f"Which {_ASKED[slot]} has the animal?",
            _PHRASES[slot, kind].removeprefix("a "),
            (slot,),
        )
        for slot, kind in figure.breed.evidence
        if slot in _ASKED and slot in visible
    ]
    return (*found, *_things_asked(scene, visible), _part_asked(scene, figure, visible))


def _things_asked(scene: Scene, visible: frozenset[str]) -> list[Question]:
    seen = [t.noun for t in scene.things if f"distractor/{t.noun}" in visible]
    absent = sorted(set(THINGS) - {t.noun for t in scene.things})
    dice = Dice(*scene.words, "questions")
    found = [Question(f"Is there a {n}?", "yes", (f"distractor/{n}",)) for n in seen[-1:]]
    return [*found, Question(f"Is there a {dice.choice(absent)}?", "no", ())]


def _part_asked(scene: Scene, figure: Figure, visible: frozenset[str]) -> Question:
    dice = Dice(*scene.words, "part asked")
    slot = dice.choice(("horn", "collar"))
    has = figure.breed.kinds[slot] != KINDS[slot][0] and slot in visible
    text = "Has the animal horns?" if slot == "horn" else "Does the animal wear something?"
    return Question(text, "yes" if has else "no", (slot,) if has else ())
