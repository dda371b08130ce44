"""The folder that `saliscope explain` writes: pictures, raw maps, and one table of results."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from saliscope.boxes import Box, best_iou
from saliscope.data import TruthSource
from saliscope.errors import DataError
from saliscope.explanation import Explanation
from saliscope.keeping import file_base, maps_npz
from saliscope.localization import NormaliseRule, Protocol
from saliscope.pictures import COLORMAP, encode, write_whole
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
    `results.json` and `results.csv` have a row for each explanation, and one for each image that failed.
    """

    folder: Path
    look: Look
    stems: dict[Path, str]
    truth: TruthSource | Box | None = None
    model: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)

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
        """Draw and write one image's files; return its rows."""
        truth = self._truth(path, explanations[0])
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
        except OSError as err:
            raise DataError(
                f"cannot write the pictures of {path.name}: {err}; free some space or choose another folder with -o"
            ) from None
        return [self._row(path, view, truth) for view in views]

    def failed(self, path: Path, error: Exception) -> dict[str, Any]:
        """The row of an image that could not be explained."""
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        return row | {
            "image": path.name,
            "path": str(path),
            "status": "failed",
            "message": str(error),
        }

    def save(self) -> None:
        """Write `results.json` and `results.csv`, each whole or not at all."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: defined(v) for k, v in row.items()} for row in self.rows)
        rows = [{k: defined(v) for k, v in row.items()} for row in self.rows]
        record = {"model": self.model, "protocol": str(self.look.protocol), "rows": rows}
        try:
            write_whole(self.folder / "results.csv", text.getvalue().encode())
            data = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
            write_whole(self.folder / "results.json", data.encode())
        except OSError as err:
            raise DataError(
                f"cannot write the results: {err}; free some space and run again"
            ) from None

    def _truth(self, path: Path, first: Explanation) -> Sequence[Box]:
        if self.truth is None or isinstance(self.truth, Box):
            return [] if self.truth is None else [self.truth]
        found = self.truth.find(path, size=first.photo.size)
        return () if found is None else found.boxes_of()

    def _row(self, path: Path, view: View, truth: Sequence[Box]) -> dict[str, Any]:
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
            "message": None,
        }


def unique_stems(paths: Sequence[Path]) -> dict[Path, str]:
    """A file-name stem for each image, made longer by its folders only where two would be the same.

    >>> list(unique_stems([Path("a/dog.jpg"), Path("b/dog.jpg"), Path("cat.png")]).values())
    ['a_dog', 'b_dog', 'cat']
    """
    stems: dict[Path, str] = {}
    taken: set[str] = set()
    namings: tuple[Callable[[Path], str], ...] = (
        lambda p: p.stem,
        lambda p: f"{p.parent.name}_{p.stem}",
        lambda p: "_".join(part.strip("/\\:") for part in p.parts),
        lambda p: f"{p.name}-{paths.index(p)}",
    )
    for name in namings:
        left = [p for p in paths if p not in stems]
        counts = Counter(name(p).lower() for p in left)
        fresh = {
            p: name(p)
            for p in left
            if counts[name(p).lower()] == 1 and name(p).lower() not in taken
        }
        stems |= fresh
        taken |= {stem.lower() for stem in fresh.values()}
    return {path: stems[path] for path in paths}


def defined(value: object) -> Any:
    """`value` for a file that knows no NaN: None where it is undefined."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
