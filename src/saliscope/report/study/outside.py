"""Heat outside every box, class by class: more of it than the size of the objects explains is a sign of bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saliscope.report.study.draws import FEW
from saliscope.report.study.endpoint import bounds_of
from saliscope.report.study.scores import Floats
from saliscope.report.study.together import Method, Study
from saliscope.runs.measuring import FULL_BOX
from saliscope.stats import benjamini_hochberg

__all__ = ["ClassOutside", "outside_by_class", "t_interval"]

_BINS = 10
_LEAST = 20  # images in a bin of object size


@dataclass(frozen=True)
class ClassOutside:
    """One class: its `n` images, the share of heat outside their boxes and of the picture there, and what images of such boxes have.

    `more` is `outside` − `expected` with its interval and p-value over the class's images (Student's t; NaN below five),
    `adjusted` over all classes.
    """

    name: str
    n: int
    outside: float
    low: float
    high: float
    even: float
    expected: float
    more: float
    pvalue: float
    adjusted: float

    @property
    def stands_out(self) -> bool:
        return self.adjusted <= 0.05 and self.more > 0


def outside_by_class(study: Study, method: Method) -> tuple[ClassOutside, ...]:
    """Heat outside the boxes of each class, the most unexpected first; empty where energy was not measured.

    Expected is what images whose boxes leave about as much of the picture outside have, a tenth of all images, 20 at least: the line
    through them by least squares.
    """
    energy = study.values("energy", "boxes").get(method.name)
    if energy is None or np.isnan(energy).all():
        return ()
    outside, even = 1 - energy, 1 - _shares(study)
    known = ~np.isnan(outside) & ~np.isnan(even)
    if not known.any():
        return ()
    expected = np.full(len(outside), np.nan)
    expected[known] = _expected(outside[known], even[known])
    labels = study.units["label"].to_numpy()
    names, place = np.unique(labels[known].astype(str), return_inverse=True)
    rows = [
        (str(name), *(v[known][place == i] for v in (outside, even, expected)))
        for i, name in enumerate(names)
    ]
    tests = [_against_zero(out - exp) for _, out, _, exp in rows]
    adjusted = benjamini_hochberg([p for _, p in tests])
    found = [
        ClassOutside(
            name, len(out), float(out.mean()), *t_interval(out, bounds_of("energy")), float(ev.mean()), float(exp.mean()),
            more, p, float(q),
        )
        for (name, out, ev, exp), (more, p), q in zip(rows, tests, adjusted, strict=True)
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda c: (not c.stands_out, -c.more)))


def _shares(study: Study) -> Floats:
    """How much of each picture the boxes cover, as the scores of even heat have it, else as the annotation says."""
    shares = np.asarray(study.units["share"].cast(float).to_numpy(), np.float64)
    for method in study.trivial:
        found = study.values("energy", "boxes").get(method.name)
        if method.spec == FULL_BOX and found is not None:
            shares = np.where(np.isnan(found), shares, found)
    return shares


def _expected(outside: Floats, even: Floats) -> Floats:
    count = max(1, min(_BINS, len(even) // _LEAST))
    order = np.argsort(even, kind="stable")
    bins = np.empty(len(even), np.intp)
    bins[order] = np.arange(len(even)) * count // len(even)
    size = np.bincount(bins)
    x, y = ((v - (np.bincount(bins, v) / size)[bins]) for v in (even, outside))
    spread = np.bincount(bins, x * x)
    slope = np.divide(np.bincount(bins, x * y), spread, out=np.zeros(count), where=spread > 1e-12)
    return np.clip(outside - y + slope[bins] * x, 0.0, 1.0)


def _against_zero(values: Floats) -> tuple[float, float]:
    """The mean and the two-sided p-value of Student's t test that it is 0."""
    from scipy.special import stdtr

    mean, n = float(values.mean()), len(values)
    error = float(values.std(ddof=1)) / np.sqrt(n) if n >= FEW else 0.0
    return mean, 2 * float(stdtr(n - 1, -abs(mean) / error)) if error > 0 else np.nan


def t_interval(
    values: NDArray[np.floating], bounds: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[float, float]:
    """Student's interval at 95 % of a mean, cut to the bounds of the score; NaN below five values."""
    from scipy.special import stdtrit

    n = len(values)
    if n < FEW:
        return np.nan, np.nan
    half = float(stdtrit(n - 1, 0.975)) * float(values.std(ddof=1)) / np.sqrt(n)
    mean = float(values.mean())
    return max(mean - half, bounds[0]), min(mean + half, bounds[1])
