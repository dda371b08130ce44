"""The faithfulness scores of one image, by name, each with what belongs beside its number.

They read what the network answered; whoever asks it is in `curves`, `kept`, `road_curves`, `perturbation` and `occlusion`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from saliscope.errors import DataError
from saliscope.metrics.drop import (
    absolute_drop,
    adcc,
    coherency,
    increase,
    mean_heat,
    relative_drop,
    relative_gain,
    win,
)
from saliscope.metrics.ranks import spearman
from saliscope.metrics.scores import Metric

__all__ = ["FAITHFULNESS", "curve_area", "infidelity", "road_combined"]


def curve_area(scores: Sequence[float], fractions: Sequence[float] | None = None) -> float:
    """The area under one curve over the fractions of pixels changed, even steps from 0 to 1 unless given.

    Raises `DataError` unless each score has its fraction.

    >>> curve_area([1.0, 0.0, 0.0, 0.0, 0.0])
    0.125
    """
    heights = np.asarray(scores, np.float64)
    even = np.linspace(0, 1, len(heights))
    places = even if fractions is None else np.asarray(fractions, np.float64)
    if places.shape != heights.shape:  # numpy would stretch the shorter
        raise DataError(
            f"each score of a curve has its fraction; got {heights.shape} and {places.shape}"
        )
    return float(np.trapezoid(heights, places))


def road_combined(morf: Sequence[float], lerf: Sequence[float]) -> float:
    """ROAD in both orders: the mean over shares of (lerf - morf) / 2 of one map, in [-.5, .5] for probabilities; higher is better.

    >>> road_combined([0.25, 0.25], [0.75, 0.25])
    0.125
    """
    return _mean([cold - hot for hot, cold in zip(morf, lerf, strict=True)]) / 2


def infidelity(products: ArrayLike, drops: ArrayLike, *, scaled: bool = True) -> float:
    """The mean of (beta * I.Phi - (f(x) - f(x - I)))^2 over perturbations I of one image, 0 or more; lower is better.

    `products` (n,) are I.Phi, the map summed over each perturbation, `drops` (n,) what each costs the score. `scaled` takes the
    beta that fits best, sum(d * p) / sum(p^2), 0 where the map is orthogonal to all perturbations (p = 0): a heatmap has no
    unit, and without it a map times two has another infidelity. Otherwise beta is 1. NaN without a perturbation or where a
    number is NaN. Yeh et al., *On the (in)fidelity and sensitivity of explanations*, NeurIPS 2019, definition 2.1 and section 3.

    >>> infidelity([2.0, 4.0], [1.0, 2.0]), infidelity([2.0, 4.0], [1.0, 2.0], scaled=False)
    (0.0, 2.5)
    """
    p, d = np.asarray(products, np.float64), np.asarray(drops, np.float64)
    if p.shape != d.shape or p.ndim != 1:
        raise DataError(f"products and drops are both (n,); got {p.shape} and {d.shape}")
    if not len(p):
        return math.nan
    power = float(p @ p)
    beta = (float(d @ p) / power if power != 0 else 0.0) if scaled else 1.0
    return float(((beta * p - d) ** 2).mean())


def _mean(scores: Sequence[float]) -> float:
    return math.fsum(scores) / len(scores) if len(scores) else math.nan


_SHARE, _RATIO = (0.0, 1.0), (0.0, math.inf)
_NOT_FINITE = "the map has a value that is not finite"


def _of_curves() -> tuple[Metric, ...]:
    rise = "Petsiuk et al. 2018, section 4.1, probability of a fixed class"
    flipping = "Samek et al. 2017, pixels, probability of a fixed class"
    deletion = Metric(
        "deletion", curve_area, "lower", _SHARE, rise,
        title="Deletion",
        family="faithfulness",
        formula="deletion = Σ_k (f(x_{k−1}) + f(x_k)) / 2 · (q_k − q_{k−1}),  x_k: the share q_k of hottest pixels removed",
        paper="Petsiuk et al. 2018, RISE, section 4.1",
        cannot_show="whether the score falls for what was taken or for the strange picture that is left: a few sharp pixels may win, and "
        "numbers change tenfold with the substrate",
        undefined=_NOT_FINITE,
        needs=("map", "network"),
        picture="deletion",
    )  # fmt: skip
    return (
        deletion,
        replace(
            deletion,
            name="insertion",
            direction="higher",
            title="Insertion",
            formula="insertion = Σ_k (f(x_{k−1}) + f(x_k)) / 2 · (q_k − q_{k−1}),  x_k: the share q_k of hottest pixels over a substrate",
            cannot_show="whether the map is right in detail: broad blobs win, since whole parts are recognised sooner, and so does what "
            "a blurred picture gives away",
            picture="insertion",
        ),
        replace(
            deletion,
            name="deletion-lerf",
            direction="higher",
            protocol=f"{flipping}, coldest first",
            title="Deletion, coldest first",
            formula="deletion-lerf = Σ_k (f(x_{k−1}) + f(x_k)) / 2 · (q_k − q_{k−1}),  x_k: the share q_k of coldest pixels removed",
            paper="Samek et al. 2017, Evaluating the Visualization of What a Deep Neural Network Has Learned",
            cannot_show="what a ReLU set to zero: equals leave in a drawn order, and of a map with much of it that draw is most of the curve",
            picture="deletion-lerf",
        ),
    )


def _of_what_is_kept() -> tuple[Metric, ...]:
    grad_cam_plus = "Chattopadhyay et al. 2018, section 4.1, probability"
    drop = Metric(
        "average-drop", relative_drop, "lower", _SHARE, f"{grad_cam_plus}, a share",
        title="Average drop",
        family="faithfulness",
        formula="average-drop = max(0, Y − O) / Y,  Y the score of x, O that of L ⊙ x",
        paper="Chattopadhyay et al. 2018, Grad-CAM++, section 4.1",
        cannot_show="anything of a map that is hot everywhere: it keeps the picture and drops nothing, so read mean-heat beside it",
        undefined="the score of the picture is not positive, or the map is constant or not finite",
        needs=("map", "network"),
        picture="kept",
    )  # fmt: skip
    return (
        drop,
        replace(
            drop,
            name="increase",
            function=increase,
            direction="higher",
            protocol=grad_cam_plus,
            title="Increase of confidence",
            formula="increase = [Y < O]",
            cannot_show="by how much the score rose: equal scores are none, and a network that is certain already can hardly rise",
            undefined="the map is constant or not finite",
        ),
        replace(
            drop,
            name="win",
            function=win,
            direction="higher",
            protocol=grad_cam_plus,
            title="Win over another map",
            formula="win = [drop of this map < drop of the other]",
            cannot_show="how far two maps are apart: it is a share of duels with one other method, and both may be bad",
            undefined="either drop is undefined",
        ),
        replace(
            drop,
            name="gain",
            function=relative_gain,
            direction="higher",
            protocol="Zhang et al. 2024 (Opti-CAM), a share",
            title="Average gain",
            formula="gain = max(0, O − Y) / (1 − Y)",
            paper="Zhang et al. 2024, Opti-CAM, section 4",
            cannot_show="a loss, which counts as 0; and of a nearly certain network it divides by next to nothing",
            undefined="the score of the picture is 1 or more, or the map is constant or not finite",
        ),
        replace(
            drop,
            name="absolute-drop",
            function=absolute_drop,
            bounds=_RATIO,
            protocol="pytorch-grad-cam, unit of the score",
            title="Absolute drop",
            formula="absolute-drop = max(0, Y − O)",
            paper="pytorch-grad-cam, DropInConfidence",
            cannot_show="the same of two networks or pictures: it has the unit of the score, so large scores can drop more",
            undefined="the map is constant or not finite",
        ),
        *_of_adcc(drop),
    )


def _of_adcc(drop: Metric) -> tuple[Metric, ...]:
    poppi = "Poppi et al. 2021"
    paper = "Poppi et al. 2021, Revisiting the Evaluation of Class Activation Mapping for Explainability"
    constant = "the map is constant or not finite"
    return (
        replace(
            drop,
            name="coherency",
            function=coherency,
            direction="higher",
            protocol=f"{poppi}, equation 3",
            title="Coherency",
            formula="coherency = (r + 1) / 2,  r the correlation of M(x) and M(L ⊙ x)",
            paper=f"{paper}, equation 3",
            cannot_show="whether the map is right: one that never changes, such as `centre`, scores 1",
            undefined="either map is constant or not finite",
            picture="coherency",
        ),
        replace(
            drop,
            name="mean-heat",
            function=mean_heat,
            protocol=f"{poppi}, equation 4",
            title="Mean heat",
            formula="mean-heat = Σ_p L(p) / n,  L the min-max map",
            paper=f"{paper}, equation 4",
            cannot_show="how hard a map is to read: one spot and the same heat scattered over the picture are equal",
            undefined=constant,
            needs=("map",),
            picture="mean-heat",
        ),
        replace(
            drop,
            name="adcc",
            function=adcc,
            direction="higher",
            protocol=f"{poppi}, equation 5",
            title="Average drop, coherency and complexity in one",
            formula="adcc = 3 / (1 / coherency + 1 / (1 − mean-heat) + 1 / (1 − average-drop))",
            paper=f"{paper}, equation 5",
            cannot_show="which of the three failed; a part at 0 makes it 0",
            undefined="one of the three is undefined",
            picture="",
        ),
    )


def _of_road() -> tuple[Metric, ...]:
    rong = "Rong et al. 2022, by rank, probability of a fixed class"
    morf = Metric(
        "road-morf", _mean, "lower", _SHARE, f"{rong}, hottest removed",
        title="ROAD, most relevant first",
        family="faithfulness",
        formula="road-morf = mean_q f(x with its share q of hottest pixels removed and filled in),  q = .1, …, .9",
        paper="Rong et al. 2022, A Consistent and Efficient Evaluation Strategy for Attribution Methods, section 4.2 for the filling in",
        cannot_show="much in smooth pictures, of which filling in removes little; and smooth patches may themselves be a sign to the network",
        undefined=_NOT_FINITE,
        needs=("map", "network"),
        picture="road",
    )  # fmt: skip
    return (
        morf,
        replace(
            morf,
            name="road-lerf",
            direction="higher",
            protocol=f"{rong}, coldest removed",
            title="ROAD, least relevant first",
            formula="road-lerf = mean_q f(x with its share q of coldest pixels removed and filled in),  q = .1, …, .9",
        ),
        replace(
            morf,
            name="road-combined",
            function=road_combined,
            direction="higher",
            bounds=(-0.5, 0.5),
            protocol=f"{rong}, half of LeRF - MoRF",
            title="ROAD, both orders",
            formula="road-combined = (road-lerf − road-morf) / 2; 0 for a map that orders nothing",
            paper="Rong et al. 2022, and pytorch-grad-cam (ROADCombined) for the difference",
            cannot_show="which of the two orders it comes from, nor more than they can of smooth pictures",
        ),
    )


def _of_models() -> tuple[Metric, ...]:
    return (
        Metric(
            "infidelity", infidelity, "lower", _RATIO, "Yeh et al. 2019, best beta",
            title="Infidelity",
            family="faithfulness",
            formula="infidelity = E_I[(β I·Φ − (f(x) − f(x − I)))²],  β = E[d I·Φ] / E[(I·Φ)²],  d = f(x) − f(x − I)",
            paper="Yeh et al. 2019, On the (In)fidelity and Sensitivity of Explanations, definition 2.1",
            cannot_show="more than whether the map is a linear model of the network near the picture; its unit is that of the score squared, "
            "and it hangs on what perturbs and how much",
            undefined=_NOT_FINITE,
            needs=("map", "network"),
            picture="infidelity",
        ),
        Metric(
            "occlusion-rank", spearman, "higher", (-1.0, 1.0),
            "Selvaraju et al. 2017, section 5.3; patch 45, stride 15, mean colour",
            title="Rank correlation with an occlusion map",
            family="faithfulness",
            formula="occlusion-rank = ρ(mean of H under a patch, f(x) − f(x with the patch)),  over all places of the patch",
            paper="Selvaraju et al. 2017, Grad-CAM, section 5.3",
            cannot_show="what a patch cannot see: fine detail, and parts of which one stands in for the other",
            undefined="the map or the drops are constant, or the map is not finite",
            needs=("map", "network"),
            picture="occlusion-rank",
        ),
    )  # fmt: skip


_ROWS = (*_of_curves(), *_of_what_is_kept(), *_of_road(), *_of_models())

FAITHFULNESS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _ROWS})
"""Scores of one image by name, of what the network answered; `Mean` takes the mean of one over images."""
