"""The names of a network's classes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliscope.errors import DataError, TargetError, nearest

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

__all__ = ["find_label", "imagenet_labels", "read_labels", "timm_labels"]

_SUBSETS = {
    11221: "imagenet-21k-miil",
    11821: "imagenet-12k",
    21841: "imagenet-22k",
    21842: "imagenet-22k-ms",
    21843: "imagenet-21k-goog",
}


def imagenet_labels() -> tuple[str, ...]:
    """List the 1,000 class names of ImageNet-1k in class order, as torchvision writes them; no network needed."""
    from torchvision.models import ResNet50_Weights

    return tuple(ResNet50_Weights.IMAGENET1K_V2.meta["categories"])


def timm_labels(model: Any, num_classes: int | None = None) -> tuple[str, ...] | None:
    """List the class names of a timm network, or None where nothing says what its classes are.

    Names stored in its `pretrained_cfg` win; else ImageNet-1k, -12k, -21k and -22k are told apart by `num_classes`
    (default: the network's own).
    """
    count = int(num_classes if num_classes is not None else getattr(model, "num_classes", 0))
    config = getattr(model, "pretrained_cfg", None) or {}
    for key in ("label_descriptions", "label_names"):
        names = config.get(key)
        if isinstance(names, dict):
            names = list(names.values())
        if names and len(names) == count:
            return tuple(str(name) for name in names)
    if count == 1000:
        return imagenet_labels()
    if count not in _SUBSETS:
        return None
    from timm.data.imagenet_info import ImageNetInfo

    return tuple(ImageNetInfo(_SUBSETS[count]).label_descriptions())


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read class names in class order: a text file with one name a line, or JSON (a list, or {"0": name, ...}).

    Blank lines at the end of a text file are dropped. Raises DataError for a file that cannot be read, is empty or
    leaves a class without a name.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(
            f"label file {file} cannot be read ({err}): give UTF-8 text, one name a line, or JSON"
        ) from err
    if file.suffix.lower() == ".json":
        return _json_labels(text, file)
    labels = tuple(line.strip() for line in text.rstrip().splitlines())
    if not labels or not all(labels):
        raise DataError(f"label file {file} has {_empty_line(labels)}: write one name a line")
    return labels


def _empty_line(labels: tuple[str, ...]) -> str:
    return f"an empty line {labels.index('') + 1}" if labels else "no names in it"


def _json_labels(text: str, file: Path) -> tuple[str, ...]:
    allowed = 'write ["name", ...] or {"0": "name", ...}'
    try:
        found = json.loads(text)
    except json.JSONDecodeError as err:
        raise DataError(f"label file {file} is no JSON ({err}): {allowed}") from err
    if isinstance(found, dict):
        expected = [str(index) for index in range(len(found))]
        if set(found) != set(expected):
            raise DataError(
                f"label file {file} has {len(found)} entries, but not the keys 0 to {len(found) - 1}: {allowed}"
            )
        found = [found[key] for key in expected]
    if (
        not isinstance(found, list)
        or not found
        or not all(isinstance(n, str) and n.strip() for n in found)
    ):
        raise DataError(f"label file {file} holds no list of names: {allowed}")
    return tuple(found)


def find_label(given: str, labels: Sequence[str]) -> int:
    """Find the class that `given` names; case, spaces, hyphens and underscores do not count.

    The whole name wins; else a part that occurs in one name only. Raises TargetError when nothing fits, with the
    nearest names, or when several do, with their indices.
    """
    folded = [_fold(label) for label in labels]
    wanted = _fold(given)
    exact = [index for index, label in enumerate(folded) if label == wanted]
    found = exact or [index for index, label in enumerate(folded) if wanted and wanted in label]
    if len(found) == 1:
        return found[0]
    if not found:
        raise TargetError(f"no class is called {given!r}; {nearest(given, labels)}")
    shown = ", ".join(f'{index} "{labels[index]}"' for index in found[:8])
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    raise TargetError(
        f"{given!r} fits {len(found)} classes: {shown}{more}; give the index or the whole name"
    )


def _fold(label: str) -> str:
    return re.sub(r"[\s_\-]+", "", label).casefold()
