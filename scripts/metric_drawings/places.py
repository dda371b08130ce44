"""Where the heat is: boxes, points, masks, classes, and what is known of critters."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from metric_drawings.material import STEADY, critter, found, laid_over, network, overlay, photo
from metric_drawings.panels import (
    BLUE,
    CHART,
    GREEN,
    GREY,
    ORANGE,
    RED,
    drawing,
    frame,
    label,
    outline,
    point,
    row,
    shares,
    show,
)
from saliscope import explain, metrics
from saliscope.boxes import best_iou
from saliscope.localization import find_region, normalise

_PROTOCOL = "cam2016:threshold=0.4"
_SET = range(24)
_OF_DELTA = {0.3: BLUE, 0.5: GREEN, 0.7: ORANGE}


@drawing
def iou() -> Figure:
    figure, (left, right) = row(1, 1)
    explanation = found()
    box, truth = explanation.box(_PROTOCOL), critter().boxes()[0]
    show(left, laid_over(explanation), "found P, annotated G")
    show(right, np.full((160, 160, 3), 255, np.uint8), f"|P ∩ G| / |P ∪ G| = {best_iou(box, [truth]):.2f}")  # fmt: skip
    for axes in (left, right):
        frame(axes, truth, RED)
        frame(axes, box, BLUE)
    for one in (box, truth):
        right.add_patch(Rectangle((one.x0, one.y0), one.x1 - one.x0, one.y1 - one.y0, fc=GREY, alpha=0.35))  # fmt: skip
    return figure


@drawing
def union_iou() -> Figure:
    figure, (left, right) = row(1, 1)
    truth, pixels = critter(2, "pair").boxes(), photo(critter(2, "pair"))
    explanation = found("eigen-cam", 2, "pair")
    box = explanation.box("cam2016:threshold=0.3")
    show(left, laid_over(explanation), f"iou {best_iou(box, truth):.2f}: fits neither")
    show(right, pixels, f"union-iou {metrics.union_iou(box, truth):.2f}: fits both")
    for axes in (left, right):
        frame(axes, box, BLUE)
        for one in truth:
            frame(axes, one, RED)
    return figure


@drawing
def energy() -> Figure:
    figure, (left, right) = row(1, CHART)
    explanation, truth = found(), critter().boxes()
    show(left, laid_over(explanation), "heat, annotated box R")
    frame(left, truth[0], RED)
    share = metrics.energy_in_boxes(explanation.signed(), truth)
    area = float(metrics.box_region(truth, (160, 160)).mean())
    shares(right, [("of the heat", share), ("of the area", area)], f"share in R: enrichment {share / area:.2f}")  # fmt: skip
    return figure


@drawing
def box_coverage() -> Figure:
    figure, (left, right) = row(1, 1)
    explanation, truth = found(), critter().boxes()
    above = explanation.heatmap() > 0.25
    inside = metrics.box_region(truth, above.shape)
    pixels = np.full((*above.shape, 3), 255, np.uint8)
    pixels[inside] = (215, 215, 220)
    pixels[inside & above] = (0, 158, 115)
    pixels[~inside & above] = (213, 94, 0)
    value = metrics.box_coverage(explanation.signed(), truth, threshold=0.25)
    show(left, laid_over(explanation), "heat")
    show(right, pixels, f"green / (box + orange) = {value:.2f}")
    frame(left, truth[0], RED)
    frame(right, truth[0], RED)
    return figure


@drawing
def max_box_acc() -> Figure:
    figure, both = row(CHART, CHART)
    for axes, version, title in zip(both, (1, 2), ("largest part", "best of all parts"), strict=True):  # fmt: skip
        score = metrics.BoxAccuracy(version)  # type: ignore[arg-type]
        for number in _SET:
            score.update(found(number=number).signed(), critter(number).boxes())
        for place, (delta, curve) in enumerate(score.curves().items()):
            best, colour = score.compute().best[place], _OF_DELTA[delta]
            axes.plot(score.thresholds, curve, color=colour, label=f"IoU ≥ {delta:g}")
            axes.plot(best.threshold, best.accuracy, "o", color=colour, ms=5)
        axes.set(
            ylim=(0, 1.35),
            yticks=[0, 0.5, 1],
            xlim=(0, 1),
            title=f"{title}: {score.compute().value:.2f}",
        )
        axes.title.set_fontsize(8)
        axes.legend(loc="upper right", handlelength=1.2)
        label(axes, "threshold τ", f"share of {len(_SET)} images" if version == 1 else "")
    return figure


@drawing
def pointing() -> Figure:
    figure, panels = row(1, 1)
    for axes, method in zip(panels, ("grad-cam", "centre"), strict=True):
        explanation, truth = found(method, 10), critter(10).boxes()
        value = metrics.points_at(explanation.signed(), truth)
        show(axes, laid_over(explanation), f"{method}: {'a hit' if value else 'a miss'}")
        frame(axes, truth[0], RED)
        point(axes, metrics.hottest_point(explanation.signed()), GREEN if value else ORANGE, radius=15)  # fmt: skip
    return figure


@drawing
def relevance_mass() -> Figure:
    figure, (left, right) = row(1, CHART)
    explanation, mask = found(), critter().masks()["evidence"]
    show(left, laid_over(explanation), "heat, evidence")
    outline(left, mask)
    share, area = metrics.heat_share(explanation.signed(), mask), float(mask.mean())
    shares(right, [("of the heat", share), ("of the area", area)], f"share in the mask: {share / area:.1f} times its area")  # fmt: skip
    return figure


@drawing
def relevance_rank() -> Figure:
    figure, (left, right) = row(1, 1)
    explanation, mask = found(), critter().masks()["evidence"]
    heat = explanation.signed()
    hottest = heat >= np.sort(heat.ravel())[-int(mask.sum())]
    pixels = np.full((*mask.shape, 3), 255, np.uint8)
    pixels[mask] = (215, 215, 220)
    pixels[hottest & mask] = (0, 158, 115)
    pixels[hottest & ~mask] = (213, 94, 0)
    show(left, laid_over(explanation), "heat, mask of K pixels")
    outline(left, mask)
    show(right, pixels, f"of the K hottest, green: {metrics.rank_accuracy(heat, mask):.2f}")
    outline(right, mask, GREY)
    return figure


@drawing
def pixel_ap() -> Figure:
    figure, (left, right) = row(1, CHART)
    explanation, mask = found("layer-cam", 11), critter(11).masks()["body"]
    inside, outside = metrics.pixel_histogram(explanation.heatmap(), mask)
    true, false = np.cumsum(inside[::-1]), np.cumsum(outside[::-1])
    recall, precision = true / true[-1], true / np.maximum(true + false, 1)
    show(left, laid_over(explanation), "heat, animal")
    outline(left, mask)
    right.fill_between(recall, precision, color=BLUE, alpha=0.2, lw=0)
    right.plot(recall, precision, color=BLUE)
    right.axhline(mask.mean(), color=GREY, lw=1, ls=":")
    right.text(0.02, mask.mean() + 0.03, "a constant map", color=GREY)
    value = metrics.pixel_average_precision(explanation.heatmap(), mask)
    right.text(0.3, 0.48, f"area {value:.2f}", color=BLUE)
    right.set(xlim=(0, 1), ylim=(0, 1.04))
    label(right, "recall", "precision")
    return figure


@drawing
def contrastivity() -> Figure:
    figure, panels = row(1, 1, 1)
    sample = critter(0, "pair")
    classes = [network().labels.index(r.label) for r in sample.regions[:2]]
    both = [found("grad-cam", 0, "pair", target=c) for c in classes]
    masks = [find_region(e.signed(), "cam2016:threshold=0.3").mask for e in both]
    for axes, explanation, name in zip(panels, both, "AB", strict=False):
        show(axes, laid_over(explanation), f"class {name}")
    pixels = np.full((160, 160, 3), 255, np.uint8)
    pixels[masks[0]], pixels[masks[1]] = (0, 114, 178), (213, 94, 0)
    pixels[masks[0] & masks[1]] = (70, 70, 75)
    show(panels[2], pixels, f"only one / either = {metrics.contrastivity(*masks):.2f}")
    return figure


@drawing
def top() -> Figure:
    figure, (left, right) = row(1, CHART)
    sample = critter(0, "pair")
    explanation, truth = found("grad-cam", 0, "pair"), sample.boxes()[:1]
    box = explanation.box(_PROTOCOL)
    show(left, laid_over(explanation), f"its box: IoU {best_iou(box, truth):.2f}")
    frame(left, truth[0], RED)
    frame(left, box, BLUE)
    answered = _probabilities(0, "pair")
    order = np.argsort(-answered)[:5]
    colours = [GREEN if c == sample.label else "#c9c9cf" for c in order]
    right.barh(range(5), answered[order], color=colours, height=0.65)
    right.set(yticks=range(5), yticklabels=[network().labels[c] for c in order])
    right.invert_yaxis()
    right.tick_params(axis="y", length=0)
    label(right, "probability; green: the class", "")
    return figure


def _probabilities(number: int, variant: str) -> np.ndarray:
    import torch

    from metric_drawings.material import as_input

    with torch.no_grad():
        return network().module(as_input(critter(number, variant))).softmax(1)[0].numpy()


@drawing
def twin() -> Figure:
    figure, panels = row(1, 1, 1, 1, height=0.8)
    sample = critter()
    part = sample.masks()["twin"]
    own, other = (found("grad-cam:relu=false", target=c) for c in (sample.label, sample.label ^ 1))
    contrast = metrics.contrast(own.signed(), other.signed())
    share = metrics.twin_share(own.signed(), other.signed(), part)
    names = ["M of its breed", "M of its twin"]
    show(panels[0], photo(sample), "outlined: what differs")
    for axes, one, name in zip(panels[1:], (own, other), names, strict=False):
        show(axes, overlay(photo(sample), one.signed()), name)
    show(panels[3], overlay(photo(sample), np.maximum(contrast, 0)), f"contrast: {share:.2f} on it")
    for axes in panels:
        outline(axes, part)
    return figure


@drawing
def cue() -> Figure:
    figure, panels = row(1, 1, 1)
    sample = critter(0, "cue")
    tag = sample.masks()["tag"]
    show(panels[0], photo(sample), "a tag in the corner")
    for axes, name in zip(panels[1:], ("critternet", "critternet-cue"), strict=True):
        explanation = explain(network(name), sample.photo(), method="grad-cam")  # as it predicts
        show(
            axes,
            laid_over(explanation),
            f"{name}: {metrics.cue_heat(explanation.signed(), tag):.2f}",
        )
        outline(axes, tag)
    return figure


@drawing
def pointing_mask() -> Figure:
    figure, panels = row(1, 1)
    for axes, method in zip(panels, ("input-x-gradient", "grad-cam"), strict=True):
        explanation, mask = found(method), critter(STEADY).masks()["evidence"]
        value = metrics.mask_pointing(explanation.signed(), mask)
        show(axes, laid_over(explanation), f"{method}: {'in' if value else 'beside'} the mask")
        outline(axes, mask)
        point(axes, metrics.hottest_point(normalise(explanation.signed())), GREEN if value else ORANGE)  # fmt: skip
    return figure
