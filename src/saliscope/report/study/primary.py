"""The score that decides: which one it is, who declared it, and what every method has of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from saliscope.errors import OptionError, nearest
from saliscope.report.study.derived import (
    Scored,
    as_hits,
    at_thresholds,
    best_centred_box,
    top_error,
)
from saliscope.report.study.endpoint import endpoint_of
from saliscope.report.study.sweeps import Goal
from saliscope.report.study.together import Method, Study
from saliscope.stats import Endpoint

__all__ = ["Primary", "find_primary", "find_reference", "scored_by"]


@dataclass(frozen=True, eq=False)
class Primary:
    """The primary score, written METRIC@PROTOCOL.

    `declared` before the run; otherwise chosen when its results were there. `oracle`: the methods of networks have their thresholds
    from the reported images themselves.
    """

    text: str
    metric: str
    protocol: str
    declared: bool
    oracle: bool
    endpoint: Endpoint
    scored: Scored


def find_primary(study: Study, given: str | None = None) -> Primary:
    """The primary score of the runs, or the one `given` in its place.

    Raises `OptionError` for a score that was not measured.
    """
    settings = study.runs[0].settings
    text = given or settings.primary
    metric, _, protocol = text.partition("@")
    protocol = protocol or _only_protocol(study, metric, text)
    scored = scored_by(study, metric, protocol)
    if not scored.values:
        raise OptionError(f'the primary score "{text}" was not measured; {_known(study, text)}')
    declared = text == settings.primary
    limit = settings.margin if declared else None
    endpoint = endpoint_of(metric, protocol, margin=limit, primary=declared)
    oracle = any(not study.method(name).trivial for name in scored.near)
    if oracle and protocol.startswith("chosen"):
        named = endpoint.name.replace(f"({protocol})", "(oracle threshold)")
        endpoint = replace(endpoint, name=named)
    return Primary(f"{metric}@{protocol}", metric, protocol, declared, oracle, endpoint, scored)


def find_reference(study: Study) -> Method:
    """The method that all others are compared with: the one that was declared, or the first."""
    declared = study.runs[0].settings.reference
    own = [m for m in study.methods if 0 in m.runs]
    return next((m for m in own if m.spec == declared), own[0])


def scored_by(study: Study, metric: str, protocol: str) -> Scored:
    """The scores by a protocol, a threshold that was chosen, or a maximum over all; with those of boxes that know no network."""
    word, _, rule = protocol.partition(":")
    rule = rule or study.runs[0].settings.rules[0]
    if metric in get_args(Goal) and metric != "iou":
        goal: Goal = "max-box-acc" if metric == "max-box-acc" else "max-box-acc-v2"
        return _full_box(study, goal).joined(at_thresholds(study, goal, protocol, oracle=True))
    if word in ("chosen", "oracle"):
        return _at_best(study, metric, rule, oracle=word == "oracle")
    if metric in ("top-1", "top-5"):
        return Scored(top_error(study, protocol, int(metric[4:])))
    found = study.values(metric, protocol)
    if not any(not study.method(name).trivial for name in found):
        return Scored({})
    return Scored(found).joined(_centred(study, metric))


def _at_best(study: Study, metric: str, rule: str, *, oracle: bool) -> Scored:
    if metric == "iou":
        found = at_thresholds(study, "iou", rule, oracle=oracle)
    elif metric == "gt-known" and not oracle and all(r.settings.tune for r in study.runs):
        found = as_hits(at_thresholds(study, "iou", rule))
    elif metric == "gt-known":
        found = at_thresholds(study, "max-box-acc", rule, oracle=True)
    else:
        return Scored({})
    if not any(not study.method(name).trivial for name in found.values):
        return Scored({})
    return found.joined(Scored(study.values(metric, "box")))


def _centred(study: Study, metric: str) -> Scored:
    """The best centred box beside the boxes of a protocol."""
    alone = bool((study.units["instances"].fill_null(0) <= 1).all())
    if metric == "iou" or (metric == "union-iou" and alone):
        return best_centred_box(study)
    return best_centred_box(study, "max-box-acc") if metric == "gt-known" else Scored({})


def _full_box(study: Study, goal: Goal) -> Scored:
    deltas = (0.5,) if goal == "max-box-acc" else (0.3, 0.5, 0.7)
    found = Scored(study.values("iou", "box"))
    hits = [as_hits(found, delta).values for delta in deltas]
    return Scored({n: np.mean([h[n] for h in hits], axis=0) for n in found.values})


def _only_protocol(study: Study, metric: str, text: str) -> str:
    found = [protocol for name, protocol in study.combos if name == metric]
    if metric in get_args(Goal) and metric != "iou":
        return study.runs[0].settings.rules[0]
    if len(found) == 1:
        return found[0]
    if found:
        raise OptionError(
            f'the primary score "{text}" names no protocol; write METRIC@PROTOCOL: {", ".join(f"{metric}@{p}" for p in found)}'
        )
    raise OptionError(f'the primary score "{text}" was not measured; {_known(study, text)}')


def _known(study: Study, text: str) -> str:
    names = [f"{metric}@{protocol}" for metric, protocol in study.combos]
    if any(study.sweeps):
        rule = study.runs[0].settings.rules[0]
        names += ["iou@chosen", "iou@oracle", f"max-box-acc@{rule}", f"max-box-acc-v2@{rule}"]
    return nearest(text, names)
