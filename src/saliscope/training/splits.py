"""The three splits that a training needs, from one name, with classes that mean the same in all of them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from saliscope.data.catalog import data_kind
from saliscope.data.opening import open_data, parse_data
from saliscope.data.sample import DataSet, Sample, fingerprint
from saliscope.data.splits import choose_split
from saliscope.errors import DataError, OptionError, SaliscopeError, nearest

if TYPE_CHECKING:
    from saliscope.training.recipes import Recipe

__all__ = ["Part", "Splits", "open_splits"]

NAMES = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Part:
    """Some samples of a data set, by their places, as a data set of its own; `relabel` gives labels new numbers."""

    whole: DataSet
    split: str
    places: Sequence[int]
    classes: tuple[str, ...]
    relabel: Mapping[int | None, int]

    @property
    def name(self) -> str:
        """The name of the whole."""
        return self.whole.name

    @property
    def ids(self) -> Sequence[str]:
        """The ids of these samples."""
        ids = self.whole.ids
        return [ids[place] for place in self.places]

    @property
    def labels(self) -> Sequence[int | None]:
        """Their labels, renumbered."""
        labels = self.whole.labels
        return [self._label(labels[place]) for place in self.places]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:
        sample = self.whole[self.places[index]]
        return replace(sample, label=self._label(sample.label), split=self.split)

    def _label(self, label: int | None) -> int | None:
        return self.relabel.get(label, label)


@dataclass(frozen=True)
class Splits:
    """What is trained on, what is validated on (None: nothing), and what is tested on in the end (None: nothing).

    `notes` are sentences on what was decided: held-out samples, classes that the training does not know.
    """

    train: DataSet
    val: DataSet | None
    test: DataSet | None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.train.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, of all splits alike."""
        return self.train.classes

    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each split that there is."""
        found = {"train": self.train, "val": self.val, "test": self.test}
        return {name: fingerprint(data) for name, data in found.items() if data is not None}


def open_splits(
    data: str | DataSet | Mapping[str, DataSet],
    recipe: Recipe,
    *,
    root: str | os.PathLike[str] | None = None,
) -> Splits:
    """Open the splits of a data set by name, or take them: a train split, or a dict with "train", "val" and "test".

    Where there is no validation split, `recipe.validation` of each class of train is held out, the same ones whatever the seed.
    Raises `DataError` for an empty train split, `OptionError` for a recipe that keeps the best epoch without one.
    """
    if isinstance(data, str):
        found, notes = _by_name(data, recipe, root)
    elif isinstance(data, Mapping):
        for name in data:
            if name not in NAMES:
                raise OptionError(f'there is no split "{name}" in training; {nearest(name, NAMES)}')
        if "train" not in data:
            raise OptionError('the data sets of a training need one called "train"')
        found, notes = dict(data), []
    else:
        found, notes = {"train": data}, []
    if "val" not in found and recipe.validation:
        found["train"], found["val"] = _held_out(found["train"], recipe)
        notes.append(
            f"{len(found['val'])} of {len(found['val']) + len(found['train'])} training images are held out for validation"
        )
    return _checked(found, notes, recipe)


def _by_name(
    name: str, recipe: Recipe, root: str | os.PathLike[str] | None
) -> tuple[dict[str, DataSet], list[str]]:
    head = name.partition(":")[0]
    kind = data_kind(head)
    own = inspect.signature(kind.opener).parameters
    splits = list(kind.splits)
    if "validation" in own:
        if "validation" not in parse_data(name)[2]:
            name += f":validation={recipe.validation}"
        if not recipe.validation and "val" in splits:
            splits.remove("val")
    if "train" not in splits:
        raise OptionError(f"{head} has no train split; {nearest('train', splits)}")
    found: dict[str, DataSet] = {"train": open_data(name, "train", root=root)}
    notes: list[str] = []
    for split in ("val", "test"):
        if split in splits:
            _try(lambda split=split: open_data(name, split, root=root), split, found, notes)  # type: ignore[misc]
    return found, notes


def _try(
    opener: Callable[[], DataSet], split: str, found: dict[str, DataSet], notes: list[str]
) -> None:
    """A copy of the data without its test split can be trained on; that it is missing is said."""
    try:
        found[split] = opener()
    except SaliscopeError as err:
        notes.append(f"there is no {split} split here: {err}")


def _held_out(data: DataSet, recipe: Recipe) -> tuple[Part, Part]:
    ids, labels = data.ids, data.labels

    def part(split: str) -> Part:
        places = choose_split(ids, labels, split=split, share=recipe.validation, seed=0)
        return Part(data, split, places, tuple(data.classes), {})

    return part("train"), part("val")


def _checked(found: dict[str, DataSet], notes: list[str], recipe: Recipe) -> Splits:
    train = found["train"]
    if not len(train):
        raise DataError(
            f"{train.name} has no training images; check the data with `saliscope data check`"
        )
    others = {
        split: _matched(found[split], train, notes) for split in ("val", "test") if split in found
    }
    val = others.get("val")
    if recipe.keep != "last" and val is None:
        raise OptionError(
            f'keep "{recipe.keep}" needs validation images, and {train.name} has none: set keep to "last", or validation '
            "above 0"
        )
    return Splits(train, val, others.get("test"), tuple(notes))


def _matched(data: DataSet, train: DataSet, notes: list[str]) -> DataSet | None:
    """Number the classes of another split as train does; samples of classes that train lacks are left out."""
    if not len(data):
        return None
    bare = sum(label is None for label in data.labels)
    if tuple(data.classes) == tuple(train.classes) and not bare:
        return data
    if bare:
        notes.append(f"{bare} images of the {data.split} split are left out: they have no class")
    numbers = {name: number for number, name in enumerate(train.classes)}
    relabel: dict[int | None, int] = {
        old: numbers[name] for old, name in enumerate(data.classes) if name in numbers
    }
    places = [place for place, label in enumerate(data.labels) if label in relabel]
    missing = [name for name in data.classes if name not in numbers]
    if missing:
        count = len(data) - len(places) - bare
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        notes.append(
            f"{count} images of the {data.split} split are left out: {len(missing)} classes ({shown}) "
            "have no training images"
        )
    if not places:
        return None
    return Part(data, data.split, places, tuple(train.classes), relabel)
