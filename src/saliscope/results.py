"""The folder that `saliscope explain` writes: pictures, raw maps, and one table of results."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from saliscope.boxes import Box, best_iou
from saliscope.data import Truth, TruthSource
from saliscope.errors import DataError, ImageError, SaliscopeError
from saliscope.explanation import Explanation
from saliscope.files import write_whole
from saliscope.keeping import file_base, maps_npz
from saliscope.localization import NormaliseRule, Protocol
from saliscope.pictures import COLORMAP, encode
from saliscope.views import View, overlay_of, panel_of

__all__ = ["COLUMNS", "Look", "ResultFolder", "defined", "unique_stems"]

COLUMNS = (
    "image",
    "path",
    "method",
    "layer",
    "target",
    "label",
    "target_space",
    "logit",
    "probability",
    "predicted",
    "status",
    "protocol",
    "x0",
    "y0",
    "x1",
    "y1",
    "iou",
    "seconds",
    "message",
)


@dataclass(frozen=True)
class Look:
    """How pictures are drawn and boxes found."""

    protocol: Protocol
    normalise: NormaliseRule = "min-max"
    colormap: str = COLORMAP
    alpha: float = 0.5
    width: int = 320


@dataclass(eq=False)
class ResultFolder:
    """Writes what was found in each image into `folder`, and the table of all of it.

    For each image: one overlay (`.overlay.jpg`) for each explanation, one `.panel.jpg` and one `.npz` with the raw maps.
    `results.json` and `results.csv` have a row for each explanation, and one for each image that failed, in the order of
    `stems`. Several threads may write different images.
    """

    folder: Path
    look: Look
    stems: dict[Path, str]
    truth: TruthSource | Box | None = None
    model: str = ""
    _unannotated: set[Path] = field(default_factory=set)
    _rows: dict[Path, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def unannotated(self) -> int:
        """How many of the images so far have no box in the annotations."""
        return len(self._unannotated)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows so far, in the order of the images: whose pictures are written has them here."""
        return [row for path in self.stems for row in self._rows.get(path, ())]

    def problem(self, path: Path) -> str:
        """What went wrong with an image, empty where nothing did."""
        return next((row["message"] for row in self._rows.get(path, ()) if row["message"]), "")

    def prepare(self) -> None:
        """Make the folder; `DataError` where it cannot be written to, before any work is done."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / ".saliscope-probe"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as err:
            raise DataError(
                f"cannot write into {self.folder}: {err.strerror or err}; choose another folder with -o"
            ) from None

    def write(self, path: Path, explanations: list[Explanation]) -> list[dict[str, Any]]:
        """Draw and write one image's files; keep and return its rows.

        An annotation that cannot be read stops nothing: the IoU is undefined and the message says why. Raises
        `DataError` where the files cannot be written, which the next image would meet too.
        """
        judged = self._truth(path, explanations)
        # One photograph is drawn for all targets: its annotated boxes are shown where they hold for each of them.
        same = len({boxes for boxes, _ in judged.values()}) == 1
        truth = judged[explanations[0].target.index][0] if same else ()
        stem, look = self.stems[path], self.look
        views = [View(e, look.protocol, look.normalise) for e in explanations]
        several = len({e.target.index for e in explanations}) > 1
        try:
            for view in views:
                e = view.explanation
                overlay = overlay_of(view, alpha=look.alpha, colormap=look.colormap)
                spec = f"{e.spec}.class{e.target.index}" if several else e.spec
                encode(np.asarray(overlay), self.folder / f"{file_base(stem, spec)}.overlay.jpg")
            panel = panel_of(
                views, truth, alpha=look.alpha, colormap=look.colormap, width=look.width
            )
            encode(np.asarray(panel), self.folder / f"{file_base(stem, 'panel')}.jpg")
            write_whole(self.folder / f"{file_base(stem, 'maps')}.npz", maps_npz(explanations))
        except ImageError as err:  # one too long for its file format
            raise ImageError(f"the pictures of {path.name} are not drawn: {err}") from None
        except OSError as err:
            raise DataError(
                f"the pictures of {path.name} are not written: {err.strerror or err} ({err.filename or self.folder})"
            ) from None
        self._rows[path] = [
            self._row(path, view, *judged[view.explanation.target.index]) for view in views
        ]
        return self._rows[path]

    def failed(self, path: Path, error: Exception) -> dict[str, Any]:
        """Keep and return the row of an image that could not be explained."""
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row |= {
            "image": path.name,
            "path": str(path),
            "status": "failed",
            "message": _reason(path, error),
        }
        self._rows[path] = [row]
        return row

    def save(self) -> None:
        """Write `results.json` and `results.csv`, each whole or not at all."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: defined(v) for k, v in row.items()} for row in self.rows)
        rows = [{k: defined(v) for k, v in row.items()} for row in self.rows]
        record = {"model": self.model, "protocol": str(self.look.protocol), "rows": rows}
        try:
            write_whole(self.folder / "results.csv", _utf8(text.getvalue()))
            data = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
            write_whole(self.folder / "results.json", _utf8(data))
        except OSError as err:
            raise DataError(
                f"the table of results is not written: {err.strerror or err} ({err.filename or self.folder})"
            ) from None

    def _truth(
        self, path: Path, explanations: Sequence[Explanation]
    ) -> dict[int | None, tuple[tuple[Box, ...], str | None]]:
        """For each target the annotated boxes it is judged by, or why there are none."""
        labels = {e.target.index: e.target.label for e in explanations}
        if self.truth is None or isinstance(self.truth, Box):
            boxes = () if self.truth is None else (self.truth,)
            return dict.fromkeys(labels, (boxes, None))
        try:
            found = self.truth.find(path, size=explanations[0].photo.size)
        except DataError as err:
            return dict.fromkeys(labels, ((), f"explained, but without IoU: {err}"))
        if found is None or not found.boxes:
            self._unannotated.add(path)
        return {index: _boxes_for(found, label) for index, label in labels.items()}

    def _row(
        self, path: Path, view: View, truth: Sequence[Box], problem: str | None
    ) -> dict[str, Any]:
        e, box = view.explanation, view.box
        corners = dict(zip(("x0", "y0", "x1", "y1"), box or (None,) * 4, strict=True))
        return {
            "image": path.name,
            "path": str(path),
            "method": e.method,
            "layer": e.layer,
            "target": e.target.index,
            "label": e.target.label,
            "target_space": e.target.space,
            "logit": e.target.logit,
            "probability": e.target.probability,
            "predicted": e.predicted.index,
            "status": e.status,
            "protocol": str(self.look.protocol),
            **corners,
            "iou": best_iou(box, truth),
            "seconds": round(e.seconds, 6),
            "message": problem,
        }


def _boxes_for(found: Truth | None, label: str | None) -> tuple[tuple[Box, ...], str | None]:
    try:
        return (() if found is None else found.boxes_for(label)), None
    except DataError as err:
        return (), f"explained, but without IoU: {err}"


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, SaliscopeError):
        return str(error)
    if isinstance(error, OSError):
        return f"{path} cannot be read: {error.strerror or error}"
    return f"{path} does not fit into memory; make it smaller, or choose a smaller --size"


def _utf8(text: str) -> bytes:
    """Encode text that may hold bytes of a file name that is no UTF-8: those are written as escapes."""
    return text.encode("utf-8", "backslashreplace")


def unique_stems(paths: Sequence[Path]) -> dict[Path, str]:
    """A file-name stem for each image, longer than its own only where two files would get the same name.

    Names are told apart as every file system does: letter case, forbidden characters and the ways to write an accent
    do not count.

    >>> list(unique_stems([Path("a/dog.jpg"), Path("b/dog.jpg"), Path("cat.png"), Path("cat.jpg")]).values())
    ['a_dog', 'b_dog', 'cat_png', 'cat_jpg']
    """
    stems: dict[Path, str] = {}
    taken: set[str] = set()
    for name in _NAMINGS:
        left = {p: name(p) for p in paths if p not in stems}
        counts = Counter(_folded(stem) for stem in left.values())
        for path, stem in left.items():
            if counts[_folded(stem)] == 1 and _folded(stem) not in taken:
                stems[path] = stem
                taken.add(_folded(stem))
    for path in paths:
        numbered = (f"{path.stem}-{number}" for number in itertools.count(2))
        if path not in stems:
            stems[path] = next(stem for stem in numbered if _folded(stem) not in taken)
            taken.add(_folded(stems[path]))
    return {path: stems[path] for path in paths}


_NAMINGS: tuple[Callable[[Path], str], ...] = (
    lambda p: p.stem,
    lambda p: f"{p.stem}_{p.suffix.removeprefix('.')}",
    lambda p: f"{p.parent.name}_{p.stem}",
    lambda p: "_".join(part.strip("/\\:") for part in p.with_name(p.stem).parts),
)


def _folded(stem: str) -> str:
    """What two stems must differ in, so that the files named after them do."""
    return unicodedata.normalize("NFC", file_base(stem, "").casefold())


def defined(value: object) -> Any:
    """`value` for a file that knows no NaN: None where it is undefined."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
