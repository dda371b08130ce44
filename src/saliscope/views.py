"""One look at an explanation: its heatmap and box, found once, for as many pictures as are drawn of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from saliscope import pictures
from saliscope.boxes import Box, best_iou
from saliscope.errors import OptionError
from saliscope.localization import (
    PROTOCOLS,
    NormaliseRule,
    Protocol,
    find_box,
    has_no_box,
    normalise,
)
from saliscope.pictures import Pixels

if TYPE_CHECKING:
    from saliscope.explanation import Explanation

__all__ = ["View", "check_one_photo", "overlay_of", "panel_of"]


@dataclass(frozen=True, eq=False)
class View:
    """An explanation seen by one protocol and one normalisation; heatmap and box are found when first asked for."""

    explanation: Explanation
    protocol: Protocol = PROTOCOLS["yang2025"]
    rule: NormaliseRule = "min-max"

    @cached_property
    def signed(self) -> NDArray[np.float32]:
        """The raw map in the image: see `Explanation.signed`."""
        return self.explanation.signed()

    @cached_property
    def heat(self) -> NDArray[np.float32]:
        """The heatmap (H, W): see `Explanation.heatmap`."""
        return normalise(self.signed, self.rule)

    @cached_property
    def box(self) -> Box | None:
        """The box: see `Explanation.box`."""
        if has_no_box(self.explanation.status):
            return None
        scaled = self.heat if self.rule == self.protocol.rule else None
        return find_box(self.signed, self.protocol, scaled=scaled)


def overlay_of(view: View, *, alpha: float = 0.5, colormap: str = pictures.COLORMAP) -> Pixels:
    """Lay the heatmap over the photograph, at its size, uint8 (H, W, 3); see `Explanation.overlay`."""
    from saliscope.pictures.panels import stamp

    photo = view.explanation.photo.pixels
    mixed = pictures.blend(photo, view.heat, alpha=alpha, colormap=colormap)
    return stamp(mixed, view.explanation.status)


def panel_of(
    views: Sequence[View],
    truth: Sequence[Box] = (),
    *,
    alpha: float = 0.5,
    colormap: str = pictures.COLORMAP,
    width: int = 320,
) -> Pixels:
    """Compose the quick panel of one photograph: a row `photograph | heatmap | blend` with box and IoU per view.

    uint8 (H, W, 3) on white; `width` is that of one picture in pixels. Target, status and IoU stand above each row, the protocol below. Raises
    `OptionError` for no views, or for views of photographs of different sizes.
    """
    from saliscope.pictures.panels import PanelRow, panel

    explanations = [view.explanation for view in views]
    check_one_photo(explanations)
    colours = pictures.box_colours([e.spec for e in explanations])
    rows = [
        PanelRow(
            title=view.explanation.spec,
            heat=view.heat,
            note=_target_note(view.explanation),
            status=view.explanation.status,
            box=view.box,
            colour=colour,
            iou=best_iou(view.box, truth),
        )
        for view, colour in zip(views, colours, strict=True)
    ]
    first = explanations[0]
    height, full = first.photo.size
    return panel(
        first.photo.pixels,
        rows,
        title=f"{first.photo.name}   {full} × {height}   {first.model}",
        footnote=f"box by {views[0].protocol}",
        truth=truth,
        width=width,
        alpha=alpha,
        colormap=colormap,
    )


def check_one_photo(explanations: Sequence[Explanation]) -> None:
    """Raise `OptionError` unless there are explanations, all of photographs of one size."""
    if not explanations:
        raise OptionError("there is nothing to draw: no explanations were given; pass at least one")
    sizes = sorted({e.photo.pixels.shape[:2] for e in explanations})
    if len(sizes) > 1:
        raise OptionError(
            f"one panel shows one photograph; got photographs of sizes {sizes} (H, W). Draw one panel for each."
        )


def _target_note(explanation: Explanation) -> str:
    note = str(explanation.target)
    if explanation.target.space != "logit":
        note += f"   explained: {explanation.target.space}"
    if explanation.predicted.index != explanation.target.index:
        note += f"   predicted: {explanation.predicted.name}"
    return note
