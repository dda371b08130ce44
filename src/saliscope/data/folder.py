"""Class folders of your own, with or without boxes."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from saliscope.data.annotations import Corners
from saliscope.data.catalog import DataKind
from saliscope.data.folder_boxes import Boxes, open_boxes
from saliscope.data.layouts import check_options
from saliscope.data.sample import Listing, Region, Sample
from saliscope.data.splits import choose_split, held_out
from saliscope.errors import DataError, OptionError
from saliscope.finding import IMAGE_SUFFIXES

__all__ = ["KIND", "open_folder"]

_log = logging.getLogger(__name__)

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_SHAPE = """\
PATH/CLASS/*.jpg            divided by seed, or
PATH/train/CLASS/*.jpg      with val (valid, validation) and test beside it
"""


def open_folder(
    *,
    name: str,
    split: str,
    place: str,
    boxes: str | None = None,
    corners: Corners = "half-open",
    test: float = 0.2,
    validation: float = 0.1,
    seed: int = 0,
) -> Listing:
    """Open class folders: PATH/CLASS/*.jpg, or PATH/train/CLASS/*.jpg with val (valid, validation) and test beside it.

    A class folder may hold further folders, and links to folders are followed, but never in a circle. Hidden files and
    files that are no pictures are left out. Classes are sorted by name, as numbers where all of them are whole numbers
    ("2" before "10"). Where folders name the splits these count; a missing val is divided from train. Else `test` is the
    share of each class that the split "test" takes, and `validation` that of the rest that "val" takes, both chosen by
    `seed` (see `held_out`). "all" is everything; pictures without class folders can be opened as "all" only, without labels.

    `boxes` is a CSV file, a COCO JSON file or a folder of VOC XML files, by its path or by that inside PATH; see
    `open_boxes`, also for `corners`. A picture that it does not name has no regions. Ids are paths below PATH. Raises
    `DataError` for folders without pictures or of another layout, for splits that are empty, and for boxes that fit no
    picture.
    """
    check_options("folder", corners=(corners, Corners))
    if isinstance(test, str) or not 0 <= test < 1:
        raise OptionError(f"the test share must be at least 0 and below 1, got {test}")
    root = Path(place).expanduser()
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; check the path (relative to {Path.cwd()})")
    found = _Pictures.find(root)
    chosen = (
        range(len(found.ids)) if split == "all" else found.chosen(split, test, validation, seed)
    )
    if not chosen:
        raise DataError(
            f'the split "{split}" of {root} is empty: its share of {len(found.ids)} pictures in {len(found.classes)} classes '
            "comes to none; raise the share, or open another split"
        )
    ids, labels = [found.ids[i] for i in chosen], [found.labels[i] for i in chosen]
    known = open_boxes(str(boxes), root, found.ids, corners=corners) if boxes is not None else None
    reader = _Reader(root, split, found.classes, ids, labels, known)
    return Listing(name, split, found.classes, ids, labels, reader.read)


@dataclass(frozen=True, eq=False)
class _Reader:
    root: Path
    split: str
    classes: tuple[str, ...]
    ids: Sequence[str]
    labels: Sequence[int | None]
    boxes: Boxes | None

    def read(self, position: int) -> Sample:
        key, label = self.ids[position], self.labels[position]
        truth = self.boxes.find(key) if self.boxes is not None else None
        own = "" if label is None else self.classes[label]
        return Sample(
            id=key,
            image=self.root / key,
            label=label,
            split=self.split,
            regions=tuple(Region(box, name or own) for box, name in truth.boxes) if truth else (),
            size=truth.size if truth else None,
        )


@dataclass(frozen=True, eq=False)
class _Pictures:
    """Every picture of a folder, sorted by id, with its label and the split that its folder names ("" where none does)."""

    root: Path
    ids: Sequence[str]
    classes: tuple[str, ...]
    labels: Sequence[int | None]
    parts: Sequence[str]

    @classmethod
    def find(cls, root: Path) -> _Pictures:
        every = _list_pictures(root)
        depth = _class_depth(root, every)
        ids = every if depth is None else [key for key in every if key.count("/") > depth]
        if len(ids) < len(every):
            stray = next(key for key in every if key.count("/") <= (depth or 0))
            _log.warning(
                "%s: %d pictures lie in no class folder and are left out, e.g. %s",
                root,
                len(every) - len(ids),
                stray,
            )
        names = [] if depth is None else [key.split("/")[depth] for key in ids]
        classes = _class_order(names)
        rank = {name: i for i, name in enumerate(classes)}
        parts = [_split_of(key) if depth == 1 else "" for key in ids]
        return cls(root, ids, classes, [rank[n] for n in names] or [None] * len(ids), parts)

    def chosen(self, split: str, test: float, validation: float, seed: int) -> list[int]:
        """Positions of the pictures in one split."""
        if not self.classes:
            raise DataError(
                f'{self.root} holds pictures but no class folders, so it can only be opened as split="all"; for a split it '
                f"should be\n{_SHAPE}"
            )
        if any(self.parts):
            return self._official(split, validation, seed)
        taken = held_out(self.ids, self.labels, share=test, seed=seed)
        if split == "test":
            return [i for i, key in enumerate(self.ids) if key in taken]
        rest = [i for i, key in enumerate(self.ids) if key not in taken]
        return self._divided(rest, split, validation, seed)

    def _official(self, split: str, validation: float, seed: int) -> list[int]:
        where: dict[str, list[int]] = {"train": [], "val": [], "test": []}
        for i, part in enumerate(self.parts):
            where[part].append(i)
        if split in ("train", "val") and where["train"] and not where["val"]:
            return self._divided(where["train"], split, validation, seed)
        found = where["train"] + where["val"] if split == "trainval" else where[split]
        if not found:
            there = ", ".join(f'"{part}"' for part, own in where.items() if own)
            raise DataError(
                f'{self.root} has no folder for the split "{split}", only for {there}; open one of those, or "all"'
            )
        return sorted(found)

    def _divided(self, positions: Sequence[int], split: str, share: float, seed: int) -> list[int]:
        ids, labels = [self.ids[i] for i in positions], [self.labels[i] for i in positions]
        kept = choose_split(ids, labels, split=split, share=share, seed=seed)
        return [positions[i] for i in kept]


def _split_of(key: str) -> str:
    """The split that the first folder of a path names; "" where it names none."""
    first, slash, _ = key.partition("/")
    return _SPLITS.get(first.casefold(), "") if slash else ""


def _class_depth(root: Path, ids: Sequence[str]) -> int | None:
    """Which folder of an id is its class: the first, the second (below folders of splits), or None (there are none).

    A class may be called "train", as one of VOC is: folders are splits only where they hold folders themselves.
    """
    inside = [key for key in ids if "/" in key]
    divided = sorted({key.split("/")[0] for key in inside if _split_of(key) and key.count("/") > 1})
    others = sorted({key.split("/")[0] for key in inside if not _split_of(key)})
    if divided and others:
        raise DataError(
            f'{root} mixes folders of splits ("{divided[0]}") with others ("{others[0]}"), so its classes are unclear; move '
            f"the others away, or rename the class. It should be\n{_SHAPE}"
        )
    if divided:
        return 1
    return 0 if others else None


def _class_order(names: Iterable[str]) -> tuple[str, ...]:
    found = sorted(set(names))
    if all(name.isascii() and name.isdigit() for name in found):
        # ImageNetV2 calls its folders 0 to 999: sorted as text, 10 comes before 2, and every label is wrong.
        found.sort(key=int)
    return tuple(found)


def _list_pictures(root: Path) -> list[str]:
    """Sorted paths below `root`, with "/" on every system."""
    left_out: Counter[str] = Counter()
    found = sorted(_walk(root, "", frozenset(), left_out))
    if left_out:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
        _log.info("%s: left out %s", root, counts)
    if not found:
        raise DataError(f"{root} holds no pictures; it should be\n{_SHAPE}")
    return found


def _walk(
    folder: Path, prefix: str, above: frozenset[str], left_out: Counter[str]
) -> Iterator[str]:
    place = os.path.realpath(folder)
    if place in above:
        left_out["links in a circle"] += 1
        return
    try:
        with os.scandir(folder) as scan:
            entries = list(scan)
    except OSError as err:
        raise DataError(
            f"the folder {folder} cannot be read: {err.strerror}; check its permissions"
        ) from err
    for entry in entries:
        if entry.name.startswith("."):
            left_out["hidden"] += 1
        elif entry.is_dir():
            yield from _walk(
                folder / entry.name, f"{prefix}{entry.name}/", above | {place}, left_out
            )
        elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES and (
            entry.is_file() or entry.is_symlink()
        ):
            yield f"{prefix}{entry.name}"  # also a dead link: it is reported when it is read
        else:
            left_out["files that are no pictures"] += 1


KIND = DataKind(
    name="folder",
    title="Class folders of your own: folder:PATH",
    opener=open_folder,
    splits=("train", "val", "trainval", "test", "all"),
    regions="boxes, where a file of them is given",
    shape=_SHAPE
    + """\
boxes=FILE                  CSV (file, x0, y0, x1, y1), COCO JSON, or a folder of VOC XML
""",
    needs="path",
)
