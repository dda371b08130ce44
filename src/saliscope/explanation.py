"""What a method found in one image: the map, and every way to look at it and measure it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from saliscope import pictures
from saliscope.boxes import Box, BoxConvention, best_iou
from saliscope.errors import OptionError
from saliscope.files import write_whole
from saliscope.frames import Frame
from saliscope.images import Photo
from saliscope.localization import NormaliseRule, Protocol, Status, parse_protocol
from saliscope.localization import normalise as rescale

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Explanation", "Target", "boxes_of"]


@dataclass(frozen=True, eq=False, repr=False)
class Target:
    """The scalar that was explained, or the class that was predicted, with what the network answered.

    `index` and `label` are None for a callable target; `logit` and `probability` are NaN where undefined. `rank` counts the
    classes with a larger logit: 0 for the predicted one.
    """

    index: int | None
    label: str | None
    space: Literal["logit", "probability", "log-probability", "callable"] = "logit"
    logit: float = math.nan
    probability: float = math.nan
    rank: int | None = None

    @property
    def name(self) -> str:
        """The label and the index, as far as known: `Samoyed (#258)`, `#258`, `callable target`."""
        if self.index is None:
            return self.label or "callable target"
        return f"{self.label} (#{self.index})" if self.label else f"#{self.index}"

    def __str__(self) -> str:
        words = [self.name]
        if math.isfinite(self.logit):
            words.append(f"logit {_sign(f'{self.logit:.2f}')}")
        if math.isfinite(self.probability):
            words.append(f"probability {self.probability:.3f}")
        return "   ".join(words)

    def __repr__(self) -> str:
        space = "" if self.space == "logit" else f"{self.space} of "
        return f"<Target {space}{self.name}: logit {self.logit:.4g}, probability {self.probability:.3g}>"


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """One map of one image, with its frame, target and status; heatmap, box and pictures are views made on demand.

    `map` is float32 (h, w), signed, on the layer's own grid. `method` carries its options (`grad-cam:relu=false`),
    `layer` is None where a method has none. `predicted` is the class the network chose, whatever was explained.
    `seconds` is the time the map took. In a notebook it shows itself as one small picture and a table.
    """

    map: NDArray[np.float32]
    frame: Frame
    target: Target
    status: Status
    method: str
    layer: str | None
    model: str
    photo: Photo
    predicted: Target
    seconds: float

    @property
    def spec(self) -> str:
        """The method as it is written everywhere: `name@layer:option=value`."""
        name, colon, options = self.method.partition(":")
        return f"{name}@{self.layer}{colon}{options}" if self.layer else self.method

    @property
    def per_pixel(self) -> bool:
        """Whether the map has a value for each pixel of the network's input, not for the cells of a layer."""
        return self.map.shape == tuple(self.frame.size)

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest value of the raw map; NaN where it is not finite."""
        return float(self.map.min()), float(self.map.max())

    def signed(self) -> NDArray[np.float32]:
        """Bring the raw map to the image: float32 (H, W), signed, bilinear, NaN where a crop never saw."""
        with np.errstate(
            invalid="ignore", over="ignore"
        ):  # a map that is not finite says so in its status
            return self.frame.map_to_source(self.map)

    def heatmap(self, normalise: NormaliseRule = "min-max") -> NDArray[np.float32]:
        """Bring the map to the image, then normalise it: float32 (H, W) in [0, 1], NaN where a crop never saw.

        `normalise` is "min-max", "max", "percentile" or "none" (signed, as it is). A constant map has no heat: zeros. Raises
        `OptionError` for another rule.
        """
        return rescale(self.signed(), normalise)

    def box(self, protocol: str | Protocol = "yang2025") -> Box | None:
        """Find the box of the heatmap by a named protocol, in image pixels; None when there is no foreground.

        A map that is zero, constant or not finite has no box. Raises `OptionError` for an unknown protocol.
        """
        from saliscope.views import View

        return View(self, parse_protocol(protocol)).box

    def iou(
        self,
        truth: Box | Sequence[Box],
        *,
        protocol: str | Protocol = "yang2025",
        convention: BoxConvention = "half-open",
    ) -> float:
        """Compare the box with the annotated one, or with the best fitting of several; in [0, 1].

        No box scores 0; no annotated box is undefined, NaN. Raises `OptionError` for an unknown name.
        """
        return best_iou(self.box(protocol), boxes_of(truth), convention=convention)

    def overlay(
        self,
        *,
        alpha: float = 0.5,
        colormap: str = pictures.COLORMAP,
        normalise: NormaliseRule = "min-max",
    ) -> Image.Image:
        """Lay the heatmap over the photograph, at its size; colours mean the same in every picture (range [0, 1]).

        What a crop never saw is darkened, grey and hatched. A status other than "ok" is written on the picture.
        Raises `OptionError` as `saliscope.pictures.blend` does.
        """
        from PIL import Image

        from saliscope.views import View, overlay_of

        view = View(self, rule=normalise)
        return Image.fromarray(overlay_of(view, alpha=alpha, colormap=colormap))

    def panel(
        self,
        *,
        truth: Box | Sequence[Box] = (),
        protocol: str | Protocol = "yang2025",
        normalise: NormaliseRule = "min-max",
        alpha: float = 0.5,
        colormap: str = pictures.COLORMAP,
        width: int = 320,
    ) -> Image.Image:
        """Draw photograph, heatmap and blend side by side with the box and what it scores; see `views.panel_of`."""
        from PIL import Image

        from saliscope.views import View, panel_of

        view = View(self, parse_protocol(protocol), normalise)
        sheet = panel_of([view], boxes_of(truth), alpha=alpha, colormap=colormap, width=width)
        return Image.fromarray(sheet)

    def save(
        self,
        folder: str | os.PathLike[str],
        stem: str | None = None,
        *,
        truth: Box | Sequence[Box] = (),
        protocol: str | Protocol = "yang2025",
        normalise: NormaliseRule = "min-max",
        alpha: float = 0.5,
        colormap: str = pictures.COLORMAP,
    ) -> list[Path]:
        """Write overlay, panel, raw map and facts into `folder` (made if missing) and return the four paths.

        `STEM.METHOD@LAYER.overlay.jpg` has the photograph's size, `.panel.jpg` is `panel()`, `.npz` holds the signed
        map float32 (h, w) with its frame and target, `.json` the same facts with box and IoU. Characters no file
        system takes become `_`. Each file appears whole; an existing one is replaced. Raises `OSError` naming the path.
        """
        from saliscope.keeping import files_of
        from saliscope.views import View, overlay_of, panel_of

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        view = View(self, parse_protocol(protocol), normalise)
        instances = boxes_of(truth)
        overlay = overlay_of(view, alpha=alpha, colormap=colormap)
        panel = panel_of([view], instances, alpha=alpha, colormap=colormap)
        written = []
        for name, data in files_of(view, stem, overlay, panel, instances):
            write_whole(target / name, data)
            written.append(target / name)
        return written

    def facts(self) -> dict[str, str | int | float | None]:
        """List what is known beside the map, flat, for tables and files: names, numbers, NaN where undefined."""
        return {
            "image": self.photo.name,
            "height": self.frame.source[0],
            "width": self.frame.source[1],
            "model": self.model,
            "spec": self.spec,
            "method": self.method,
            "layer": self.layer,
            "status": self.status,
            "target": self.target.index,
            "target_label": self.target.label,
            "target_space": self.target.space,
            "logit": float(self.target.logit),
            "probability": float(self.target.probability),
            "predicted": self.predicted.index,
            "predicted_label": self.predicted.label,
            "seconds": float(self.seconds),
        }

    def _repr_html_(self) -> str:
        from saliscope.notebook import as_html

        return as_html(self)

    def __repr__(self) -> str:
        low, high = self.range
        grid = "×".join(map(str, self.map.shape))
        target = self.target
        space = "" if target.space == "logit" else f"{target.space} of "
        return (
            f"<Explanation {self.spec} of {space}{target.name}: logit {target.logit:.4g}, "
            f"probability {target.probability:.3g}; map {grid} in [{low:.4g}, {high:.4g}], {self.status}>"
        )


def boxes_of(truth: Box | Sequence[Box]) -> list[Box]:
    """Take one annotated box or several as a list; `OptionError` for anything else than boxes."""
    listed = [truth] if isinstance(truth, Box) else truth
    if not isinstance(listed, list | tuple) or not all(isinstance(b, Box) for b in listed):
        raise OptionError(
            f"truth is a Box or a list of them, sc.Box(x0, y0, x1, y1) in image pixels; got {truth!r}. Files of "
            "annotations are read by saliscope.data.find_truth"
        )
    return list(listed)


def _sign(number: str) -> str:
    return number.replace("-", "−")
