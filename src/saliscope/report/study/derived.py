"""Scores that follow from others: at thresholds chosen on another split, at oracle thresholds, and the errors of localisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from saliscope.report.study.scores import Floats
from saliscope.report.study.sweeps import CENTRE_BOX, Goal
from saliscope.report.study.together import Method, Study

__all__ = ["Scored", "Source", "at_thresholds", "best_centred_box", "top_error"]

Source = Literal["fixed", "chosen", "oracle"]
"""Where a threshold comes from: a protocol, the images for tuning, or the reported images themselves."""


@dataclass(frozen=True, eq=False)
class Scored:
    """One score of every method that has it: `values` (units,) by name.

    `near` (units, deltas, k): the scores at all thresholds that could be best, of methods whose threshold is an oracle; their intervals
    have to choose it again. `detail` says in words how each got its threshold, `source` in one.
    """

    values: Mapping[str, Floats]
    near: Mapping[str, Floats] = field(default_factory=dict)
    detail: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, Source] = field(default_factory=dict)

    def joined(self, other: Scored) -> Scored:
        """The methods of both."""
        return Scored(
            {**self.values, **other.values}, {**self.near, **other.near},
            {**self.detail, **other.detail}, {**self.source, **other.source},
        )  # fmt: skip


def at_thresholds(
    study: Study, goal: Goal, rule: str, *, oracle: bool = False, only: tuple[Method, ...] | None = None
) -> Scored:  # fmt: skip
    """Scores by the curves of a rule, each method at the threshold that serves the goal best.

    It is the one chosen on the images for tuning, where the run has them and `oracle` is False; else the oracle. Of three deltas
    (MaxBoxAccV2) a score is the mean over them. The centred box is treated alike, its side being the threshold; the box of the
    full image has no threshold.
    """
    found = Scored({})
    for method in study.methods if only is None else only:
        sweep = study.sweep(method, rule)
        if sweep is None:
            continue
        aim = sweep.aims[goal]
        tuned = aim.chosen is not None and not oracle
        rows = study.swept(method, rule, goal, "at_chosen" if tuned else "at_oracle")
        places = aim.chosen if tuned and aim.chosen is not None else aim.oracle
        near = None if tuned else study.swept(method, rule, goal, "near")
        if rows is None:
            continue
        where = "chosen on " + str(study.runs[method.run].settings.tune) if tuned else "oracle"
        named = "side" if method.spec == CENTRE_BOX else "threshold"
        at = ", ".join(f"{sweep.thresholds[p]:g}" for p in places)
        found = found.joined(
            Scored(
                {method.name: rows.mean(axis=1)},
                {} if near is None else {method.name: near},
                {method.name: f"{named} {at}, {where}"},
                {method.name: "chosen" if tuned else "oracle"},
            )
        )
    return found


def best_centred_box(study: Study, goal: Goal = "iou", *, oracle: bool = False) -> Scored:
    """The scores of the best centred box, with nothing in them where it was not measured."""
    boxes = tuple(m for m in study.trivial if m.spec == CENTRE_BOX)
    return at_thresholds(study, goal, "side", oracle=oracle, only=boxes)


def as_hits(scored: Scored, delta: float = 0.5) -> Scored:
    """IoUs as right (1) and wrong (0): those of `delta` or more, compared in the precision that they are stored in."""
    values = {
        name: np.where(np.isnan(v), np.nan, v.astype(np.float32) >= np.float32(delta))
        for name, v in scored.values.items()
    }
    return Scored(values, {}, scored.detail, scored.source)


def top_error(study: Study, protocol: str, k: int) -> dict[str, Floats]:
    """ILSVRC's localisation error: 1 unless the class is among the first `k` and a box reaches an IoU of .5; NaN without annotation.

    One box an image, that of its own class, so it says nothing of images with several classes: then there is no such error. Nor
    where only predicted classes were explained, of which each is the first: then there is no rank of the image's own.
    """
    if study.several or (k > 1 and any(run.settings.target == "predicted" for run in study.runs)):
        return {}
    found = {}
    for name, right in study.values("gt-known", protocol).items():
        method = study.method(name)
        named = np.zeros(len(study.units), np.bool_)
        for run in method.runs[:1]:
            named |= (study.fact(run, "rank") < k) & (study.fact(run, "is_truth") == 1)
        if not method.trivial or len(study.runs) == 1:
            found[name] = np.where(np.isnan(right), np.nan, 1 - right * named)
    return found
