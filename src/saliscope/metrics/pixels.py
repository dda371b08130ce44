"""PxAP: average precision of all pixels of a set, by the heat on them."""

from __future__ import annotations

import math
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from saliscope.errors import DataError, OptionError, nearest
from saliscope.localization import NormaliseRule, count_passed, normalise
from saliscope.metrics.scores import Direction, Score
from saliscope.metrics.wsol import wsol_grid, wsol_mask, wsol_scoremap

__all__ = [
    "PixelAP",
    "PixelProtocol",
    "pixel_average_precision",
    "pixel_histogram",
    "precision_under",
]

PixelProtocol = Literal["image", "wsol"]
"""`image` compares in image pixels; `wsol` brings maps and masks to 224 x 224 as the wsolevaluation program does."""

# Bins [0, .001), ..., [.999, 1), [1, 2), [2, 3]: with the rounding of arange, which decides where .3 goes.
_EDGES = np.append(wsol_grid(), [1.0, 2.0])


def pixel_average_precision(
    heat: NDArray[np.floating],
    mask: NDArray[np.bool_],
    *,
    ignore: NDArray[np.bool_] | None = None,
) -> float:
    """The average precision of one image's pixels: `PixelAP` over this image alone. NaN without a foreground pixel."""
    return PixelAP().update(heat, mask, ignore=ignore).compute().value


class PixelAP:
    """PxAP (Choe et al. 2020, section 3.2): the area under the precision and recall of all pixels of all images.

    Heat is sorted into 1,000 bins of .001, one more for values of exactly 1; from the hottest bin down, AP is the sum of precision
    times the gain in recall. Pixels are pooled over the set, so large objects weigh more. A constant map gives the share
    of foreground. Heatmaps are normalised by `rule`; with `none` they have to lie in [0, 1] already. The value is a
    share (published tables give percent). Raises `OptionError` for an unknown protocol.

    >>> heat = np.zeros((10, 10)); heat[0], heat[1], heat[2] = 1.0, 0.5, 0.5
    >>> mask = np.zeros((10, 10), bool); mask[:2] = True
    >>> round(PixelAP().update(heat, mask).compute().value, 5)
    0.83333
    """

    direction: Direction = "higher"
    bounds = (0.0, 1.0)

    def __init__(
        self, protocol: PixelProtocol = "image", *, rule: NormaliseRule = "min-max"
    ) -> None:
        if protocol not in get_args(PixelProtocol):
            raise OptionError(
                f'pixel protocol "{protocol}" is unknown; {nearest(str(protocol), get_args(PixelProtocol))}'
            )
        self.protocol, self.rule = protocol, rule
        self._true = np.zeros(len(_EDGES), np.int64)
        self._false = np.zeros(len(_EDGES), np.int64)
        self._n = self._undefined = 0

    def update(
        self,
        heat: NDArray[np.floating],
        mask: NDArray[np.bool_],
        *,
        ignore: NDArray[np.bool_] | None = None,
    ) -> Self:
        """Count the pixels of one image.

        `heat` (H, W) is signed, `mask` bool (H, W) the union of the instances, `ignore` marks pixels that count for neither, unless they
        are foreground. Unseen pixels (NaN) count for neither. With `wsol`, `heat` may have any grid. An image without a
        pixel that counts is undefined. Raises `DataError` where the sizes differ or values leave [0, 1].
        """
        if self.protocol == "wsol":
            scaled = wsol_scoremap(heat)
            mask = wsol_mask(mask)
            ignore = None if ignore is None else wsol_mask(ignore)
        else:
            scaled = normalise(heat, self.rule)
        return self.update_histogram(*pixel_histogram(scaled, mask, ignore=ignore))

    def update_histogram(self, inside: NDArray[np.integer], outside: NDArray[np.integer]) -> Self:
        """Count one image by its `pixel_histogram`."""
        if inside.any() or outside.any():
            self._true += inside
            self._false += outside
            self._n += 1
        else:
            self._undefined += 1
        return self

    def compute(self) -> Score:
        """The score so far, `n` counting images; NaN where no pixel is foreground."""
        if not self._true.any():
            return Score(math.nan, 0, self._n + self._undefined)
        value = precision_under(self._true[None], self._false[None])[0]
        return Score(float(value), self._n, self._undefined)


def pixel_histogram(
    scaled: NDArray[np.floating],
    mask: NDArray[np.bool_],
    *,
    ignore: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """How many pixels inside and outside a mask have each heat: intp (1002,) each, the bins of `PixelAP`.

    `scaled` (H, W) lies in [0, 1], NaN where unseen, which counts for neither. Raises `DataError` as `PixelAP.update` does.
    """
    counts = ~np.isnan(scaled)
    for given in (mask, *(() if ignore is None else (ignore,))):
        if given.shape != scaled.shape:
            raise DataError(
                f"the heatmap is {scaled.shape} and a mask {given.shape}; bring both to the image, (H, W)"
            )
    if ignore is not None:
        counts &= ~(ignore & ~mask)
    values = scaled[counts].astype(np.float64)
    if len(values) and (values.min() < 0 or values.max() > 1):
        raise DataError(
            f"heat lies in [0, 1] here; got {values.min()} to {values.max()}. Leave rule at min-max"
        )
    bins = count_passed(values, _EDGES) - 1
    inside = np.bincount(bins[mask[counts]], minlength=len(_EDGES))
    return inside, np.bincount(bins, minlength=len(_EDGES)) - inside


def precision_under(
    inside: NDArray[np.floating | np.integer], outside: NDArray[np.floating | np.integer]
) -> NDArray[np.float64]:
    """Average precision from histograms (r, 1002) of pixels inside and outside: float64 (r,), NaN without one inside."""
    true, false = (np.cumsum(h[:, ::-1], axis=1, dtype=np.float64) for h in (inside, outside))
    called, total = true + false, true[:, -1:]
    precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
    recall = np.divide(true, total, out=np.full_like(true, math.nan), where=total > 0)
    area: NDArray[np.float64] = (precision[:, 1:] * np.diff(recall, axis=1)).sum(axis=1)
    return area
