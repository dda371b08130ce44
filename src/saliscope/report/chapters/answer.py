"""The answer first: every method by the score that decides, against the reference and against what knows no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from saliscope.report.chapters.beaten import Beaten
from saliscope.report.chapters.cue import Cue
from saliscope.report.chapters.evidence import (
    METHOD,
    Evidence,
    any_true,
    counted,
    first_up,
    listed,
    method_row,
    put,
    say,
)
from saliscope.report.chapters.headline import declared_by, headline
from saliscope.report.chapters.lost import few_images, unranked
from saliscope.report.charts.forest import Entry, forest
from saliscope.report.sections import Chart, Column, Section, Table
from saliscope.report.study.compare import friedman_of, verdict
from saliscope.report.study.flat import read_statuses
from saliscope.report.study.identity import SameHeat
from saliscope.stats import Comparison, Interval, Pair
from saliscope.stats.wording import say_p

__all__ = ["answer_section"]


def answer_section(
    evidence: Evidence, same: tuple[tuple[str, SameHeat], ...]
) -> tuple[str, Section]:
    """The answer in a few sentences, and the section with the main table. `same`: pairs of CAM and Grad-CAM, by the name of their run."""
    beaten, cue = Beaten(evidence), Cue(evidence)
    said = [headline(evidence), *_identity(evidence, same), beaten.sentence, cue.sentence]
    answer = " ".join(said).rstrip()
    few, ranked = few_images(evidence), unranked(evidence)
    warnings = [*cue.warnings, *few, *ranked, *beaten.warnings, *_cautions(evidence)]
    entries = [
        Entry(r.method, evidence.looks[r.method], r.estimate, _gap(evidence.comparison, r.method))
        for r in evidence.comparison.rows
    ]
    name, best = evidence.primary.endpoint.name, beaten.best
    line = None
    if best is not None and (known := evidence.estimate(best.name)) is not None:
        line = (known.estimate, best.name)
    chart = Chart(
        "main", f"Methods by {name}",
        lambda: forest(
            f"{first_up(name)}, with 95 % intervals", entries,
            score=name, against=evidence.reference.name, line=line, margin=evidence.primary.endpoint.margin,
        ),
        _alt(evidence),
    )  # fmt: skip
    table = _table(evidence, beaten)
    return answer, Section(
        "answer", "The answer", _lead(evidence), (table,), (chart,), tuple(warnings)
    )


def _identity(evidence: Evidence, same: tuple[tuple[str, SameHeat], ...]) -> list[str]:
    found = []
    for run, pair in same:
        if not pair.identical:
            continue
        cam, grad = (f"{run} · {n}" if run else n for n in (pair.cam, pair.grad_cam))
        said = f"{cam} and {grad} are one method here: their positive heat on {pair.layer} is the same up to a factor (largest difference {pair.largest:.1g} of the maximum, {counted(pair.maps, 'map')})"
        apart = evidence.comparison.reference in (cam, grad) and not any(
            p.identical for p in evidence.comparison.pairs if p.method in (cam, grad)
        )
        more = "; where their scores differ, it is because CAM keeps negative values that this score counts" if apart else ""  # fmt: skip
        found.append(said + more + ".")
    return found


def _cautions(evidence: Evidence) -> list[str]:
    """What else must not be missed about the primary score."""
    primary = evidence.primary
    found = [*_declarations(evidence), *_apart(evidence)]
    if primary.oracle and primary.metric.startswith("max-box-acc"):
        found.append(
            f"{primary.endpoint.name} is an oracle by definition: its thresholds were chosen on the very images it is reported on, in every replicate again."
        )
    elif primary.oracle:
        found.append(
            "These are oracle thresholds: each was chosen on the very images it is reported on, which no real use can do. Intervals choose them again in every replicate. Evaluate with --tune to choose them elsewhere."
        )
    boxes = [n for n in primary.scored.near if evidence.study.method(n).trivial]
    if boxes and not primary.oracle:
        found.append(
            f"The side of the {listed(boxes)} is an oracle, chosen on the reported images: no split for tuning was given. Its interval chooses it again in every replicate."
        )
    return found


def _declarations(evidence: Evidence) -> list[str]:
    """Scores that were chosen after the run, and runs that declared different ones."""
    primary, runs = evidence.primary, evidence.study.runs
    texts = list(dict.fromkeys(run.settings.primary for run in runs))
    by_run = [f"{n} {r.settings.primary}" for n, r in zip(evidence.study.names, runs, strict=True)]
    declared = texts[0] if len(texts) == 1 else ", ".join(by_run)
    if not primary.declared:
        return [
            f"The primary score {primary.text} was chosen after the run, when its results could be seen; declared was {declared}. Read its p-values as exploratory."
        ]
    if len(declared_by(evidence)) < len(runs):
        return [
            f"The runs declared different primary scores ({declared}); that of the first is shown."
        ]
    return []


def _apart(evidence: Evidence) -> list[str]:
    """Runs of other images: what is compared, and what is not."""
    places, names = evidence.study.places, evidence.study.names
    found = []
    for name, own in zip(names[1:], places[1:], strict=True):
        shared = len(np.intersect1d(places[0], own))
        if not shared:
            found.append(f"{names[0]} and {name} have no image in common: their numbers stand beside each other, and are not compared.")  # fmt: skip
        elif shared < max(len(places[0]), len(own)):
            found.append(f"{names[0]} and {name} have {shared:,} of {len(places[0]):,} and {len(own):,} images in common: only these are ranked and compared, and each mean in the table is over its own.")  # fmt: skip
    return found


def _lead(evidence: Evidence) -> str:
    comparison, primary = evidence.comparison, evidence.primary
    endpoint = primary.endpoint
    parts = [
        f"Every method by {endpoint.name} with 95 % intervals ({comparison.replicates:,} bootstrap replicates that draw {evidence.study.draws.words}, seed {comparison.seed}), its paired difference to {comparison.reference}, and what is left of it after Holm correction."
    ]
    if endpoint.margin is not None:
        said = "declared" if evidence.study.runs[0].settings.margin and primary.declared else "the usual one for this score"  # fmt: skip
        parts.append(f"Differences within ±{endpoint.margin:g} do not matter ({said}).")
    test = friedman_of(evidence.study, comparison, primary.scored.values)
    if test is not None and not np.isnan(test.pvalue):
        parts.append(
            f"Friedman's test over the {len(test.ranks)} methods with a network: p {say_p(test.pvalue)}, Kendall's W {test.concordance:.2f}."
        )
    return " ".join(parts)


def _gap(comparison: Comparison, name: str) -> Interval | None:
    return next((p.difference for p in comparison.pairs if p.method == name), None)


def _alt(evidence: Evidence) -> str:
    rows = [f"{r.method} {say(r.estimate)}" for r in evidence.comparison.rows]
    return f"Forest plot of {evidence.primary.endpoint.name}: {'; '.join(rows)}."


def _table(evidence: Evidence, beaten: Beaten) -> Table:
    comparison, endpoint = evidence.comparison, evidence.primary.endpoint
    pairs = {pair.method: pair for pair in comparison.pairs}
    counts = _flat_counts(evidence)
    rows = []
    for row in comparison.rows:
        method = evidence.study.method(row.method)
        pair = pairs.get(row.method)
        rows.append(
            method_row(evidence, method)
            | put("value", row.estimate)
            | {"n": row.estimate.n, "undefined": row.estimate.undefined}
            | _pair_values(pair)
            | {"verdict": verdict(pair, endpoint)}
            | put("gain", None if method.trivial else beaten.gain(row.method))
            | {"threshold": evidence.primary.scored.detail.get(row.method)}
            | counts.get(row.method, {})
        )
    against = {t.name for m in beaten.own if (t := beaten.best_for(m.name)) is not None}
    columns = [
        METHOD,
        Column("value", endpoint.name, "interval", better=endpoint.better),
        Column("n", "images" if not evidence.study.several else "rows", "count"),
        Column("difference", f"difference to {comparison.reference}", "interval"),
        Column("p", "p (Holm)", "p", note="Wilcoxon's signed-rank test, or McNemar's exact test of right and wrong"),
        Column("effect", "effect", "number", 2, note="rank-biserial correlation, −1 to 1"),
        Column("verdict", f"against {comparison.reference}"),
    ]  # fmt: skip
    if against:
        named = against.pop() if len(against) == 1 else "the best without a network"
        columns.append(
            Column("gain", f"above {named}", "interval", note="the best of what knows no network")
        )
    if any_true(rows, "threshold"):
        columns.append(Column("threshold", "threshold"))
    columns.append(Column("flat", "maps not ok", "count", note="zero, constant, negative, not finite, saturated"))  # fmt: skip
    note = "Grey rows know no network. "
    if endpoint.margin is not None:
        note += f"“Too little to matter” and “equal” mean that the interval at 90 % lies within ±{endpoint.margin:g}. "
    missing = [r["method"] for r in rows if not r["n"]]
    if missing:
        note += f"Undefined on every image: {listed(missing)}."
    return Table("main", f"Methods by {endpoint.name}", tuple(columns), rows, note.strip())


def _pair_values(pair: Pair | None) -> dict[str, Any]:
    if pair is None:
        return put("difference", None) | dict.fromkeys(
            (
                "pairs",
                "test",
                "p_raw",
                "p",
                "effect",
                "identical",
                "largest",
                "margin",
                "equivalence",
            )
        )
    same = pair.equivalence
    return put("difference", pair.difference) | {
        "pairs": pair.difference.n, "test": pair.test, "p_raw": _known(pair.pvalue), "p": _known(pair.adjusted),
        "effect": _known(pair.effect), "identical": pair.identical, "largest": pair.largest,
        "margin": same and same.margin, "equivalence": same and same.verdict,
    }  # fmt: skip


def _known(value: float) -> float | None:
    """None for what was not tested: it is not undefined, it was not asked."""
    return None if np.isnan(value) else value


def _flat_counts(evidence: Evidence) -> Mapping[str, dict[str, Any]]:
    """How many maps of each method are not ok."""
    found: dict[str, dict[str, Any]] = {}
    for i, run in enumerate(evidence.study.runs):
        rows = read_statuses(run)
        for method in evidence.study.methods:
            if method.run != i:
                continue
            own = {s: n for spec, s, n in rows.rows() if spec == method.spec}
            flat = sum(n for s, n in own.items() if s != "ok")
            found[method.name] = {"maps": sum(own.values()) or None, "flat": flat if own else None}
    return found
