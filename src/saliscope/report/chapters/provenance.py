"""Where every number comes from, and the commands that make it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from saliscope.provenance import now, versions
from saliscope.report.chapters.evidence import Evidence
from saliscope.report.sections import Column, Section, Table
from saliscope.runs import Run
from saliscope.settings import settings_toml

__all__ = ["provenance_of", "provenance_section", "settings_file"]


def provenance_section(evidence: Evidence) -> Section:
    """Settings, hashes, versions, machines and sessions of each run, side by side."""
    runs = evidence.study.runs
    facts = [_facts(run) for run in runs]
    keys = list(dict.fromkeys(key for each in facts for key in each))
    named = [f"run{i}" for i in range(len(runs))]
    rows: list[dict[str, str | None]] = [
        {"what": key, **{n: each.get(key) for n, each in zip(named, facts, strict=True)}} for key in keys
    ]  # fmt: skip
    headings = [name or run.place.address for name, run in zip(evidence.study.names, runs, strict=True)]  # fmt: skip
    columns = (
        Column("what", "setting"),
        *(Column(n, h) for n, h in zip(named, headings, strict=True)),
    )
    sessions = [
        {"run": name or run.place.address} | vars(session)
        for name, run in zip(evidence.study.names, runs, strict=True)
        for session in run.record.sessions
    ]
    shown = ("run", "stage", "started", "ended", "machine", "engine", "workers", "shard", "done", "failed")  # fmt: skip
    tables = (
        Table("provenance", "Settings and hashes", columns, rows),
        Table("sessions", "Sessions", tuple(Column(k, k) for k in shown), sessions),
        Table(
            "commands",
            "Commands",
            (Column("command", "command"),),
            [{"command": c} for c in _commands(evidence)],
            "The settings lie beside the tables; provenance.json there holds all that is known of the runs.",
        ),
    )
    draws = evidence.study.draws
    lead = (
        f"Computed from the scores of {', '.join(run.place.address for run in runs)} with {draws.replicates:,} replicates and seed {draws.seed}: "
        "the same runs give the same numbers."
    )
    return Section("provenance", "Provenance", lead, tables)


def provenance_of(evidence: Evidence) -> Mapping[str, Any]:
    """All of it as one value for a file: records of the runs, how this report was made, and the commands that do it again.

    `settings` of a run is the text of the file that its command names.
    """
    runs = evidence.study.runs
    return {
        "made": now(), "versions": versions(),
        "primary": evidence.primary.text, "declared": evidence.primary.declared,
        "reference": evidence.reference.name,
        "replicates": evidence.study.draws.replicates, "seed": evidence.study.draws.seed,
        "runs": [
            {
                "name": name, "address": run.place.address, "hash": run.record.hash, "measured": run.record.measured,
                "settings": settings_toml(run.settings), "resolved": run.record.resolved,
                "versions": run.record.versions, "started": run.record.started, "ended": run.record.ended,
                "selected": run.record.selected, "available": run.record.available,
                "sessions": [vars(s) for s in run.record.sessions],
            }
            for name, run in zip(evidence.study.names, runs, strict=True)
        ],
        "commands": _commands(evidence),
    }  # fmt: skip


def _commands(evidence: Evidence) -> list[str]:
    folders = [run.place.address for run in evidence.study.runs]
    found = [f"saliscope evaluate {settings_file(i, len(folders))} -o {folder}" for i, folder in enumerate(folders)]  # fmt: skip
    more = "" if evidence.primary.declared else f" --primary {evidence.primary.text}"
    return [*found, f"saliscope report {' '.join(folders)}{more}"]


def settings_file(place: int, count: int) -> str:
    """Where the settings of a run lie, beside the report."""
    return f"tables/settings-{place + 1}.toml" if count > 1 else "tables/settings.toml"


def _facts(run: Run) -> dict[str, str]:
    record = run.record
    found: dict[str, Any] = {
        "folder": run.place.address, "network": record.resolved.get("model"), "weights": record.resolved.get("weights"),
        "hash of the maps": record.hash, "hash of the scores": record.measured,
        "started": record.started, "ended": record.ended,
    }  # fmt: skip
    for split, count in record.selected.items():
        found[f"images of {split}"] = f"{count:,} of {record.available.get(split, count):,}"
    for split, mark in record.resolved.get("data", {}).items():
        found[f"fingerprint of {split}"] = mark
    found |= {f"setting {k}": v for k, v in (record.explain | record.measure | record.declared).items()}  # fmt: skip
    found["preprocessing"] = record.resolved.get("preprocessing")
    found |= {f"method {k}": v for k, v in record.resolved.get("methods", {}).items()}
    found |= {f"version of {k}": v for k, v in record.versions.items()}
    return {k: _said(v) for k, v in found.items() if v is not None}


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
