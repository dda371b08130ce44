"""The pointing game: does the hottest point hit the object, give or take 15 pixels?"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from saliscope.boxes import Box
from saliscope.errors import DataError, OptionError, nearest
from saliscope.localization.normalise import is_constant
from saliscope.metrics.localization import pixels_of
from saliscope.metrics.scores import Direction, Score

__all__ = [
    "PointingGame",
    "PointingScores",
    "PointingVariant",
    "clear_point",
    "hottest_point",
    "is_difficult",
    "mask_hit",
    "pointing_hit",
    "points_at",
]

PointingVariant = Literal["torchray", "caffe", "square"]
"""Which points count as hits; the three in use differ and are defined in `pointing_hit`."""

_SQUARE_FRAME = 224


def hottest_point(heat: NDArray[np.floating]) -> tuple[int, int] | None:
    """The pixel with the highest value of a heatmap (H, W), (x, y), the first in reading order of equals.

    NaN (unseen) is never the highest; None where every pixel is. Raises `DataError` for an array that is not (H, W).
    """
    if heat.ndim != 2:
        raise DataError(f"a heatmap has shape (H, W); got {heat.shape}: give one map at a time")
    if np.isnan(heat).all():
        return None
    y, x = divmod(int(np.nanargmax(heat)), heat.shape[1])
    return x, y


def clear_point(heat: NDArray[np.floating]) -> tuple[int, int] | None:
    """The `hottest_point` of a heatmap (H, W), or None where no place of it is hotter than another.

    So it is where all that was seen is equal but for rounding (`is_constant`), holds an infinity, or nothing was seen.
    """
    point = hottest_point(heat)
    if point is None:
        return None
    low, high = float(np.nanmin(heat)), float(np.nanmax(heat))
    return None if not math.isfinite(high - low) or is_constant(low, high) else point


def pointing_hit(
    point: tuple[int, int],
    truth: NDArray[np.bool_] | Sequence[Box] | Sequence[NDArray[np.floating]],
    size: tuple[int, int],
    *,
    variant: PointingVariant = "torchray",
    radius: float = 15.0,
) -> bool:
    """Whether a point (x, y), a pixel of an image of `size` (H, W), lies on or near what is annotated.

    `truth` is a mask, bool (H, W), or boxes, half-open, or polygons, (N, 2) each, x then y, in pixel-centre coordinates.

    `torchray`: a pixel of the region is nearer than `radius`, strictly; boxes become the pixels whose centres they hold.
    `caffe`: the closed disk touches the region; the outline of a box runs through the centres of its outer pixels, a mask is
    its pixels' centres. `square`: the point lies in a box grown by `radius` on each side, both brought to 224 x 224 first.

    False for an empty truth. Raises `OptionError` for an unknown variant and `DataError` for a truth that it cannot use.
    """
    if variant not in get_args(PointingVariant):
        raise OptionError(
            f'pointing variant "{variant}" is unknown; {nearest(variant, get_args(PointingVariant))}'
        )
    if isinstance(truth, np.ndarray) and truth.dtype == bool and truth.shape != size:
        raise DataError(
            f"the mask is {truth.shape} and the image {size}; bring the mask to the image"
        )
    if variant == "square":
        return any(_in_square(point, box, size, radius) for box in _boxes_of(truth))
    if variant == "torchray":
        return _region_distance(point, truth, size) < radius**2
    if isinstance(truth, np.ndarray):
        return _distance_squared(point, truth) <= radius**2
    return any(_distance(point, shape) <= radius for shape in truth)


def mask_hit(point: tuple[int, int] | None, mask: NDArray[np.bool_]) -> float:
    """1 where a point (x, y) lies in a mask, bool (H, W), else 0, also for no point (None); NaN for an empty mask."""
    if not mask.any():
        return math.nan
    return float(point is not None and mask[point[1], point[0]])


def points_at(
    heat: NDArray[np.floating],
    truth: NDArray[np.bool_] | Sequence[Box] | Sequence[NDArray[np.floating]],
    *,
    variant: PointingVariant = "torchray",
    radius: float = 15.0,
) -> float:
    """One trial of the pointing game: 1 where the hottest point of a heatmap (H, W) is a `pointing_hit`, else 0.

    A constant map, which has no `clear_point`, misses. NaN where nothing is annotated, an empty mask included, or no pixel was
    seen. Raises what `hottest_point` and `pointing_hit` raise.
    """
    point = clear_point(heat)
    annotated = truth.any() if isinstance(truth, np.ndarray) else len(truth)
    if not annotated or np.isnan(heat).all():
        return math.nan
    size = (heat.shape[0], heat.shape[1])
    hit = point is not None and pointing_hit(point, truth, size, variant=variant, radius=radius)
    return float(hit)


def _boxes_of(truth: object) -> list[Box]:
    if isinstance(truth, np.ndarray) and truth.dtype == bool:
        rows, columns = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
        if not len(rows):
            return []
        return [Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]
    boxes = list(truth) if isinstance(truth, Sequence) else []
    if not all(isinstance(box, Box) for box in boxes):
        raise DataError('the variant "square" needs boxes or a mask; use "caffe" for polygons')
    return boxes


def _region_distance(point: tuple[int, int], truth: object, size: tuple[int, int]) -> float:
    """The square of the distance to the nearest pixel of a mask, or of those whose centres lie in a box."""
    if isinstance(truth, np.ndarray):
        return _distance_squared(point, truth)
    boxes = list(truth) if isinstance(truth, Sequence) else []
    if not all(isinstance(box, Box) for box in boxes):
        raise DataError('the variant "torchray" needs a mask or boxes; use "caffe" for polygons')
    found = math.inf
    for box in boxes:
        rows, columns = pixels_of(box, size)
        if rows.start < rows.stop and columns.start < columns.stop:
            dx = max(columns.start - point[0], point[0] - columns.stop + 1, 0)
            dy = max(rows.start - point[1], point[1] - rows.stop + 1, 0)
            found = min(found, float(dx * dx + dy * dy))
    return found


def _distance_squared(point: tuple[int, int], mask: NDArray[np.bool_]) -> float:
    """From a pixel to the nearest pixel of a mask, exact; infinite where it is empty."""
    ys, xs = np.nonzero(mask)
    if not len(xs):
        return math.inf
    return float(((xs - point[0]) ** 2 + (ys - point[1]) ** 2).min())


def _in_square(point: tuple[int, int], box: Box, size: tuple[int, int], radius: float) -> bool:
    height, width = size
    across, down = _SQUARE_FRAME / width, _SQUARE_FRAME / height
    x, y = (point[0] + 0.5) * across - 0.5, (point[1] + 0.5) * down - 0.5
    inside = box.x0 * across - radius <= x <= box.x1 * across - 1 + radius
    return inside and box.y0 * down - radius <= y <= box.y1 * down - 1 + radius


def _distance(point: tuple[int, int], shape: Box | NDArray[np.floating]) -> float:
    x, y = point
    if isinstance(shape, Box):
        dx = max(shape.x0 - x, x - max(shape.x1 - 1, shape.x0), 0.0)
        dy = max(shape.y0 - y, y - max(shape.y1 - 1, shape.y0), 0.0)
        return math.hypot(dx, dy)
    return _polygon_distance((float(x), float(y)), np.asarray(shape, np.float64))


def _polygon_distance(point: tuple[float, float], corners: NDArray[np.float64]) -> float:
    """0 inside (even-odd rule), else the distance to the nearest edge."""
    start, end = corners, np.roll(corners, -1, axis=0)
    x, y = point
    crosses = (start[:, 1] > y) != (end[:, 1] > y)
    rise = np.where(crosses, end[:, 1] - start[:, 1], 1.0)
    meets = start[:, 0] + (y - start[:, 1]) / rise * (end[:, 0] - start[:, 0])
    if np.count_nonzero(crosses & (x < meets)) % 2:
        return 0.0
    edge = end - start
    length = (edge**2).sum(axis=1)
    along = ((np.array(point) - start) * edge).sum(axis=1) / np.where(length > 0, length, 1.0)
    nearest_point = start + np.clip(along, 0, 1)[:, None] * edge
    return float(np.hypot(*(nearest_point - point).T).min())


def is_difficult(boxes: Sequence[Box], size: tuple[int, int], *, other_classes: int) -> bool:
    """Whether an image and class belong to the difficult subset (Zhang et al. 2018, section 5.1).

    The boxes of the class cover less than a quarter of the image, areas added up, and another class is there too. Published
    subsets come as lists; use those where numbers are compared.
    """
    return sum(box.area for box in boxes) < size[0] * size[1] / 4 and other_classes > 0


@dataclass
class _Tally:
    hits: dict[Hashable, int] = field(default_factory=dict)
    trials: dict[Hashable, int] = field(default_factory=dict)

    def count(self, label: Hashable, *, hit: bool) -> None:
        self.hits[label] = self.hits.get(label, 0) + hit
        self.trials[label] = self.trials.get(label, 0) + 1

    def score(self, classes: int | None, undefined: int) -> Score:
        n = sum(self.trials.values())
        over = classes if classes is not None else len(self.trials)
        shares = (self.hits[label] / count for label, count in self.trials.items())
        return Score(math.fsum(shares) / over if n else math.nan, n, undefined)


@dataclass(frozen=True)
class PointingScores:
    """Accuracy over all trials and over the difficult ones, with the hits and misses by class."""

    all: Score
    difficult: Score
    by_class: dict[Hashable, tuple[int, int]]


class PointingGame:
    """Pointing accuracy: the mean over classes of hits / (hits + misses) (Zhang et al. 2018).

    One trial for each image and class in it. Classes without a trial are left out; with `classes`, the number of all classes, they
    count as 0, as TorchRay does. A map without a seen pixel is undefined. `variant` and `radius` are those of
    `pointing_hit`; `protocol` names them. Raises `OptionError` for an unknown variant.

    >>> game = PointingGame("caffe")
    >>> heat = np.zeros((30, 30)); heat[0, 5] = 1.0
    >>> game.update(heat, [Box(20, 0, 21, 1)], label="dog").compute().all.value
    1.0
    """

    direction: Direction = "higher"
    bounds = (0.0, 1.0)

    def __init__(
        self,
        variant: PointingVariant = "torchray",
        *,
        radius: float = 15.0,
        classes: int | None = None,
    ) -> None:
        if variant not in get_args(PointingVariant):
            raise OptionError(
                f'pointing variant "{variant}" is unknown; {nearest(variant, get_args(PointingVariant))}'
            )
        self.variant, self.radius, self.classes = variant, radius, classes
        self.protocol = f"pointing game, {variant}, {radius:g} px"
        self._all, self._difficult = _Tally(), _Tally()
        self._undefined = self._undefined_difficult = 0

    def update(
        self,
        heat: NDArray[np.floating],
        truth: NDArray[np.bool_] | Sequence[Box] | Sequence[NDArray[np.floating]],
        *,
        label: Hashable,
        difficult: bool = False,
    ) -> Self:
        """Play one trial: a heatmap (H, W) of class `label`, and where that class is."""
        hit = points_at(heat, truth, variant=self.variant, radius=self.radius)
        if math.isnan(hit):
            self._undefined += 1
            self._undefined_difficult += difficult
            return self
        return self.record(hit=bool(hit), label=label, difficult=difficult)

    def record(self, *, hit: bool, label: Hashable, difficult: bool = False) -> Self:
        """Count a trial whose outcome is known."""
        self._all.count(label, hit=hit)
        if difficult:
            self._difficult.count(label, hit=hit)
        return self

    def compute(self) -> PointingScores:
        """The accuracies so far."""
        by_class = {
            k: (self._all.hits[k], n - self._all.hits[k]) for k, n in self._all.trials.items()
        }
        return PointingScores(
            self._all.score(self.classes, self._undefined),
            self._difficult.score(self.classes, self._undefined_difficult),
            by_class,
        )
