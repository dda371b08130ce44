"""COCO 2017 and 2014: everyday photographs with outlines of the objects of 80 classes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from saliscope.boxes import Box
from saliscope.data.catalog import Archive, DataKind
from saliscope.data.layouts import check_options, find_place, list_images
from saliscope.data.masks import check_mask_size, decode_runs, fill_polygon
from saliscope.data.sample import Listing, Masks, Region, Sample
from saliscope.errors import DataError, OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KIND", "open_coco"]

Label = Literal["single", "largest"]
Size = tuple[int, int]

_PARTS = {split: split if split[-1].isdigit() else f"{split}2017" for split in ("train", "val")}
_PARTS |= {part: part for part in ("train2014", "val2014")}
_HINT = "unpack annotations_trainval2017.zip (or 2014), or run `saliscope data download coco`"


class _Picture(NamedTuple):
    number: int
    file: str
    size: Size | None


class _Entry(NamedTuple):
    """One annotation, packed: COCO has 900,000 of them, whose points would each be an object of Python."""

    image: int
    category: int
    box: bytes
    area: float
    crowd: bool
    shape: tuple[bytes, ...] | Mapping[str, Any]


def open_coco(*, name: str, split: str, root: Path, label: Label = "single") -> Listing:
    """Open "train" or "val" (of 2017), "train2014" or "val2014".

    A listed photograph that is not on disk is no sample; one without annotations is a sample without regions. Classes are the
    categories of the JSON in the order of their numbers, which run from 1 to 90 with gaps: label 79 is category 90. The
    label is that of the one category an image holds, crowds included, and None where it holds several or none;
    `label="largest"` takes the category of the object of the largest area instead (crowds aside, the lower number in a tie).
    Boxes are x, y, width, height in floats, taken as edges. Regions of groups carry `crowd=True`. Ids are file names without
    their ending.

    Masks: one for each category in the image, by name, the union of its objects; "object", that of the label's category;
    "ignore", the crowds (those of the label's category alone, where there is a label) without the pixels of any object.
    Polygons cover the pixels whose centre they hold (`fill_polygon`); an object is the union of its polygons. COCO's own
    tool differs from this by single pixels along the outline. The JSON is parsed once, here. Raises `DataError` for folders
    and files that are missing or damaged, and for a split without photographs.
    """
    check_options("coco", label=(label, Label))
    part = _PARTS[split]
    path = find_place(
        root,
        (f"annotations/instances_{part}.json", f"instances_{part}.json"),
        kind="coco",
        hint=_HINT,
    )
    folder = find_place(
        root, (part, f"images/{part}"), kind="coco", hint=f"unpack {part}.zip in it"
    )
    pictures, entries, categories = _read_json(path)
    files = list_images(folder)
    here = sorted((_key(p.file), p) for p in pictures if PurePosixPath(p.file).stem in files)
    if not here:
        raise DataError(
            f"coco: none of the photographs of {path} is in {folder}; unpack {part}.zip"
        )
    groups: dict[int, list[_Entry]] = {picture.number: [] for _, picture in here}
    for entry in entries:
        if entry.image in groups:
            groups[entry.image].append(entry)
    order = {number: i for i, number in enumerate(sorted(categories))}
    kept = [tuple(groups[picture.number]) for _, picture in here]
    labels = [_label(group, order, label) for group in kept]
    names = tuple(categories[number] for number in order)
    copy = _Copy(split, path, folder, names, order, here, labels, kept, files)
    return Listing(name, split, names, [key for key, _ in here], labels, copy.read)


@dataclass(frozen=True, eq=False)
class _Copy:
    split: str
    path: Path
    folder: Path
    names: tuple[str, ...]
    order: Mapping[int, int]
    pictures: Sequence[tuple[str, _Picture]]
    labels: Sequence[int | None]
    groups: Sequence[tuple[_Entry, ...]]
    files: Mapping[str, str]

    def read(self, position: int) -> Sample:
        key, picture = self.pictures[position]
        group, label = self.groups[position], self.labels[position]
        image = self.folder / self.files[PurePosixPath(picture.file).stem]
        reader = partial(
            _read_masks, self.path, image, picture.size, group, self._names(key, group)
        )
        return Sample(
            id=key,
            image=image,
            label=label,
            split=self.split,
            regions=tuple(self._region(key, entry) for entry in group),
            size=picture.size,
            details={"number": picture.number},
            mask_reader=partial(reader, None if label is None else self.names[label]),
        )

    def _names(self, key: str, group: Sequence[_Entry]) -> tuple[str, ...]:
        unknown = {entry.category for entry in group} - self.order.keys()
        if unknown:
            raise DataError(
                f"coco: {key} is annotated with category {min(unknown)}, which {self.path} does not name; {_HINT}"
            )
        return tuple(self.names[self.order[entry.category]] for entry in group)

    def _region(self, key: str, entry: _Entry) -> Region:
        try:
            box = Box.from_xywh(*struct.unpack("4d", entry.box))
        except (struct.error, OptionError) as err:
            raise DataError(
                f"coco: an annotation of {key} in {self.path} has no proper bbox [x, y, width, height] ({err}); {_HINT}"
            ) from err
        return Region(box, self.names[self.order[entry.category]], crowd=entry.crowd)


def _key(file: str) -> str:
    return str(PurePosixPath(file).with_suffix(""))


def _label(group: Sequence[_Entry], order: Mapping[int, int], rule: Label) -> int | None:
    if rule == "single":
        found = {entry.category for entry in group}
        return order.get(found.pop()) if len(found) == 1 else None
    objects = [entry for entry in group if not entry.crowd]
    best = max(objects, key=lambda entry: (entry.area, -entry.category), default=None)
    return None if best is None else order.get(best.category)


def _read_json(path: Path) -> tuple[list[_Picture], list[_Entry], dict[int, str]]:
    try:
        content = json.loads(path.read_bytes(), object_hook=_packed)
        categories = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
        pictures, entries = content["images"], content["annotations"]
        known = {picture.number for picture in pictures}
        lost = next((entry.image for entry in entries if entry.image not in known), None)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as err:
        raise DataError(
            f"coco: {path} is no file of instances ({type(err).__name__}: {err}); {_HINT}"
        ) from err
    if lost is not None:
        raise DataError(f"coco: {path} annotates the image {lost}, which it does not list; {_HINT}")
    return pictures, entries, categories


def _packed(entry: dict[str, Any]) -> object:
    """Pack each object of the JSON as soon as it is parsed, so that the whole is never in memory unpacked."""
    if "image_id" in entry and "category_id" in entry:
        return _Entry(
            int(entry["image_id"]),
            int(entry["category_id"]),
            _packed_box(entry.get("bbox")),
            float(entry.get("area", 0.0)),
            bool(entry.get("iscrowd", 0)),
            _packed_shape(entry.get("segmentation")),
        )
    if "file_name" in entry and "id" in entry:
        sized = "height" in entry and "width" in entry
        size = (int(entry["height"]), int(entry["width"])) if sized else None
        return _Picture(int(entry["id"]), str(entry["file_name"]), size)
    return entry


def _packed_box(box: Any) -> bytes:
    try:
        return struct.pack("4d", *box)
    except (struct.error, TypeError):
        return b""  # reported when its sample is read


def _packed_shape(shape: Any) -> tuple[bytes, ...] | Mapping[str, Any]:
    if isinstance(shape, dict):
        return shape
    try:
        return tuple(np.asarray(polygon, np.float32).tobytes() for polygon in shape or ())
    except (TypeError, ValueError):
        return (b"?",)


def _read_masks(
    path: Path,
    image: Path,
    size: Size | None,
    group: Sequence[_Entry],
    names: Sequence[str],
    label: str | None,
) -> Masks:
    if size is None:
        raise DataError(f"coco: {path} does not state the size of {image.name}, which masks need")
    check_mask_size(np.empty(size, bool), path, image)
    masks: dict[str, NDArray[np.bool_]] = {}
    crowds, objects = np.zeros(size, bool), np.zeros(size, bool)
    for entry, named in zip(group, names, strict=True):
        shape = _draw(entry.shape, size, path, image)
        if not entry.crowd:
            masks[named] = masks.get(named, False) | shape
            objects |= shape
        elif label in (None, named):
            crowds |= shape
    if label in masks:
        masks["object"] = masks[label]
    if crowds.any():
        masks["ignore"] = crowds & ~objects
    return masks


def _draw(
    shape: tuple[bytes, ...] | Mapping[str, Any], size: Size, path: Path, image: Path
) -> NDArray[np.bool_]:
    try:
        if isinstance(shape, Mapping):
            if tuple(shape["size"]) != size:
                raise ValueError(f"its size is {shape['size']}, not {list(size)}")
            return decode_runs(shape["counts"], size)
        drawn = np.zeros(size, bool)
        for polygon in shape:
            drawn |= fill_polygon(np.frombuffer(polygon, np.float32).reshape(-1, 2), size)
    except (KeyError, TypeError, ValueError) as err:
        raise DataError(
            f"coco: a mask of {image.name} in {path} cannot be drawn ({type(err).__name__}: {err}); {_HINT}"
        ) from err
    if not shape:
        raise DataError(f"coco: an object of {image.name} in {path} has no segmentation; {_HINT}")
    return drawn


_FILES = "http://images.cocodataset.org/"

KIND = DataKind(
    name="coco",
    title="COCO: everyday photographs, outlines of the objects of 80 classes",
    opener=open_coco,
    splits=("train", "val", "train2014", "val2014"),
    licence="Annotations: Creative Commons Attribution 4.0. Photographs: Flickr's terms of use.",
    citation=(
        "T.-Y. Lin et al.: Microsoft COCO: Common Objects in Context. European Conference on Computer Vision, 2014."
    ),
    home="https://cocodataset.org/",
    # Those of 2017; for 2014 unpack train2014.zip, val2014.zip and annotations_trainval2014.zip by hand.
    archives=(
        Archive(
            _FILES + "annotations/annotations_trainval2017.zip",
            252_907_541,
            "md5:f4bbac642086de4f52a3fdda2de5fa2c",
            members=(
                "annotations/instances_train2017.json",
                "annotations/instances_val2017.json",
            ),
        ),
        Archive(
            _FILES + "zips/val2017.zip",
            815_585_330,
            "md5:442b8da7639aecaf257c1dceb8ba8c80",
            members=("val2017",),
        ),
        Archive(
            _FILES + "zips/train2017.zip",
            19_336_861_798,
            "md5:cced6f7f71b7629ddf16f17bbcfab6b2",
            members=("train2017",),
        ),
    ),
    counts={"train": 118_287, "val": 5_000, "train2014": 82_783, "val2014": 40_504},
    num_classes=80,
    masks="each category by name, object, ignore",
    shape="""\
annotations/instances_val2017.json     (or beside the folders)
val2017/000000000139.jpg               (or images/val2017)
""",
)
