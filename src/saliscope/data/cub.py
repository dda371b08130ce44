"""CUB-200-2011: 11,788 photographs of 200 birds, with boxes, parts and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from saliscope.boxes import Box
from saliscope.data.catalog import Archive, DataKind
from saliscope.data.layouts import Classes, check_options, find_place, list_images, read_rows
from saliscope.data.masks import check_mask_size, read_levels
from saliscope.data.sample import Listing, Masks, Region, Sample
from saliscope.data.splits import choose_split
from saliscope.errors import DataError, OptionError

__all__ = ["KIND", "open_cub"]

_HINT = "unpack CUB_200_2011.tgz again, or run `saliscope data download cub`"
# A grey level says how many of the annotators saw the bird there: 0 none, 255 all.
_MAJORITY = 128

T = TypeVar("T")


class _Photograph(NamedTuple):
    number: str
    key: str
    class_number: int
    training: bool


def open_cub(
    *,
    name: str,
    split: str,
    root: Path,
    validation: float = 0.1,
    seed: int = 0,
    classes: Classes = "present",
) -> Listing:
    """Open one split: "train", "val", "trainval" (the official train list) or "test".

    `root` is the folder CUB_200_2011 or the one that holds it. The official train list is divided by `validation` and `seed`
    (see `held_out`). A listed photograph that is not on disk is no sample; `classes="present"` counts the birds that have
    photographs here, "all" every bird of the lists, in the order of their numbers. Each photograph has one region. Its box
    is x, y, width, height in floats, taken as x, y, x + width, y + height. Ids are like
    "001.Black_footed_Albatross/Black_Footed_Albatross_0046_18".

    The mask "object" is where at least half of the annotators saw the bird (grey level 128 or more), where the archive
    segmentations.tgz was unpacked too. `details["parts"]` gives x, y of the visible parts by name. Raises `DataError` for
    folders and lists that are missing or damaged, and for a split without photographs.
    """
    check_options("cub", classes=(classes, Classes))
    base = find_place(
        root, ("images.txt", "CUB_200_2011/images.txt"), kind="cub", hint=_HINT
    ).parent
    listed = _read_lists(base)
    files = _files(base / "images", listed)
    here = [photo for photo in listed if photo.key in files]
    counted = sorted({photo.class_number for photo in (listed if classes == "all" else here)})
    chosen = [photo for photo in here if photo.training == (split != "test")]
    ids = [photo.key for photo in chosen]
    labels = [counted.index(photo.class_number) for photo in chosen]
    if split != "test":
        kept = choose_split(ids, labels, split=split, share=validation, seed=seed)
        chosen = [chosen[i] for i in kept]
        ids, labels = [ids[i] for i in kept], [labels[i] for i in kept]
    if not ids:
        raise DataError(
            f'cub: no photograph of the split "{split}" is in {base / "images"}; {_HINT}'
        )
    folders = {photo.class_number: photo.key.partition("/")[0] for photo in listed}
    names = tuple(folders[number].partition(".")[2] for number in counted)
    numbers = [photo.number for photo in chosen]
    copy = _Copy(
        split,
        base,
        names,
        ids,
        labels,
        [files[key] for key in ids],
        numbers,
        _of(numbers, _read_boxes(base)),
        _of(numbers, _read_parts(base)),
    )
    return Listing(name, split, names, ids, labels, copy.read)


@dataclass(frozen=True, eq=False)
class _Copy:
    split: str
    base: Path
    names: tuple[str, ...]
    ids: Sequence[str]
    labels: Sequence[int]
    files: Sequence[str]
    numbers: Sequence[str]
    boxes: Mapping[str, Sequence[str]]
    parts: Mapping[str, Mapping[str, tuple[float, float]]]

    def read(self, position: int) -> Sample:
        key, label, number = self.ids[position], self.labels[position], self.numbers[position]
        image = self.base / "images" / self.files[position]
        return Sample(
            id=key,
            image=image,
            label=label,
            split=self.split,
            regions=(Region(self._box(key, number), self.names[label]),),
            details={"number": int(number), "parts": self.parts.get(number, {})},
            mask_reader=self._mask_reader(key, image),
        )

    def _box(self, key: str, number: str) -> Box:
        try:
            return Box.from_xywh(*map(float, self.boxes[number]))
        except (KeyError, ValueError, OptionError) as err:
            raise DataError(
                f"cub: {key} (number {number}) has no proper box in {self.base / 'bounding_boxes.txt'} "
                f"({type(err).__name__}: {err}); {_HINT}"
            ) from err

    def _mask_reader(self, key: str, image: Path) -> partial[Masks] | None:
        # The two archives are unpacked side by side, or the second inside the first.
        for folder in (self.base / "segmentations", self.base.parent / "segmentations"):
            if folder.is_dir():
                return partial(_read_masks, folder / f"{key}.png", image)
        return None


def _read_masks(path: Path, image: Path) -> Masks:
    levels = read_levels(path)
    check_mask_size(levels, path, image)
    return {"object": levels >= _MAJORITY}


def _of(numbers: Sequence[str], known: Mapping[str, T]) -> dict[str, T]:
    return {number: known[number] for number in numbers if number in known}


def _read_lists(base: Path) -> list[_Photograph]:
    tables = (
        dict(read_rows(base / f"{table}.txt", kind="cub", columns=2, hint=_HINT))
        for table in ("images", "image_class_labels", "train_test_split")
    )
    paths, labels, training = tables
    try:
        found = [
            _Photograph(
                number,
                str(PurePosixPath(path).with_suffix("")),
                int(labels[number]),
                {"1": True, "0": False}[training[number]],
            )
            for number, path in paths.items()
        ]
    except (KeyError, ValueError) as err:
        raise DataError(
            f"cub: the lists in {base} (images.txt, image_class_labels.txt, train_test_split.txt) do not fit together "
            f"({type(err).__name__}: {err}); {_HINT}"
        ) from err
    return sorted(found, key=lambda photo: photo.key)


def _files(images: Path, listed: Sequence[_Photograph]) -> dict[str, str]:
    folders = sorted({photo.key.partition("/")[0] for photo in listed})
    return {
        f"{folder}/{stem}": f"{folder}/{file}"
        for folder in folders
        if (images / folder).is_dir()
        for stem, file in list_images(images / folder).items()
    }


def _read_boxes(base: Path) -> dict[str, list[str]]:
    rows = read_rows(base / "bounding_boxes.txt", kind="cub", columns=5, hint=_HINT)
    return {number: box for number, *box in rows}


def _read_parts(base: Path) -> dict[str, dict[str, tuple[float, float]]]:
    if not (base / "parts" / "part_locs.txt").is_file():
        return {}
    names = dict(read_rows(base / "parts" / "parts.txt", kind="cub", columns=2, hint=_HINT))
    path = base / "parts" / "part_locs.txt"
    parts: dict[str, dict[str, tuple[float, float]]] = {}
    for number, part, x, y, visible in read_rows(path, kind="cub", columns=5, hint=_HINT):
        try:
            if visible == "1":
                parts.setdefault(number, {})[names[part]] = (float(x), float(y))
        except (KeyError, ValueError) as err:
            raise DataError(
                f'cub: "{number} {part} {x} {y} {visible}" in {path} is no place of a part; {_HINT}'
            ) from err
    return parts


KIND = DataKind(
    name="cub",
    title="Caltech-UCSD Birds-200-2011: 200 birds, boxes, parts and masks",
    opener=open_cub,
    splits=("train", "val", "trainval", "test"),
    licence="Non-commercial research and education only; the photographs belong to their authors.",
    citation=(
        "C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie: The Caltech-UCSD Birds-200-2011 Dataset. Technical Report "
        "CNS-TR-2011-001, California Institute of Technology, 2011."
    ),
    home="https://www.vision.caltech.edu/datasets/cub_200_2011/",
    archives=(
        Archive(
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
            1_150_585_339,
            "md5:97eceeb196236b17998738112f37df78",
            members=(
                "CUB_200_2011/images.txt",
                "CUB_200_2011/images/001.Black_footed_Albatross",
                "CUB_200_2011/images/200.Common_Yellowthroat",
            ),
        ),
        Archive(
            "https://data.caltech.edu/records/w9d68-gec53/files/segmentations.tgz",
            39_272_883,
            "md5:4d47ba1228eae64f2fa547c47bc65255",
            members=(
                "segmentations/001.Black_footed_Albatross",
                "segmentations/200.Common_Yellowthroat",
            ),
        ),
    ),
    # "trainval" is the official train list.
    counts={"trainval": 5_994, "test": 5_794},
    num_classes=200,
    masks="object",
    shape="""\
CUB_200_2011/images/001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg
CUB_200_2011/images.txt, image_class_labels.txt, train_test_split.txt, bounding_boxes.txt
CUB_200_2011/parts/parts.txt, part_locs.txt       (optional)
segmentations/001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.png    (optional; or in CUB_200_2011)
""",
)
