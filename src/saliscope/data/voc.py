"""PASCAL VOC 2007 and 2012: photographs of 20 classes of things, with the boxes of all of them and masks of some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from saliscope.data.annotations import parse_voc, voc_object, voc_size
from saliscope.data.catalog import Archive, DataKind
from saliscope.data.layouts import check_options, list_images, read_rows
from saliscope.data.masks import check_mask_size, read_levels
from saliscope.data.sample import Listing, Masks, Region, Sample
from saliscope.errors import DataError

if TYPE_CHECKING:
    from xml.etree import ElementTree

__all__ = ["KIND", "open_voc"]

Year = Literal[2007, 2012, "2007+2012"]
Label = Literal["single", "largest"]

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
_LABELS = {label: i for i, label in enumerate(CLASSES)}
_IGNORE = 255

_ARCHIVES = {
    "2007": "VOCtrainval_06-Nov-2007.tar",
    "2007 test": "VOCtest_06-Nov-2007.tar",
    "2012": "VOCtrainval_11-May-2012.tar",
}


def open_voc(
    *, name: str, split: str, root: Path, year: Year = 2007, label: Label = "single"
) -> Listing:
    """Open one of the official splits: "train", "val", "trainval", or "test" (published for 2007 only).

    `year` is 2007, 2012, or "2007+2012", the usual union: both years' photographs for training, those of 2007 for the
    test. `root` is the folder that holds VOCdevkit, VOCdevkit itself, or VOC2007 itself. A photograph of a list that is not
    on disk is no sample. Classes are the official 20. With `label="single"` a sample has a label where all its objects are
    of one class, else None; "largest" takes the class of the largest box, and reads every annotation to open.

    Each object is a region, difficult ones marked as such; heads, hands and feet are regions with a `part`. Corners count
    from 1 and include the last pixel. Masks go by class name, with "ignore" for the border that no score counts; only some
    photographs have them. Ids are the official ones, like "2008_000008". Raises `DataError` for folders and lists that are
    missing or damaged, and for a split without photographs.
    """
    check_options("voc", year=(year, Year), label=(label, Label))
    if split == "test" and year == 2012:
        raise DataError(
            'the annotation of the test photographs of VOC 2012 is not published; open the split "val", or year=2007'
        )
    years = ("2007",) if split == "test" else str(year).split("+")
    parts = [_Year.open(root, one, split) for one in years]
    labels = [value for part in parts for value in part.labels(label)]
    entries = [(part, key) for part in parts for key in part.ids]
    ids = [key for _, key in entries]
    return Listing(name, split, CLASSES, ids, labels, partial(_read, entries, labels, split))


@dataclass(frozen=True, eq=False)
class _Year:
    """The photographs of one year and split that are here."""

    folder: Path
    split: str
    year: int
    ids: Sequence[str]
    files: Mapping[str, str]

    @classmethod
    def open(cls, root: Path, year: str, split: str) -> _Year:
        folder = _find_folder(root, year)
        archive = _ARCHIVES.get(f"{year} {split}", _ARCHIVES[year])
        hint = f"unpack {archive} in {root}, or run `saliscope data download voc`"
        if not (folder / "JPEGImages").is_dir():
            raise DataError(f"voc: there is no folder {folder / 'JPEGImages'}; {hint}")
        rows = read_rows(folder / f"ImageSets/Main/{split}.txt", kind="voc", columns=1, hint=hint)
        files = list_images(folder / "JPEGImages")
        # Lists made by other programs carry a second column.
        listed = {row[0].split()[0] for row in rows}
        ids = sorted(listed & files.keys())
        if not ids:
            raise DataError(
                f'voc: none of the {len(rows)} photographs of the split "{split}" is in {folder / "JPEGImages"}; {hint}'
            )
        return cls(folder, split, int(year), ids, {key: files[key] for key in ids})

    def labels(self, rule: Label) -> list[int | None]:
        if rule == "single":
            listed = self._listed_classes()
            if listed is not None:
                return [_single(listed[key]) for key in self.ids]
        return [self._judged(key, rule) for key in self.ids]

    def _listed_classes(self) -> dict[str, set[str]] | None:
        """The classes on each photograph by the 20 official lists; None where one is missing, or not about all of them.

        A list says 1 for a class that is there, 0 where all its objects are difficult, and -1 for one that is not.
        """
        found: dict[str, set[str]] = {key: set() for key in self.ids}
        for name in CLASSES:
            path = self.folder / f"ImageSets/Main/{name}_{self.split}.txt"
            if not path.is_file():
                return None
            rows = read_rows(path, kind="voc", columns=2, hint="unpack the archive again")
            if not found.keys() <= {key for key, _ in rows}:
                return None
            for key, value in rows:
                if value != "-1" and key in found:
                    found[key].add(name)
        return found

    def _judged(self, key: str, rule: Label) -> int | None:
        try:
            regions, _ = self.regions(key)
        except DataError:
            return None  # reading the sample says what is wrong with it
        whole = [region for region in regions if region.part is None]
        if rule == "single":
            return _single({region.label for region in whole})
        largest = max(whole, key=lambda region: region.box.area, default=None)
        return _LABELS.get(largest.label) if largest is not None else None

    def regions(self, key: str) -> tuple[tuple[Region, ...], tuple[int, int] | None]:
        path = self.folder / "Annotations" / f"{key}.xml"
        root = parse_voc(path)
        found: list[Region] = []
        for item in root.findall("object"):
            box, name = voc_object(item, path, corners="voc")
            difficult = _is_difficult(item)
            found.append(Region(box, name, difficult=difficult))
            for piece in item.findall("part"):
                box, part = voc_object(piece, path, corners="voc")
                found.append(Region(box, name, part=part, difficult=difficult))
        return tuple(found), voc_size(root)


def _is_difficult(item: ElementTree.Element) -> bool:
    return (item.findtext("difficult") or "").strip() == "1"  # absent in parts of 2012


def _single(names: Iterable[str]) -> int | None:
    names = set(names)
    return _LABELS.get(names.pop()) if len(names) == 1 else None


def _read(
    entries: Sequence[tuple[_Year, str]],
    labels: Sequence[int | None],
    split: str,
    position: int,
) -> Sample:
    part, key = entries[position]
    regions, size = part.regions(key)
    image, mask = part.folder / "JPEGImages" / part.files[key], f"SegmentationClass/{key}.png"
    has_masks = (part.folder / mask).is_file()
    return Sample(
        id=key,
        image=image,
        label=labels[position],
        split=split,
        regions=regions,
        size=size,
        details={"year": part.year},
        mask_reader=partial(_read_masks, part.folder / mask, image) if has_masks else None,
    )


def _read_masks(path: Path, image: Path) -> Masks:
    """Masks by class name from a palette file: index 0 is background, 1 to 20 the classes, 255 the border between them."""
    indices = read_levels(path, indices=True)
    check_mask_size(indices, path, image)
    known = {index + 1: name for name, index in _LABELS.items()} | {_IGNORE: "ignore"}
    found = [int(value) for value in np.unique(indices) if value]
    strange = [value for value in found if value not in known]
    if strange:
        raise DataError(
            f"the mask {path} has the value {strange[0]}, but 0 to 20 and 255 are those of VOC; it was saved without its "
            "palette: unpack the archive again"
        )
    return {known[value]: indices == value for value in found}


def _find_folder(root: Path, year: str) -> Path:
    folder = f"VOC{year}"
    for place in (root / "VOCdevkit" / folder, root / folder):
        if place.is_dir():
            return place
    if (root / "JPEGImages").is_dir():
        if not root.name.startswith("VOC2") or root.name == folder:
            return root
        raise DataError(
            f'voc: {root} holds {root.name}, not {folder}; give its year, as in "voc:year=2012", or another folder'
        )
    raise DataError(
        f"voc: there is no {root / 'VOCdevkit' / folder}; unpack {_ARCHIVES[year]} in {root}, or run "
        "`saliscope data download voc`"
    )


_SITE = "https://thor.robots.ox.ac.uk/pascal/VOC/"

KIND = DataKind(
    name="voc",
    title="PASCAL VOC 2007 and 2012: 20 classes, boxes of all things, masks of some",
    opener=open_voc,
    splits=("train", "val", "trainval", "test"),
    licence=(
        "The photographs come from Flickr; using them must respect its terms. No licence of the annotations is stated."
    ),
    citation=(
        "M. Everingham, L. Van Gool, C. K. I. Williams, J. Winn, A. Zisserman: The PASCAL Visual Object Classes (VOC) "
        "Challenge. International Journal of Computer Vision 88 (2), 303-338, 2010."
    ),
    home="http://host.robots.ox.ac.uk/pascal/VOC/",
    # Checksums as torchvision records them.
    archives=(
        Archive(
            _SITE + "voc2007/VOCtrainval_06-Nov-2007.tar",
            460_032_000,
            "md5:c52e279531787c972589f7e41ab4ae64",
            members=("VOCdevkit/VOC2007/ImageSets/Main/trainval.txt",),
        ),
        Archive(
            _SITE + "voc2007/VOCtest_06-Nov-2007.tar",
            451_020_800,
            "md5:b6e924de25625d8de591ea690078ad9f",
            members=("VOCdevkit/VOC2007/ImageSets/Main/test.txt",),
        ),
        Archive(
            _SITE + "voc2012/VOCtrainval_11-May-2012.tar",
            1_999_639_040,
            "md5:6cd6e144f989b92b3379bac3b3de84fd",
            members=("VOCdevkit/VOC2012/ImageSets/Main/trainval.txt",),
        ),
    ),
    # Those of 2007, which is opened by default; 2012 has 5,717 + 5,823 = 11,540 photographs.
    counts={"train": 2_501, "val": 2_510, "trainval": 5_011, "test": 4_952},
    num_classes=20,
    masks="classes, ignore (on some photographs)",
    shape="""\
VOCdevkit/VOC2007/JPEGImages/000005.jpg
VOCdevkit/VOC2007/Annotations/000005.xml
VOCdevkit/VOC2007/ImageSets/Main/trainval.txt
VOCdevkit/VOC2007/SegmentationClass/000032.png     (some)
""",
)
