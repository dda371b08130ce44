"""How spread out a map is: sparseness, entropy, and how much of the picture holds the heat.

None of these knows the picture or the network. A map of one wrong pixel is as sparse as can be, so they belong beside a
score of faithfulness or place, never alone. All change with the resolution: give the map on its own grid and the heatmap
of the picture, and say which number is which.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from saliscope.errors import DataError, OptionError, nearest
from saliscope.metrics.arrays import numbers
from saliscope.metrics.scores import OWN, Metric

__all__ = [
    "COMPLEXITY_METRICS",
    "HeatPart",
    "complexity_scores",
    "effective_area",
    "entropy",
    "gini",
    "heat_area",
    "normalised_entropy",
]

HeatPart = Literal["absolute", "positive"]
"""What counts as heat: `absolute` is |M|, against a class as much as for it; `positive` is max(M, 0)."""


def gini(
    heat: NDArray[np.floating],
    *,
    part: HeatPart = "absolute",
    seen: NDArray[np.bool_] | None = None,
) -> float:
    """Sparseness of a map: the Gini index of its heat, 0 where it is even, (n - 1) / n for a single cell of n.

    With the heat a_1 <= ... <= a_n ascending, `sum_i (2i - n - 1) a_i / (n sum a)` (Hurley and Rickard 2009; of
    explanations Chalasani et al. 2020). No epsilon: a factor changes nothing.

    `heat` is (h, w), signed, `part` says what of it counts, `seen` (h, w) leaves out pixels that a crop never saw. NaN
    where no heat is left, or a value that counts is not finite. Raises `DataError` for another shape.

    >>> gini(np.array([[1.0, 2.0], [3.0, 4.0]]))
    0.25
    """
    values = _heat(heat, part, seen)
    if values is None:
        return math.nan
    return _sparseness(np.sort(values))


def _sparseness(ascending: NDArray[np.float64]) -> float:
    n = len(ascending)
    weights = 2.0 * np.arange(1, n + 1) - n - 1
    return float((weights * ascending).sum() / (n * ascending.sum()))


def entropy(
    heat: NDArray[np.floating],
    *,
    part: HeatPart = "absolute",
    seen: NDArray[np.bool_] | None = None,
) -> float:
    """Complexity of a map: the entropy of its heat as a distribution, in nats; 0 for a single cell, ln n where even.

    `-sum_i p_i ln p_i` with `p = a / sum a` and 0 ln 0 = 0 (Bhatt, Weller, Moura 2020, complexity). `part`, `seen`,
    NaN and `DataError` as in `gini`. Grids of different size have different maxima: compare `normalised_entropy`.
    """
    values = _heat(heat, part, seen)
    return math.nan if values is None else _nats(np.sort(values))


def normalised_entropy(
    heat: NDArray[np.floating],
    *,
    part: HeatPart = "absolute",
    seen: NDArray[np.bool_] | None = None,
) -> float:
    """`entropy` over its maximum ln n, in [0, 1]: comparable between grids. NaN as there, and for a single cell."""
    values = _heat(heat, part, seen)
    if values is None or len(values) < 2:
        return math.nan
    return _nats(np.sort(values)) / math.log(len(values))


def effective_area(
    heat: NDArray[np.floating],
    *,
    part: HeatPart = "absolute",
    seen: NDArray[np.bool_] | None = None,
) -> float:
    """The share of the picture that an even map of the same entropy would cover, `exp(entropy) / n`, in [1/n, 1].

    The perplexity of the heat as an area: m equally hot cells of n and nothing elsewhere give m / n. NaN as in `gini`.
    """
    values = _heat(heat, part, seen)
    return math.nan if values is None else min(math.exp(_nats(np.sort(values))) / len(values), 1.0)


def heat_area(
    heat: NDArray[np.floating],
    *,
    share: float = 0.5,
    part: HeatPart = "absolute",
    seen: NDArray[np.bool_] | None = None,
) -> float:
    """The smallest part of the picture that holds a `share` of the heat, in (0, share]; `share` itself where it is even.

    The hottest cells in turn, the last of them in part, as far as it is needed: a grid and the same grid with every cell
    cut in four have the same area. Ties need no rule, since equals hold the same heat. NaN as in `gini`; raises
    `OptionError` for a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise OptionError(f"share is a share of the heat, in (0, 1], e.g. 0.5; got {share}")
    values = _heat(heat, part, seen)
    if values is None:
        return math.nan
    return _area_holding(np.sort(values), share)


def _area_holding(ascending: NDArray[np.float64], share: float) -> float:
    held = np.cumsum(ascending[::-1])
    wanted = share * held[-1]
    last = int(np.searchsorted(held, wanted))
    before = float(held[last - 1]) if last else 0.0
    within = (wanted - before) / (held[last] - before)
    return float((last + within) / len(ascending))


def complexity_scores(
    heat: NDArray[np.floating],
    *,
    part: HeatPart = "absolute",
    seen: NDArray[np.bool_] | None = None,
) -> dict[str, float]:
    """All of `COMPLEXITY_METRICS` of one map by name, for little more than one of them: its values are sorted once.

    The arguments, NaN and `DataError` are those of `gini`.
    """
    values = _heat(heat, part, seen)
    if values is None:
        return dict.fromkeys(COMPLEXITY_METRICS, math.nan)
    ascending = np.sort(values)
    n, nats = len(values), _nats(ascending)
    return {
        "gini": _sparseness(ascending),
        "entropy": nats,
        "normalised-entropy": nats / math.log(n) if n > 1 else math.nan,
        "effective-area": min(math.exp(nats) / n, 1.0),
        "heat-area-50": _area_holding(ascending, 0.5),
        "heat-area-90": _area_holding(ascending, 0.9),
    }


def _heat(
    heat: NDArray[np.floating], part: HeatPart, seen: NDArray[np.bool_] | None
) -> NDArray[np.float64] | None:
    """The heat that counts, flat, float64, the hottest 1; None where there is none or it is not finite."""
    if part not in get_args(HeatPart):
        raise OptionError(
            f'part "{part}" of a map is unknown; {nearest(str(part), get_args(HeatPart))}'
        )
    heat = numbers(heat)
    if heat.ndim != 2:
        raise DataError(f"a heatmap has shape (H, W); got {heat.shape}: give one map at a time")
    if seen is not None and seen.shape != heat.shape:
        raise DataError(
            f"the heatmap is {heat.shape} and the seen pixels {seen.shape}; both have the shape (H, W) of the map"
        )
    values = heat.ravel() if seen is None else heat[seen]
    if not len(values) or not np.isfinite(values).all():
        return None
    values = np.abs(values) if part == "absolute" else np.clip(values, 0, None)
    hottest = values.max()
    return values / hottest if hottest > 0 else None


def _nats(ascending: NDArray[np.float64]) -> float:
    """The entropy of values in order: summed in the order of the cells, a shuffled map would have another in the last digit."""
    p = ascending[ascending > 0] / ascending.sum()
    # Rounding must not leave the bounds, nor a single cell have -0.
    return min(max(0.0, -float((p * np.log(p)).sum())), math.log(len(ascending)))


def _rows() -> tuple[Metric, ...]:
    even = "no epsilon, |heat|"
    bhatt = "Bhatt et al. 2020, complexity"
    sparse = Metric(
        "gini", gini, "higher", (0.0, 1.0), f"Chalasani et al. 2020, {even}",
        title="Sparseness (Gini index)",
        family="complexity",
        formula="gini = Σ_i (2i − n − 1) a_(i) / (n Σ a),  a = |M| ascending",
        paper="Hurley and Rickard 2009, Comparing Measures of Sparsity; of explanations Chalasani et al. 2020",
        cannot_show="where the heat is: one wrong pixel is as sparse as can be; and it changes with the resolution",
        undefined="the map is zero, or has a value that is not finite",
        needs=("map",),
        picture="spread",
    )  # fmt: skip
    nats = replace(
        sparse,
        name="entropy",
        function=entropy,
        direction="lower",
        bounds=(0.0, math.inf),
        protocol=f"{bhatt}, nats, {even}",
        title="Entropy (complexity)",
        formula="entropy = −Σ_i p_i ln p_i,  p = |M| / Σ |M|",
        paper="Bhatt et al. 2020, Evaluating and Aggregating Feature-based Model Explanations",
        cannot_show="where the heat is; and its highest value, ln n, belongs to the grid: never compare grids by it",
    )
    area = replace(
        nats,
        name="effective-area",
        function=effective_area,
        bounds=(0.0, 1.0),
        protocol="exp(entropy) / n, |heat|",
        title="Effective area",
        formula="effective-area = e^entropy / n",
        paper=f"{OWN}: the perplexity of Bhatt's entropy as a share of the picture",
        cannot_show="where the heat is: a small area in the wrong place is small all the same",
    )
    half = replace(
        area,
        name="heat-area-50",
        function=_half,
        bounds=(0.0, 0.5),
        protocol="least area with 50 % of |heat|",
        title="Least area with half of the heat",
        formula="heat-area-50 = min |A| / n over A with Σ_{p∈A} |M(p)| ≥ 0.5 Σ_p |M(p)|, the last cell in part",
        paper=OWN,
        cannot_show="where the heat is, nor whether the cells lie together",
        picture="heat-area",
    )
    return (
        sparse,
        nats,
        replace(
            nats,
            name="normalised-entropy",
            function=normalised_entropy,
            bounds=(0.0, 1.0),
            protocol=f"{bhatt}, over ln n",
            title="Entropy over its maximum",
            formula="normalised-entropy = entropy / ln n",
            cannot_show="where the heat is; and a smooth enlargement of a map still has another value than the map",
            undefined=f"{nats.undefined}, or has a single cell",
        ),
        area,
        half,
        replace(
            half,
            name="heat-area-90",
            function=_most,
            bounds=(0.0, 0.9),
            protocol="least area with 90 % of |heat|",
            title="Least area with nine tenths of the heat",
            formula="heat-area-90 = min |A| / n over A with Σ_{p∈A} |M(p)| ≥ 0.9 Σ_p |M(p)|, the last cell in part",
        ),
    )


def _half(
    heat: NDArray[np.floating],
    *,
    part: HeatPart = "absolute",
    seen: NDArray[np.bool_] | None = None,
) -> float:
    return heat_area(heat, share=0.5, part=part, seen=seen)


def _most(
    heat: NDArray[np.floating],
    *,
    part: HeatPart = "absolute",
    seen: NDArray[np.bool_] | None = None,
) -> float:
    return heat_area(heat, share=0.9, part=part, seen=seen)


COMPLEXITY_METRICS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _rows()})
"""Scores of how spread out one map is. The direction is the one the papers prefer: it says nothing about truth."""
