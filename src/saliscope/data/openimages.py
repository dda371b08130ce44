"""OpenImages30k: the photographs of 100 classes, with masks, by which weakly supervised localization is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saliscope.data.catalog import DataKind
from saliscope.data.layouts import (
    Classes,
    check_options,
    find_place,
    list_folders,
    list_images,
    read_rows,
)
from saliscope.data.masks import read_levels, tight_box
from saliscope.data.sample import Listing, Masks, Region, Sample
from saliscope.errors import DataError
from saliscope.images import image_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KIND", "open_openimages"]

_KIND = "openimages-wsol"
_SPLITS = ("train", "val", "test")
_LISTS = "metadata/OpenImages/{0}", "metadata/openimages/{0}", "OpenImages/metadata/{0}"
_IMAGES = "OpenImages/{0}", "dataset/OpenImages/{0}", "{0}"
_DESCRIPTIONS = ("class-descriptions-boxable.csv", "class-descriptions.csv")
_HINT = "copy the folder metadata/OpenImages of the repository clovaai/wsolevaluation into it"


class _Photograph(NamedTuple):
    key: str
    path: str
    label: int


class _Files(NamedTuple):
    """The mask files of one photograph: one for each instance, and one for what must not count."""

    instances: list[str]
    ignore: list[str]


def open_openimages(*, name: str, split: str, root: Path, classes: Classes = "present") -> Listing:
    """Open "train" (labels only), "val" (called train-fullsup in the paper) or "test".

    A listed photograph that is not on disk is no sample; `classes="present"` counts the classes that have photographs here,
    in any split, "all" every class of the lists. Labels keep the order of the lists. Classes are named as
    class-descriptions-boxable.csv of Open Images does, where it lies in the root or in metadata; else by the folder of their
    photographs, which is their number in Freebase ("01226z"); else by their label. Ids are paths without their ending, like
    "val/01226z/32fdab44f6e415f1".

    Each instance's mask gives a region, its tight box. Masks: "object", the union of the instances; "ignore", the ignore mask
    without the pixels of the object. Masks of another resolution than their photograph are brought to its size by the nearest
    pixel. Raises `DataError` for folders and lists that are missing or damaged, and for a split without photographs.
    """
    check_options(_KIND, classes=(classes, Classes))
    lists = _place(root, _LISTS, split, _HINT)
    folder = _place(root, _IMAGES, split, f"unpack OpenImages_images.zip: it holds {split}").parent
    listed = _read_labels(lists)
    every = [p for other in _SPLITS for p in _others(lists, other)]
    here = _present(folder, every)
    chosen = sorted(photo for photo in listed if photo.path in here)
    if not chosen:
        raise DataError(
            f'{_KIND}: no photograph of the split "{split}" is in {folder}; unpack OpenImages_images.zip there'
        )
    known = every if classes == "all" else [photo for photo in every if photo.path in here]
    counted = sorted({photo.label for photo in known})
    names = _names(root, counted, every)
    labels = [counted.index(photo.label) for photo in chosen]
    masks = _read_localization(lists, required=split != "train")
    kept = [masks.get(photo.path) for photo in chosen]
    copy = _Copy(split, folder, names, chosen, labels, kept, lists / "localization.txt")
    return Listing(name, split, names, [photo.key for photo in chosen], labels, copy.read)


@dataclass(frozen=True, eq=False)
class _Copy:
    split: str
    folder: Path
    names: tuple[str, ...]
    photographs: Sequence[_Photograph]
    labels: Sequence[int]
    masks: Sequence[_Files | None]
    list_file: Path

    def read(self, position: int) -> Sample:
        photo, files, label = (
            self.photographs[position],
            self.masks[position],
            self.labels[position],
        )
        image = self.folder / photo.path
        if files is None:
            if self.split != "train":
                raise DataError(f"{_KIND}: {photo.key} has no masks in {self.list_file}; {_HINT}")
            return Sample(photo.key, image, label, self.split)
        instances = [self.folder / file for file in files.instances]
        size = image_size(image)
        boxes = [tight_box(_read_mask(path, size)) for path in instances]
        if not any(boxes):
            raise DataError(
                f"{_KIND}: the masks of {photo.key} mark nothing; unpack OpenImages_annotations.zip again"
            )
        ignore = [self.folder / file for file in files.ignore]
        return Sample(
            id=photo.key,
            image=image,
            label=label,
            split=self.split,
            regions=tuple(Region(box, self.names[label]) for box in boxes if box is not None),
            size=size,
            mask_reader=partial(_read_masks, instances, ignore, image),
        )


def _place(root: Path, places: Sequence[str], split: str, hint: str) -> Path:
    return find_place(root, [place.format(split) for place in places], kind=_KIND, hint=hint)


def _read_labels(lists: Path) -> list[_Photograph]:
    path = lists / "class_labels.txt"
    rows = read_rows(path, kind=_KIND, columns=2, separator=",", hint=_HINT)
    labels = dict(rows)
    ids = read_rows(lists / "image_ids.txt", kind=_KIND, columns=1, hint=_HINT)
    try:
        return [
            _Photograph(str(PurePosixPath(file).with_suffix("")), file, int(labels[file]))
            for (file,) in ids
        ]
    except (KeyError, ValueError) as err:
        raise DataError(
            f"{_KIND}: {path} gives no label for an image of image_ids.txt ({type(err).__name__}: {err}); {_HINT}"
        ) from err


def _others(lists: Path, split: str) -> list[_Photograph]:
    """The lists of any split beside the one that is opened; some copies lack some."""
    place = lists.parent / split
    return _read_labels(place) if (place / "class_labels.txt").is_file() else []


def _present(folder: Path, photographs: Sequence[_Photograph]) -> set[str]:
    found: set[str] = set()
    for split in {photo.path.partition("/")[0] for photo in photographs}:
        if (folder / split).is_dir():
            for place in list_folders(folder / split):
                names = list_images(place).values()
                found |= {f"{split}/{place.name}/{file}" for file in names}
    return found


def _names(
    root: Path, labels: Sequence[int], photographs: Sequence[_Photograph]
) -> tuple[str, ...]:
    folders: dict[int, set[str]] = {label: set() for label in labels}
    for photo in photographs:
        if photo.label in folders:
            folders[photo.label].add(PurePosixPath(photo.path).parent.name)
    described = _read_descriptions(root)
    names = []
    for label in labels:
        single = next(iter(folders[label])) if len(folders[label]) == 1 else ""
        names.append(described.get(f"/m/{single}") or single or str(label))
    return tuple(names)


def _read_descriptions(root: Path) -> Mapping[str, str]:
    for place in (root, root / "metadata"):
        for file in _DESCRIPTIONS:
            if (place / file).is_file():
                hint = "download it again, or take it away"
                rows = read_rows(place / file, kind=_KIND, columns=2, separator=",", hint=hint)
                return {mid: words.strip('"') for mid, words in rows}
    return {}


def _read_localization(lists: Path, *, required: bool) -> dict[str, _Files]:
    path = lists / "localization.txt"
    if not required and not path.is_file():
        return {}
    found: dict[str, _Files] = {}
    for image, mask, ignore in read_rows(path, kind=_KIND, columns=3, separator=",", hint=_HINT):
        files = found.setdefault(image, _Files([], []))
        files.instances.append(mask)
        if ignore:  # stands in the first row of an image only
            files.ignore.append(ignore)
    return found


def _read_mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = read_levels(path) > 0
    if mask.shape == size:
        return mask
    (height, width), (rows, columns) = size, mask.shape
    # Both are one outline at two resolutions, where the shares of their sides agree but for rounding.
    if abs(rows * width - columns * height) > max(height + width, rows + columns):
        raise DataError(
            f"{_KIND}: the mask {path} is {columns} x {rows} pixels, its photograph {width} x {height} (width x height): they "
            "do not belong together; unpack both archives again"
        )
    down = ((np.arange(height) + 0.5) * rows / height).astype(np.int64)
    across = ((np.arange(width) + 0.5) * columns / width).astype(np.int64)
    resized: NDArray[np.bool_] = mask[down[:, None], across]
    return resized


def _read_masks(instances: Sequence[Path], ignore: Sequence[Path], image: Path) -> Masks:
    size = image_size(image)
    found = np.logical_or.reduce([_read_mask(path, size) for path in instances])
    if not ignore:
        return {"object": found}
    spared = np.logical_or.reduce([_read_mask(path, size) for path in ignore])
    return {"object": found, "ignore": spared & ~found}


KIND = DataKind(
    name=_KIND,
    title="OpenImages30k of wsolevaluation: 100 classes, masks of every instance",
    opener=open_openimages,
    splits=_SPLITS,
    licence=(
        "Annotations: Creative Commons Attribution 4.0 (Google). Photographs: listed as Creative Commons Attribution 2.0; no "
        "warranty is given for single ones."
    ),
    citation=(
        "J. Choe, S. J. Oh, S. Lee, S. Chun, Z. Akata, H. Shim: Evaluating Weakly Supervised Object Localization Methods Right. "
        "IEEE Conference on Computer Vision and Pattern Recognition, 2020."
    ),
    home="https://github.com/clovaai/wsolevaluation",
    counts={"train": 29_819, "val": 2_500, "test": 5_000},
    num_classes=100,
    regions="tight boxes of the masks",
    masks="object, ignore",
    by_hand=(
        "its authors share it from personal drives: follow the links on github.com/clovaai/wsolevaluation to "
        "OpenImages_images.zip and OpenImages_annotations.zip, unpack both into OpenImages, and copy metadata/OpenImages of "
        "that repository beside it"
    ),
    shape="""\
OpenImages/val/01226z/32fdab44f6e415f1.jpg, 32fdab44f6e415f1_m01226z_7dab3053.png, 32fdab44f6e415f1_ignore.png
metadata/OpenImages/val/image_ids.txt, class_labels.txt, localization.txt
class-descriptions-boxable.csv      (optional: the names of the classes)
""",
)
