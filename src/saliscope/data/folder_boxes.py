"""Boxes for pictures of your own: a CSV file, a COCO JSON file or a folder of VOC XML files."""

from __future__ import annotations

import csv
import io
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from saliscope.boxes import Box
from saliscope.data.annotations import Corners, Truth, read_coco, read_voc
from saliscope.errors import DataError, OptionError

__all__ = ["Boxes", "open_boxes"]

_log = logging.getLogger(__name__)

_FILE = ("file", "image", "path", "filename")
_LABEL = ("label", "class", "name", "category")
_CORNERS = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))
_SIZES = (("x", "y", "w", "h"), ("x", "y", "width", "height"))

Row = tuple[int, Mapping[str, str]]


@dataclass(frozen=True, eq=False)
class Boxes:
    """What a source of boxes says about each picture; made by `open_boxes`."""

    entries: Mapping[str, Sequence[Any]]
    parse: Callable[[Any], Truth]

    def find(self, key: str) -> Truth | None:
        """What is annotated on the picture with this id; None where it is not named. Raises `DataError` naming it."""
        if key not in self.entries:
            return None
        try:
            truths = [self.parse(entry) for entry in self.entries[key]]
        except DataError as err:
            raise DataError(f"{key}: {err}") from err
        size = next((truth.size for truth in truths if truth.size is not None), None)
        return Truth(size, tuple(pair for truth in truths for pair in truth.boxes))


def open_boxes(
    source: str, root: Path, ids: Sequence[str], *, corners: Corners = "half-open"
) -> Boxes:
    """Open the boxes of the pictures `ids` below `root`. `source` is a path, or one inside `root`.

    A CSV file has a header with a column for the picture (file, image, path or filename), four for the box (x0, y0, x1, y1;
    xmin, ymin, xmax, ymax; x1, y1, x2, y2; x, y, w, h; or x, y, width, height) and perhaps one for the label (label, class,
    name or category); apart by ",", ";" or tabs. Several rows may name one picture; one without numbers says that it has no
    box. width and height beside four corners are the picture's size. `corners` says what corners mean, as for `read_voc`;
    widths and COCO files leave nothing to say.

    A picture is named by its path below `root`, any end of that (the file name alone), or a longer path that ends so. An
    XML file is named like its picture but for the ending. Raises `DataError` for files that are damaged or name no picture
    here, and for names that fit several; warns where only some fit none. A damaged row or XML file raises when its picture
    is looked up.
    """
    place = _find(source, root)
    if place.is_dir():
        stems = [(key.rpartition(".")[0], key) for key in ids]
        return Boxes(_fit(_xml_files(place), stems, place), partial(read_voc, corners=corners))
    names = [(key, key) for key in ids]
    text = _text(place)
    if text.lstrip().startswith("<"):
        raise DataError(
            f"{place} is a single XML file; give the folder that holds one for each picture"
        )
    if place.suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "["):
        _refuse(corners, place, "is a COCO file")
        return Boxes(_fit(read_coco(place).items(), names, place), _itself)
    rows, parse = _read_table(text, place, corners)
    return Boxes(_fit(rows, names, place), parse)


def _find(source: str, root: Path) -> Path:
    for place in (Path(source).expanduser(), root / source):
        if place.exists():
            return place
    raise DataError(
        f"there are no boxes {source}, neither in {Path.cwd()} nor in {root}; check the path"
    )


def _text(place: Path) -> str:
    try:
        return place.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as err:
        raise DataError(
            f"the boxes {place} cannot be read ({err}); save them as UTF-8 text"
        ) from err


def _itself(truth: Truth) -> Truth:
    return truth


def _refuse(corners: Corners, place: Path, what: str) -> None:
    if corners != "half-open":
        raise OptionError(
            f'corners="{corners}" is about columns of corners or XML, but {place} {what}, which counts from 0 by definition; '
            "leave it out"
        )


def _xml_files(folder: Path) -> list[tuple[str, Path]]:
    """Each XML file with its path below the folder, ending off; those of ImageNet and Stanford Dogs may have none."""
    found: list[tuple[str, Path]] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name.startswith(".") or path.is_dir():
            continue
        if path.suffix.lower() == ".xml":
            found.append((name[: -len(".xml")], path))
        elif not path.suffix:
            found.append((name, path))
    return found


# --- which picture is meant ------------------------------------------------------------------------------------------


def _fit(
    named: Iterable[tuple[str, Any]], ids: Iterable[tuple[str, str]], source: Path
) -> dict[str, list[Any]]:
    """What `named` holds, by the id of the picture that each name means; `ids` are pairs of a picture's path and id."""
    whole: defaultdict[str, list[str]] = defaultdict(list)
    ends: defaultdict[str, list[str]] = defaultdict(list)
    for name, key in ids:
        whole[name].append(key)
        parts = name.split("/")
        for i in range(1, len(parts)):
            ends["/".join(parts[i:])].append(key)
    found: defaultdict[str, list[Any]] = defaultdict(list)
    lost: dict[str, None] = {}
    for name, entry in named:
        meant = _meant(name, whole, ends, source)
        if meant is None:
            lost[name] = None
        else:
            found[meant].append(entry)
    _report(found, list(lost), next(iter(whole), ""), source)
    return dict(found)


def _meant(
    name: str, whole: Mapping[str, list[str]], ends: Mapping[str, list[str]], source: Path
) -> str | None:
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    tails = ["/".join(parts[i:]) for i in range(len(parts))]
    # The path itself, else an end of a picture's path, else a longer path that ends in a picture's whole path.
    fits = [whole.get(tail, []) for tail in tails[:1]]
    fits += [ends.get(tail, []) for tail in tails[:1]]
    fits += [whole.get(tail, []) for tail in tails[1:]]
    keys = next((keys for keys in fits if keys), [])
    if len(keys) > 1:
        raise DataError(
            f'"{name}" in {source} fits {len(keys)} pictures, {keys[0]} and {keys[1]}; write the folder too'
        )
    return keys[0] if keys else None


def _report(found: Mapping[str, Any], lost: Sequence[str], example: str, source: Path) -> None:
    if not found and not lost:
        raise DataError(f"{source} holds no boxes; it should name pictures like {example}")
    if not found:
        raise DataError(
            f"{source} names {len(lost)} pictures ({', '.join(lost[:3])}), but none of them is here; write them like {example}"
        )
    if lost:
        _log.warning(
            "%s names %d pictures that are not here, e.g. %s",
            source,
            len(lost),
            ", ".join(lost[:3]),
        )


# --- tables ----------------------------------------------------------------------------------------------------------


def _read_table(
    text: str, place: Path, corners: Corners
) -> tuple[list[tuple[str, Row]], Callable[[Row], Truth]]:
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    try:
        columns = [column.strip().casefold() for column in next(reader, [])]
        rows = [
            (reader.line_num, dict(zip(columns, row, strict=False)))
            for row in reader
            if any(value.strip() for value in row)
        ]
    except csv.Error as err:
        raise DataError(f"{place}, line {reader.line_num}: {err}; it should be a CSV file") from err
    file = next((column for column in _FILE if column in columns), None)
    edges = next((four for four in _CORNERS + _SIZES if {*four} <= {*columns}), None)
    if file is None or edges is None:
        raise DataError(
            f"{place} has the columns {', '.join(columns) or 'of an empty file'}; it needs one of {', '.join(_FILE)}, and "
            "x0, y0, x1, y1 (or xmin, ymin, xmax, ymax; or x, y, w, h)"
        )
    if edges in _SIZES:
        _refuse(corners, place, f"has the columns {', '.join(edges)}")
    label = next((column for column in _LABEL if column in columns), None)
    parse = partial(
        _parse_row, place=place, edges=edges, label=label, corners=corners, comma=separator == ";"
    )
    return [(row.get(file, "").strip(), (line, row)) for line, row in rows], parse


def _parse_row(
    entry: Row,
    *,
    place: Path,
    edges: tuple[str, ...],
    label: str | None,
    corners: Corners,
    comma: bool,
) -> Truth:
    line, row = entry
    words = [(row.get(edge) or "").strip() for edge in edges]
    size = None if edges in _SIZES else _stated_size(row)
    if not any(words):
        return Truth(size, ())
    try:
        numbers = [float(word.replace(",", ".") if comma else word) for word in words]
        box = _box(numbers, edges, corners)
    except (ValueError, OptionError) as err:
        raise DataError(
            f"{place}, line {line}: {', '.join(edges)} are {', '.join(words)}, which is no box ({err}); mend the line"
        ) from err
    name = (row.get(label) or "").strip() if label is not None else ""
    return Truth(size, ((box, name),))


def _box(numbers: Sequence[float], edges: tuple[str, ...], corners: Corners) -> Box:
    a, b, c, d = numbers
    if edges in _SIZES:
        return Box.from_xywh(a, b, c, d)
    if corners == "half-open":
        return Box(a, b, c, d)
    return Box.from_inclusive(a, b, c, d, first=1 if corners == "voc" else 0)


def _stated_size(row: Mapping[str, str]) -> tuple[int, int] | None:
    try:
        return int(row["height"]), int(row["width"])
    except (KeyError, ValueError):
        return None
