"""The scores of a whole set of images, by name: what cannot be had as the mean of a score of one image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Protocol, Self

from saliscope.metrics.box_accuracy import BoxAccuracy
from saliscope.metrics.catalog import CHOE, METRICS
from saliscope.metrics.pixels import PixelAP
from saliscope.metrics.pointing import PointingGame
from saliscope.metrics.scores import Metric

__all__ = ["SET_METRICS"]


class _Accumulator(Protocol):
    def update(self, *args: Any, **options: Any) -> Self: ...

    def compute(self) -> Any: ...


def _over(
    start: Callable[[], _Accumulator], read: Callable[[Any], float] = lambda found: found.value
) -> Callable[..., float]:
    """A function of images, each a mapping of the arguments that `update` of the accumulator takes."""

    def score(images: Iterable[Mapping[str, Any]]) -> float:
        total = start()
        for image in images:
            total.update(**image)
        return float(read(total.compute()))

    return score


def _rows() -> tuple[Metric, ...]:
    fits = replace(
        METRICS["gt-known"],
        name="max-box-acc",
        function=_over(BoxAccuracy),
        protocol="half-open boxes, largest part, IoU >= .5",
        title="MaxBoxAcc",
        formula="max-box-acc = max_τ Σ_i [IoU(P_i(τ), G_i) ≥ 0.5] / N,  one τ for all images",
        paper=f"{CHOE}, sections 3.2 and 4.1",
        cannot_show="what a threshold chosen beforehand would give: τ looks at the answers, so it is an oracle",
        undefined="no image is annotated",
        picture="max-box-acc",
        of="set",
    )
    return (
        fits,
        replace(
            fits,
            name="max-box-acc-v2",
            function=_over(lambda: BoxAccuracy(2)),
            protocol="half-open boxes, all parts, mean over IoU >= .3, .5, .7",
            title="MaxBoxAccV2",
            formula="max-box-acc-v2 = ⅓ Σ_{δ∈{.3,.5,.7}} max_τ Σ_i [max_{P∈𝒫_i(τ)} IoU(P, G_i) ≥ δ] / N",
            paper="Choe et al. 2022, Evaluation for Weakly Supervised Object Localization",
            cannot_show="what one box would score: the best of all parts counts, so many small parts help; and τ is an oracle",
        ),
        replace(
            METRICS["pointing"],
            name="pointing-game",
            function=_over(PointingGame, lambda found: found.all.value),
            protocol="pointing game, torchray, 15 px, mean over classes",
            title="Pointing game over classes",
            formula="pointing-game = mean over classes of hits / (hits + misses)",
            cannot_show="the share of images that hit: rare classes weigh as much as frequent ones",
            undefined="there was no trial",
            of="set",
        ),
        replace(
            METRICS["pixel-ap"],
            name="pxap",
            function=_over(PixelAP),
            protocol="pixels of all images together, in the image's own",
            title="PxAP",
            formula="pxap = Σ_l Precision(τ_l) (Recall(τ_l) − Recall(τ_{l−1})),  of the pixels of all images together",
            paper=f"{CHOE}, section 3.2",
            cannot_show="small objects: pixels are pooled, so large ones rule; and heat of different images is compared as if it had one scale",
            undefined="no pixel of any image is foreground",
            of="set",
        ),
    )


SET_METRICS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _rows()})
"""Scores of a whole set by name, called with images: mappings of the arguments of the accumulator's `update`."""
