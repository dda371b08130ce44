"""The first sentence of a report: who is ahead, and what the others are to the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saliscope.report.chapters.evidence import MOST, Evidence, counted, listed, say
from saliscope.report.study.compare import verdict

__all__ = ["declared_by", "headline"]

_GROUPS = {
    "better": "{names} {are} better than {other}",
    "worse": "{names} {are} worse than {other}",
    "better, too little to matter": "{names} {are} better than {other} by too little to matter",
    "worse, too little to matter": "{names} {are} worse than {other} by too little to matter",
    "identical": "{names} {are} identical to {other}",
    "equal within the margin": "equal to {other} within ±{margin:g}: {names}",
    "different, not settled": "{names} {differ} from {other}, without saying which is better",
    "not told apart": "{names} cannot be told apart from {other}",
    "too few images": "{names} {have} too few images in common with {other}",
    "no common image": "{names} {have} no image in common with {other}",
}


def headline(evidence: Evidence) -> str:
    """Who is ahead on the images that all methods have, and what the others are to the reference."""
    head, ranking = _named(evidence), evidence.ranking
    if not ranking.names:
        return f"No method has a defined {evidence.primary.endpoint.name}."
    if len(ranking.names) == 1:
        (name,) = ranking.names
        own = ranking.estimates[name]
        return f"{head}{name} has {say(own)} over {_units(evidence, own.n)}."
    if not ranking.estimates:
        return f"{head}{_apart(evidence)}{_against(evidence)}"
    if ranking.few:
        means = [f"{n} {ranking.estimates[n].estimate:.3f}" for n in ranking.names]
        return f"{head}{listed(means, MOST)} {_over(evidence)}, too few to tell methods apart."
    return f"{head}{_ahead(evidence)}, {_over(evidence)}.{_against(evidence)}"


def declared_by(evidence: Evidence) -> tuple[int, ...]:
    """The runs that declared the primary score, by their places."""
    primary, runs = evidence.primary, evidence.study.runs
    if not primary.declared:
        return ()
    known = (runs[0].settings.primary, primary.text, primary.metric)  # alone it has one protocol
    return tuple(i for i, run in enumerate(runs) if run.settings.primary in known)


def _named(evidence: Evidence) -> str:
    primary, names = evidence.primary, evidence.study.names
    kind = "Primary endpoint" if primary.declared else "Endpoint"
    by = declared_by(evidence)
    when = "declared before the run" if by else "chosen after the run"
    if by and len(by) < len(names):
        when = f"declared before the run by {listed((names[i] for i in by), MOST)} only"
    return f"{kind} {primary.endpoint.name}, {when}: "


def _ahead(evidence: Evidence) -> str:
    ranking = evidence.ranking
    extreme = "highest" if evidence.primary.endpoint.better == "higher" else "lowest"
    first, count = ranking.first, len(ranking.names)
    own = say(ranking.estimates[first[0]])
    if len(first) == count:
        return f"{listed(first, MOST)} have the same, {own}"
    verb = "has" if len(first) == 1 else "share"
    return f"{listed(first, MOST)} {verb} the {extreme} of {count} methods, {own}"


def _apart(evidence: Evidence) -> str:
    """Methods that no image brings together, each with what it has on its own images."""
    rows = {r.method: r.estimate for r in evidence.comparison.rows}
    own = evidence.ranking.names
    means = [
        f"{n} has {rows[n].estimate:.3f} over {_units(evidence, rows[n].n)}" for n in own[:MOST]
    ]
    more = [f"{len(own) - MOST} more"] if len(own) > MOST else []
    why = "no image has a score of all methods"
    if _share_nothing(evidence):
        why = "the runs share no images"
    return f"{listed([*means, *more])}; {why}, so they are not ranked."


def _share_nothing(evidence: Evidence) -> bool:
    places = [set(p.tolist()) for p in evidence.study.places]
    return len(places) > 1 and not set.intersection(*places)


def _over(evidence: Evidence) -> str:
    ranking = evidence.ranking
    said = _units(evidence, int(ranking.common.sum()))
    if ranking.whole:
        return f"over {said}"
    if len(evidence.study.runs) > 1:
        return f"over the {said} they share"
    return f"over the {said} where all are defined"


def _units(evidence: Evidence, count: int) -> str:
    if evidence.study.several:
        return counted(count, "image and class", "images and classes")
    return counted(count, "image")


def _against(evidence: Evidence) -> str:
    """What the methods are to the reference, those of one verdict together."""
    groups: dict[str, list[str]] = {}
    for pair in evidence.comparison.pairs:
        if pair.method in evidence.ranking.names:
            said = verdict(pair, evidence.primary.endpoint)
            groups.setdefault(said, []).append(pair.method)
    words = [_grouped(evidence, key, groups[key]) for key in _GROUPS if key in groups]
    return f" After Holm correction, {'; '.join(words)}." if words else ""


def _grouped(evidence: Evidence, key: str, names: Sequence[str]) -> str:
    many, margin = len(names) > 1, evidence.primary.endpoint.margin
    return _GROUPS[key].format(
        names=listed(names, MOST), other=evidence.comparison.reference,
        are="are" if many else "is", have="have" if many else "has",
        differ="differ" if many else "differs", margin=np.nan if margin is None else margin,
    )  # fmt: skip
