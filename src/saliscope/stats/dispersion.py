"""How scores vary from class to class, and the mean that gives each class the same say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from saliscope.stats.bootstrap import mean_interval
from saliscope.stats.interval import Floats, Interval, Labels, read_labels, read_values
from saliscope.stats.resampling import resample

__all__ = ["ClassMean", "Dispersion", "by_class"]


@dataclass(frozen=True)
class ClassMean:
    """A class: its mean score and standard deviation over `n` images; NaN and n 0 where all are `undefined`."""

    name: str
    mean: float
    sd: float
    n: int
    undefined: int


@dataclass(frozen=True)
class Dispersion:
    """Scores by class. `micro` is the mean over images, `macro` the mean over the classes that have a defined score.

    `spread` is the standard deviation of the class means (n − 1), `excess` what remains of it without the scatter that so
    few images a class would show if all classes were equal; both NaN below two classes, `excess` also where no class has two images.
    """

    classes: tuple[ClassMean, ...]
    micro: Interval
    macro: Interval
    spread: float
    excess: float

    def worst(self, count: int = 5) -> tuple[ClassMean, ...]:
        """The `count` classes of lowest mean, lowest first; equals by name."""
        return tuple(sorted(self._defined(), key=lambda c: (c.mean, c.name))[:count])

    def best(self, count: int = 5) -> tuple[ClassMean, ...]:
        """The `count` classes of highest mean, highest first; equals by name."""
        return tuple(sorted(self._defined(), key=lambda c: (-c.mean, c.name))[:count])

    def _defined(self) -> list[ClassMean]:
        return [c for c in self.classes if c.n]


def by_class(
    values: ArrayLike,
    classes: Labels,
    *,
    by: Literal["percentile", "bca"] = "percentile",
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
) -> Dispersion:
    """Means by class, their spread, and macro and micro means with intervals that draw images within classes.

    `values` (images,), NaN undefined; `classes` one label an image. `excess`² = max(0, var(class means) − mean(s_c² / n_c)), the
    unweighted variance-component estimate (Hedges and Olkin 1985), over classes of two images or more. A
    class with one image adds nothing to the intervals' width: it cannot be drawn differently. Errors as in `mean_interval`.

    >>> found = by_class([0.9, 0.7, 0.1], ["cat", "cat", "dog"])
    >>> round(found.macro.estimate, 3), round(found.micro.estimate, 3), found.worst(1)[0].name
    (0.45, 0.567, 'dog')
    """
    given = read_values(values)
    names, place = read_labels(classes, len(given), what="classes")
    rows = tuple(_class_mean(str(name), given[place == i]) for i, name in enumerate(names))
    micro = mean_interval(given, strata=place, by=by, level=level, replicates=replicates, seed=seed)
    defined = ~np.isnan(given)
    macro = _macro(given[defined], place[defined], by, level, replicates, seed)
    macro = Interval(
        macro.estimate, macro.low, macro.high, micro.n, micro.undefined, level, macro.by
    )
    return Dispersion(rows, micro, macro, *_spread(rows))


def _class_mean(name: str, values: Floats) -> ClassMean:
    own = values[~np.isnan(values)]
    mean = float(own.mean()) if len(own) else math.nan
    sd = float(own.std(ddof=1)) if len(own) > 1 else math.nan
    return ClassMean(name, mean, sd, len(own), len(values) - len(own))


def _macro(
    values: Floats,
    place: NDArray[np.intp],
    by: Literal["percentile", "bca"],
    level: float,
    replicates: int,
    seed: int,
) -> Interval:
    if not len(values):
        return Interval(math.nan, math.nan, math.nan, 0, 0, level, by)
    # Class sizes never change within strata, so the macro mean is one weighted sum.
    size = np.bincount(place)
    weight = 1 / (size[place] * np.count_nonzero(size))
    origin = values[0]
    (found,) = resample(
        ((values - origin) * weight)[:, None],
        lambda sums: origin + sums,
        strata=place,
        replicates=replicates,
        seed=seed,
        by=by,
    )
    return found.interval(level=level, by=by)


def _spread(rows: tuple[ClassMean, ...]) -> tuple[float, float]:
    means = [c.mean for c in rows if c.n]
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else math.nan
    several = [c for c in rows if c.n > 1]
    if len(several) < 2:
        return spread, math.nan
    chance = float(np.mean([c.sd**2 / c.n for c in several]))
    between = float(np.var([c.mean for c in several], ddof=1))
    return spread, math.sqrt(max(0.0, between - chance))
