"""Whether the map tells the truth about the network: what is removed, kept, filled in, perturbed, covered."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from metric_drawings.material import (
    Asked,
    as_input,
    as_picture,
    critter,
    found,
    laid_over,
    overlay,
    photo,
)
from metric_drawings.panels import BLUE, CHART, GREEN, GREY, ORANGE, drawing, label, row, show
from saliscope import metrics
from saliscope.metrics.asking import ask
from saliscope.metrics.order import share_removed
from saliscope.metrics.perturbation import perturbations
from saliscope.metrics.road_curves import remove_and_debias
from saliscope.metrics.substrates import substrate

_SHOWN = (0.1, 0.3, 0.5)
_MEAN = _STD = (0.5, 0.5, 0.5)


def _heat(method: str = "grad-cam") -> Tensor:
    """A map of the steady critter at the size of the input, (1, 1, H, W)."""
    return torch.from_numpy(found(method).signed())[None, None]


def _asked() -> Asked:
    return Asked(critter().label)


def _curve(kind: Literal["deletion", "insertion", "deletion-lerf"]) -> Figure:
    figure, panels = row(1, 1, 1, 1.3, height=0.9)
    x = as_input(critter())
    heats = torch.cat([_heat(), _heat("random")])
    curves = metrics.removal_curves(_asked(), x, heats, kinds=[kind])[kind]
    ranks = metrics.removal_ranks(-_heat() if kind == "deletion-lerf" else _heat(), x)[0]
    for axes, share in zip(panels, _SHOWN, strict=False):
        gone = share_removed(ranks, share).unsqueeze(1)
        ground = substrate(x, "blur" if kind == "insertion" else "mean")
        picture = (
            torch.where(gone, x, ground) if kind == "insertion" else torch.where(gone, ground, x)
        )
        what = "coldest out" if kind == "deletion-lerf" else "hottest " + ("in" if kind == "insertion" else "out")  # fmt: skip
        show(axes, as_picture(picture[0]), f"{share:.0%} {what}")
    _area(
        panels[3], curves.fractions.numpy(), curves.scores[:, 0, 0].numpy(), curves.area[0].item()
    )
    label(panels[3], "share of pixels", "probability")
    return figure


def _area(axes: Axes, across: NDArray[np.float64], both: NDArray[np.float64], area: float) -> None:
    axes.fill_between(across, both[0], color=BLUE, alpha=0.2, lw=0)
    axes.plot(across, both[0], color=BLUE, label=f"Grad-CAM: {area:.2f}")
    axes.plot(across, both[1], color=GREY, ls="--", lw=1.2, label="random")
    axes.set(xlim=(0, 1), ylim=(0, 1.25), yticks=[0, 0.5, 1])
    axes.legend(loc="upper right", handlelength=1.3, borderpad=0, labelspacing=0.2)


@drawing
def deletion() -> Figure:
    return _curve("deletion")


@drawing
def insertion() -> Figure:
    return _curve("insertion")


@drawing
def deletion_lerf() -> Figure:
    return _curve("deletion-lerf")


def _kept() -> Tensor:
    return metrics.keep(as_input(critter()), _heat())[0]


@drawing
def kept() -> Figure:
    figure, panels = row(1, 1, 1, 1.1, height=0.9)
    scores = metrics.kept_scores(_asked(), as_input(critter()), _heat())
    before, after = scores.before.item(), scores.after.item()
    show(panels[0], photo(critter()), f"x: Y = {before:.2f}")
    show(panels[1], laid_over(found()), "L, the min-max map")
    show(panels[2], as_picture(_kept()[0]), f"L ⊙ x: O = {after:.2f}")
    panels[3].bar([0, 1], [before, after], color=[GREY, BLUE], width=0.6)
    panels[3].set(xticks=[0, 1], xticklabels=["Y", "O"], ylim=(0, 1))
    label(panels[3], f"average-drop {metrics.relative_drop(before, after):.2f}", "probability")
    return figure


@drawing
def coherency() -> Figure:
    figure, panels = row(1, 1, 1)
    again = torch.from_numpy(_map_of(_kept()))
    value = metrics.coherency(_map_of(as_input(critter())), again.numpy())
    seen = found().frame.map_to_source(again.numpy())
    show(panels[0], laid_over(found()), "map of x")
    show(panels[1], as_picture(_kept()[0]), "what it keeps")
    show(panels[2], overlay(as_picture(_kept()[0]), seen), f"its map: coherency {value:.2f}")
    return figure


def _map_of(images: Tensor) -> NDArray[np.float32]:
    from metric_drawings.material import explainer

    maps: NDArray[np.float32] = explainer("grad-cam", critter().label, "layer4")(images)[0].numpy()
    return maps


@drawing
def mean_heat() -> Figure:
    figure, panels = row(1, 1)
    heat = found().heatmap()
    scattered = np.random.default_rng(0).permutation(heat.ravel()).reshape(heat.shape)
    for axes, one, name in zip(panels, (heat, scattered), ("a map", "its pixels scattered"), strict=True):  # fmt: skip
        show(axes, overlay(photo(critter()), one), f"{name}: {metrics.mean_heat(one):.2f}")
    return figure


@drawing
def road() -> Figure:
    figure, panels = row(1, 1, 1, 1.3, height=0.9)
    x, heat = as_input(critter()), _heat()
    ranks = metrics.removal_ranks(heat, x)[0]
    for axes, share in zip(panels, _SHOWN, strict=False):
        filled = remove_and_debias(x, share_removed(ranks, share), std=_STD)
        show(axes, as_picture(filled[0]), f"{share:.0%} hottest filled in")
    scores = metrics.road(_asked(), x, heat, std=_STD)
    both = (scores.lerf[0, 0, 0].numpy(), scores.morf[0, 0, 0].numpy())
    across = scores.shares.numpy()
    panels[3].fill_between(across, *both, color=GREEN, alpha=0.15, lw=0)
    for values, colour, name in zip(both, (GREEN, ORANGE), ("coldest", "hottest"), strict=True):
        panels[3].plot(across, values, color=colour, label=f"{name} out: {values.mean():.2f}")
    panels[3].set(xlim=(0, 1), ylim=(0, 1.3), yticks=[0, 0.5, 1])
    panels[3].legend(loc="upper right", handlelength=1.3, borderpad=0, labelspacing=0.2)
    label(panels[3], "share removed", "probability")
    return figure


@drawing
def infidelity() -> Figure:
    figure, (left, right) = row(1, CHART)
    x, heat, count = as_input(critter()), _heat()[0, 0].double(), 200
    taken = torch.cat([perturbations(x, i, mean=_MEAN, std=_STD) for i in range(count)])
    products = (heat * taken.sum(1).double()).sum((1, 2)).numpy()
    answers = ask(_asked(), count + 1, lambda v, _: torch.stack([x if i == 0 else x - taken[i - 1] for i in v]))  # fmt: skip
    drops = (answers[0] - answers[1:]).flatten().numpy()
    beta = drops @ products / (products @ products)
    widest = int(np.argmax(np.abs(drops)))
    show(left, as_picture((x - taken[widest])[0]), "one square black")
    right.axline((0, 0), slope=1, color=GREY, lw=1)
    right.scatter(beta * products, drops, s=6, color=BLUE, alpha=0.6, lw=0)
    right.set(xlim=(1.2 * min(beta * products), 1.2 * max(beta * products)))
    right.set(ylim=(1.3 * min(drops), 1.1 * max(drops)))
    right.set_title(f"infidelity {metrics.infidelity(products, drops):.5f}", fontsize=8)
    label(right, "β I·Φ, what the map says", "drop of the score")
    return figure


@drawing
def occlusion_rank() -> Figure:
    figure, panels = row(1, 1, 1, 1.2, height=0.9)
    x, heat = as_input(critter()), _heat()
    drops = metrics.occlusion_drops(_asked(), x)
    value = metrics.occlusion_rank(heat, drops).item()
    pooled = torch.nn.functional.avg_pool2d(heat, 45, 15, ceil_mode=True, count_include_pad=False)
    show(panels[0], photo(critter()), "a patch of 45 pixels")
    panels[0].add_patch(Rectangle((15, 45), 45, 45, fc="#7f7f7f", ec="white"))
    show(panels[1], drops[0, 0].numpy(), "what it costs, by place")
    show(panels[2], pooled[0, 0].numpy(), "mean heat below it")
    ranks = [rankdata(t.flatten().numpy()) for t in (pooled, drops)]
    panels[3].scatter(*ranks, s=7, color=BLUE, alpha=0.7, lw=0)
    panels[3].set_title(f"ρ = {value:.2f}", fontsize=8)
    label(panels[3], "rank of the heat", "rank of the drop")
    return figure
