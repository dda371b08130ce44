"""Whether the map stays when the picture hardly changes, whether it goes when the network forgets, and how far it spreads."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

import saliscope as sc
from metric_drawings.material import (
    STEADY,
    as_input,
    as_picture,
    critter,
    explainer,
    found,
    laid_over,
    network,
    overlay,
)
from metric_drawings.panels import BLUE, GREY, ORANGE, drawing, label, outline, row, show
from saliscope import metrics
from saliscope.localization import normalise
from saliscope.metrics.stability import jpeg_copies, nearby_copies
from saliscope.models import logits_of

_METHODS = ("grad-cam", "guided-backprop")
_STAGES = ("intact", "fc", "layer4", "layer3", "layer2", "layer1", "stem")
_DRAWN, _TYPICAL = (0, 1, 3, 5), 2
"""Which stages are drawn, and of which critter: its likenesses are near the means of docs/sanity.md."""


def _map_of(images: Tensor, method: str = "grad-cam") -> NDArray[np.float32]:
    layer = "layer4" if method == "grad-cam" else None
    maps: NDArray[np.float32] = explainer(method, critter().label, layer)(images)[0].numpy()
    return maps


def _seen(images: Tensor, signed: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map over the picture that the network received."""
    fine = signed.shape == images.shape[2:]
    return overlay(as_picture(images[0]), found().frame.map_to_source(signed), fine=fine)


@drawing
def sensitivity() -> Figure:
    figure, panels = row(1, 1, 1, 1, height=0.8)
    x = as_input(critter())
    copy = next(nearby_copies(x, 1, radius=0.02))
    for place, method in ((0, "grad-cam"), (2, "gradient")):
        layer = "layer4" if method == "grad-cam" else None
        moved = metrics.sensitivity(explainer(method, critter().label, layer), x).largest[0]
        show(panels[place], _seen(x, _map_of(x, method)), method)
        show(
            panels[place + 1], _seen(copy, _map_of(copy, method)), f"with noise: moved {moved:.2f}"
        )
    return figure


def _changed(copy: Tensor, what: str, value: float) -> Figure:
    figure, panels = row(1, 1)
    x = as_input(critter())
    show(panels[0], _seen(x, _map_of(x)), "the map")
    show(panels[1], _seen(copy, _map_of(copy)), f"{what}: ρ = {value:.3f}")
    return figure


@drawing
def flip() -> Figure:
    x, explain = as_input(critter()), explainer("grad-cam", critter().label, "layer4")
    return _changed(x.flip(3), "mirrored", metrics.flip_consistency(explain, x)[0])


@drawing
def shift() -> Figure:
    x, explain = as_input(critter()), explainer("grad-cam", critter().label, "layer4")
    value = metrics.shift_consistency(explain, x, (0, 32))[0]
    moved = torch.cat([x[..., :1].expand(-1, -1, -1, 32), x[..., :-32]], dim=3)
    return _changed(moved, "moved", value)


@drawing
def jpeg() -> Figure:
    x, explain = as_input(critter()), explainer("grad-cam", critter().label, "layer4")
    own = {"mean": [0.5] * 3, "std": [0.5] * 3}
    value = metrics.jpeg_consistency(explain, x, quality=75, **own)[0]
    return _changed(jpeg_copies(x, quality=75, **own), "as JPEG", value)


@drawing
def spread() -> Figure:
    figure, panels = row(1, 1, 1.5)
    both = (("grad-cam", BLUE), ("input-x-gradient", ORANGE))
    for axes, (method, colour) in zip(panels, both, strict=False):
        heat = found(method).signed()
        area = metrics.effective_area(heat)
        show(axes, laid_over(found(method)), f"{method}: area {area:.2f}")
        held = np.cumsum(np.sort(np.abs(heat).ravel()).astype(np.float64))
        part = np.linspace(0, 1, len(held))
        panels[2].plot(
            part, held / held[-1], color=colour, label=f"{method}: gini {metrics.gini(heat):.2f}"
        )
    panels[2].plot([0, 1], [0, 1], color=GREY, lw=1, ls=":", label="even: 0")
    panels[2].set(xlim=(0, 1), ylim=(0, 1))
    panels[2].legend(loc="upper left", handlelength=1.3)
    label(panels[2], "share of the pixels, coldest first", "share of the heat")
    return figure


@drawing
def heat_area() -> Figure:
    figure, panels = row(1, 1)
    for axes, method in zip(panels, ("grad-cam", "occlusion"), strict=True):
        heat = np.abs(found(method).signed())
        ordered = np.sort(heat.ravel())[::-1]
        held = np.cumsum(ordered.astype(np.float64))
        areas = []
        for share, colour in ((0.5, "white"), (0.9, "#7fd7ff")):
            outline(axes, heat >= ordered[np.searchsorted(held, share * held[-1])], colour)
            areas.append(f"{share:.0%} in {metrics.heat_area(heat, share=share):.2f}")
        show(axes, laid_over(found(method)), ", ".join(areas))
    return figure


@drawing
def lasting() -> Figure:
    figure, table = row(*[1] * len(_DRAWN), height=0.66, rows=2)
    module, x = network().module, as_input(critter(_TYPICAL))
    order = metrics.stages(module, x, read=logits_of, depth=1)
    for line, (method, panels) in enumerate(zip(_METHODS, table, strict=True)):
        maps = [_of(net, x, method) for net in metrics.randomised(module, order, seed=0)]
        for axes, place in zip(panels, _DRAWN, strict=True):
            alike = metrics.similarity(maps[0], maps[place], "spearman-abs")
            fine = "percentile" if method == "guided-backprop" else "min-max"
            show(axes, normalise(maps[place], fine), f"ρ of |M| {alike:.2f}")
            if line == 0:
                axes.set_title(
                    _STAGES[place] if place < 2 else f"… to {_STAGES[place]}", fontsize=8
                )
        panels[0].set_ylabel(method)
    return figure


def _of(net: torch.nn.Module, x: Tensor, method: str) -> NDArray[np.float32]:
    spec, layer = ("grad-cam:relu=false", "layer4") if method == "grad-cam" else (method, None)
    maps: NDArray[np.float32] = sc.attribute(net, x, critter(_TYPICAL).label, method=spec, layer=layer)[0].numpy()  # fmt: skip
    return maps


@drawing
def random_logit() -> Figure:
    figure, panels = row(1, 1, 1, 1, height=0.8)
    other = (critter().label + 9) % 24
    for place, method in ((0, "grad-cam:relu=false"), (2, "edges")):
        own, another = found(method), found(method, STEADY, target=other)
        alike = metrics.similarity(own.map, another.map, "spearman-abs")
        show(panels[place], laid_over(own), method.partition(":")[0])
        show(panels[place + 1], laid_over(another), f"of another class: {alike:.2f}")
    return figure
