"""One recipe trained several times: what another training would change, beside what other images would."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from saliscope.report.chapters.evidence import Evidence, counted, put, say
from saliscope.report.sections import Column, Section, Table
from saliscope.report.study.draws import bare
from saliscope.report.study.naming import Trainings, trainings_of
from saliscope.report.study.scores import Floats
from saliscope.stats import Seeds, seeds_interval

__all__ = ["trainings_section"]


def trainings_section(evidence: Evidence) -> Section | None:
    """The primary score over the trainings of each recipe, drawn at two levels; None where no recipe was trained twice."""
    groups = trainings_of(evidence.study.runs)
    if not groups:
        return None
    tables, said, warnings = [], [], []
    for n, group in enumerate(groups):
        suffix = f"-{n + 1}" if len(groups) > 1 else ""
        table, sentence = _table(evidence, group, f"trainings{suffix}")
        tables.append(table)
        said.append(sentence)
        names = ", ".join(evidence.study.names[i] for i in group.runs)
        if not group.known:
            warnings.append(
                f"{names} are taken as trainings of one recipe: they differ in nothing but their weights, but not all of their folders are here "
                "to say so."
            )
        if len(group.runs) < 5:
            warnings.append(
                f"{counted(len(group.runs), 'training')} ({names}): with so few, the interval over trainings and images is too narrow. Read that over trainings beside it."
            )
    return Section(
        "trainings", "Several trainings", " ".join(said), tuple(tables), (), tuple(warnings)
    )


def _table(evidence: Evidence, group: Trainings, name: str) -> tuple[Table, str]:
    values = evidence.primary.scored.values
    specs: dict[str, list[str]] = {}
    for method in evidence.study.networks:
        if method.run in group.runs and method.name in values:
            specs.setdefault(method.spec, []).append(method.name)
    reference = evidence.reference.spec
    base = [values[n] for n in specs.get(reference, [])]
    rows, said = [], ""
    for spec, names in specs.items():
        scores = _defined([values[n] for n in names])
        if len(scores) < 2:
            continue
        own = _drawn(evidence, scores)
        gaps = None
        if spec != reference and len(base) == len(names):
            paired = _defined([values[n] - b for n, b in zip(names, base, strict=True)])
            gaps = _drawn(evidence, paired) if len(paired) > 1 else None
        rows.append(_row(spec, own, gaps) | {"reference": spec == reference, "trivial": False})
        if gaps is not None and not said:
            said = f" {spec} less {reference}: {say(gaps.both)}."
    head = f"Over {counted(len(group.runs), 'training')} of one recipe, drawn with their images, {evidence.primary.endpoint.name}:{said}"
    columns = (
        Column("method", "method"), Column("both", evidence.primary.endpoint.name, "interval", note="other trainings and other images"),
        Column("images", "other images only", "interval"), Column("trainings", "other trainings only", "interval"),
        Column("sd", "standard deviation over trainings", "number"), Column("means", "each training"),
        Column("gap", f"difference to {reference}", "interval", note="other trainings and other images"),
        Column("gap_trainings", "the same, other trainings only", "interval"),
    )  # fmt: skip
    note = "Trainings and images are drawn again together (two-level bootstrap, the images shared by all trainings); “other trainings only” is Student's t over the trainings' means."
    title = "Over trainings: " + ", ".join(evidence.study.names[i] for i in group.runs)
    return Table(name, title, columns, rows, note), head


def _drawn(evidence: Evidence, scores: Floats) -> Seeds:
    """The mean over trainings and images; no interval draws fewer than five images."""
    draws = evidence.study.draws
    found = seeds_interval(scores, replicates=draws.replicates, seed=draws.seed)
    if draws.few(np.asarray((~np.isnan(scores)).any(axis=0))):
        return replace(found, both=bare(found.both), images=bare(found.images))
    return found


def _row(spec: str, own: Seeds, gaps: Seeds | None) -> dict[str, object]:
    return (
        {"method": spec, "spec": spec, "sd": own.sd, "means": ", ".join(f"{m:.3f}" for m in own.means)}
        | put("both", own.both) | put("images", own.images) | put("trainings", own.trainings)
        | put("gap", None if gaps is None else gaps.both)
        | put("gap_trainings", None if gaps is None else gaps.trainings)
    )  # fmt: skip


def _defined(rows: list[Floats]) -> Floats:
    """The trainings that have a defined score, one a row."""
    kept = [row for row in rows if not np.isnan(row).all()]
    return np.stack(kept) if kept else np.empty((0, 0))
