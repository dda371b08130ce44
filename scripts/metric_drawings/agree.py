"""Whether two maps are alike, metrics agree on methods, and a metric can tell a map from a shuffled one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from metric_drawings.material import Asked, as_input, critter, found, laid_over
from metric_drawings.panels import (
    BLUE,
    CHART,
    GREEN,
    GREY,
    ORANGE,
    RED,
    drawing,
    label,
    row,
    shares,
    show,
)
from saliscope import metrics

_METHODS = ("grad-cam", "layer-cam", "input-x-gradient", "edges", "centre")
_COLOURS = (BLUE, GREEN, ORANGE, RED, GREY)
_SET = range(12)


@drawing
def similarity() -> Figure:
    figure, panels = row(1, 1, CHART)
    both = [found("grad-cam"), found("occlusion")]
    for axes, explanation in zip(panels, both, strict=False):
        show(axes, laid_over(explanation), explanation.method.partition(":")[0])
    one, other = (e.signed() for e in both)
    rows = [(name, metrics.similarity(one, other, name)) for name in metrics.SIMILARITY_METRICS]
    shares(panels[2], rows, "how alike")
    return figure


@drawing
def top_overlap() -> Figure:
    figure, panels = row(1, 1, 1)
    both = [found("grad-cam"), found("occlusion")]
    for axes, explanation in zip(panels, both, strict=False):
        show(axes, laid_over(explanation), explanation.method.partition(":")[0])
    one, other = (e.signed() >= np.quantile(e.signed(), 0.9) for e in both)
    pixels = np.full((*one.shape, 3), 240, np.uint8)
    pixels[one], pixels[other], pixels[one & other] = (0, 114, 178), (213, 94, 0), (0, 158, 115)
    value = metrics.top_overlap(*(e.signed() for e in both)).value
    show(panels[2], pixels, f"both / either = {value:.2f}")
    return figure


def _scores(method: str, number: int) -> list[float]:
    """What a map scores by each of the metrics below."""
    heat, sample = found(method, number).signed(), critter(number)
    curve = metrics.removal_curves(
        Asked(sample.label),
        as_input(sample),
        torch.from_numpy(heat)[None, None],
        kinds=["deletion"],
    )
    evidence = sample.masks()["evidence"]
    return [
        metrics.heat_share(heat, evidence),
        metrics.energy_in_boxes(heat, sample.boxes()),
        curve["deletion"].area.item(),
        metrics.gini(heat),
    ]


@drawing
def alpha() -> Figure:
    figure, (axes,) = row(3)
    names = ("relevance-mass", "energy", "deletion", "gini")
    table = np.array(
        [np.mean([_scores(method, number) for number in _SET], axis=0) for method in _METHODS]
    ).T
    ranks = metrics.rank_methods(table, [metrics.every_metric()[name].direction for name in names])
    for method, colour, own in zip(_METHODS, _COLOURS, ranks.T, strict=True):
        axes.plot(range(len(names)), own, "o-", color=colour)
        axes.text(len(names) - 0.9, own[-1], method, color=colour, va="center")
    axes.set(xlim=(-0.2, len(names) - 0.2), xticks=range(len(names)), xticklabels=names, ylim=(5.4, 0.6), yticks=range(1, 6))  # fmt: skip
    axes.set_title(f"alpha = {metrics.krippendorff_alpha(ranks):.2f}", fontsize=8)
    label(axes, "", "rank of the method")
    return figure


@drawing
def separation() -> Figure:
    figure, panels = row(CHART, CHART)
    for axes, name in zip(panels, ("relevance-mass", "gini"), strict=True):
        good, bad = np.array([_with_shuffled(name, number) for number in _SET]).T
        axes.plot([0, 1], [good, bad], color=GREY, lw=0.8)
        axes.plot(np.zeros(len(good)), good, "o", color=BLUE, ms=4)
        axes.plot(np.ones(len(bad)), bad, "o", color=ORANGE, ms=4)
        wins = metrics.separation(good, bad, "higher").wins
        axes.set(xlim=(-0.4, 1.4), ylim=(0, None), xticks=[0, 1], xticklabels=["map", "shuffled"])
        axes.set_title(f"{name}: separation {wins:.2f}", fontsize=8)
        label(axes, "", "score")
    return figure


def _with_shuffled(name: str, number: int) -> list[float]:
    heat, mask = found(number=number).map, critter(number).masks()["evidence"]
    mixed = np.random.default_rng(number).permutation(heat.ravel()).reshape(heat.shape)
    if name == "gini":
        return [metrics.gini(heat), metrics.gini(mixed)]
    frame = found(number=number).frame
    return [metrics.heat_share(frame.map_to_source(m), mask) for m in (heat, mixed)]


@drawing
def seed_noise() -> Figure:
    figure, panels = row(CHART + 0.4, CHART)
    tables = {
        "deletion": _over_seeds(_deletion),
        "infidelity": _over_seeds(_infidelity),
    }
    for axes, (name, table) in zip(panels, tables.items(), strict=True):
        for place, colour in enumerate(_COLOURS):
            axes.plot(
                table[:, place], np.full(len(table), place), "o", color=colour, ms=4, alpha=0.5
            )
            axes.plot(table[:, place].mean(), place, "|", color=colour, ms=14, mew=2)
        axes.set(yticks=range(len(_METHODS)), yticklabels=_METHODS if axes is panels[0] else [])
        axes.set_title(f"{name}: {metrics.seed_noise(table):.2g}", fontsize=8)
        axes.set(ylim=(len(_METHODS) - 0.5, -0.5))
        label(axes, "value, a dot a seed", "")
    return figure


def _over_seeds(score: Callable[[torch.Tensor, int], torch.Tensor]) -> NDArray[np.float64]:
    """What the methods' maps of one critter score under six seeds, (seeds, methods)."""
    heats = torch.from_numpy(np.stack([found(method).signed() for method in _METHODS]))[:, None]
    return torch.stack([score(heats, seed).flatten() for seed in range(6)]).numpy()


def _deletion(heats: torch.Tensor, seed: int) -> torch.Tensor:
    asked, x = Asked(critter().label), as_input(critter())
    return metrics.removal_curves(asked, x, heats, kinds=["deletion"], seed=seed)["deletion"].area


def _infidelity(heats: torch.Tensor, seed: int) -> torch.Tensor:
    asked, own = Asked(critter().label), {"mean": [0.5] * 3, "std": [0.5] * 3}
    return metrics.infidelity_scores(
        asked, as_input(critter()), heats, samples=100, seed=seed, **own
    )
