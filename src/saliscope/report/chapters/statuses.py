"""What became of every map and every sample: nothing vanishes from a table without a line here."""

from __future__ import annotations

from typing import Any

import polars as pl

from saliscope.report.chapters.evidence import Evidence, counted
from saliscope.report.chapters.lost import selections, unfinished, unscored
from saliscope.report.sections import Column, Section, Table
from saliscope.report.study.flat import STATUSES, read_statuses

__all__ = ["statuses_section"]

_SHOWN = 200


def statuses_section(evidence: Evidence) -> Section:
    """Counts of the statuses of each method's maps, images without a box, and the samples that failed, with reasons."""
    statuses, failed = _statuses(evidence), _failed(evidence)
    troubled = sum(1 for row in statuses.rows if any(row.get(s) for s in STATUSES[1:]))
    lost = len(failed.rows)
    lead = [
        f"{counted(lost, 'sample')} failed or could not be judged." if lost else "No sample failed."
    ]
    lead.append(
        f"{counted(troubled, 'method')} with maps that are not ok: zero, constant, negative, not finite or saturated."
        if troubled else "Every map is ok."
    )  # fmt: skip
    tables = (statuses, *([failed] if lost else []))
    warnings = [*unfinished(evidence), *unscored(evidence), *selections(evidence)]
    return Section("statuses", "Statuses and errors", " ".join(lead), tables, warnings=tuple(warnings))  # fmt: skip


def _statuses(evidence: Evidence) -> Table:
    rows = []
    for i, run in enumerate(evidence.study.runs):
        counts: dict[str, dict[str, int]] = {}
        for spec, status, count in read_statuses(run).rows():
            counts.setdefault(spec, {})[status] = count
        prefix = f"{evidence.study.names[i]} · " if evidence.study.names[i] else ""
        for spec in run.methods:
            own = counts.get(spec, {})
            row: dict[str, Any] = {"method": prefix + spec, "run": evidence.study.names[i], "maps": sum(own.values())}  # fmt: skip
            rows.append(row | {s: own.get(s, 0) for s in STATUSES} | _no_box(evidence, i, spec))
    protocols = [p for run in evidence.study.runs for p in run.settings.protocols]
    columns = [Column("method", "method"), Column("maps", "maps", "count")]
    columns += [Column(s, s, "count") for s in STATUSES]
    columns += [Column(p, f"no box ({p})", "count") for p in dict.fromkeys(protocols)]
    note = "A map that is zero, constant or not finite has no box; its IoU is 0, and counts."
    return Table("statuses", "Statuses of maps", tuple(columns), rows, note)


def _no_box(evidence: Evidence, run: int, spec: str) -> dict[str, int | None]:
    """How many maps found no box, by protocol."""
    found = {}
    for (metric, protocol), values in evidence.study.main[run].values.items():
        if metric == "no-box" and spec in values:
            found[protocol] = int((values[spec] == 1).sum())
    return dict(found)


def _failed(evidence: Evidence) -> Table:
    rows = []
    for i, run in enumerate(evidence.study.runs):
        images = run.images.filter(pl.col("message").is_not_null())
        for row in images.sort("split", "index").iter_rows(named=True):
            what = "not explained" if row["status"] == "failed" else "not judged"
            rows.append(
                {"run": evidence.study.names[i], "id": row["id"], "split": row["split"], "what": what, "message": row["message"]}
            )  # fmt: skip
    columns = [Column("id", "sample"), Column("split", "split"), Column("what", "what"), Column("message", "reason")]  # fmt: skip
    if len(evidence.study.runs) > 1:
        columns.insert(0, Column("run", "run"))
    note = "Samples that were not explained are in no score; those that could not be judged are undefined in all of them."
    return Table("failed", "Samples that failed", tuple(columns), rows, note)
