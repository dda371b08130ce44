"""Which columns of a Hugging Face data set hold the picture, the label and the boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saliscope.errors import OptionError, nearest

__all__ = ["Columns", "along", "find_columns", "listed", "read_labels"]

_BOX_NAMES = ("bbox", "bboxes", "box", "boxes")
_LABEL_NAMES = ("label", "labels", "category", "class")


@dataclass(frozen=True)
class Columns:
    """Where in a row things are: the parts of their dotted names, empty for what there is not."""

    image: str
    label: str
    boxes: tuple[str, ...]
    box_label: tuple[str, ...]
    box_names: tuple[str, ...]


def find_columns(
    features: Mapping[str, Any],
    image: str,
    label: str | None,
    boxes: str | None,
    box_label: str | None,
) -> Columns:
    """Find the columns by their kinds where they are called "auto", check them where they are named.

    Raises `OptionError` where one is not there, or several may be meant.
    """
    kinds = {column: type(feature).__name__ for column, feature in features.items()}
    pictures = [column for column, kind in kinds.items() if kind == "Image"]
    found_image = _chosen(image, pictures, features, "image", ("image", "img", "pixels"))
    if not found_image:
        raise OptionError(f"no column holds pictures, only {_named(kinds)}; name one with image=")
    labelled = [column for column, kind in kinds.items() if kind == "ClassLabel"] or [
        column for column in _LABEL_NAMES if kinds.get(column) == "Value"
    ]
    found_label = _chosen(label, labelled, features, "label", _LABEL_NAMES)
    paths = list(_box_paths(features, ()))
    dotted = _chosen(
        boxes, [".".join(path) for path in paths], features, "boxes", ("objects.bbox",)
    )
    where = tuple(dotted.split(".")) if dotted else ()
    beside, names = _beside(features, where, box_label)
    return Columns(found_image, found_label, where, beside, names)


def _chosen(
    given: str | None,
    found: Sequence[str],
    features: Mapping[str, Any],
    option: str,
    preferred: Sequence[str],
) -> str:
    if given is None:
        return ""
    if given != "auto":
        _at(features, given, option)
        return given
    likely = [column for column in preferred if column in found] or list(found)
    if len(found) > 1 and len(likely) != 1:
        raise OptionError(
            f"several columns may be the {option}: {_named(found)}; name one with {option}="
        )
    return likely[0] if likely else ""


def _at(features: Any, dotted: str, option: str) -> Any:
    for word in dotted.split("."):
        inner = features if isinstance(features, dict) else getattr(features, "feature", None)
        if not isinstance(inner, dict) or word not in inner:
            words = nearest(word, inner) if isinstance(inner, dict) else "it has no parts"
            raise OptionError(f'there is no column "{dotted}" for {option}=; {words}')
        features = inner[word]
    return features


def _named(columns: Sequence[str] | Mapping[str, str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _box_paths(feature: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(feature, dict):
        for word, inner in feature.items():
            yield from _box_paths(inner, (*path, word))
    elif hasattr(feature, "feature"):  # a list
        inner = feature.feature
        number = "float" in str(getattr(inner, "dtype", "")) or "int" in str(
            getattr(inner, "dtype", "")
        )
        four = getattr(feature, "length", -1) == 4 or path[-1] in _BOX_NAMES
        if number and four and type(inner).__name__ == "Value":
            yield path
        else:
            yield from _box_paths(inner, path)


def _beside(
    features: Mapping[str, Any], boxes: tuple[str, ...], given: str | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The column that names what is in each box, and the names its numbers stand for."""
    if not boxes or given is None:
        return (), ()
    if given != "auto":
        return tuple(given.split(".")), _class_names(_at(features, given, "box_label"))
    if len(boxes) == 1:
        return (), ()  # beside a box of its own, a label is the image's
    parent = _at(features, ".".join(boxes[:-1]), "boxes")
    inner = parent if isinstance(parent, dict) else parent.feature
    words = [word for word, feature in inner.items() if _class_names(feature)]
    words = words or [word for word in _LABEL_NAMES if word in inner]
    return ((*boxes[:-1], words[0]), _class_names(inner[words[0]])) if words else ((), ())


def _class_names(feature: Any) -> tuple[str, ...]:
    feature = getattr(feature, "feature", feature)
    return tuple(feature.names) if type(feature).__name__ == "ClassLabel" else ()


def _values(rows: Any, column: str) -> list[Any]:
    values: list[Any] = rows.with_format(None).select_columns([column])[:][column]
    return values


def read_labels(
    parts: Mapping[str, Any], theirs: str, column: str
) -> tuple[tuple[str, ...], list[int | None]]:
    """The class names of a label column, and the index of each row of the split called `theirs`; None for unlabelled."""
    rows = parts[theirs]
    if not column:
        return (), [None] * len(rows)
    values = _values(rows, column)
    names = _class_names(rows.features[column]) if column in rows.features else ()
    if names:  # -1 is how unlabelled samples are marked
        return names, [v if v is not None and 0 <= v < len(names) else None for v in values]
    # All splits count, so that their labels agree.
    every = [_values(part, column) for part in parts.values() if column in part.features]
    known = sorted({value for some in every for value in some if value is not None})
    order = {value: i for i, value in enumerate(known)}
    return tuple(map(str, known)), [order.get(value) for value in values]


def along(value: Any, path: Sequence[str]) -> Any:
    """Follow the parts of a dotted name into a row, through lists too; None where there is no name."""
    if not path:
        return None
    for word in path:
        value = [item[word] for item in value] if isinstance(value, list) else value[word]
    return value


def listed(value: Any) -> list[list[float]]:
    """One box, many or none, as a list of boxes."""
    if not value:
        return []
    return value if isinstance(value[0], list) else [value]
