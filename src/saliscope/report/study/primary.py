"""The score that decides: which one it is, who declared it, and what every method has of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
from saliscope.runs.primary import MAXIMISED, TOP, ScoreNames, swept_rules
from saliscope.runs.scoring import Combo
from saliscope.stats import Endpoint

__all__ = ["Primary", "find_primary", "find_reference", "scored_by"]

_FAILING = "was not measured"


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

    Raises `OptionError` for a score that was not measured, with the command for one that the network has to be asked for.
    """
    settings, names = study.runs[0].settings, _names(study)
    text = given or settings.primary
    failing = _FAILING if given else f"{_FAILING}, so name one with --primary"
    command = f"saliscope measure {study.runs[0].place.address}"
    metric, protocol = names.find(text, failing=failing, command=command)
    scored = scored_by(study, metric, protocol)
    if not scored.values:
        known = [name for name in names.known if name != text]
        raise OptionError(f'the primary score "{text}" {failing}; {nearest(text, known)}')
    declared = not given or _is_declared(names, settings.primary, (metric, protocol))
    limit = settings.margin if declared else None
    endpoint = endpoint_of(metric, protocol, margin=limit, primary=declared)
    oracle = any(not study.method(name).trivial for name in scored.near)
    if oracle and protocol.startswith("chosen"):
        named = endpoint.name.replace(f"({protocol})", "(oracle threshold)")
        endpoint = replace(endpoint, name=named)
    return Primary(f"{metric}@{protocol}", metric, protocol, declared, oracle, endpoint, scored)


def _names(study: Study) -> ScoreNames:
    """The scores that the runs have, by the rules whose curves they have."""
    swept = {rule for sweeps in study.sweeps for _, rule in sweeps}
    rules = dict.fromkeys(rule for run in study.runs for rule in swept_rules(run.settings))
    return ScoreNames(
        study.combos, tuple(rule for rule in rules if rule in swept), top=not study.several
    )


def _is_declared(names: ScoreNames, declared: str, found: Combo) -> bool:
    """Whether a score is the one that was declared, both perhaps without the protocol that goes without saying."""
    try:
        return names.find(declared, failing=_FAILING) == found
    except OptionError:
        return False


def find_reference(study: Study) -> Method:
    """The method that all others are compared with: the one that was declared, or the first.

    `evaluate` notes it as it is written among the methods; with its layer filled in it is the same.
    """
    run = study.runs[0]
    declared, layers = run.settings.reference, run.record.resolved["methods"]
    own = [m for m in study.methods if 0 in m.runs]
    found = [m for m in own if m.spec == declared]
    found += [m for m in own if layers.get(m.spec, m.spec) == declared]
    return (found or own)[0]


def scored_by(study: Study, metric: str, protocol: str) -> Scored:
    """The scores by a protocol, a threshold that was chosen, or a maximum over all; with those of boxes that know no network."""
    word, _, rule = protocol.partition(":")
    rule = rule or next(iter(swept_rules(study.runs[0].settings)), "")
    if metric in MAXIMISED:
        goal: Goal = "max-box-acc" if metric == "max-box-acc" else "max-box-acc-v2"
        return _full_box(study, goal).joined(at_thresholds(study, goal, protocol, oracle=True))
    if word in ("chosen", "oracle"):
        return _at_best(study, metric, rule, oracle=word == "oracle")
    if metric in TOP:
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
