"""From shapes to pixels: an animal drawn at three times the resolution, with the part that each of its points shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import cv2
import numpy as np
from numpy.typing import NDArray

from saliscope.data.critters.anatomy import PARTS
from saliscope.data.critters.pose import Colours, Points, Pose
from saliscope.data.critters.shapes import Shape

__all__ = ["FINE", "Animal", "Placement", "extent", "part_masks", "rasterise"]

FINE = 3
"""Fine points to a pixel, along each side."""

_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws
_LINE = 0.022  # half width of outlines, in body lengths
_NUMBER = {part: i for i, part in enumerate(PARTS, start=1)}


@dataclass(frozen=True)
class Placement:
    """Where an animal stands in its image: pixels to a body length, and where the middle of its trunk is, x and y."""

    scale: float
    x: float
    y: float


@dataclass(frozen=True, eq=False)
class Animal:
    """A drawn animal. `fine` is uint8 (FINE h, FINE w, 4): RGB, black where nothing is, and the number of the part.

    `corner` is where its window of (h, w) pixels lies in the image, x and y.
    """

    fine: NDArray[np.uint8]
    corner: tuple[int, int]

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the image that it lies in."""
        height, width = (side // FINE for side in self.fine.shape[:2])
        x, y = self.corner
        return slice(y, y + height), slice(x, x + width)


def turn(points: Points, pose: Pose) -> Points:
    """From the units of the body, facing right, into those of the image: tilted and perhaps mirrored."""
    c, s = np.cos(pose.tilt), np.sin(pose.tilt)
    flip = -1.0 if pose.mirrored else 1.0
    turned: Points = points @ np.array([[c * flip, s], [-s * flip, c]])
    return turned


def extent(shapes: Sequence[Shape], pose: Pose) -> tuple[float, float, float, float]:
    """The rectangle around shapes with their outlines, x0, y0, x1, y1 in body lengths; marks lie within others."""
    points = turn(np.concatenate([s.points for s in shapes if not s.on]), pose)
    low, high = points.min(axis=0) - _LINE, points.max(axis=0) + _LINE
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def rasterise(
    shapes: Sequence[Shape],
    pose: Pose,
    colours: Colours,
    place: Placement,
    *,
    window: tuple[int, int, int, int],
) -> Animal:
    """Draw shapes from the back to the front into a window of the image, x0, y0, x1, y1 in pixels."""
    x0, y0, x1, y1 = window
    fine = np.zeros(((y1 - y0) * FINE, (x1 - x0) * FINE, 4), np.uint8)
    grow = FINE * place.scale
    shift = np.array([(place.x - x0) * FINE, (place.y - y0) * FINE]) - 0.5
    line = max(1, round(2 * _LINE * grow))
    for (part, on, colour), group in groupby(shapes, key=lambda s: (s.part, s.on, s.colour)):
        drawn = [(_fixed(turn(s.points, pose) * grow + shift), s.line) for s in group]
        value = (*colours.of(colour), _NUMBER[part])
        if on:
            _fill_on(fine, [points for points, _ in drawn], value, _NUMBER[on])
            continue
        edge = (*colours.line, _NUMBER[part])
        for points, outlined in drawn:  # all outlines first: the pieces of one thing grow together
            if outlined:
                cv2.polylines(fine, [points], True, edge, line, cv2.LINE_8, _SHIFT)
        for points, _ in drawn:
            cv2.fillPoly(fine, [points], value, cv2.LINE_8, _SHIFT)
    return Animal(fine, (x0, y0))


def _fixed(points: Points) -> NDArray[np.int32]:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def _fill_on(
    fine: NDArray[np.uint8], outlines: list[NDArray[np.int32]], value: tuple[int, ...], on: int
) -> None:
    """Fill outlines only where part number `on` is visible."""
    everything = np.concatenate(outlines) >> _SHIFT
    (x0, y0), (x1, y1) = everything.min(axis=0).clip(0), everything.max(axis=0) + 2
    part = fine[y0:y1, x0:x1]
    if not part.size:
        return
    mask = np.zeros(part.shape[:2], np.uint8)
    offset = np.array([x0, y0], np.int32) << _SHIFT
    for points in outlines:
        cv2.fillPoly(mask, [points - offset], 1, cv2.LINE_8, _SHIFT)
    mask &= part[..., 3] == on
    cv2.copyTo(np.full_like(part, value), mask, part)


def part_masks(animal: Animal, size: tuple[int, int]) -> Mapping[str, NDArray[np.bool_]]:
    """The pixels (H, W) in which each part is visible at all; the last, "body", is all of them together."""
    height, width = (side // FINE for side in animal.fine.shape[:2])
    numbers = animal.fine[..., 3].reshape(height, FINE, width, FINE)
    seen = np.zeros((len(PARTS) + 1, height, width), np.bool_)
    for row in range(FINE):
        for column in range(FINE):
            found = numbers[:, row, :, column]
            for number in range(len(PARTS) + 1):
                seen[number] |= found == number
    masks: dict[str, NDArray[np.bool_]] = {}
    for number, part in enumerate(PARTS, start=1):
        masks[part] = _whole(seen[number], animal, size)
    masks["body"] = _whole(np.logical_or.reduce(seen[1:]), animal, size)
    return masks


def _whole(part: NDArray[np.bool_], animal: Animal, size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size, np.bool_)
    mask[animal.window] = part
    return mask
