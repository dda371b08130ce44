"""Thresholds: how much depends on them, which were chosen where, and the metrics that take the best."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from saliscope.localization import parse_protocol
from saliscope.report.chapters.evidence import METHOD, Evidence, listed, method_row, put
from saliscope.report.charts.curves import Curve, Mark, threshold_curves
from saliscope.report.sections import Chart, Column, Section, Table
from saliscope.report.study.endpoint import heading_of
from saliscope.report.study.maxima import Maximum, maxima_of
from saliscope.report.study.pixels import pixel_precision
from saliscope.report.study.sweeps import CENTRE_BOX, Goal
from saliscope.report.study.together import Method
from saliscope.runs.measuring import FULL_BOX
from saliscope.runs.primary import swept_rules

__all__ = ["thresholds_section"]

_GOALS: tuple[Goal, ...] = ("iou", "max-box-acc", "max-box-acc-v2")


def thresholds_section(evidence: Evidence) -> Section | None:
    """Curves over thresholds, chosen and oracle thresholds, MaxBoxAcc, MaxBoxAccV2 and PxAP; None where nothing of it was measured."""
    tables, charts, said = [], [], []
    for rule in _rules(evidence):
        found = {
            goal: maxima_of(evidence.study, goal, rule, evidence.reference.name) for goal in _GOALS
        }
        if not found["iou"]:
            continue
        tables += [_chosen(evidence, rule, found["iou"]), _accuracy(evidence, rule, found)]
        charts.append(_chart(evidence, rule, found["iou"]))
        said.append(_sentence(evidence, rule, found["iou"]))
    pixels = _pixels(evidence)
    tables += pixels
    if not tables:
        return None
    warning: tuple[str, ...] = ()
    tuned = {run.settings.tune for run in evidence.study.runs}
    if None in tuned and charts:
        warning = (
            "No split for tuning was given, so all best thresholds here are oracles: chosen on the images that they are reported on.",
        )
    return Section(
        "thresholds", "Thresholds", " ".join(said), tuple(tables), tuple(charts), warning
    )


def _rules(evidence: Evidence) -> list[str]:
    found = dict.fromkeys(r for run in evidence.study.runs for r in swept_rules(run.settings))
    return sorted(found, key="wsol".__eq__)


def _titled(rule: str) -> str:
    return "exactly as wsolevaluation" if rule == "wsol" else f"heat normalised by {rule}"


def _methods(evidence: Evidence, names: Mapping[str, Maximum]) -> list[Method]:
    return [m for m in evidence.study.methods if m.name in names]


def _at(places: tuple[float, ...]) -> str | None:
    return ", ".join(f"{place:g}" for place in places) or None


def _chosen(evidence: Evidence, rule: str, found: Mapping[str, Maximum]) -> Table:
    rows = []
    for method in _methods(evidence, found):
        one = found[method.name]
        lost = None if one.tuned is None else one.oracle.estimate - one.tuned.estimate
        rows.append(
            method_row(evidence, method)
            | {"tuned_at": _at(one.tuned_at)}
            | put("tuned", one.tuned)
            | {"oracle_at": _at(one.at)}
            | put("oracle", one.oracle)
            | {"lost": lost}
        )
    tune = listed(dict.fromkeys(str(run.settings.tune) for run in evidence.study.runs))
    columns = [METHOD]
    if any(one.tuned is not None for one in found.values()):
        columns += [
            Column("tuned_at", f"threshold chosen on {tune}"),
            Column("tuned", "mean IoU there", "interval", better="higher"),
        ]
    columns += [
        Column("oracle_at", "oracle threshold"),
        Column("oracle", "mean IoU there (oracle)", "interval", better="higher"),
        Column("lost", "oracle less chosen", "number"),
    ]
    note = (
        "The box of the largest part above the threshold. For the centred box the threshold is its side, as a share of the picture's. "
        "Oracle: best on these very images; its interval chooses it again in every replicate."
    )
    return Table(
        f"thresholds-{rule}", f"Mean IoU at the best threshold, {_titled(rule)}", tuple(columns), rows, note
    )  # fmt: skip


def _accuracy(evidence: Evidence, rule: str, found: Mapping[Goal, Mapping[str, Maximum]]) -> Table:
    one, two = found["max-box-acc"], found["max-box-acc-v2"]
    rows = []
    for method in _methods(evidence, one):
        first, second = one[method.name], two[method.name]
        sweep = evidence.study.sweep(method, rule)
        assert sweep is not None
        boxes = float(np.mean([sweep.parts[p] for p in second.places]))
        rows.append(
            method_row(evidence, method)
            | put("v1", first.oracle) | {"v1_at": _at(first.at)} | put("v1_difference", first.difference)
            | put("v1_tuned", first.tuned) | {"v1_tuned_at": _at(first.tuned_at)}
            | put("v2", second.oracle) | {"v2_at": _at(second.at), "boxes": boxes} | put("v2_difference", second.difference)
            | put("v2_tuned", second.tuned) | {"v2_tuned_at": _at(second.tuned_at)}
        )  # fmt: skip
    against = f"difference to {evidence.reference.name}"
    columns = [
        METHOD,
        Column("v1", "MaxBoxAcc", "interval", better="higher"), Column("v1_difference", against, "interval"),
        Column("v1_at", "at"),
        Column("v2", "MaxBoxAccV2", "interval", better="higher"), Column("v2_difference", against, "interval"),
        Column("v2_at", "at (IoU .3, .5, .7)"),
        Column("boxes", "boxes an image", "number", 1, note="candidates that V2 takes the best of, on average"),
    ]  # fmt: skip
    if any(m.tuned is not None for m in one.values()):
        columns += [
            Column("v1_tuned", "BoxAcc, tuned", "interval", better="higher"),
            Column("v2_tuned", "BoxAccV2, tuned", "interval", better="higher"),
        ]
    note = (
        "Both are oracles by definition: one threshold for all images, the one that suits these images best (V2: one for each of IoU "
        ".3, .5 and .7, and the best of all parts counts, so many small parts help it). Intervals choose the thresholds again in every "
        "replicate. Tuned: the same at the thresholds that are best on the images for tuning."
    )
    return Table(
        f"max-box-acc-{rule}", f"MaxBoxAcc and MaxBoxAccV2, {_titled(rule)}", tuple(columns), rows, note
    )  # fmt: skip


def _chart(evidence: Evidence, rule: str, found: Mapping[str, Maximum]) -> Chart:
    curves = [_curve(evidence, rule, m, found[m.name]) for m in _methods(evidence, found)]
    full = evidence.study.values("iou", "box")
    nothing = np.empty(0)
    curves += [
        Curve(m.name, evidence.looks[m.name], nothing, np.array([np.nanmean(full[m.name])]))
        for m in evidence.study.trivial
        if m.spec == FULL_BOX and m.name in full and not np.isnan(full[m.name]).all()
    ]
    marks = []
    for text in dict.fromkeys(p for run in evidence.study.runs for p in run.settings.protocols):
        protocol = parse_protocol(text)
        if protocol.rule == rule:
            marks.append(Mark(protocol.threshold, text))
    name = f"thresholds-{rule}"
    return Chart(
        name, f"Mean IoU at every threshold, {_titled(rule)}",
        lambda: threshold_curves(
            f"Mean IoU at every threshold, {_titled(rule)}", curves, marks,
            score="mean IoU", axis=f"threshold, as a share of the heat ({rule})",
        ),
        f"Curves of mean IoU over thresholds. {_sentence(evidence, rule, found)}",
        "The centred box is drawn at its best size, the box of the full image has no threshold.",
    )  # fmt: skip


def _curve(evidence: Evidence, rule: str, method: Method, one: Maximum) -> Curve:
    sweep = evidence.study.sweep(method, rule)
    assert sweep is not None
    look, aim = evidence.looks[method.name], sweep.aims["iou"]
    if method.spec == CENTRE_BOX:
        best = (one.tuned or one.oracle).estimate
        return Curve(method.name, look, np.empty(0), np.array([best]))
    chosen = None if aim.chosen is None else aim.chosen[0]
    return Curve(method.name, look, sweep.thresholds, aim.mean[0], aim.oracle[0], chosen)


def _sentence(evidence: Evidence, rule: str, found: Mapping[str, Maximum]) -> str:
    own = [m.name for m in _methods(evidence, found) if not m.trivial]
    values = {n: found[n].tuned or found[n].oracle for n in own}
    if not values:
        return ""
    best = max(values, key=lambda n: values[n].estimate)
    what = "chosen on the images for tuning" if found[best].tuned else "oracle"
    at = found[best].tuned_at if found[best].tuned else found[best].at
    boxes = [m.name for m in _methods(evidence, found) if m.spec == CENTRE_BOX]
    beside = "".join(
        f"; the best {name} has {(found[name].tuned or found[name].oracle).estimate:.3f}"
        for name in boxes
    )
    return f"With its threshold {what} ({_at(at)}, {_titled(rule)}), {best} has the highest mean IoU, {values[best].estimate:.3f}{beside}."


def _pixels(evidence: Evidence) -> list[Table]:
    found = pixel_precision(evidence.study)
    if not found:
        return []
    masks = list(dict.fromkeys(mask for mask, _ in found))
    rows = []
    for method in evidence.study.methods:
        if any((mask, method.name) in found for mask in masks):
            row = method_row(evidence, method)
            for mask in masks:
                row |= put(mask, found.get((mask, method.name)))
            rows.append(row)
    columns = [METHOD, *(Column(m, f"PxAP ({m})", "interval", better="higher") for m in masks)]
    note = (
        "Average precision of all pixels of all images together, as Choe et al. define it: no threshold, large objects weigh more. "
        f"{heading_of('pixel-ap')} stands among all scores."
    )
    return [Table("pxap", "PxAP: pixels of masks", tuple(columns), rows, note)]
