"""MaxBoxAcc and MaxBoxAccV2: the share of images whose box fits, at the threshold that suits the whole set best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from saliscope.boxes import Box
from saliscope.errors import OptionError, nearest
from saliscope.localization import NormaliseRule, even_grid, normalise, sweep_boxes
from saliscope.metrics.scores import Direction
from saliscope.metrics.wsol import wsol_curve, wsol_grid, wsol_resize_box, wsol_scoremap

__all__ = ["BestThreshold", "BoxAccuracy", "BoxAccuracyScore", "BoxProtocol", "best_threshold"]

BoxProtocol = Literal["half-open", "wsol"]
"""`half-open` compares in image pixels; `wsol` does what the wsolevaluation program does, see `metrics.wsol`."""

_DELTAS = {1: (0.5,), 2: (0.3, 0.5, 0.7)}


@dataclass(frozen=True)
class BestThreshold:
    """The highest share of images whose IoU reaches `delta`, and the lowest threshold at which it is reached."""

    delta: float
    accuracy: float
    threshold: float
    candidates: float = math.nan
    """How many boxes an image offers at that threshold, on average."""


@dataclass(frozen=True)
class BoxAccuracyScore:
    """The mean over the deltas, each with the threshold that suits it: an oracle, as it looks at the answers.

    `n` images have annotated boxes, `undefined` have none and are left out. NaN where n is 0.
    """

    value: float
    n: int
    undefined: int
    best: tuple[BestThreshold, ...]


def best_threshold(
    curves: NDArray[np.floating],
    thresholds: Sequence[float] | NDArray[np.floating],
    *,
    delta: float = 0.5,
) -> BestThreshold:
    """Find the one threshold for all images at which most of them reach an IoU of `delta`.

    `curves` (N, K) are IoUs of N images at K thresholds, as `sweep_boxes` gives them; an image whose curve is NaN has no annotation
    and is left out. Reaching means `>=`. NaN where no image is left. Raises `OptionError` where the shapes do not fit.
    """
    curves = np.asarray(curves, np.float64)
    if curves.ndim != 2 or curves.shape[1] != len(thresholds):
        raise OptionError(
            f"curves are (images, thresholds) with {len(thresholds)} thresholds; got {curves.shape}"
        )
    defined = curves[~np.isnan(curves).any(axis=1)]
    return _best(delta, (defined >= delta).sum(axis=0), len(defined), thresholds)


def _best(
    delta: float,
    hits: NDArray[np.integer],
    n: int,
    thresholds: Sequence[float] | NDArray[np.floating],
    candidates: NDArray[np.integer] | None = None,
) -> BestThreshold:
    if not n:
        return BestThreshold(delta, math.nan, math.nan)
    at = int(np.argmax(hits))
    offered = math.nan if candidates is None else float(candidates[at]) / n
    return BestThreshold(delta, float(hits[at]) / n, float(thresholds[at]), offered)


class BoxAccuracy:
    """MaxBoxAcc (`version=1`) or MaxBoxAccV2 (2) over a set of images (Choe et al. 2020, sections 3.2 and 4.1).

    At each threshold an image counts as hit where a box's IoU with any annotated one reaches delta; one threshold is shared by
    all images, and the one with most hits is reported. Version 1: the box of the largest part, delta .5. Version 2: the best box of all
    parts, and the mean over deltas .3, .5 and .7, each with its own threshold. Many small parts raise version 2, so the mean
    number of boxes is given beside it. A map without a box counts as IoU 0.

    protocol `half-open`: heatmaps are normalised by `rule`, foreground is at or above the threshold, the largest part is that with most
    pixels, boxes are compared in the image's own pixels. `wsol`: bit for bit the wsolevaluation program. Raises `OptionError`
    for an unknown version or protocol.

    >>> heat = np.zeros((20, 20)); heat[4:10, 5:15] = 1.0
    >>> BoxAccuracy().update(heat, [Box(5, 4, 15, 10)]).compute().value
    1.0
    """

    direction: Direction = "higher"
    bounds = (0.0, 1.0)

    def __init__(
        self,
        version: Literal[1, 2] = 1,
        protocol: BoxProtocol = "half-open",
        *,
        thresholds: Sequence[float] | NDArray[np.floating] | None = None,
        deltas: Sequence[float] | None = None,
        rule: NormaliseRule = "min-max",
    ) -> None:
        if version not in _DELTAS:
            raise OptionError(f"MaxBoxAcc has versions 1 and 2; got {version}")
        if protocol not in get_args(BoxProtocol):
            raise OptionError(
                f'box protocol "{protocol}" is unknown; {nearest(str(protocol), get_args(BoxProtocol))}'
            )
        self.version, self.protocol, self.rule = version, protocol, rule
        if thresholds is None:
            thresholds = wsol_grid() if protocol == "wsol" else even_grid()
        self.thresholds = np.asarray(thresholds, np.float64)
        self.deltas = tuple(_DELTAS[version] if deltas is None else deltas)
        self._hits = np.zeros((len(self.deltas), len(self.thresholds)), np.int64)
        self._candidates = np.zeros(len(self.thresholds), np.int64)
        self._n = self._undefined = 0

    def update(
        self,
        heat: NDArray[np.floating],
        truth: Sequence[Box],
        *,
        size: tuple[int, int] | None = None,
    ) -> Self:
        """Count one image.

        `heat` is signed, (H, W) in the image's pixels, NaN where unseen, and `truth` are its boxes. With `wsol`, `heat` may have
        any grid and is brought to 224 x 224; `size` (H, W) is that of the image the boxes belong to, that of `heat` unless
        given, and the boxes' corners are used as the annotation states them.
        """
        if not truth:
            return self.update_curve(np.full(len(self.thresholds), math.nan))
        every = self.version == 2
        if self.protocol == "wsol":
            frame = size or (heat.shape[0], heat.shape[1])
            corners = [wsol_resize_box(box, frame) for box in truth]
            curve, count = wsol_curve(wsol_scoremap(heat), corners, self.thresholds, every=every)
            return self.update_curve(curve, count)
        found = sweep_boxes(normalise(heat, self.rule), self.thresholds, truth=truth)
        if every:
            return self.update_curve(found.best_iou, found.components)
        return self.update_curve(found.iou, np.minimum(found.components, 1))

    def update_curve(
        self, curve: NDArray[np.floating], candidates: NDArray[np.integer] | None = None
    ) -> Self:
        """Count one image by its IoU at each threshold (K,), NaN throughout where nothing is annotated."""
        curve = np.asarray(curve, np.float64)
        if curve.shape != self.thresholds.shape:
            raise OptionError(
                f"a curve has one IoU for each of the {len(self.thresholds)} thresholds; got {curve.shape}"
            )
        if np.isnan(curve).any():
            self._undefined += 1
            return self
        self._n += 1
        self._hits += curve >= np.array(self.deltas)[:, None]
        if candidates is not None:
            self._candidates += candidates
        return self

    def curves(self) -> Mapping[float, NDArray[np.float64]]:
        """For each delta the share of images hit at each threshold, float64 (K,); NaN before the first image."""
        n = self._n or math.nan
        return {d: hits / n for d, hits in zip(self.deltas, self._hits, strict=True)}

    def compute(self) -> BoxAccuracyScore:
        """The score so far."""
        best = tuple(
            _best(delta, hits, self._n, self.thresholds, self._candidates)
            for delta, hits in zip(self.deltas, self._hits, strict=True)
        )
        value = math.fsum(b.accuracy for b in best) / len(best)
        return BoxAccuracyScore(value, self._n, self._undefined, best)
