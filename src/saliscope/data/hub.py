"""Data sets of Hugging Face by name, or saved in a folder: the extra [hf]."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

from PIL import Image

from saliscope.boxes import Box
from saliscope.data.catalog import DataKind
from saliscope.data.hub_columns import Columns, along, find_columns, listed, read_labels
from saliscope.data.layouts import check_options
from saliscope.data.sample import Listing, Region, Sample
from saliscope.data.splits import choose_split
from saliscope.errors import DataError, DependencyError, ImageError, OptionError
from saliscope.images import image_size

__all__ = ["KIND", "BoxFormat", "open_hub"]

BoxFormat = Literal[
    "xyxy",
    "yxyx",
    "xywh",
    "cxcywh",
    "xyxy-normalised",
    "yxyx-normalised",
    "xywh-normalised",
    "cxcywh-normalised",
]
"""What the four numbers of a box are: edges, corner and size, or centre and size; normalised: as shares of the image."""

_THEIRS = {
    "train": ("train",),
    "val": ("validation", "val", "valid", "dev"),
    "test": ("test",),
    "all": ("all",),
}


def open_hub(
    *,
    name: str,
    split: str,
    place: str,
    validation: float = 0.1,
    seed: int = 0,
    image: str = "auto",
    label: str | None = "auto",
    boxes: str | None = "auto",
    box_format: BoxFormat | None = None,
    box_label: str | None = "auto",
    config: str | None = None,
    revision: str | None = None,
) -> Listing:
    """Open a data set of Hugging Face: a name of the hub, a folder it can load, or one that `save_to_disk` wrote.

    `image`, `label`, `boxes` and `box_label` name columns, pieces of nested ones after a dot ("objects.bbox"). "auto" finds
    them by the kind of the column: a picture; a class label, or a column of words or numbers called "label"; lists of four
    numbers; the class label beside them. None (in a name: `boxes=none`) goes without. How boxes are meant cannot be seen from
    them, so `box_format` must be said where there are any; TensorFlow Datasets writes "yxyx-normalised". Normalised boxes are
    brought to pixels (what rounding to 32 bits took from whole numbers is given back) and clipped to the image; others are
    taken as they are.

    Splits: "validation", "valid" and "dev" are "val". Where there is none, "train", "val" and "trainval" divide the train
    split by `validation` and `seed` (see `held_out`). A data set that is not divided is "all". Ids are like
    "validation/000012": the split as it is called there, and the row. Pictures stay undecoded bytes until `photo()`.
    Raises `DependencyError` without the package datasets, `DataError` where the data set cannot be had or lacks the split,
    `OptionError` for columns that are not there or not clear.
    """
    if box_format is not None:
        check_options("hf", box_format=(box_format, BoxFormat))
    parts = _load(place, config, revision)
    theirs, divided = _their_split(place, split, parts)
    rows = parts[theirs]
    columns = find_columns(rows.features, image, label, boxes, box_label)
    if columns.boxes and box_format is None:
        formats = ", ".join(f'"{known}"' for known in get_args(BoxFormat))
        raise OptionError(
            f'hf:{place} has boxes in "{".".join(columns.boxes)}", but does not say how they are meant: give box_format, one '
            f"of {formats}, or boxes=none to go without"
        )
    classes, labels = read_labels(parts, theirs, columns.label)
    ids = [f"{theirs}/{row:06d}" for row in range(len(rows))]
    kept = (
        choose_split(ids, labels, split=split, share=validation, seed=seed)
        if divided
        else list(range(len(ids)))
    )
    if not kept:
        raise DataError(f'hf:{place} has no samples in the split "{split}"; open another split')
    chosen, chosen_labels = [ids[i] for i in kept], [labels[i] for i in kept]
    plain = _undecoded(rows, columns)
    copy = _Rows(split, plain, kept, chosen, chosen_labels, classes, columns, box_format or "xyxy")
    return Listing(name, split, classes, chosen, chosen_labels, copy.read)


@dataclass(frozen=True, eq=False)
class _Rows:
    split: str
    rows: Any
    positions: Sequence[int]
    ids: Sequence[str]
    labels: Sequence[int | None]
    classes: tuple[str, ...]
    columns: Columns
    box_format: BoxFormat

    def read(self, position: int) -> Sample:
        key, label = self.ids[position], self.labels[position]
        row = self.rows[self.positions[position]]
        image = _picture(row[self.columns.image], key)
        try:
            size = _size(image) if self.box_format.endswith("normalised") else None
            numbers = listed(along(row, self.columns.boxes))
            boxes = [_box(four, self.box_format, size) for four in numbers]
        except (ImageError, OptionError, ValueError, TypeError, KeyError) as err:
            raise DataError(f"{key} has no proper boxes ({type(err).__name__}: {err})") from err
        names = self._names(row, label, len(boxes))
        if len(names) != len(boxes):
            raise DataError(f"{key} has {len(boxes)} boxes, but {len(names)} labels of them")
        regions = tuple(Region(box, named) for box, named in zip(boxes, names, strict=True))
        return Sample(key, image, label, self.split, regions, size)

    def _names(self, row: Mapping[str, Any], label: int | None, count: int) -> list[str]:
        values = along(row, self.columns.box_label)
        if values is None:
            return [self.classes[label] if label is not None else ""] * count
        values = values if isinstance(values, list) else [values]
        known = self.columns.box_names
        in_range = (isinstance(value, int) and 0 <= value < len(known) for value in values)
        return [
            known[value] if named else str(value)
            for value, named in zip(values, in_range, strict=True)
        ]


def _datasets(place: str) -> Any:
    try:
        return import_module("datasets")
    except ImportError as err:
        raise DependencyError(
            f'hf:{place} needs the package datasets: pip install "saliscope[hf]"'
        ) from err


def _load(place: str, config: str | None, revision: str | None) -> dict[str, Any]:
    """The splits by their own names."""
    datasets = _datasets(place)
    path = Path(place).expanduser()
    saved = any((path / file).is_file() for file in ("dataset_dict.json", "state.json"))
    try:
        with _quiet(datasets):
            if saved:
                found = datasets.load_from_disk(str(path))
            else:
                words = (None if word is None else str(word) for word in (config, revision))
                settings = dict(zip(("name", "revision"), words, strict=True))
                found = datasets.load_dataset(str(path) if path.is_dir() else place, **settings)
    except Exception as err:  # the library, its builders and its network clients share no root
        reason = " ".join(str(err).split())[:200]
        if path.is_dir():
            hint = "write the folder again with save_to_disk, or give class folders of pictures"
        else:
            hint = (
                "check the name, config and revision, and that there is a network; without one, give a folder written by "
                "save_to_disk as hf:FOLDER"
            )
        raise DataError(
            f"hf:{place} cannot be loaded ({type(err).__name__}: {reason}): {hint}"
        ) from err
    if isinstance(found, dict):
        return dict(found)
    return {str(found.split or "all"): found}


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _their_split(place: str, split: str, parts: Mapping[str, Any]) -> tuple[str, bool]:
    """What the split is called there, and whether it has to be taken out of train."""
    ours = {our: their for our, known in _THEIRS.items() for their in known if their in parts}
    if "train" in ours and "val" not in ours and split in ("train", "val", "trainval"):
        return ours["train"], True
    if split in ours:
        return ours[split], False
    there = ", ".join(f'"{their}"' for their in parts)
    opened = ", ".join(f'"{our}"' for our in ours) or "none that has a name here"
    raise DataError(
        f'hf:{place} has no split "{split}": it has {there}; what can be opened is {opened}'
    )


def _undecoded(rows: Any, columns: Columns) -> Any:
    datasets = _datasets("")
    wanted = {columns.image, *columns.boxes[:1], *columns.box_label[:1]}
    plain = rows.with_format(None).select_columns([c for c in rows.features if c in wanted])
    return plain.cast_column(columns.image, datasets.Image(decode=False))


def _picture(stored: Mapping[str, Any] | None, key: str) -> bytes | Path:
    if stored and stored.get("bytes"):
        return bytes(stored["bytes"])
    if stored and stored.get("path"):
        return Path(stored["path"])
    raise DataError(f"{key} has no picture: its row is empty; leave it out, or repair the data set")


def _size(image: bytes | Path) -> tuple[int, int]:
    if isinstance(image, Path):
        return image_size(image)
    try:
        with Image.open(io.BytesIO(image)) as header:
            turned = header.getexif().get(0x0112, 1) >= 5
            width, height = header.size
    except (OSError, SyntaxError) as err:
        raise ImageError(f"its picture is damaged ({err})") from err
    return (width, height) if turned else (height, width)


def _box(four: Sequence[float], box_format: BoxFormat, size: tuple[int, int] | None) -> Box:
    order = box_format.partition("-")[0]
    a, b, c, d = map(float, four)
    if order == "yxyx":
        a, b, c, d = b, a, d, c
    elif order == "cxcywh":
        a, b = a - c / 2, b - d / 2
    if order in ("xywh", "cxcywh"):
        c, d = a + c, b + d
    if size is None:
        return Box(a, b, c, d)
    height, width = size
    return Box(*map(_whole, (a * width, b * height, c * width, d * height))).clip(size)


def _whole(value: float) -> float:
    """Undo what 32 bits make of a whole number of pixels divided by the size: 2e-4 at most for 4,000 pixels."""
    near = round(value) if math.isfinite(value) else value
    return float(near) if abs(value - near) < 1e-3 else value


KIND = DataKind(
    name="hf",
    title="Any data set of Hugging Face with pictures, by its name or folder (extra [hf])",
    opener=open_hub,
    splits=("train", "val", "trainval", "test", "all"),
    licence="That of the data set: see its card on the hub.",
    home="https://huggingface.co/docs/datasets",
    regions="boxes, where a column has them",
    needs="name",
    shape="""\
hf:cifar10, hf:USER/NAME:config=NAME:revision=HASH
hf:FOLDER       written by save_to_disk, or class folders of pictures
""",
)
