"""`findings`: what runs say, the answer first, ready for a page or for files."""

from __future__ import annotations

from collections.abc import Sequence

from saliscope.errors import OptionError
from saliscope.report.chapters.agreement import agreement_section
from saliscope.report.chapters.answer import answer_section
from saliscope.report.chapters.believe import believe_section
from saliscope.report.chapters.beyond import beyond_section
from saliscope.report.chapters.caveats import caveats
from saliscope.report.chapters.classes import classes_section
from saliscope.report.chapters.evidence import Evidence, evidence_of
from saliscope.report.chapters.faithfulness import faithfulness_section, robustness_section
from saliscope.report.chapters.layers import layers_section
from saliscope.report.chapters.lost import selections, unfinished, unscored
from saliscope.report.chapters.predictions import predictions_section
from saliscope.report.chapters.provenance import provenance_of, provenance_section
from saliscope.report.chapters.sanity import failures, sanity_section
from saliscope.report.chapters.scores import scores_section
from saliscope.report.chapters.statuses import statuses_section
from saliscope.report.chapters.thresholds import thresholds_section
from saliscope.report.chapters.trainings import trainings_section
from saliscope.report.sections import Findings
from saliscope.report.study.forgetting import forgetting_of
from saliscope.report.study.identity import same_heat
from saliscope.report.study.together import study_of
from saliscope.runs import Run
from saliscope.stats.counts import counts_kept

__all__ = ["findings", "findings_of"]


def findings(
    runs: Sequence[Run], *, primary: str | None = None, replicates: int = 10_000, seed: int = 0
) -> Findings:
    """All that a report of these runs says: answer, warnings, sections with tables and charts, provenance.

    Runs are paired by the ids of their images. `primary` (METRIC@PROTOCOL) takes the place of the score that was declared before
    the run, and is called chosen after it. Intervals are bootstraps of `replicates` that draw images within their classes; the same
    `seed` gives the same numbers. Raises `OptionError` for no run, a run without scores, and a score that was not measured.
    """
    if not runs:
        raise OptionError(
            "a report needs a run: name the folder that `saliscope evaluate -o` wrote"
        )
    with counts_kept():
        return findings_of(evidence_of(study_of(runs, replicates=replicates, seed=seed), primary))


def findings_of(evidence: Evidence) -> Findings:
    """The findings of what was read already."""
    study = evidence.study
    same = tuple((n, s) for n, r in zip(study.names, study.runs, strict=True) for s in same_heat(r))
    answer, first = answer_section(evidence, same)
    checked = forgetting_of(study)
    sections = (
        first, beyond_section(evidence), faithfulness_section(evidence), sanity_section(evidence, checked),
        robustness_section(evidence), believe_section(evidence), agreement_section(evidence), trainings_section(evidence), thresholds_section(evidence),
        scores_section(evidence), layers_section(evidence), classes_section(evidence),
        predictions_section(evidence), statuses_section(evidence), provenance_section(evidence),
    )  # fmt: skip
    warnings = (
        *unfinished(evidence), *unscored(evidence), *first.warnings, *caveats(evidence), *failures(checked), *selections(evidence),
    )  # fmt: skip
    return Findings(
        _title(evidence), answer, tuple(s for s in sections if s is not None),
        warnings, provenance_of(evidence),
    )  # fmt: skip


def _title(evidence: Evidence) -> str:
    runs = evidence.study.runs
    data = "; ".join(dict.fromkeys(f"{r.settings.data}, {r.settings.split}" for r in runs))
    networks = ", ".join(dict.fromkeys(str(r.record.resolved["model"]) for r in runs))
    return f"{networks} on {data}"
