"""Every method that applies to a network, on one photograph, each run alone so that its cost is its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from saliscope.api import Comparison
from saliscope.boxes import Box
from saliscope.engine import Tally, TargetSpace, tallied
from saliscope.errors import LayerError, MethodError
from saliscope.explainer import ClassTarget, explain_batch, resolve_specs
from saliscope.explanation import Explanation, boxes_of
from saliscope.images import Photo
from saliscope.localization import Protocol, parse_protocol
from saliscope.methods import MethodSpec, by_family, parse_method
from saliscope.models import Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Every", "Found", "explain_every"]


@dataclass(frozen=True, eq=False)
class Found:
    """What one method found and what it cost: the passes of images it made, and its seconds."""

    explanation: Explanation
    family: str
    passes: Tally
    seconds: float


@dataclass(frozen=True, eq=False)
class Every:
    """All methods on one photograph, family by family; `left_out` names those that do not apply, and says why."""

    found: tuple[Found, ...]
    left_out: tuple[tuple[str, str], ...]
    truth: tuple[Box, ...]
    protocol: Protocol

    @property
    def comparison(self) -> Comparison:
        """The same as a comparison: rows and table with boxes and IoU."""
        return Comparison(tuple(f.explanation for f in self.found), self.truth, self.protocol)

    def figure(self) -> Figure:
        """Draw every map in its family, with its passes and seconds; a matplotlib `Figure`."""
        from saliscope.report import every_figure

        return every_figure(self)


def explain_every(
    model: Model,
    photo: Photo,
    methods: Sequence[str] | None = None,
    *,
    truth: Box | Sequence[Box] = (),
    target: ClassTarget = None,
    target_space: TargetSpace = "logit",
    protocol: str | Protocol = "yang2025",
    tell: Callable[[str, int, int], object] | None = None,
) -> Every:
    """Explain one photograph by all methods, or by those named, leaving out the ones that do not apply.

    A method applies unless it says itself that this network, layer or target has no meaning for it. `tell` is called
    with each method, its number, and their number in all.
    """
    names = list(methods) if methods is not None else by_family()
    found: list[Found] = []
    left_out: list[tuple[str, str]] = []
    explain_batch(model, [photo], resolve_specs(model, [parse_method("centre")]))  # warm
    for place, name in enumerate(names, 1):
        if tell is not None:
            tell(name, place, len(names))
        try:
            (spec,) = resolve_specs(model, [parse_method(name)])
            found.append(_alone(model, photo, spec, target=target, space=target_space))
        except (MethodError, LayerError) as err:
            left_out.append((name, str(err)))
    return Every(tuple(found), tuple(left_out), tuple(boxes_of(truth)), parse_protocol(protocol))


def _alone(
    model: Model, photo: Photo, spec: MethodSpec, *, target: ClassTarget, space: TargetSpace
) -> Found:
    with tallied() as passes:
        start = time.perf_counter()
        ((explanation,),) = explain_batch(model, [photo], [spec], target=target, space=space)
        seconds = time.perf_counter() - start
    return Found(explanation, spec.method.family, passes, seconds)
