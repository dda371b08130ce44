"""The scores of sanity checks, by name: whether maps depend on what was learned, and on the class.

What needs torch, in `randomisation`, is imported when a score is called: the facts are read far more often.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from saliscope.metrics.scores import OWN, Metric
from saliscope.metrics.survival import lasting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from saliscope.metrics.randomisation import ClassExplainer

__all__ = ["SANITY_METRICS"]


def _mean_lasting(values: NDArray[np.floating], chance: NDArray[np.floating]) -> float:
    found = lasting(values, chance)
    defined = found[~np.isnan(found)]
    return float(defined.mean()) if len(defined) else math.nan


def _another_class(
    explain: ClassExplainer, module: nn.Module, picture: Tensor, **options: Any
) -> float:
    from saliscope.metrics.randomisation import random_logit

    found = random_logit(explain, module, picture[None], likenesses=("spearman-abs",), **options)
    return float(found.values["spearman-abs"][0])


def _learned_nonsense(
    explain: ClassExplainer, trained: nn.Module, other: nn.Module, picture: Tensor, **options: Any
) -> float:
    from saliscope.metrics.randomisation import data_randomisation

    found = data_randomisation(
        explain, trained, other, picture[None], likenesses=("spearman-abs",), **options
    )
    return float(found.values["spearman-abs"][0])


def _rows() -> tuple[Metric, ...]:
    forgetting = Metric(
        "lasting", _mean_lasting, "lower", (0.0, 1.0),
        "cascading randomisation, ranks of |M|, above chance; passes below .5",
        title="Likeness that outlives the layers",
        family="sanity",
        formula="lasting = Σ_k max(0, (s_k − c) / (1 − c)) / K,  s_k the likeness after k stages forgot, c that of two pictures",
        paper=f"Adebayo et al. 2018, Sanity Checks for Saliency Maps; the number and its limit of .5 are {OWN}",
        cannot_show="whether the map is right: passing is necessary, not sufficient, and a map of noise scores 0; the value depends on the stages",
        undefined="a map is constant or not finite at every stage, or maps of any two pictures are alike",
        needs=("map", "network"),
        picture="lasting",
        of="set",
    )  # fmt: skip
    return (
        forgetting,
        replace(
            forgetting,
            name="random-logit",
            function=_another_class,
            bounds=(-1.0, 1.0),
            protocol="another class drawn by seed and picture, ranks of |M|",
            title="Likeness to the map of another class",
            formula="random-logit = ρ(|M_c|, |M_c′|),  c′ another class",
            paper="Sixt et al. 2020, When Explanations Lie",
            cannot_show="whether the map is right; and two classes may rightly share their evidence, so compare methods, not values",
            undefined="either map is constant or not finite",
            picture="random-logit",
            of="image",
        ),
        replace(
            forgetting,
            name="data-randomisation",
            function=_learned_nonsense,
            bounds=(-1.0, 1.0),
            protocol="a network that learned permuted labels, ranks of |M|",
            title="Likeness to the map of a network that learned nonsense",
            formula="data-randomisation = ρ(|M(f)|, |M(f′)|),  f′ of the layers of f, trained on permuted labels",
            paper="Adebayo et al. 2018, Sanity Checks for Saliency Maps, the data randomisation test",
            cannot_show="whether the map is right; and two networks of other seeds that both learned the truth differ too, so compare with these",
            undefined="either map is constant or not finite",
            picture="",
            of="image",
        ),
    )


SANITY_METRICS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _rows()})
"""`lasting` takes the `values` and `chance` of one likeness of a `RandomisationCurve`, `random-logit` and `data-randomisation` what the
functions of these names do, for one picture (C, H, W)."""
