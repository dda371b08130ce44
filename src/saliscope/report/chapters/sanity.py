"""Sanity: do maps change when the network forgets what it learned, and when another class is asked for?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from saliscope.methods import CAVEATS
from saliscope.metrics import SanityVerdict
from saliscope.report.chapters.evidence import (
    METHOD,
    Evidence,
    counted,
    listed,
    method_row,
    put,
    say,
)
from saliscope.report.charts.dots import Series, layer_lines
from saliscope.report.sections import Chart, Column, Section, Table
from saliscope.report.study.forgetting import Forgetting, forgetting_of
from saliscope.report.study.together import kind_of
from saliscope.stats import Interval

__all__ = ["failures", "sanity_section", "verdict_line"]

_LIKENESSES = {
    "spearman-abs": "rank correlation of |map|",
    "spearman": "rank correlation of the map",
    "ssim": "structural similarity (SSIM)",
    "hog": "likeness of edges (HOG)",
}
_FIRST = "spearman-abs"
_SHORT: Mapping[SanityVerdict, str] = {
    "passes": "passes with {}", "fails": "fails with {}", "undecided": "is undecided with {}",
    "undefined": "cannot be judged",
}  # fmt: skip
_PANELS = 4
_TITLES = {
    "cascading": "Layers forget one after the other, from the top of the network down",
    "independent": "Each layer forgets by itself",
}


def sanity_section(evidence: Evidence, found: Sequence[Forgetting] | None = None) -> Section | None:
    """A line for each method, passes or fails, and the curves while the network forgets; None where it was not checked."""
    checked = forgetting_of(evidence.study) if found is None else tuple(found)
    if not checked:
        return None
    hows = [how for how in _TITLES if any(how in one.stages for one in checked)]
    tables = [_verdicts(evidence, checked), *(_stages(evidence, checked, how) for how in hows)]
    charts = [chart for how in hows if (chart := _chart(evidence, checked, how)) is not None]
    return Section("sanity", "Sanity", _lead(checked), tuple(tables), tuple(charts), tuple(failures(checked)))  # fmt: skip


def failures(checked: Sequence[Forgetting]) -> list[str]:
    """A warning of the networks' methods that fail."""
    failed = [one for one in checked if one.verdict == "fails" and not one.method.trivial]
    if not failed:
        return []
    named = (
        f"{one.method.name} ({say(one.lasting, 2)})" for one in failed if one.lasting is not None
    )
    verb = "fails" if len(failed) == 1 else "fail"
    return [
        f"{listed(named)} {verb} the check of randomised weights: maps that stay while the network forgets show the picture, "
        "not what was learned."
    ]  # fmt: skip


def verdict_line(one: Forgetting) -> str:
    """What the check says of one method, in a sentence."""
    name, found = one.method.name, one.lasting
    if found is None or not found.n:
        return f"{name} cannot be judged: its maps are as alike for two pictures as for one, or were not compared."
    if one.verdict == "undefined":
        return f"{name} cannot be judged: {counted(found.n, 'image')} {'is' if found.n == 1 else 'are'} too few."
    last = f"its maps last {say(found, 2)} of the network's forgetting"
    if one.verdict == "undecided":
        return f"{name} is undecided: {last}, and the limit of 0.50 lies in between."
    if one.verdict == "fails":
        return f"{name} fails: {last}; they outlive the layers that decide between classes."
    if "sanity check" in CAVEATS.get(kind_of(one.method.spec), ""):
        last += ", here; its caveat stands, since passing is necessary and not enough"
    return f"{name} passes: {last}."


def _lead(checked: Sequence[Forgetting]) -> str:
    own = [verdict_line(one) for one in checked if not one.method.trivial]
    images = max((one.lasting.n for one in checked if one.lasting is not None), default=0)
    names = next((one.stages["cascading"] for one in checked if "cascading" in one.stages), ())
    seeds = max(one.seeds for one in checked)
    how = "The weights of the network are replaced by noise from the top down, and the map of the same class is compared with what it was"
    if names:
        how += (
            f" ({counted(images, 'image')}, {counted(seeds, 'seed')}; stages: {listed(names[1:])})"
        )
    limit = (
        "A method passes where the interval of how long its maps last lies below 0.50: 1 is for maps that never change, about one half "
        "for maps that fade evenly with the layers. The limit is a convention of saliscope, and a map of noise passes too."
    )
    return "\n\n".join([f"{how}.", *own, *_without(checked), limit])


def _without(checked: Sequence[Forgetting]) -> list[str]:
    """What knows no network, which has to fail where it can be judged."""
    said = []
    for one in checked:
        if one.method.trivial and one.lasting is not None:
            what = _SHORT[one.verdict].format(say(one.lasting, 2))
            said.append(f"{one.method.name} {what}")
    return [f"Of what knows no network, {listed(said)}."] if said else []


def _verdicts(evidence: Evidence, checked: Sequence[Forgetting]) -> Table:
    rows = []
    for one in checked:
        last = one.lasting
        rows.append(
            method_row(evidence, one.method)
            | {"verdict": one.verdict}
            | put("lasting", last)
            | put("class", one.mean(one.other.get(_FIRST)))
            | put("picture", one.mean(one.chance.get(_FIRST)))
            | {"n": None if last is None else last.n, "seeds": one.seeds}
        )
    columns = [
        METHOD, Column("verdict", "sanity"),
        Column("lasting", "how long maps last", "interval", 2, "lower", "mean over stages of the likeness left above that of two pictures"),
        Column("class", "likeness to another class", "interval", 2, "lower", "rank correlation of |map| with that of a random other class of the same picture: 1 for a method that does not look at the class"),
        Column("picture", "likeness to another picture", "interval", 2, note="what maps of this method have in common without a reason"),
        Column("n", "images", "count"), Column("seeds", "seeds", "count"),
    ]  # fmt: skip
    shown = [c for c in columns if c.key == "method" or any(r.get(c.key) is not None for r in rows)]
    note = "By the ranks of |map| on its own grid, after Adebayo et al. 2018; the likeness to another class after Sixt et al. 2020."
    return Table(
        "sanity", "Does the map change when the network forgets?", tuple(shown), rows, note
    )


def _stages(evidence: Evidence, checked: Sequence[Forgetting], how: str) -> Table:
    """The likeness at each stage by the measure that the verdict is of; files have the other measures too."""
    kinds = [k for k in _LIKENESSES if any((how, k) in one.values for one in checked)]
    names = _names(checked, how)
    rows = []
    for one in checked:
        row = method_row(evidence, one.method)
        for kind in kinds:
            curve = _curve(one, how, kind)
            for name in names:
                row |= put(f"{kind} {name}", curve.get(name))
        rows.append(row)
    shown = kinds[0] if kinds else _FIRST
    columns = [METHOD, *(Column(f"{shown} {name}", name, "interval", 2) for name in names)]
    said = (
        "Each stage has forgotten together with those before it."
        if how == "cascading"
        else "At each stage only that layer has forgotten."
    )
    note = f"By the {_LIKENESSES[shown]}. {said} The first is the unchanged network: 1 unless the method itself is random."
    if len(kinds) > 1:
        note += f" Files have the {listed(_LIKENESSES[kind] for kind in kinds[1:])} too."
    return Table(f"sanity-{how}", _TITLES[how], tuple(columns), rows, note)


def _curve(one: Forgetting, how: str, kind: str) -> dict[str, Interval]:
    """The mean likeness of a method at each stage by its name; empty where it was not measured."""
    return dict(zip(one.stages.get(how, ()), one.curve(how, kind), strict=False))


def _names(checked: Sequence[Forgetting], how: str) -> list[str]:
    """The stages of all methods, each once, in order."""
    return list(dict.fromkeys(name for one in checked for name in one.stages.get(how, ())))


def _chart(evidence: Evidence, checked: Sequence[Forgetting], how: str) -> Chart | None:
    names = _names(checked, how)
    panels: list[tuple[str, list[Series]]] = []
    for kind, named in _LIKENESSES.items():
        series = []
        for one in checked:
            curve = _curve(one, how, kind)
            if curve:
                look = evidence.looks[one.method.name]
                series.append(Series(one.method.name, look, [curve.get(n) for n in names]))
        if series:
            panels.append((named, series))
    if not panels:
        return None
    axis = "the unchanged network, then what has forgotten"
    return Chart(
        f"sanity-{how}", _TITLES[how],
        lambda: layer_lines(f"{_TITLES[how]}, with 95 % intervals", names, panels[:_PANELS], axis=axis),
        f"How alike maps stay over the stages {', '.join(names)}. " + " ".join(map(verdict_line, checked)),
        "A method whose line stays high does not depend on the layers that have forgotten.",
    )  # fmt: skip
