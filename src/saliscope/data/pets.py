"""Oxford-IIIT Pet: 7,349 photographs of 37 breeds of cats and dogs, with trimaps and some boxes of heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saliscope.data.annotations import Corners, read_voc
from saliscope.data.catalog import Archive, DataKind
from saliscope.data.layouts import Classes, check_options, find_place, list_images, read_rows
from saliscope.data.masks import check_mask_size, read_levels, tight_box
from saliscope.data.sample import Listing, Masks, Region, Sample
from saliscope.data.splits import choose_split
from saliscope.errors import DataError, OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KIND", "open_pets"]

_HINT = "unpack annotations.tar.gz again, or run `saliscope data download pets`"
_BODY, _BACKGROUND, _BORDER = 1, 2, 3
_SPECIES = {"1": "cat", "2": "dog"}


class _Pet(NamedTuple):
    key: str
    class_number: int
    species: str


def open_pets(
    *,
    name: str,
    split: str,
    root: Path,
    validation: float = 0.1,
    seed: int = 0,
    classes: Classes = "present",
    border: bool = True,
    corners: Corners = "voc",
) -> Listing:
    """Open one split: "train", "val", "trainval" (the official list) or "test".

    The official list trainval.txt is divided by `validation` and `seed` (see `held_out`). A listed photograph that is not on
    disk is no sample; `classes="present"` counts the breeds that have photographs here, "all" every breed of the lists, in
    the order of their numbers. Ids and classes are like "Abyssinian_100" and "Abyssinian" (cats are capitalised);
    `details["species"]` is "cat" or "dog".

    The box of the body is the tight box of its trimap, which is read when a sample is. A trimap leaves a band along the
    outline undecided. The thin ends of ears, legs and tails lie wholly in it, so it belongs to the body (`border=True`);
    `border=False` takes the pixels that surely are the animal. The XML files box the head: a second region, `part="head"`,
    of the photographs that have one. Its `corners` are those of `read_voc`; nothing is published about them, the files call
    themselves VOC.

    Masks: "object" is what the box of the body holds, "border" the undecided band, and with `border=False` also "ignore".
    Raises `DataError` for folders and lists that are missing or damaged, and for a split without photographs.
    """
    check_options("pets", classes=(classes, Classes), corners=(corners, Corners))
    if not isinstance(border, bool):
        raise OptionError(f'pets: border is True or False, not "{border}"')
    base = find_place(
        root,
        ("annotations", "oxford-iiit-pet/annotations"),
        kind="pets",
        hint=_HINT,
    ).parent
    files = list_images(
        find_place(
            base,
            ("images",),
            kind="pets",
            hint="unpack images.tar.gz beside annotations, or run `saliscope data download pets`",
        )
    )
    lists = {part: _read_list(base, part) for part in ("trainval", "test")}
    chosen = [pet for pet in lists["test" if split == "test" else "trainval"] if pet.key in files]
    names = _breeds(
        [p for pets in lists.values() for p in pets if classes == "all" or p.key in files]
    )
    order = {number: i for i, number in enumerate(names)}
    ids, labels = [pet.key for pet in chosen], [order[pet.class_number] for pet in chosen]
    if split != "test":
        kept = choose_split(ids, labels, split=split, share=validation, seed=seed)
        chosen, ids, labels = (
            [chosen[i] for i in kept],
            [ids[i] for i in kept],
            [labels[i] for i in kept],
        )
    if not ids:
        raise DataError(
            f'pets: no photograph of the split "{split}" is in {base / "images"}; unpack images.tar.gz there'
        )
    breeds, species = tuple(names.values()), [pet.species for pet in chosen]
    kept_files = [files[key] for key in ids]
    copy = _Copy(split, base, breeds, ids, labels, kept_files, species, border, corners)
    return Listing(name, split, breeds, ids, labels, copy.read)


@dataclass(frozen=True, eq=False)
class _Copy:
    split: str
    base: Path
    names: tuple[str, ...]
    ids: Sequence[str]
    labels: Sequence[int]
    files: Sequence[str]
    species: Sequence[str]
    border: bool
    corners: Corners

    def read(self, position: int) -> Sample:
        key, label = self.ids[position], self.labels[position]
        trimap = self.base / "annotations" / "trimaps" / f"{key}.png"
        image = self.base / "images" / self.files[position]
        levels = _read_trimap(trimap, image)
        body = tight_box(_object(levels, self.border))
        if body is None:
            raise DataError(f"pets: the trimap {trimap} of {key} marks no animal; {_HINT}")
        return Sample(
            id=key,
            image=image,
            label=label,
            split=self.split,
            regions=(Region(body, self.names[label]), *self._heads(key, label)),
            size=(levels.shape[0], levels.shape[1]),
            details={"species": self.species[position]},
            mask_reader=partial(_read_masks, trimap, image, self.border),
        )

    def _heads(self, key: str, label: int) -> tuple[Region, ...]:
        path = self.base / "annotations" / "xmls" / f"{key}.xml"
        if not path.is_file():  # about half of the photographs have none
            return ()
        boxes = read_voc(path, corners=self.corners).boxes_of()
        return tuple(Region(box, self.names[label], part="head") for box in boxes)


def _object(levels: NDArray[np.uint8], border: bool) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (levels == _BODY) | (border & (levels == _BORDER))
    return found


def _read_trimap(path: Path, image: Path) -> NDArray[np.uint8]:
    levels = read_levels(path, indices=True)
    check_mask_size(levels, path, image)
    if levels.min() < _BODY or levels.max() > _BORDER:
        raise DataError(
            f"pets: {path} is no trimap: its pixels run from {levels.min()} to {levels.max()} instead of 1 to 3; {_HINT}"
        )
    return levels


def _read_masks(path: Path, image: Path, border: bool) -> Masks:
    levels = _read_trimap(path, image)
    masks = {"object": _object(levels, border), "border": levels == _BORDER}
    return masks if border else {**masks, "ignore": masks["border"]}


def _read_list(base: Path, part: str) -> list[_Pet]:
    path = base / "annotations" / f"{part}.txt"
    rows = read_rows(path, kind="pets", columns=4, hint=_HINT)
    try:
        found = [_Pet(key, int(number), _SPECIES[species]) for key, number, species, _ in rows]
    except (KeyError, ValueError) as err:
        raise DataError(
            f"pets: {path} is no list of name, class, species (1 or 2) and breed ({type(err).__name__}: {err}); {_HINT}"
        ) from err
    return sorted(found)


def _breeds(pets: Sequence[_Pet]) -> dict[int, str]:
    names = {pet.class_number: pet.key.rpartition("_")[0] for pet in pets}
    return dict(sorted(names.items()))


_HOME = "https://www.robots.ox.ac.uk/~vgg/data/pets/"

KIND = DataKind(
    name="pets",
    title="Oxford-IIIT Pet: 37 breeds of cats and dogs, trimaps and heads",
    opener=open_pets,
    splits=("train", "val", "trainval", "test"),
    licence="Creative Commons Attribution-ShareAlike 4.0; the photographs belong to their authors.",
    citation=(
        "O. M. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar: Cats and Dogs. IEEE Conference on Computer Vision and Pattern "
        "Recognition, 2012."
    ),
    home=_HOME,
    archives=(
        Archive(
            _HOME + "data/images.tar.gz",
            791_918_971,
            "md5:5c4f3ee8e5d25df40f4fd59a7f44e54c",
            members=("images/Abyssinian_1.jpg", "images/yorkshire_terrier_9.jpg"),
        ),
        Archive(
            _HOME + "data/annotations.tar.gz",
            19_173_078,
            "md5:95a8c909bbe2e81eed6a22bccdf3f68f",
            members=("annotations/trainval.txt", "annotations/test.txt", "annotations/trimaps"),
        ),
    ),
    # "trainval" is the official list.
    counts={"trainval": 3_680, "test": 3_669},
    num_classes=37,
    regions="boxes of bodies (from trimaps) and of some heads",
    masks="object, border",
    shape="""\
images/Abyssinian_100.jpg
annotations/trainval.txt, test.txt
annotations/trimaps/Abyssinian_100.png
annotations/xmls/Abyssinian_100.xml     (some)
""",
)
