"""The robustness scores of one picture, by name; what they measure is in `stability`.

That needs torch, and is imported when a score is called: the facts are read far more often.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from saliscope.metrics.scores import OWN, Metric

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.metrics.stability import Explainer

__all__ = ["ROBUSTNESS_METRICS"]


def _farthest(explain: Explainer, picture: Tensor, **options: Any) -> float:
    from saliscope.metrics.stability import sensitivity

    return float(sensitivity(explain, picture[None], **options).largest[0])


def _mean_move(explain: Explainer, picture: Tensor, **options: Any) -> float:
    from saliscope.metrics.stability import sensitivity

    return float(sensitivity(explain, picture[None], **options).mean[0])


def _mirrored(explain: Explainer, picture: Tensor, **options: Any) -> float:
    from saliscope.metrics.stability import flip_consistency

    return float(flip_consistency(explain, picture[None], **options)[0])


def _shifted(explain: Explainer, picture: Tensor, shift: tuple[int, int], **options: Any) -> float:
    from saliscope.metrics.stability import shift_consistency

    return float(shift_consistency(explain, picture[None], shift, **options)[0])


def _saved(explain: Explainer, picture: Tensor, **options: Any) -> float:
    from saliscope.metrics.stability import jpeg_consistency

    return float(jpeg_consistency(explain, picture[None], **options)[0])


def _rows() -> tuple[Metric, ...]:
    yeh = "Yeh et al. 2019, Euclidean, relative"
    noise, alike = (0.0, math.inf), (-1.0, 1.0)

    moved = Metric(
        "max-sensitivity", _farthest, "lower", noise, yeh,
        title="Max-sensitivity",
        family="robustness",
        formula="max-sensitivity = max_δ ‖M(x + δ) − M(x)‖₂ / ‖M(x)‖₂,  ‖δ‖_∞ ≤ r",
        paper="Yeh et al. 2019, On the (In)fidelity and Sensitivity of Explanations",
        cannot_show="whether the network moved too, and rightly: a map that never changes scores 0, the best; a maximum over more draws is larger",
        undefined="the map is zero, or not finite",
        needs=("map", "network"),
        picture="sensitivity",
    )  # fmt: skip
    stays = replace(
        moved,
        name="flip-consistency",
        function=_mirrored,
        direction="higher",
        bounds=alike,
        protocol="mirrored and back",
        title="Consistency when mirrored",
        formula="flip-consistency = ρ(M(x), mirrored M(mirrored x))",
        paper=f"{OWN}, by Spearman's rank correlation",
        cannot_show="whether the map is right: one that never looks at the picture can be consistent; and a network that tells left from right "
        "may rightly see something else",
        undefined="either map is constant or not finite",
        picture="flip",
    )
    return (
        moved,
        replace(
            moved,
            name="average-sensitivity",
            function=_mean_move,
            protocol=f"mean in place of max of {yeh}",
            title="Average sensitivity",
            formula="average-sensitivity = mean_δ ‖M(x + δ) − M(x)‖₂ / ‖M(x)‖₂,  ‖δ‖_∞ ≤ r",
            paper="Yeh et al. 2019, with the mean in place of the maximum",
            cannot_show="whether the network moved too, and rightly: a map that never changes scores 0, the best",
        ),
        stays,
        replace(
            stays,
            name="shift-consistency",
            function=_shifted,
            protocol="the overlap",
            title="Consistency when moved",
            formula="shift-consistency = ρ(M(x), M(moved x) moved back),  over the cells that both show",
            cannot_show="whether the map is right; and what enters at the border is made up, which a network may rightly mind",
            picture="shift",
        ),
        replace(
            stays,
            name="jpeg-consistency",
            function=_saved,
            protocol="saved as JPEG by Pillow",
            title="Consistency when saved as JPEG",
            formula="jpeg-consistency = ρ(M(x), M(x saved at quality 75 and read))",
            cannot_show="whether the map is right: one that reads edges alone stays as well; and a network may live by what JPEG drops",
            picture="jpeg",
        ),
    )


ROBUSTNESS_METRICS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _rows()})
"""Scores of one picture (C, H, W), called with an explainer, the picture, and the options of the function in `stability`."""
