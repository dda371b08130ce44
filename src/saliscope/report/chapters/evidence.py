"""What every chapter is written from, and the words and rows that they share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saliscope.report.charts.style import Look, looks_of
from saliscope.report.sections import Column
from saliscope.report.study.compare import compare
from saliscope.report.study.grid import Grid, grid_of
from saliscope.report.study.primary import Primary, find_primary, find_reference
from saliscope.report.study.ranking import Ranking, ranking_of
from saliscope.report.study.sweeps import CENTRE_BOX
from saliscope.report.study.together import Method, Study, kind_of
from saliscope.runs.measuring import FULL_BOX, SHUFFLED
from saliscope.stats import Comparison, Interval

__all__ = ["METHOD", "MOST", "Evidence", "any_true", "counted", "describe", "evidence_of", "first_up", "listed", "method_row", "put", "say"]  # fmt: skip

METHOD = Column("method", "method")
"""The first column of most tables."""

MOST = 5
"""Names in one breath."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Runs as arrays, the score that decides, the comparison by it, who is ahead, and all other scores."""

    study: Study
    primary: Primary
    reference: Method
    comparison: Comparison
    ranking: Ranking
    grid: Grid
    looks: Mapping[str, Look]

    @property
    def lead(self) -> Method:
        """The network's method with the best primary score on the images that all have, else on its own; the reference where none is defined."""
        if self.ranking.first:
            return self.study.method(self.ranking.first[0])
        best, found = math.nan, self.reference
        for row in self.comparison.rows:
            value = row.estimate.estimate
            better = math.isnan(best) or self.primary.endpoint.is_better(value - best)
            if not self.study.method(row.method).trivial and not math.isnan(value) and better:
                best, found = value, self.study.method(row.method)
        return found

    def estimate(self, name: str) -> Interval | None:
        """The primary score of a method."""
        return next((r.estimate for r in self.comparison.rows if r.method == name), None)


def evidence_of(study: Study, given: str | None) -> Evidence:
    """Find the primary score, compare by it, and score all else; raises `OptionError` for a score that was not measured."""
    primary, reference = find_primary(study, given), find_reference(study)
    compared = compare(study, primary.scored, primary.endpoint, reference)
    looks = looks_of([(m.name, m.spec, m.trivial) for m in study.methods])
    ranking = ranking_of(study, primary, compared)
    return Evidence(study, primary, reference, compared, ranking, grid_of(study, reference), looks)


def put(key: str, interval: Interval | None) -> dict[str, Any]:
    """The values of an "interval" column; None where there is nothing to say."""
    if interval is None:
        return {key: None, f"{key}_low": None, f"{key}_high": None}
    return {key: interval.estimate, f"{key}_low": interval.low, f"{key}_high": interval.high}


def method_row(evidence: Evidence, method: Method) -> dict[str, Any]:
    """The values that say which method a row is of."""
    names = evidence.study.names
    return {
        "method": method.name,
        "spec": method.spec,
        "run": ", ".join(names[i] for i in method.runs),
        "trivial": method.trivial,
        "reference": method.name == evidence.reference.name,
    }


def say(interval: Interval, digits: int = 3) -> str:
    """An estimate with its interval, as in tables; alone where it has none."""
    if math.isnan(interval.low):
        return f"{interval.estimate:.{digits}f}"
    low, high = (f"{v:.{digits}f}" for v in (interval.low, interval.high))
    return f"{interval.estimate:.{digits}f} [{low}, {high}]"


def listed(names: Iterable[str], most: int | None = None) -> str:
    """Names as a sentence has them: "a, b and c"; of more than `most` the rest as a number."""
    every = list(names)
    if most is not None and len(every) > most:
        every = [*every[: most - 1], f"{len(every) - most + 1} more"]
    *rest, last = every
    return f"{', '.join(rest)} and {last}" if rest else last


def first_up(text: str) -> str:
    """A text as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun: "1 image", "8,580 images"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def describe(method: Method, details: Mapping[str, str]) -> str:
    """What a method without a network is, in words that need no table."""
    where = ""
    if method.spec == CENTRE_BOX:
        sides, _, source = details.get(method.name, "").removeprefix("side ").rpartition(", ")
        shares = [f"{100 * float(side):.0f}" for side in sides.split(", ") if side]
        where = f" of {listed(shares)} % of each side ({source})" if shares else ""
    words = {
        "random": "random heat",
        "centre": "a blob in the middle of the picture",
        "edges": "the edges of the photograph",
        SHUFFLED: "the reference's map with its cells shuffled",
        FULL_BOX: "the box of the full image",
        CENTRE_BOX: "a centred box" + where,
    }
    run = method.name.rpartition(" · ")[0]
    options = method.spec.partition(":")[2]
    return words[kind_of(method.spec)] + "".join(f" ({more})" for more in (options, run) if more)


def any_true(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    """Whether a column says something in any row."""
    return any(row.get(key) for row in rows)
