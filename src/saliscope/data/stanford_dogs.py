"""Stanford Dogs: 20,580 photographs of 120 breeds, each with the boxes of its dogs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from saliscope.data.annotations import read_voc
from saliscope.data.catalog import Archive, DataKind
from saliscope.data.layouts import Classes, check_options, list_images
from saliscope.data.sample import Listing, Region, Sample
from saliscope.data.splits import choose_split
from saliscope.errors import DataError

__all__ = ["KIND", "open_stanford_dogs"]

DogCorners = Literal["half-open", "inclusive"]

# The first place is that of the official archives, the others are those of widespread copies.
_IMAGES = ("Images", "images/Images", "images")
_ANNOTATIONS = ("Annotation", "annotations/Annotation", "annotations", "annotation")
_LISTS = ("lists", ".")

_BREED = re.compile(r"n\d{8}-.+")


def open_stanford_dogs(
    *,
    name: str,
    split: str,
    root: Path,
    validation: float = 0.1,
    seed: int = 0,
    classes: Classes = "present",
    corners: DogCorners = "half-open",
) -> Listing:
    """Open one split: "train", "val", "trainval" (the official train list), "test", or "all" (every photograph here).

    The official train list is divided by `validation` and `seed` (see `held_out`). A photograph of a list that is not on
    disk is no sample, so a copy of some breeds works; "all" needs no lists. Classes are the breeds in the order of their
    WordNet ids, which is that of the official labels, named as the folders are after the first "-". `classes="present"`
    counts those that have photographs here, in any split; "all" counts the 120 of the lists. `corners` is that of
    `read_voc`. Each dog is a region; ids are like "n02085620-Chihuahua/n02085620_10074". Raises `DataError` for folders
    and lists that are missing or damaged, and for a split without photographs.
    """
    check_options("stanford_dogs", classes=(classes, Classes), corners=(corners, DogCorners))
    images, annotations = _folder(root, _IMAGES), _folder(root, _ANNOTATIONS)
    files = _photographs(images)
    order = _class_order(_listed(root) if classes == "all" else files)
    ids = sorted(files if split == "all" else _part(root, split) & files.keys())
    labels = [_label(key, order) for key in ids]
    if split not in ("all", "test"):
        kept = choose_split(ids, labels, split=split, share=validation, seed=seed)
        ids, labels = [ids[i] for i in kept], [labels[i] for i in kept]
    if not ids:
        raise DataError(
            f'no photograph of the split "{split}" is in {images}, only {len(files)} others; add some, or open another split'
        )
    names = tuple(breed.partition("-")[2] for breed in order)
    copy = _Copy(split, images, annotations, corners, names, ids, labels, [files[i] for i in ids])
    return Listing(name, split, names, ids, labels, copy.read)


@dataclass(frozen=True, eq=False)
class _Copy:
    """What reading one sample takes. A class rather than a closure, so that the data set pickles."""

    split: str
    images: Path
    annotations: Path
    corners: DogCorners
    names: tuple[str, ...]
    ids: Sequence[str]
    labels: Sequence[int]
    files: Sequence[str]

    def read(self, position: int) -> Sample:
        key, label = self.ids[position], self.labels[position]
        truth = read_voc(self.annotations / key, corners=self.corners)
        # The objects bear the breed's name in some spelling; one spelling is kept, that of the class.
        regions = tuple(Region(box, self.names[label]) for box, _ in truth.boxes)
        breed, _, stem = key.partition("/")
        return Sample(
            id=key,
            image=self.images / breed / self.files[position],
            label=label,
            split=self.split,
            regions=regions,
            size=truth.size,
            details={"wnid": breed.partition("-")[0], "source": stem},
        )


def _breed(key: str) -> str:
    return key.partition("/")[0]


def _class_order(ids: Iterable[str]) -> dict[str, int]:
    return {breed: i for i, breed in enumerate(sorted({_breed(key) for key in ids}))}


def _label(key: str, order: Mapping[str, int]) -> int:
    if _breed(key) not in order:
        raise DataError(
            f'stanford_dogs: the lists know no breed "{_breed(key)}", so classes="all" has no label for it; move its folder '
            'away, or use classes="present"'
        )
    return order[_breed(key)]


def _folder(root: Path, places: Sequence[str]) -> Path:
    for place in places:
        folder = root / place
        if folder.is_dir() and any(_BREED.fullmatch(entry.name) for entry in folder.iterdir()):
            return folder
    archive = "images.tar" if places is _IMAGES else "annotation.tar"
    raise DataError(
        f"stanford_dogs: {root / places[0]} with folders like n02085620-Chihuahua is missing; unpack {archive} in {root}, or "
        "run `saliscope data download stanford_dogs`"
    )


def _photographs(images: Path) -> dict[str, str]:
    """File names by id."""
    files: dict[str, str] = {}
    for folder in sorted(images.iterdir()):
        if not _BREED.fullmatch(folder.name) or not folder.is_dir():
            continue
        files.update({f"{folder.name}/{stem}": file for stem, file in list_images(folder).items()})
    if not files:
        raise DataError(
            f"stanford_dogs: the folders in {images} hold no photographs; unpack images.tar again"
        )
    return files


def _listed(root: Path) -> set[str]:
    return _read_list(root, "train") | _read_list(root, "test")


def _part(root: Path, split: str) -> set[str]:
    return _read_list(root, "test" if split == "test" else "train")


def _read_list(root: Path, part: str) -> set[str]:
    """The ids in one of the official lists: a MATLAB file, whose cells each hold one string in an array of their own."""
    places = [root / place / f"{part}_list.mat" for place in _LISTS]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DataError(
            f"stanford_dogs: the official list {part}_list.mat is neither in {root / 'lists'} nor in {root}; unpack lists.tar "
            'there, or open split="all", which needs no lists'
        )
    from scipy.io import loadmat

    try:
        cells = loadmat(path, variable_names=["file_list"])["file_list"]
        files = [PurePosixPath(str(cell[0])) for cell in cells[:, 0]]
    except (
        Exception
    ) as err:  # loadmat lets whatever a damaged file causes through, down to Exception itself
        raise DataError(
            f"stanford_dogs: {path} is no list of photographs ({type(err).__name__}: {err}); unpack lists.tar again"
        ) from err
    return {str(file.with_suffix("")) for file in files}


_HOME = "http://vision.stanford.edu/aditya86/ImageNetDogs/"
_ENDS = ("n02085620-Chihuahua", "n02116738-African_hunting_dog")

KIND = DataKind(
    name="stanford_dogs",
    title="Stanford Dogs: 120 breeds, boxes of every dog",
    opener=open_stanford_dogs,
    splits=("train", "val", "trainval", "test", "all"),
    licence=(
        "No licence is stated. The photographs come from ImageNet, whose terms allow non-commercial research and education "
        "only; do not redistribute them."
    ),
    citation=(
        "A. Khosla, N. Jayadevaprakash, B. Yao, L. Fei-Fei: Novel Dataset for Fine-Grained Image Categorization. First "
        "Workshop on Fine-Grained Visual Categorization, CVPR 2011. Photographs: J. Deng et al.: ImageNet: A Large-Scale "
        "Hierarchical Image Database. CVPR 2009."
    ),
    home=_HOME,
    # Sizes and checksums as TensorFlow Datasets records them.
    archives=(
        Archive(
            _HOME + "images.tar",
            793_579_520,
            "sha256:a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
            members=tuple(f"Images/{breed}" for breed in _ENDS),
        ),
        Archive(
            _HOME + "annotation.tar",
            21_852_160,
            "sha256:662ed36f707be6b195c2fda392d8e153e83af28cedc8e2134a649f198def30fd",
            members=tuple(f"Annotation/{breed}" for breed in _ENDS),
        ),
        Archive(
            _HOME + "lists.tar",
            481_280,
            "sha256:34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c",
            folder="lists",
            members=("lists/train_list.mat", "lists/test_list.mat"),
        ),
    ),
    # "trainval" is the official train list.
    counts={"trainval": 12_000, "test": 8_580, "all": 20_580},
    num_classes=120,
    shape="""\
Images/n02085620-Chihuahua/n02085620_10074.jpg
Annotation/n02085620-Chihuahua/n02085620_10074    (XML without an ending)
lists/train_list.mat, lists/test_list.mat         (or beside Images)
""",
)
