"""What every score has: a value with its count, and facts that say how to read it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

__all__ = ["Direction", "Mean", "Metric", "Score"]

Direction = Literal["higher", "lower"]
"""Which way is better."""


@dataclass(frozen=True)
class Score:
    """A value over `n` images for which it is defined; `undefined` were left out. NaN where n is 0."""

    value: float
    n: int
    undefined: int = 0


@dataclass(frozen=True)
class Metric:
    """A score of one image, with the facts that belong beside its number.

    Calling it calls `function`, which returns a float, NaN where undefined. `bounds` are the lowest and highest value it can
    have, `direction` says which is better, `protocol` whose definition it is.

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

    def __call__(self, *args: Any, **options: Any) -> float:
        return self.function(*args, **options)


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
