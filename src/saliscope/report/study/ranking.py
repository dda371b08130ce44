"""Who is ahead: the networks' methods by the score that decides, on the images that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from saliscope.report.study.compare import compare
from saliscope.report.study.derived import Scored
from saliscope.report.study.primary import Primary
from saliscope.report.study.together import Study
from saliscope.stats import Comparison, Interval

__all__ = ["Ranking", "ranking_of"]

_SAME = 1e-6  # scores that agree to this on every image are the same


@dataclass(frozen=True, eq=False)
class Ranking:
    """Methods that can be ranked, on the rows `common` where all of them are defined.

    `estimates` are their scores there, none where there is no such row; `first` share the best of them, more than one where they are
    the same. `whole`: every method is defined on just these rows. `few`: the rows are of fewer than five images.
    """

    names: tuple[str, ...]
    common: NDArray[np.bool_]
    estimates: Mapping[str, Interval]
    first: tuple[str, ...]
    whole: bool
    few: bool


def ranking_of(study: Study, primary: Primary, comparison: Comparison) -> Ranking:
    """Rank the networks' methods that have the primary score; `comparison` holds the scores over each one's own images."""
    known = {row.method: row.estimate for row in comparison.rows if row.estimate.n}
    names = tuple(m.name for m in study.networks if m.name in known)
    defined = [~np.isnan(primary.scored.values[name]) for name in names]
    common = np.logical_and.reduce(defined) if defined else np.zeros(len(study.units), np.bool_)
    whole = all(np.array_equal(common, one) for one in defined)
    if whole or not common.any():
        estimates = {name: known[name] for name in names if whole}
    else:
        estimates = _estimates(study, primary, names, common)
    first = _first(primary, names, common, estimates) if estimates else ()
    return Ranking(names, common, estimates, first, whole, study.draws.few(common))


def _estimates(
    study: Study, primary: Primary, names: Sequence[str], common: NDArray[np.bool_]
) -> dict[str, Interval]:
    """The scores on the common rows; thresholds that are oracles are chosen again on them."""
    scored = primary.scored
    kept = Scored(
        {n: np.where(common, scored.values[n], np.nan) for n in names},
        {n: np.where(common[:, None, None], scored.near[n], np.nan) for n in names if n in scored.near},
    )  # fmt: skip
    found = compare(study, kept, replace(primary.endpoint, margin=None), study.method(names[0]))
    return {row.method: row.estimate for row in found.rows}


def _first(
    primary: Primary, names: Sequence[str], common: NDArray[np.bool_],
    estimates: Mapping[str, Interval],
) -> tuple[str, ...]:  # fmt: skip
    sign = 1 if primary.endpoint.better == "higher" else -1
    best = max(names, key=lambda n: sign * estimates[n].estimate)
    values = primary.scored.values

    def is_same(name: str) -> bool:
        equal = bool(np.abs(values[name] - values[best])[common].max() <= _SAME)
        return equal or abs(estimates[name].estimate - estimates[best].estimate) < 1e-9

    return tuple(name for name in names if is_same(name))
