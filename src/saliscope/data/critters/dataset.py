"""Critters as a data set: endless, the same everywhere, with everything known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

from saliscope.data.critters.breeds import BREEDS
from saliscope.data.critters.captions import caption_of, questions_of
from saliscope.data.critters.dice import Dice
from saliscope.data.critters.tag import Tag, draw_tag
from saliscope.data.critters.world import Scene, box_of, draw, draw_scene, masks_of, with_twin
from saliscope.data.sample import Region, Sample
from saliscope.errors import OptionError, nearest
from saliscope.images import Photo

__all__ = ["Critters", "Variant", "open_critters"]

Variant = Literal["plain", "pair", "cue", "caption"]
_COUNTS = {"train": 12_000, "val": 1_200, "test": 2_400}


def open_critters(
    *,
    name: str = "critters",
    split: str = "test",
    variant: Variant = "plain",
    count: int | None = None,
    seed: int = 0,
    size: int = 160,
    rho: float = 1.0,
) -> Critters:
    """Open one split of the generated animals.

    `variant` is "plain" (one animal), "pair" (two of different breeds), "cue" (a tag in a corner that shows the breed
    with probability `rho` in train and val and means nothing in test) or "caption" (a sentence and questions). `count`
    is how many there are, by default 12,000 in train, 1,200 in val, 2,400 in test; any number will do. `size` is the side
    of the images in pixels, at least 64.
    """
    if variant not in get_args(Variant):
        raise OptionError(
            f'critters have no variant "{variant}"; {nearest(str(variant), get_args(Variant))}'
        )
    for word, value in (("count", count), ("seed", seed), ("size", size)):
        if value is not None and type(value) is not int:
            raise OptionError(f"{word} of critters is a whole number; got {value!r}")
    if type(rho) not in (int, float) or not 0 <= rho <= 1:
        raise OptionError(f"rho is a probability, 0 to 1; got {rho}")
    if size < 64:
        raise OptionError(
            f"critters need a size of at least 64 pixels to be told apart; got {size}"
        )
    total = _COUNTS[split] if count is None else count
    if total < 1:
        raise OptionError(f"count is how many images there are, at least 1; got {count}")
    return Critters(name, split, variant, total, seed, size, rho)


@dataclass(frozen=True)
class Critters:
    """Pictures of small four-legged animals, drawn when they are asked for.

    Sample i of a seed and split is the same everywhere, in any order and process, whatever the count. Its breed is
    i modulo 24, so that classes are balanced. `masks()` are bool (H, W): one for each part ("torso", "head", "legs",
    "eyes" and the eight slots "ears", "tail", "muzzle", "coat", "horn", "collar", "back", "feet"), "body", "evidence" (the
    three parts that make the breed), "twin" (where it and its twin differ, as either of them), "distractors" and
    "distractor/NOUN", "tag" with the variant "cue". A mask has every pixel in which its thing is visible at all; parts of
    neighbours share the pixels of their border. With "pair" the names of each animal's masks begin with "0/" and "1/",
    and those without a prefix are of the first, whose breed is the label.
    """

    name: str
    split: str
    variant: Variant
    count: int
    seed: int
    size: int
    rho: float

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the 24 breeds; numbers 2k and 2k + 1 are twins."""
        return tuple(breed.name for breed in BREEDS)

    @property
    def ids(self) -> Sequence[str]:
        """The ids, "seed-split-number"."""
        return [self._id(i) for i in range(self.count)]

    @property
    def labels(self) -> Sequence[int | None]:
        """The breeds, in turns."""
        return [i % len(BREEDS) for i in range(self.count)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        number = range(self.count)[index]
        return self._sample(number, self.scene(number), number % len(BREEDS))

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(self.count))

    def twin(self, index: int) -> Sample:
        """The sample with the animal's twin in its place: all else is the same, to the pixel."""
        number = range(self.count)[index]
        return self._sample(number, with_twin(self.scene(number)), number % len(BREEDS) ^ 1)

    def scene(self, number: int) -> Scene:
        """What sample `number` shows, before it is drawn."""
        words = (self.seed, self.split, number)
        label = number % len(BREEDS)
        breeds = [BREEDS[label]]
        if self.variant == "pair":
            step = 1 + Dice(*words, "second").below(len(BREEDS) - 1)
            breeds.append(BREEDS[(label + step) % len(BREEDS)])
        return draw_scene(words, tuple(breeds), self.size, tag=self._tag(words, label))

    def _tag(self, words: tuple[object, ...], label: int) -> Tag | None:
        if self.variant != "cue":
            return None
        return draw_tag(Dice(*words, "tag"), label, 0.0 if self.split == "test" else self.rho)

    def _id(self, number: int) -> str:
        return f"{self.seed}-{self.split}-{number:06d}"

    def _sample(self, number: int, scene: Scene, label: int) -> Sample:
        regions = tuple(
            Region(box_of(figure, scene), figure.breed.name) for figure in scene.figures
        )
        photo = Photo(draw(scene), f"{self._id(number)}.png")
        return Sample(
            id=self._id(number),
            image=photo,
            label=label,
            split=self.split,
            regions=regions,
            size=scene.size,
            details=self._details(scene),
            mask_reader=partial(masks_of, scene),
        )

    def _details(self, scene: Scene) -> Mapping[str, Any]:
        breed = scene.figures[0].breed
        details: dict[str, Any] = {
            "twin": breed.twin.name,
            "twin_slot": breed.twin_slot,
            "evidence": tuple(slot for slot, _ in breed.evidence),
        }
        if scene.tag is not None:
            details |= {"tag": scene.tag.code, "tag_tells": scene.tag.code == breed.index}
        if self.variant == "caption":
            visible = frozenset(name for name, mask in masks_of(scene).items() if mask.any())
            details |= {
                "caption": caption_of(scene, visible),
                "questions": questions_of(scene, visible),
            }
        return details
