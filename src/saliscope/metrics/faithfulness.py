"""The faithfulness scores of one image, by name, each with what belongs beside its number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch

from saliscope.metrics.curves import area_under
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
from saliscope.metrics.infidelity import infidelity
from saliscope.metrics.ranks import spearman
from saliscope.metrics.road import combined
from saliscope.metrics.scores import Metric

__all__ = ["FAITHFULNESS", "curve_area"]


def curve_area(scores: Sequence[float], fractions: Sequence[float] | None = None) -> float:
    """The area under one curve over the fractions of pixels changed, even steps from 0 to 1 unless given.

    >>> curve_area([1.0, 0.0, 0.0, 0.0, 0.0])
    0.125
    """
    heights = torch.tensor(scores, dtype=torch.float64)
    if fractions is None:
        return float(area_under(heights, torch.linspace(0, 1, len(heights), dtype=torch.float64)))
    return float(area_under(heights, torch.tensor(fractions, dtype=torch.float64)))


def _rows() -> tuple[Metric, ...]:
    share, ratio = (0.0, 1.0), (0.0, math.inf)
    rise = "Petsiuk et al. 2018, section 4.1, probability of a fixed class"
    flipping = "Samek et al. 2017, pixels, probability of a fixed class"
    grad_cam_plus = "Chattopadhyay et al. 2018, section 4.1, probability"
    poppi = "Poppi et al. 2021"
    rong = "Rong et al. 2022, by rank, probability of a fixed class"
    return (
        Metric("deletion", curve_area, "lower", share, rise),
        Metric("insertion", curve_area, "higher", share, rise),
        Metric("deletion-lerf", curve_area, "higher", share, f"{flipping}, coldest first"),
        Metric("average-drop", relative_drop, "lower", share, f"{grad_cam_plus}, a share"),
        Metric("increase", increase, "higher", share, grad_cam_plus),
        Metric("win", win, "higher", share, grad_cam_plus),
        Metric("gain", relative_gain, "higher", share, "Zhang et al. 2024 (Opti-CAM), a share"),
        Metric("absolute-drop", absolute_drop, "lower", ratio, "pytorch-grad-cam, unit of the score"),
        Metric("coherency", coherency, "higher", share, f"{poppi}, equation 3"),
        Metric("mean-heat", mean_heat, "lower", share, f"{poppi}, equation 4"),
        Metric("adcc", adcc, "higher", share, f"{poppi}, equation 5"),
        Metric("road-morf", _mean, "lower", share, f"{rong}, hottest removed"),
        Metric("road-lerf", _mean, "higher", share, f"{rong}, coldest removed"),
        Metric("road-combined", combined, "higher", (-0.5, 0.5), f"{rong}, half of LeRF - MoRF"),
        Metric("infidelity", infidelity, "lower", ratio, "Yeh et al. 2019, best beta"),
        Metric(
            "occlusion-rank", spearman, "higher", (-1.0, 1.0),
            "Selvaraju et al. 2017, section 5.3; patch 45, stride 15, mean colour",
        ),
    )  # fmt: skip


def _mean(scores: Sequence[float]) -> float:
    return math.fsum(scores) / len(scores) if len(scores) else math.nan


FAITHFULNESS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _rows()})
"""Scores of one image by name, of what the network answered; `Mean` takes the mean of one over images."""
