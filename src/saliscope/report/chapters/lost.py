"""Samples that no score counts, runs that are not finished, and results of too few images: what a reader has to know first."""

from __future__ import annotations

import numpy as np
import polars as pl

from saliscope.report.chapters.evidence import Evidence, counted, listed
from saliscope.report.study.draws import FEW

__all__ = ["few_images", "selections", "unfinished", "unranked", "unscored"]


def unfinished(evidence: Evidence) -> list[str]:
    """What is still to be done, run by run."""
    found = []
    for name, run in zip(evidence.study.names, evidence.study.runs, strict=True):
        head = _head(name)
        if not run.has_maps:
            found.append(f"{head}maps/ is not in the folder of the run: no heatmap is drawn, and flat maps are not counted.")  # fmt: skip
        if missing := run.missing:
            found.append(f"{head}{counted(missing, 'selected image')} not explained yet; the same `saliscope evaluate` continues.")  # fmt: skip
        if unmeasured := run.unmeasured:
            found.append(f"{head}{counted(unmeasured, 'part')} of maps not measured yet; `saliscope measure` does that.")  # fmt: skip
        if run.half_asked:
            found.append(f"{head}asking the network was stopped before the last map, and what it answered is not shown yet; the same --ask continues.")  # fmt: skip
        if unanswered := run.unanswered:
            found.append(f"{head}{counted(unanswered, 'image')} without answers to what the network was asked about the others; the same --ask asks about them too.")  # fmt: skip
    return found


def unscored(evidence: Evidence) -> list[str]:
    """How many images of each run are in no score, and why."""
    found = []
    for i, name in enumerate(evidence.study.names):
        total, reasons = _reasons(evidence, i)
        lost = sum(reasons.values())
        if lost:
            why = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
            are = "is" if lost == 1 else "are"
            head = _head(name)
            found.append(f"{head}{lost:,} of {counted(total, 'image')} {are} in no score ({why}).")
    return found


def _head(name: str) -> str:
    """How a sentence about one of several runs begins; a run that is alone has no name."""
    return f"{name}: " if name else ""


def _reasons(evidence: Evidence, place: int) -> tuple[int, dict[str, int]]:
    """The images of a run's reported split, and how many are in no score by what became of them."""
    run = evidence.study.runs[place]
    images = run.images.filter(pl.col("split") == run.settings.split)
    failed = images["status"] == "failed"
    scored = images["id"].is_in(_scored(evidence, place))
    left = images.filter(~failed & ~scored)
    broken = left["message"].is_not_null()
    bare = ~broken & (left["instances"].fill_null(0) == 0)
    reasons = {
        "failed": int(failed.sum()), "not judged": int(broken.sum()),
        "without annotation": int(bare.sum()), "undefined": int((~broken & ~bare).sum()),
    }  # fmt: skip
    return len(images), reasons


def _scored(evidence: Evidence, place: int) -> list[str]:
    """The images of a run that have a defined score; that a box was found or not is none."""
    own = evidence.study.main[place]
    seen = np.zeros(len(own.units), np.bool_)
    for (metric, _), values in own.values.items():
        for column in values.values() if metric != "no-box" else ():
            seen |= ~np.isnan(column)
    found: list[str] = own.units["id"].filter(pl.Series(seen)).to_list()
    return found


def few_images(evidence: Evidence) -> list[str]:
    """A warning where fewer than five images have the primary score."""
    study = evidence.study
    columns = [evidence.primary.scored.values[name] for name in evidence.ranking.names]
    most = max((study.draws.count(~np.isnan(column)) for column in columns), default=FEW)
    if most < FEW:
        return [f"Only {counted(most, 'image')}: no interval, and nothing can be told apart."]
    if evidence.ranking.estimates and evidence.ranking.few:
        shared = study.draws.count(evidence.ranking.common)
        said = counted(shared, "image")
        return [f"Only {said} that all methods have: no interval over them, and no ranking."]
    return []


def selections(evidence: Evidence) -> list[str]:
    """Runs of a part of the data."""
    found = []
    for name, run in zip(evidence.study.names, evidence.study.runs, strict=True):
        head = _head(name)
        for split, selected in run.record.selected.items():
            whole = run.record.available.get(split, selected)
            if selected < whole:
                found.append(f"{head}{selected:,} of the {whole:,} images of {split}, drawn by the hash of their ids.")  # fmt: skip
    return found


def unranked(evidence: Evidence) -> list[str]:
    """Runs that have no primary score, so that none of their methods is ranked."""
    study = evidence.study
    ranked = {study.method(name).run for name in evidence.ranking.names}
    missing = [name for i, name in enumerate(study.names) if i not in ranked]
    if not ranked or not missing:
        return []
    what = evidence.primary.text
    if len(missing) == 1:
        return [f"Run {missing[0]} has no {what}: its methods are not ranked."]
    return [f"Runs {listed(missing)} have no {what}: their methods are not ranked."]
