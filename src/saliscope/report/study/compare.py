"""Methods against the reference and against what knows no network, also where thresholds are maximised."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from saliscope.report.study.derived import Scored
from saliscope.report.study.draws import Draws, bare
from saliscope.report.study.scores import Floats
from saliscope.report.study.together import Method, Study
from saliscope.stats import (
    Comparison,
    Endpoint,
    Friedman,
    Interval,
    Pair,
    compare_methods,
    equivalence_of,
    friedman,
    maximised_table,
    unit_means,
)

__all__ = ["compare", "friedman_of", "gaps", "verdict"]


def compare(study: Study, scored: Scored, endpoint: Endpoint, reference: Method) -> Comparison:
    """Compare all methods with the reference; thresholds that are oracles are chosen again in every replicate.

    Tests are of the scores at the thresholds as they are; intervals and equivalence are those of the maxima. Fewer than five images
    have neither interval nor verdict.
    """
    return _without_few(study.draws, scored, _compared(study, scored, endpoint, reference))


def _compared(study: Study, scored: Scored, endpoint: Endpoint, reference: Method) -> Comparison:
    found = compare_methods(
        scored.values, endpoint, reference=reference.name, **study.draws.options
    )
    if not scored.near:
        return found
    wide, narrow = (
        _maximised(study.draws, scored, reference.name, level) for level in (0.95, 0.90)
    )
    rows = tuple(
        replace(row, estimate=wide[row.method][0]) if row.method in scored.near else row
        for row in found.rows
    )
    pairs = tuple(
        _remade(pair, wide[pair.method][1], narrow[pair.method][1], endpoint)
        if pair.method in wide and not pair.identical
        else pair
        for pair in found.pairs
    )
    return replace(found, rows=rows, pairs=pairs)


def _without_few(draws: Draws, scored: Scored, found: Comparison) -> Comparison:
    """The same comparison, with no interval where fewer than five images have the score, and no verdict where they share fewer."""
    base = scored.values[found.reference]
    rows = tuple(
        replace(row, estimate=bare(row.estimate))
        if draws.few(~np.isnan(scored.values[row.method])) else row
        for row in found.rows
    )  # fmt: skip
    pairs = tuple(
        replace(pair, difference=bare(pair.difference), equivalence=None, significant=False, consistent=False)
        if draws.few(~np.isnan(scored.values[pair.method] - base)) else pair
        for pair in found.pairs
    )  # fmt: skip
    return replace(found, rows=rows, pairs=pairs)


def _maximised(
    draws: Draws, scored: Scored, against: str, level: float, only: Iterable[str] | None = None
) -> Mapping[str, tuple[Interval, Interval | None]]:
    """Intervals of the methods that have an oracle, and of all others if `against` has one, with their differences to `against`."""
    swept = set(scored.near) | {against}
    names = [n for n in scored.values if n in swept or against in scored.near]
    if only is not None:
        names = [n for n in names if n in {*only, against}]
    deltas = next(iter(scored.near.values())).shape[1]
    cubes = {n: _cube(scored, n, deltas) for n in names}
    table = maximised_table(cubes, reference=against, level=level, **draws.options)
    return {
        name: (own.interval, None if gap is None else gap.difference)
        for name, (own, gap) in table.items()
    }


def _cube(scored: Scored, name: str, deltas: int) -> Floats:
    if name in scored.near:
        return np.asarray(scored.near[name], np.float64)
    return np.repeat(scored.values[name][:, None, None], deltas, axis=1)


def _remade(
    pair: Pair, difference: Interval | None, inner: Interval | None, endpoint: Endpoint
) -> Pair:
    if difference is None or inner is None:
        return pair
    same = None
    if endpoint.margin is not None:
        same = equivalence_of(inner, margin=endpoint.margin)
    agree = difference.low > 0 if difference.estimate > 0 else difference.high < 0
    agree = agree and difference.estimate * pair.effect > 0
    return replace(pair, difference=difference, equivalence=same, consistent=agree)


def gaps(
    study: Study, scored: Scored, methods: Iterable[str], others: Iterable[str]
) -> dict[tuple[str, str], Interval]:
    """The difference of each of some methods and each of some others, paired."""
    ones, twos = list(methods), list(others)
    plain = [
        (m, o) for o in twos for m in ones if o not in scored.near and m not in scored.near
    ]  # fmt: skip
    names = list(scored.values)
    places = [(names.index(m), names.index(o)) for m, o in plain]
    found: dict[tuple[str, str], Interval] = {}
    if plain:
        columns = np.column_stack(list(scored.values.values()))
        found = dict(zip(plain, study.draws.means_and_gaps(columns, places)[1], strict=True))
    for other in twos:
        if any((m, other) not in found for m in ones):
            with_other = _gaps_to(study, scored, other, ones)
            found |= {(m, other): gap for m, gap in with_other.items()}
    return found


def _gaps_to(study: Study, scored: Scored, other: str, methods: list[str]) -> dict[str, Interval]:
    table = _maximised(study.draws, scored, other, 0.95, only=methods)
    known = {m: gap for m in methods if m in table and (gap := table[m][1]) is not None}
    base = scored.values[other]
    few = {m for m in known if study.draws.few(~np.isnan(scored.values[m] - base))}
    return {m: bare(gap) if m in few else gap for m, gap in known.items()}


def friedman_of(
    study: Study, comparison: Comparison, values: Mapping[str, Floats]
) -> Friedman | None:
    """Friedman's test of the networks' methods, those that are identical to the reference left out; None below three."""
    same = {pair.method for pair in comparison.pairs if pair.identical}
    names = [m.name for m in study.networks if m.name in values and m.name not in same]
    if len(names) < 3:
        return None
    clusters = study.draws.clusters
    columns = [values[n] if clusters is None else unit_means(values[n], clusters) for n in names]
    return friedman(np.column_stack(columns))


def verdict(pair: Pair | None, endpoint: Endpoint) -> str:
    """What a pair comes to, in the fewest words."""
    if pair is None:
        return "reference"
    without = _without_verdict(pair)
    if without:
        return without
    small = pair.equivalence is not None and pair.equivalence.verdict == "within"
    if not pair.significant:
        return "equal within the margin" if small else "not told apart"
    if not pair.consistent:
        return "different, not settled"
    side = "better" if endpoint.is_better(pair.difference.estimate) else "worse"
    return f"{side}, too little to matter" if small else side


def _without_verdict(pair: Pair) -> str:
    """Why nothing is said of a pair; empty where something is."""
    if not pair.difference.n:
        return "no common image"
    if pair.identical:
        return "identical"
    return "too few images" if math.isnan(pair.difference.low) else ""
