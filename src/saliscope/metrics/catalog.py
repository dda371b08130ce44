"""The scores of one image against what is annotated, by name, each with what belongs beside its number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from saliscope.boxes import Box, best_iou
from saliscope.metrics.classification import Guess, classification_error, localisation_error
from saliscope.metrics.energy import enrichment, heat_share
from saliscope.metrics.localization import gt_known, lacks_box, union_iou
from saliscope.metrics.pixels import pixel_average_precision
from saliscope.metrics.pointing import points_at
from saliscope.metrics.regions import (
    box_coverage,
    contrastivity,
    energy_in_boxes,
    enrichment_in_boxes,
    inside_outside_ratio,
    rank_accuracy,
)
from saliscope.metrics.scores import OWN, Metric

__all__ = ["CHOE", "METRICS"]

_SHARE = (0.0, 1.0)
_RATIO = (0.0, math.inf)
CHOE = "Choe et al. 2020, Evaluating Weakly Supervised Object Localization Methods Right"
_CLEVR = "Arras et al. 2022, CLEVR-XAI, section 3.3"


def _of_boxes() -> tuple[Metric, ...]:
    any_instance = "half-open boxes, the instance that fits best"
    iou = Metric(
        "iou", best_iou, "higher", _SHARE, any_instance,
        title="Intersection over union",
        family="localisation",
        formula="iou = max_m |P ∩ G_m| / |P ∪ G_m|",
        paper="Everingham et al. 2010, The Pascal Visual Object Classes Challenge",
        cannot_show="anything of the map but the box that a protocol and its threshold made of it; a box around two instances fits neither",
        undefined="nothing is annotated; a map without a box scores 0",
        needs=("map", "annotation"),
        picture="iou",
    )  # fmt: skip
    return (
        iou,
        replace(
            iou,
            name="union-iou",
            function=union_iou,
            protocol="half-open boxes, all instances as one",
            title="Intersection over union with all instances",
            formula="union-iou = |P ∩ ⋃_m G_m| / |P ∪ ⋃_m G_m|",
            paper=OWN,
            cannot_show="whether one instance was found well: instances that lie far apart cannot be fitted by one box",
            picture="union-iou",
        ),
        replace(
            iou,
            name="gt-known",
            function=gt_known,
            protocol=f"IoU >= .5, {any_instance}",
            title="Localisation with the class known",
            formula="gt-known = [iou ≥ 0.5]",
            paper=f"{CHOE}, section 3",
            cannot_show="how well a box fits: .5 and 1 are the same hit; nor whether the network knows the class",
        ),
        replace(
            iou,
            name="no-box",
            function=lacks_box,
            direction="lower",
            protocol="share of images without a box",
            title="Image without a box",
            formula="no-box = [P = ∅]",
            paper=OWN,
            cannot_show="whether the boxes of the other images are any good",
            undefined="never",
            needs=("map",),
            picture="",
        ),
    )


def _of_heat_in_boxes() -> tuple[Metric, ...]:
    score_cam = "Wang et al. 2020, section 4.3, positive heat"
    energy = Metric(
        "energy", energy_in_boxes, "higher", _SHARE, f"{score_cam}, in boxes",
        title="Energy-based pointing game",
        family="localisation",
        formula="energy = Σ_{p∈R} H⁺(p) / Σ_p H⁺(p),  H⁺ = max(H, 0)",
        paper="Wang et al. 2020, Score-CAM, section 4.3",
        cannot_show="skill on large objects: an even map scores the boxes' share of the picture, so read enrichment beside it",
        undefined="nothing is annotated, or no heat is positive",
        needs=("map", "annotation"),
        picture="energy",
    )  # fmt: skip
    return (
        energy,
        replace(
            energy,
            name="enrichment",
            function=enrichment_in_boxes,
            bounds=_RATIO,
            protocol=f"{score_cam}, over area",
            title="Enrichment in the boxes",
            formula="enrichment = energy / (|R| / n); 1 for an even map",
            paper=f"{OWN}, over the energy of Wang et al. 2020, section 4.3",
            cannot_show="much on large objects: its highest value is one over the boxes' share of the picture, so small objects rule its mean",
            undefined="as energy, or no seen pixel lies in the boxes",
        ),
        replace(
            energy,
            name="inside-outside",
            function=inside_outside_ratio,
            bounds=_RATIO,
            protocol="Grad-CAM 2017, section 8.1",
            title="Mean heat inside over outside",
            formula="inside-outside = mean_{p∈R} H⁺(p) / mean_{p∉R} H⁺(p); 1 for an even map",
            paper="Selvaraju et al. 2017, Grad-CAM, section 8.1",
            cannot_show="a stable mean: it has no upper bound, and maps with next to no heat outside rule it; read its median",
            undefined="as energy, or the region is empty or all of the picture, or no heat lies outside",
        ),
        replace(
            energy,
            name="box-coverage",
            function=box_coverage,
            protocol="Grad-CAM++ 2018, equation 26",
            title="Coverage of the boxes (Loc)",
            formula="box-coverage = |{p∈R : L(p) > δ}| / (|R| + |{p∉R : L(p) > δ}|),  L the min-max map",
            paper="Chattopadhyay et al. 2018, Grad-CAM++, equation 26",
            cannot_show="where in the box the heat is: at δ = 0 a map that is hot everywhere scores the boxes' share of the picture",
            undefined="the boxes hold no seen pixel",
            picture="box-coverage",
        ),
    )  # fmt: skip


def _of_pixels() -> tuple[Metric, ...]:
    clevr = "Arras et al. 2022, section 3.3"
    mass = Metric(
        "relevance-mass", heat_share, "higher", _SHARE, f"{clevr}, positive heat in a mask",
        title="Relevance mass accuracy",
        family="pixels",
        formula="relevance-mass = Σ_{p∈R} H⁺(p) / Σ_p H⁺(p),  R a mask",
        paper=_CLEVR,
        cannot_show="skill on large masks: an even map scores the mask's share of the picture; nor which of several parts is hot",
        undefined="no heat is positive",
        needs=("map", "mask"),
        picture="relevance-mass",
    )  # fmt: skip
    return (
        mass,
        replace(
            mass,
            name="mask-enrichment",
            function=enrichment,
            bounds=_RATIO,
            protocol=f"{clevr}, mass over area",
            title="Enrichment in a mask",
            formula="mask-enrichment = relevance-mass / (|R| / n); 1 for an even map",
            paper=f"{OWN}, over the relevance mass of {_CLEVR}",
            cannot_show="much on large masks: its highest value is one over the mask's share of the picture, so small masks rule its mean",
            undefined="no heat is positive, or no seen pixel lies in the mask",
        ),
        replace(
            mass,
            name="relevance-rank",
            function=rank_accuracy,
            protocol=f"{clevr}, expected under ties",
            title="Relevance rank accuracy",
            formula="relevance-rank = |{the K hottest pixels} ∩ R| / K,  K = |R|",
            cannot_show="how much hotter the right pixels are; a coarse map cannot follow a thin mask and will not reach 1",
            undefined="no seen pixel lies in the mask",
            picture="relevance-rank",
        ),
        replace(
            mass,
            name="pixel-ap",
            function=pixel_average_precision,
            protocol="PxAP of one image",
            title="Average precision of the pixels of one image",
            formula="pixel-ap = Σ_l Precision(τ_l) (Recall(τ_l) − Recall(τ_{l−1})),  1,001 thresholds",
            paper=f"{CHOE}, section 3.2, of one image",
            cannot_show="PxAP: its mean over images is another number; a constant map scores the mask's share of the picture, not 0",
            undefined="no seen pixel lies in the mask",
            picture="pixel-ap",
        ),
        Metric(
            "contrastivity", contrastivity, "higher", _SHARE, "Hamming distance over union of masks",
            title="Contrastivity",
            family="pixels",
            formula="contrastivity = |A ⊕ B| / |A ∪ B|,  A and B the foregrounds of two classes",
            paper="Pope et al. 2019, Explainability Methods for Graph Convolutional Neural Networks; here of pixels",
            cannot_show="whether either foreground is right: two wrong places that do not meet score 1",
            undefined="both foregrounds are empty",
            needs=("map",),
            picture="contrastivity",
        ),
    )  # fmt: skip


def _of_points() -> tuple[Metric, ...]:
    return (
        Metric(
            "pointing", points_at, "higher", _SHARE, "TorchRay: a pixel of the region is nearer than 15, strictly",
            title="Pointing game, one trial",
            family="pointing",
            formula="pointing = [min_{p∈R} ‖p − argmax H‖ < 15]; 0 for a constant map",
            paper="Zhang et al. 2018, Top-Down Neural Attention by Excitation Backprop, section 5.1",
            cannot_show="all but one pixel of the map; a point in the middle of the picture hits most large objects, so read `centre` beside it",
            undefined="nothing is annotated, or no pixel was seen",
            needs=("map", "annotation"),
            picture="pointing",
        ),
    )  # fmt: skip


def _of_classes() -> tuple[Metric, ...]:
    def located(top: int) -> Metric:
        def error(guesses: Sequence[Guess], label: int, truth: Sequence[Box]) -> float:
            """`localisation_error` with as many guesses as the name says."""
            return localisation_error(guesses, label, truth, top=top)

        return Metric(
            f"top-{top}", error, "lower", _SHARE, "ILSVRC: IoU >= .5 with any instance, and the class",
            title=f"Top-{top} localisation error",
            family="classification",
            formula=f"top-{top} = min_{{j≤{top}}} min_m max([c_j ≠ c], [IoU(P_j, G_m) < 0.5])",
            paper="Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge, section 4.2",
            cannot_show="whose fault an error is: a wrong class and a wrong box count the same, so read it beside gt-known",
            undefined="nothing is annotated",
            needs=("map", "annotation", "network"),
            picture="top",
        )  # fmt: skip

    def named(top: int) -> Metric:
        def error(guesses: Sequence[Guess], label: int) -> float:
            """`classification_error` with as many guesses as the name says."""
            return classification_error(guesses, label, top=top)

        return replace(
            located(top),
            name=f"class-error-{top}",
            function=error,
            protocol=f"ILSVRC: the class among the first {top}",
            title=f"Top-{top} classification error",
            formula=f"class-error-{top} = min_{{j≤{top}}} [c_j ≠ c]",
            cannot_show="anything about maps: it is the network's own error, the floor under the localisation error",
            undefined="never",
            needs=("annotation", "network"),
        )

    return (located(1), located(5), named(1), named(5))


def _rows() -> tuple[Metric, ...]:
    return (*_of_boxes(), *_of_heat_in_boxes(), *_of_points(), *_of_pixels(), *_of_classes())


METRICS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _rows()})
"""Scores of one image by name; `Mean` takes the mean of one. Those of a whole set are in `SET_METRICS`."""
