"""Annotated boxes: VOC XML, COCO JSON, and finding the ones that belong to a photograph."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, get_args
from xml.etree import ElementTree
from xml.parsers import expat

from saliscope.boxes import Box
from saliscope.errors import DataError, OptionError, nearest
from saliscope.images import image_size

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Corners",
    "Truth",
    "TruthSource",
    "find_truth",
    "parse_voc",
    "read_coco",
    "read_voc",
    "voc_object",
    "voc_size",
]

Corners = Literal["half-open", "inclusive", "voc"]
"""How the four numbers of an XML box are meant; see `read_voc`."""

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Truth:
    """What is annotated on one photograph.

    `size` is (H, W) as the annotation states it, None where it does not. `boxes` pairs each box, half-open in image pixels,
    with its label, in the order of the file; it is empty where nothing is annotated.
    """

    size: tuple[int, int] | None
    boxes: tuple[tuple[Box, str], ...]

    def boxes_of(self, label: str | None = None) -> tuple[Box, ...]:
        """The boxes of one label, or of all."""
        return tuple(box for box, name in self.boxes if label is None or name == label)

    def boxes_for(self, label: str | None) -> tuple[Box, ...]:
        """The boxes that a map of the class called `label` is judged by.

        Where all objects bear one name (or none), they are what the photograph was annotated for: all of them. Where the
        names differ, those that match `label` but for case, spaces, `-` and `_`. Raises `DataError` where none does: a
        chair is no ground truth for a dog.
        """
        names = list(dict.fromkeys(name for _, name in self.boxes))
        if len(names) < 2:
            return self.boxes_of()
        wanted = tuple(box for box, name in self.boxes if _folded(name) == _folded(label or ""))
        if not wanted:
            target = f'"{label}"' if label else "a class without a label"
            raise DataError(
                f"the annotated objects ({', '.join(names)}) are of other classes than the target, {target}; name the "
                "classes as the annotation does (labels), or give the box itself"
            )
        return wanted


def _folded(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ").strip()


def read_voc(path: StrPath, *, corners: Corners = "half-open") -> Truth:
    """Read the boxes of a VOC XML file, with or without the ending `.xml`.

    `corners` says how `xmin, ymin, xmax, ymax` are meant. `half-open` (default) takes the numbers as the edges of a
    half-open box, as the index and the usual scores of Stanford Dogs and ImageNet do. Those files in fact count pixels
    from 0 and include the last (of 20,580 files of Stanford Dogs many begin at 0 and end at width - 1, none at width): that
    reading is `inclusive` and one pixel wider. `voc` counts from 1 and includes the last, as PASCAL VOC does.

    All objects are read; coordinates may be floats and may exceed the image, and are kept so. Raises `DataError`, naming the
    file, for broken XML, a document type declaration (entities could expand without end), and boxes that are incomplete.
    """
    if corners not in get_args(Corners):
        raise OptionError(f'corners "{corners}" is unknown; {nearest(corners, get_args(Corners))}')
    root = parse_voc(path)
    boxes = tuple(voc_object(item, path, corners=corners) for item in root.findall("object"))
    return Truth(voc_size(root), boxes)


def parse_voc(path: StrPath) -> ElementTree.Element:
    """Parse a VOC XML file for what `Truth` has no room for. Raises `DataError` as `read_voc` does."""
    root = _parse_xml(Path(path))
    if root.tag != "annotation":
        raise DataError(
            f"{path} is XML but no VOC annotation: its root is <{root.tag}>, not <annotation>"
        )
    return root


def _parse_xml(path: Path) -> ElementTree.Element:
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise DataError(f"{path} declares a document type; remove its <!DOCTYPE ...> to read it")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(_read(path), True)
    except (expat.ExpatError, ValueError, LookupError) as err:
        if isinstance(err, DataError):
            raise
        raise DataError(
            f"{path} is not well-formed XML ({err}); it should be a VOC annotation"
        ) from err
    return builder.close()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as err:
        raise DataError(f"the annotation {path} cannot be read: {err}; check the path") from err


def voc_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """The size (H, W) that a parsed VOC annotation states, None where it states none."""
    try:
        height, width = (
            int(float(root.findtext(f"size/{side}", ""))) for side in ("height", "width")
        )
    except (ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def voc_object(
    item: ElementTree.Element, path: StrPath, *, corners: Corners = "half-open"
) -> tuple[Box, str]:
    """The box and the name of one `<object>` or `<part>` of the annotation in `path`; raises `DataError`."""
    label = (item.findtext("name") or "").strip()
    try:
        edges = [float(item.findtext(f"bndbox/{e}", "")) for e in ("xmin", "ymin", "xmax", "ymax")]
        if corners == "half-open":
            return Box(*edges), label
        return Box.from_inclusive(*edges, first=1 if corners == "voc" else 0), label
    except (ValueError, OptionError) as err:
        raise DataError(
            f'{path}: object "{label}" has no proper box ({err}); it needs a <bndbox> with xmin <= xmax and ymin <= ymax'
        ) from err


def read_coco(path: StrPath) -> dict[str, Truth]:
    """Read the boxes of a COCO JSON file, by the file name of each image.

    `bbox` is x, y, width, height, continuous and in floats. Crowd regions (`iscrowd`) are skipped: their box is no instance.
    An image without annotations has an empty `Truth`. A label is the name of its category, or its number where the file
    names none. Raises `DataError`, naming the file, for broken JSON, missing parts and boxes that run backwards.
    """
    try:
        content = json.loads(_read(Path(path)))
    except (ValueError, RecursionError) as err:
        raise DataError(f"{path} is not JSON ({err}); it should be a COCO annotation file") from err
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        raise DataError(
            f'{path} is JSON but no COCO file: it needs the keys "images" and "annotations"'
        )
    try:
        return _coco_truths(content, Path(path))
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        if isinstance(err, DataError):
            raise
        raise DataError(f"{path} is not a proper COCO file: {type(err).__name__} {err}") from err


def _coco_truths(content: Mapping[str, Any], path: Path) -> dict[str, Truth]:
    names = {entry["id"]: str(entry["name"]) for entry in content.get("categories", [])}
    boxes: dict[Any, list[tuple[Box, str]]] = {entry["id"]: [] for entry in content["images"]}
    for entry in content["annotations"]:
        if entry["image_id"] not in boxes:
            raise DataError(
                f"{path}: annotation {entry.get('id')} is of an unknown image {entry['image_id']}"
            )
        if not entry.get("iscrowd", 0):
            label = names.get(entry["category_id"], str(entry["category_id"]))
            boxes[entry["image_id"]].append((_coco_box(entry, path), label))
    truths: dict[str, Truth] = {}
    for entry in content["images"]:
        size = (int(entry["height"]), int(entry["width"])) if "height" in entry else None
        truths[str(entry["file_name"])] = Truth(size, tuple(boxes[entry["id"]]))
    return truths


def _coco_box(entry: Mapping[str, Any], path: Path) -> Box:
    try:
        x, y, width, height = map(float, entry["bbox"])
        return Box.from_xywh(x, y, width, height)
    except (KeyError, TypeError, ValueError) as err:
        raise DataError(
            f"{path}: annotation {entry.get('id')} has no proper bbox [x, y, width, height] ({err})"
        ) from err


@dataclass(frozen=True, eq=False)
class TruthSource:
    """Where annotated boxes come from, opened once for many photographs: one XML file, a folder of them, or a COCO JSON.

    `find` answers for each photograph. `corners` is that of `read_voc`.
    """

    path: Path
    corners: Corners = "half-open"
    coco: Mapping[str, Truth] | None = None

    @classmethod
    def open(cls, path: StrPath, *, corners: Corners = "half-open") -> TruthSource:
        """Recognise the kind of source by its content. Raises `DataError` where there is none."""
        place = Path(path)
        if not place.exists():
            raise DataError(f"there is no annotation file or folder {place}; check the path")
        if place.is_dir():
            return cls(place, corners)
        is_json = place.suffix.lower() == ".json" or _read(place)[:64].lstrip()[:1] in (b"{", b"[")
        return cls(place, corners, read_coco(place) if is_json else None)

    def find(self, image: StrPath, *, size: tuple[int, int] | None = None) -> Truth | None:
        """Find what is annotated on the photograph at path `image`; None where the source does not know it.

        `size` (H, W) is that of the upright photograph; it is read from the file where it is not given. One XML file answers
        for any photograph. In a folder the stem decides, with or without `.xml`, also one folder further down (the
        photograph's own parent folder first). In a COCO file the name decides, then the file name alone. Raises `DataError`
        where two entries fit, and where the annotation was made for a photograph of another size.
        """
        truth = self._lookup(Path(image))
        if truth is not None and truth.size is not None:
            _check_size(truth.size, size or image_size(image), Path(image), self.path)
        return truth

    def _lookup(self, image: Path) -> Truth | None:
        if self.coco is not None:
            return _by_name(self.coco, image, self.path)
        file = _in_folder(self.path, image) if self.path.is_dir() else self.path
        return None if file is None else read_voc(file, corners=self.corners)


def find_truth(
    image: StrPath,
    source: StrPath | TruthSource,
    *,
    size: tuple[int, int] | None = None,
    corners: Corners = "half-open",
) -> Truth | None:
    """Find what `source` annotates on one photograph; see `TruthSource.find`. For many, open the source once."""
    if not isinstance(source, TruthSource):
        source = TruthSource.open(source, corners=corners)
    return source.find(image, size=size)


def _in_folder(folder: Path, image: Path) -> Path | None:
    names = (image.stem, image.stem + ".xml")
    for place in (folder / image.parent.name, folder):
        for name in names:
            if (place / name).is_file():
                return place / name
    below = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    found = [place / name for place in below for name in names if (place / name).is_file()]
    if len(found) > 1:
        raise DataError(
            f"{image.name} has {len(found)} annotations in {folder}: {found[0]} and {found[1]}; give one folder of them"
        )
    return found[0] if found else None


def _by_name(truths: Mapping[str, Truth], image: Path, path: Path) -> Truth | None:
    parts = image.parts
    for length in range(len(parts), 0, -1):
        whole = PurePosixPath(*parts[-length:])
        if str(whole) in truths:
            return truths[str(whole)]
    found = [name for name in truths if PurePosixPath(name).name == image.name]
    if len(found) > 1:
        raise DataError(f'{image.name} fits two images of {path}: "{found[0]}" and "{found[1]}"')
    return truths[found[0]] if found else None


def _check_size(stated: tuple[int, int], found: tuple[int, int], image: Path, path: Path) -> None:
    if stated == tuple(found):
        return
    turned = stated == tuple(found)[::-1]
    hint = (
        "the photograph was turned after it was annotated"
        if turned
        else "the boxes would be misplaced"
    )
    raise DataError(
        f"{image.name} is {found[1]} x {found[0]} pixels, but its annotation in {path} was made at "
        f"{stated[1]} x {stated[0]} (width x height): {hint}; use the photograph that was annotated"
    )
