"""ILSVRC 2012, "ImageNet": 1,000 classes, boxes for all validation and some training images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from saliscope.data.annotations import Corners, Truth, read_voc
from saliscope.data.catalog import Archive, DataKind
from saliscope.data.layouts import (
    Classes,
    check_options,
    find_place,
    list_folders,
    list_images,
    read_rows,
)
from saliscope.data.sample import Listing, Region, Sample
from saliscope.errors import DataError, OptionError

__all__ = ["KIND", "open_ilsvrc"]

Blacklist = Literal["keep", "drop"]

_DEVKIT = ("ILSVRC2012_devkit_t12/data", "devkit/data", "data", ".")
_IMAGES = {
    "val": ("val", "ILSVRC2012_img_val", "Data/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/val"),
    "train": ("train", "ILSVRC2012_img_train", "Data/CLS-LOC/train", "ILSVRC/Data/CLS-LOC/train"),
}
# Where the box archives and their widespread copies end up; the images' own folder is looked into as well.
_BOXES = {
    "val": (
        *("bbox/val", "val", "bbox_val", "bbox_val/val", "Annotation/val"),
        *("Annotations/CLS-LOC/val", "ILSVRC/Annotations/CLS-LOC/val"),
    ),
    "train": (
        *("Annotation", "bbox_train", "bbox_train/Annotation", "bbox/train", "Annotation/train"),
        *("Annotations/CLS-LOC/train", "ILSVRC/Annotations/CLS-LOC/train"),
    ),
}
_WNID = re.compile(r"n\d{8}")
_VAL = re.compile(r"ILSVRC2012_val_(\d{8})")
_HINT = "unpack ILSVRC2012_devkit_t12.tar.gz into the root of the data set"


class _Devkit(NamedTuple):
    """What the development kit says: the words of each WNID, and the WNID of each of its own numbers."""

    words: Mapping[str, str]
    numbers: Mapping[int, str]


class _Image(NamedTuple):
    key: str
    wnid: str
    file: str
    number: int | None = None


def open_ilsvrc(
    *,
    name: str,
    split: str,
    root: Path,
    classes: Classes = "all",
    corners: Corners = "half-open",
    blacklist: Blacklist = "keep",
    boxes: bool = True,
) -> Listing:
    """Open "val" (50,000 images, flat or sorted into folders by WNID) or "train" (folders by WNID).

    Labels count the WNIDs in sorted order, as torchvision, timm and Keras do. The ground truth of the development kit counts
    by ILSVRC2012_ID, which is another order: it is led through meta.mat to WNIDs here. Where validation images lie in folders
    by WNID and the kit is there too, both must agree. `classes="all"` counts the classes of meta.mat also where a copy holds
    some of them, so that labels fit trained networks; "present" counts those that have images here. Names are the first word
    of the synset ("tench"; with the WNID, where two share it: "crane (n02012849)"), the WNID itself without the kit.

    `corners` is that of `read_voc`. "half-open" takes the numbers of the XML as they stand, as wsolevaluation does: 111, 108,
    441, 193 for the first validation image. The files count from 0 (many boxes begin there and end at width - 1): with the
    last pixel counted in ("inclusive") boxes are one pixel wider. All boxes are regions. A validation image without its XML
    is an error (`boxes=False` goes without boxes); of the training images only some have one. Ids are like
    "ILSVRC2012_val_00000001" and "n01440764/n01440764_10026".

    `details`: "wnid"; of validation images "number" (from 1) and, where ILSVRC20xx_clsloc_validation_blacklist.txt is in the
    root or the kit, "blacklisted": such boxes do not count in the challenge. `blacklist="drop"` leaves these images out.
    Raises `DataError` for folders and lists that are missing, damaged or contradict each other.
    """
    check_options("ilsvrc", classes=(classes, Classes), corners=(corners, Corners))
    check_options("ilsvrc", blacklist=(blacklist, Blacklist))
    if not isinstance(boxes, bool):
        raise OptionError(f'ilsvrc: boxes is True or False, not "{boxes}"')
    devkit = _read_devkit(root)
    folder = find_place(
        root, _IMAGES[split], kind="ilsvrc", hint=f"unpack ILSVRC2012_img_{split}.tar into {split}"
    )
    images = _train_images(folder) if split == "train" else _val_images(root, folder, devkit)
    rejected = _read_blacklist(root)
    if split == "val" and blacklist == "drop":
        images = _without(images, rejected, root)
    if not images:
        raise DataError(f"ilsvrc: {folder} holds no images of the split {split}; unpack them there")
    wnids = _counted(root, classes, devkit)
    order = {wnid: i for i, wnid in enumerate(wnids)}
    strangers = sorted({image.wnid for image in images} - order.keys())
    if strangers:
        raise DataError(
            f"ilsvrc: {folder} has images of {strangers[0]}, which is none of the {len(wnids)} classes of meta.mat; move them "
            "away"
        )
    names = _class_names(wnids, devkit)
    ids, labels = [image.key for image in images], [order[image.wnid] for image in images]
    marks = rejected if split == "val" else None
    copy = _Copy(split, root, folder, images, labels, order, names, corners, boxes, marks)
    return Listing(name, split, names, ids, labels, copy.read)


@dataclass(frozen=True, eq=False)
class _Copy:
    split: str
    root: Path
    folder: Path
    images: Sequence[_Image]
    labels: Sequence[int]
    order: Mapping[str, int]
    names: tuple[str, ...]
    corners: Corners
    boxes: bool
    rejected: frozenset[int] | None

    def read(self, position: int) -> Sample:
        image = self.images[position]
        truth = self._truth(image) if self.boxes else Truth(None, ())
        details: dict[str, Any] = {"wnid": image.wnid}
        if image.number is not None:
            details["number"] = image.number
            if self.rejected is not None:
                details["blacklisted"] = image.number in self.rejected
        return Sample(
            id=image.key,
            image=self.folder / image.file,
            label=self.labels[position],
            split=self.split,
            regions=tuple(Region(box, self._name(wnid)) for box, wnid in truth.boxes),
            size=truth.size,
            details=details,
        )

    def _name(self, wnid: str) -> str:
        return self.names[self.order[wnid]] if wnid in self.order else wnid

    def _truth(self, image: _Image) -> Truth:
        places = [self.root / place for place in _BOXES[self.split]]
        inner = f"{image.key}.xml"  # in train the id begins with the folder
        for path in (*(place / inner for place in places), self._beside(image)):
            if path.is_file():
                return read_voc(path, corners=self.corners)
        if self.split == "train":
            return Truth(None, ())
        raise DataError(
            f"ilsvrc: {image.key} has no boxes: {inner} is neither beside the image nor in {places[0]} or {places[1]}; unpack "
            "ILSVRC2012_bbox_val_v3.tgz in the root, or open with boxes=False"
        )

    def _beside(self, image: _Image) -> Path:
        return (self.folder / image.file).with_suffix(".xml")


def _train_images(folder: Path) -> list[_Image]:
    return [
        _Image(f"{place.name}/{stem}", place.name, f"{place.name}/{file}")
        for place in list_folders(folder)
        if _WNID.fullmatch(place.name)
        for stem, file in list_images(place).items()
    ]


def _val_images(root: Path, folder: Path, devkit: _Devkit | None) -> list[_Image]:
    truth = _read_truth(root, devkit)
    found = [(file, stem, "") for stem, file in list_images(folder).items()]
    for place in list_folders(folder):
        if _WNID.fullmatch(place.name):
            inner = list_images(place).items()
            found += [(f"{place.name}/{file}", stem, place.name) for stem, file in inner]
    images = []
    for file, stem, wnid in found:
        match = _VAL.fullmatch(stem)
        if match:
            number = int(match[1])
            images.append(_Image(stem, _val_wnid(stem, number, wnid, truth), file, number))
    return sorted(images)


def _val_wnid(stem: str, number: int, folder: str, truth: Sequence[str] | None) -> str:
    if truth is None:
        if folder:
            return folder
        raise DataError(
            f"ilsvrc: the class of {stem} is unknown: it needs meta.mat and ILSVRC2012_validation_ground_truth.txt; {_HINT}"
        )
    if not 1 <= number <= len(truth):
        raise DataError(
            f"ilsvrc: {stem} is beyond the {len(truth)} lines of ILSVRC2012_validation_ground_truth.txt; {_HINT}"
        )
    listed = truth[number - 1]
    if folder and folder != listed:
        raise DataError(
            f"ilsvrc: {stem} lies in the folder {folder}, but the development kit says {listed}: the images were sorted by "
            "another list (ILSVRC2012_ID is not the order of WNIDs); sort them again"
        )
    return listed


def _read_truth(root: Path, devkit: _Devkit | None) -> list[str] | None:
    file = _find(root, "ILSVRC2012_validation_ground_truth.txt")
    if file is None or devkit is None:
        return None
    rows = read_rows(file, kind="ilsvrc", columns=1, hint=_HINT)
    try:
        return [devkit.numbers[int(number)] for (number,) in rows]
    except (KeyError, ValueError) as err:
        raise DataError(
            f"ilsvrc: {file} holds {err}, which is no ILSVRC2012_ID of meta.mat; {_HINT}"
        ) from err


def _find(root: Path, pattern: str) -> Path | None:
    for place in _DEVKIT:
        found = sorted((root / place).glob(pattern))
        if found:
            return found[0]
    return None


def _read_devkit(root: Path) -> _Devkit | None:
    path = _find(root, "meta.mat")
    if path is None:
        return None
    from scipy.io import loadmat

    try:
        synsets = loadmat(path, squeeze_me=True, variable_names=["synsets"])["synsets"].ravel()
        leaves = synsets[synsets["num_children"] == 0]  # the others are groups of classes
        entries = [
            (int(entry["ILSVRC2012_ID"]), str(entry["WNID"]), str(entry["words"]))
            for entry in leaves
        ]
    except (
        Exception
    ) as err:  # loadmat lets whatever a damaged file causes through, down to Exception itself
        raise DataError(
            f"ilsvrc: {path} is no list of synsets ({type(err).__name__}: {err}); {_HINT}"
        ) from err
    words = {wnid: text for _, wnid, text in entries}
    return _Devkit(words, {number: wnid for number, wnid, _ in entries})


def _read_blacklist(root: Path) -> frozenset[int] | None:
    path = _find(root, "ILSVRC20*_clsloc_validation_blacklist.txt")
    if path is None:
        return None
    rows = read_rows(path, kind="ilsvrc", columns=1, hint=_HINT)
    try:
        return frozenset(int(number) for (number,) in rows)
    except ValueError as err:
        raise DataError(
            f"ilsvrc: {path} should hold numbers of validation images ({err}); {_HINT}"
        ) from err


def _without(images: list[_Image], rejected: frozenset[int] | None, root: Path) -> list[_Image]:
    if rejected is None:
        raise DataError(
            f'ilsvrc: blacklist="drop" needs ILSVRC2014_clsloc_validation_blacklist.txt (or that of 2015) in {root}; it comes '
            "with the development kits of those years"
        )
    return [image for image in images if image.number not in rejected]


def _counted(root: Path, classes: Classes, devkit: _Devkit | None) -> list[str]:
    if classes == "all" and devkit is not None:
        return sorted(devkit.words)
    present = _present(root, devkit)
    if classes == "all" and len(present) < 1000:
        raise DataError(
            f"ilsvrc: {len(present)} of the 1,000 classes have images here, and only meta.mat names the others; {_HINT}, or "
            'count these alone with classes="present"'
        )
    return sorted(present)


def _present(root: Path, devkit: _Devkit | None) -> set[str]:
    """The WNIDs of both splits, so that the labels of train and val agree."""
    found: set[str] = set()
    for split, places in _IMAGES.items():
        folder = next((root / place for place in places if (root / place).is_dir()), None)
        if folder is not None and split == "train":
            found |= {place.name for place in list_folders(folder) if _WNID.fullmatch(place.name)}
        elif folder is not None:
            # Validation images whose class cannot be known stop those who open them, not those who train.
            with suppress(DataError):
                found |= {image.wnid for image in _val_images(root, folder, devkit)}
    return found


def _class_names(wnids: Sequence[str], devkit: _Devkit | None) -> tuple[str, ...]:
    words = {} if devkit is None else devkit.words
    first = [words.get(wnid, wnid).partition(",")[0].strip() for wnid in wnids]
    shared = {word for word, count in Counter(first).items() if count > 1}
    return tuple(
        f"{word} ({wnid})" if word in shared else word
        for word, wnid in zip(first, wnids, strict=True)
    )


_FILES = "https://image-net.org/data/ILSVRC/2012/"

KIND = DataKind(
    name="ilsvrc",
    title="ILSVRC 2012 (ImageNet): 1,000 classes, boxes for validation and part of train",
    opener=open_ilsvrc,
    splits=("train", "val"),
    licence=(
        "Non-commercial research and education, after registration, on the terms of image-net.org; do not redistribute."
    ),
    citation=(
        "O. Russakovsky et al.: ImageNet Large Scale Visual Recognition Challenge. International Journal of Computer Vision "
        "115 (2015), 211-252."
    ),
    home="https://image-net.org/challenges/LSVRC/2012/",
    counts={"train": 1_281_167, "val": 50_000},
    num_classes=1_000,
    by_hand=(
        "it is given to registered users only: sign in at image-net.org and download ILSVRC2012_img_val.tar, "
        "ILSVRC2012_devkit_t12.tar.gz and ILSVRC2012_bbox_val_v3.tgz (for training also ILSVRC2012_img_train.tar, its inner "
        "archives unpacked into train/WNID, and ILSVRC2012_bbox_train_v2.tar.gz, unpacked into Annotation/WNID)"
    ),
    archives=(
        Archive(
            _FILES + "ILSVRC2012_img_val.tar",
            6_744_924_160,
            "md5:29b22e2961454d5413ddabcf34fc5622",
            folder="val",
            members=("val/ILSVRC2012_val_00000001.JPEG", "val/ILSVRC2012_val_00050000.JPEG"),
        ),
        Archive(
            _FILES + "ILSVRC2012_devkit_t12.tar.gz",
            None,
            "md5:fa75699e90414af021442c21a62c3abf",
            members=("ILSVRC2012_devkit_t12/data/meta.mat",),
        ),
        Archive(
            _FILES + "ILSVRC2012_bbox_val_v3.tgz",
            None,
            "md5:f4cd18b5ea29fe6bbea62ec9c20d80f0",
            folder="bbox",
            members=("bbox/val/ILSVRC2012_val_00000001.xml",),
        ),
    ),
    shape="""\
ILSVRC2012_devkit_t12/data/meta.mat, ILSVRC2012_validation_ground_truth.txt
val/ILSVRC2012_val_00000001.JPEG          (or val/n01751748/ILSVRC2012_val_00000001.JPEG)
bbox/val/ILSVRC2012_val_00000001.xml      (or in val)
train/n01440764/n01440764_10026.JPEG
Annotation/n01440764/n01440764_10026.xml  (some)
ILSVRC2014_clsloc_validation_blacklist.txt  (optional: 1,762 images whose boxes do not count)
""",
)
