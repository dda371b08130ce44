"""How an image became a network input, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saliscope.boxes import Box
from saliscope.errors import OptionError

__all__ = ["Frame"]

Size = tuple[int, int]


@dataclass(frozen=True)
class Frame:
    """The part of an image that a network input shows, and at which size.

    `source` is the size (H, W) of the image, `size` that of the input (h, w), both in pixels. `region` is what the
    input shows, half-open, in source pixels: the whole image for a squash, less for a crop, more for a letterbox, and
    fractional where the resized image was cut between source pixels. The two sides are joined by one scale and one
    shift along each axis; maps, points and boxes cross here and nowhere else.
    """

    source: Size
    region: Box
    size: Size

    def __post_init__(self) -> None:
        if min(*self.source, *self.size) < 1 or self.region.area <= 0:
            raise OptionError(
                f"a frame needs sizes of at least 1 pixel and a region with an area; got source {self.source}, "
                f"region {tuple(self.region)}, input size {self.size}"
            )

    @classmethod
    def squash(cls, source: Size, size: Size) -> Frame:
        """The whole image, its aspect ratio given up (the papers: "resized to 224 x 224")."""
        return cls(source, Box(0, 0, source[1], source[0]), size)

    @classmethod
    def crop(cls, source: Size, size: Size, *, shorter: int) -> Frame:
        """Resize so that the shorter side has `shorter` pixels, then cut `size` from the centre, as torchvision does.

        The longer side is truncated to whole pixels and the offset rounded half to even, so both axes get their own
        exact scale. An image smaller than the cut is padded (the region then exceeds it).
        """
        height, width = source
        if height <= width:
            resized = (shorter, max(int(shorter * width / height), 1))
        else:
            resized = (max(int(shorter * height / width), 1), shorter)
        return cls.centre_of(source, resized, size)

    @classmethod
    def centre_of(cls, source: Size, resized: Size, size: Size) -> Frame:
        """Resize the image to `resized` (H, W), then cut `size` from its centre, padding where it is smaller.

        The odd pixel goes where torchvision puts it: a cut rounds half to even, padding leaves it at the far side.
        """
        top, left = (
            round((r - s) / 2.0) if r >= s else -((s - r) // 2)
            for r, s in zip(resized, size, strict=True)
        )
        # Multiply before dividing: an edge of the image stays exactly on its edge.
        x0, x1 = (edge * source[1] / resized[1] for edge in (left, left + size[1]))
        y0, y1 = (edge * source[0] / resized[0] for edge in (top, top + size[0]))
        region = Box(x0, y0, x1, y1)
        return cls(source, region, size)

    @classmethod
    def letterbox(cls, source: Size, size: Size) -> Frame:
        """The whole image with its aspect ratio kept, centred, padding on the two short sides."""
        scale = min(size[0] / source[0], size[1] / source[1])
        inner = tuple(max(round(side * scale), 1) for side in source)
        return cls.centre_of(source, (inner[0], inner[1]), size)

    @property
    def scale(self) -> tuple[float, float]:
        """Source pixels per input pixel, (along x, along y)."""
        return self.region.width / self.size[1], self.region.height / self.size[0]

    @property
    def seen(self) -> Box:
        """The part of the image that the network saw: the region, cut to the image."""
        return self.region.clip(self.source)

    def points_to_source(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Move points (N, 2), x then y, continuous, from the input to the image."""
        origin = np.array([self.region.x0, self.region.y0])
        moved: NDArray[np.float64] = np.asarray(points, np.float64) * np.array(self.scale) + origin
        return moved

    def points_to_input(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Move points (N, 2), x then y, continuous, from the image to the input."""
        origin = np.array([self.region.x0, self.region.y0])
        moved: NDArray[np.float64] = (np.asarray(points, np.float64) - origin) / self.scale
        return moved

    def box_to_source(self, box: Box) -> Box:
        """Move a box from the input to the image; not clipped."""
        corners = self.points_to_source(np.array([[box.x0, box.y0], [box.x1, box.y1]]))
        return Box(*corners.ravel())

    def box_to_input(self, box: Box) -> Box:
        """Move a box from the image to the input; not clipped."""
        corners = self.points_to_input(np.array([[box.x0, box.y0], [box.x1, box.y1]]))
        return Box(*corners.ravel())

    def map_to_source(self, grid: NDArray[np.floating]) -> NDArray[np.float32]:
        """Upsample a map (h', w') on any grid over the input to the image: float32 (H, W).

        Bilinear with half-pixel centres and clamped borders (`align_corners=False`), straight from the grid to source
        pixels. A pixel whose centre the network did not see is NaN: a crop's margin is unknown, not cold. A
        map that holds NaN or an infinity is not finite either where that cell is seen, and maybe nowhere.
        """
        down = _axis(grid.shape[0], self.source[0], self.region.y0, self.region.y1)
        right = _axis(grid.shape[1], self.source[1], self.region.x0, self.region.x1)
        cells = np.asarray(grid, np.float32)
        # Along one axis, then the other, without a matrix product: BLAS threads would fight the network's for the cores.
        # A map with an infinity (0 x inf) is no reason to warn: its status says what it is.
        with np.errstate(invalid="ignore", over="ignore"):
            rows = cells[down.low] * (1 - down.share)[:, None]
            rows += cells[down.high] * down.share[:, None]
            spread = rows[:, right.low]
            spread *= 1 - right.share
            far = rows[:, right.high]
            far *= right.share
            spread += far
        spread[down.unseen] = np.nan
        spread[:, right.unseen] = np.nan
        return spread


@dataclass(frozen=True, eq=False)
class _Axis:
    """For each pixel along one axis: the two cells around its centre, the share of the farther, and if it is unseen."""

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    share: NDArray[np.float32]
    unseen: NDArray[np.bool_]


def _axis(cells: int, pixels: int, start: float, stop: float) -> _Axis:
    centres = np.arange(pixels) + 0.5
    position = (centres - start) * (cells / (stop - start)) - 0.5
    clamped = np.clip(position, 0.0, cells - 1.0)
    low = np.minimum(np.floor(clamped).astype(np.intp), max(cells - 2, 0))
    slack = 1e-9 * (stop - start)
    return _Axis(
        low,
        np.minimum(low + 1, cells - 1),
        (clamped - low).astype(np.float32),
        (centres < start - slack) | (centres > stop + slack),
    )
