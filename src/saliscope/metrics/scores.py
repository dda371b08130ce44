"""What every score has: a value with its count, and facts that say how to read it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, Self, SupportsIndex

__all__ = ["OWN", "Direction", "Family", "Mean", "Metric", "Need", "Score"]

OWN = "saliscope's own"
"""The paper of a metric that has none."""

Direction = Literal["higher", "lower"]
"""Which way is better."""

Family = Literal[
    "localisation", "pointing", "pixels", "classification", "faithfulness", "robustness",
    "complexity", "sanity", "agreement", "evidence",
]  # fmt: skip
"""What a score asks: where the heat is (the first four), whether it is true, whether it stays, how spread out it is, whether
it depends on what was learned, whether there is one opinion, and whether it lies on what is known to make the class."""

Need = Literal["map", "annotation", "mask", "network", "scores"]
"""What has to be there: a map, annotated boxes or the class, the pixels of a thing, the network (asked again, or what it
answered), or scores of other metrics."""


@dataclass(frozen=True)
class Score:
    """A value over `n` images for which it is defined; `undefined` were left out. NaN where n is 0."""

    value: float
    n: int
    undefined: int = 0


@dataclass(frozen=True)
class Metric:
    """A score with the facts that belong beside its number.

    Calling it calls `function`, which returns a float, NaN where undefined. `bounds` are the lowest and highest value it can
    have, `direction` says which is better, `protocol` whose definition it is. `of` one image or pair of maps, or of a whole `set`,
    whose mean is another number.

    The facts in words, none with a full stop: `title`, `formula` (one line), `paper` (with section or equation), `cannot_show` (its
    known trap), `undefined` (when it is NaN). `picture` names the drawing on the page of the documentation, which metrics may
    share; "" where none would help.

    >>> from saliscope.boxes import Box
    >>> from saliscope.metrics import METRICS
    >>> METRICS["iou"](Box(0, 0, 10, 5), [Box(0, 0, 10, 10)])
    0.5
    """

    name: str
    function: Callable[..., float]
    direction: Direction
    bounds: tuple[float, float]
    protocol: str
    _: KW_ONLY
    title: str
    family: Family
    formula: str
    paper: str
    cannot_show: str
    undefined: str
    needs: tuple[Need, ...]
    picture: str = ""
    of: Literal["image", "set"] = "image"

    def __call__(self, *args: Any, **options: Any) -> float:
        return self.function(*args, **options)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """One of the library's own travels as its name: its function may be a closure, which does not pickle."""
        from saliscope.metrics.every import every_metric, metric_named

        if every_metric().get(self.name) is self:
            return metric_named, (self.name,)
        return super().__reduce_ex__(protocol)


class Mean:
    """The mean of a metric over images: `Mean(METRICS["iou"]).update(box, truth).compute()`.

    `direction`, `bounds` and `protocol` are those of the metric. Images for which it is undefined (NaN) are left out and
    counted.
    """

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.direction: Direction = metric.direction
        self.bounds = metric.bounds
        self.protocol = metric.protocol
        self._values: list[float] = []
        self._undefined = 0

    def update(self, *args: Any, **options: Any) -> Self:
        """Score one image, with the arguments of the metric."""
        value = float(self.metric(*args, **options))
        if math.isnan(value):
            self._undefined += 1
        else:
            self._values.append(value)
        return self

    def compute(self) -> Score:
        """The mean so far; the sum is exact, so the order of the images does not matter."""
        count = len(self._values)
        value = math.fsum(self._values) / count if count else math.nan
        return Score(value, count, self._undefined)
