"""All methods against one: estimates, tests, effect sizes, equivalence and what follows, in one table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from saliscope.errors import DataError, OptionError, nearest
from saliscope.stats.binary import mcnemar, wilson_interval
from saliscope.stats.bootstrap import resample_means, unit_means
from saliscope.stats.comparison import Comparison, Pair, Row
from saliscope.stats.endpoints import Endpoint, find_endpoint
from saliscope.stats.equivalence import equivalence_of
from saliscope.stats.interval import Floats, Interval, Labels, check_settings, read_values
from saliscope.stats.many import Corrected, correct, friedman
from saliscope.stats.paired import wilcoxon
from saliscope.stats.resampling import Resampled
from saliscope.stats.wording import pair_sentence

__all__ = ["compare_methods"]


def compare_methods(
    scores: Mapping[str, ArrayLike],
    endpoint: str | Endpoint,
    *,
    reference: str,
    strata: Labels | None = None,
    clusters: Labels | None = None,
    label: Literal["family", "exploratory"] = "family",
    tolerance: float = 1e-6,
    alpha: float = 0.05,
    by: Literal["percentile", "bca"] = "percentile",
    level: float = 0.95,
    replicates: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare every method with `reference` by one endpoint.

    `scores`: method -> one score an image (rows,), NaN undefined, all in the same order of images. `endpoint`: an
    `Endpoint`, a key of `ENDPOINTS`, or any name. `strata` (the class of each row) and `clusters` (the image of each row)
    as in `mean_interval`; with clusters, the tests and Friedman's ranks take one number a cluster, the mean of its rows.

    A pair whose scores differ by at most `tolerance` on every image is identical and no test of the family; elsewhere
    differences within `tolerance` are zeros of Wilcoxon's test.

    Means: bootstrap intervals, Wilcoxon's test. Proportions (0/1, one row an image): Wilson's and Newcombe's intervals, exact
    McNemar. Equivalence to the endpoint's margin by inclusion of the interval at level 1 − 2 `alpha`. P-values are corrected
    over the methods as `label` says. From three methods on, Friedman's test comes with it.

    Raises `DataError` for arrays of different length or scores a proportion cannot have, `OptionError` for an unknown
    reference or a setting outside its range.

    >>> found = compare_methods({"CAM": [0.5, 0.7, 0.6], "edges": [0.5, 0.7, 0.6]}, "iou", reference="CAM")
    >>> found.pair("edges").sentence
    'edges and CAM are identical in mean IoU on 3 images (largest difference 0, tolerance 1e-06): no test is needed.'
    """
    check_settings(level, replicates)
    if not (0 < alpha < 0.5 and tolerance >= 0):
        raise OptionError(
            f"alpha lies between 0 and 0.5 and the tolerance is 0 or more; got {alpha} and {tolerance}"
        )
    what, table = find_endpoint(endpoint), _table(scores, reference)
    names = list(scores)
    at, others = names.index(reference), [i for i, name in enumerate(names) if name != reference]
    gaps = table[:, others] - table[:, [at]]
    if clusters is None and _is_proportion(table, what):
        rows = [_proportion(column, level) for column in table.T]
        found = [_by_mcnemar(table[:, i], table[:, at], level, alpha) for i in others]
    else:
        drawn = resample_means(
            np.column_stack([table, gaps]),
            strata=strata, clusters=clusters, by=by, replicates=replicates, seed=seed,
        )  # fmt: skip
        rows = [one.interval(level=level, by=by) for one in drawn[: len(names)]]
        units = _units(gaps, clusters).T
        found = [
            _by_wilcoxon(one, unit, tolerance, by, level, alpha)
            for one, unit in zip(drawn[len(names) :], units, strict=True)
        ]
    tested = [_judged(t, gap, tolerance) for t, gap in zip(found, gaps.T, strict=True)]
    raw = {names[i]: t.pvalue for i, t in zip(others, tested, strict=True)}
    corrected = correct(raw, label=label, alpha=alpha)
    pairs = tuple(
        _pair(names[i], reference, t, corrected, what, tolerance)
        for i, t in zip(others, tested, strict=True)
    )
    same = [i for i, t in zip(others, tested, strict=True) if t.identical]
    blocks = _units(_same(table, at, same), clusters)
    return Comparison(
        what, reference, tuple(Row(n, r) for n, r in zip(names, rows, strict=True)), pairs, corrected,
        friedman(blocks) if len(names) > 2 else None, len(blocks), tolerance, replicates, seed,
    )  # fmt: skip


@dataclass(frozen=True)
class _Tested:
    """What a test says of one pair: its interval, the same at level 1 − 2 alpha, name, p-value and effect."""

    difference: Interval
    inner: Interval
    test: str
    pvalue: float
    effect: float
    largest: float = math.nan
    identical: bool = False


def _table(scores: Mapping[str, ArrayLike], reference: str) -> Floats:
    if reference not in scores:
        raise OptionError(f'no scores of the reference "{reference}"; {nearest(reference, scores)}')
    columns = {name: read_values(values) for name, values in scores.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"methods are scored on the same images in the same order; got {lengths}")
    return np.column_stack(list(columns.values()))


def _units(table: Floats, clusters: Labels | None) -> Floats:
    """One row a cluster; the rows themselves without clusters."""
    if clusters is None or not table.shape[1]:
        return table
    return np.column_stack([unit_means(column, clusters) for column in table.T])


def _is_proportion(table: Floats, endpoint: Endpoint) -> bool:
    known = table[~np.isnan(table)]
    whole = bool(np.isin(known, (0, 1)).all())
    if endpoint.kind == "proportion" and not whole:
        raise DataError(f"{endpoint.name} is a proportion: scores are 0, 1 or NaN")
    return whole and len(known) > 0 if endpoint.kind == "auto" else endpoint.kind == "proportion"


def _proportion(column: Floats, level: float) -> Interval:
    known = column[~np.isnan(column)]
    missing = len(column) - len(known)
    return wilson_interval(int(known.sum()), len(known), undefined=missing, level=level)


def _by_mcnemar(first: Floats, second: Floats, level: float, alpha: float) -> _Tested:
    wide = mcnemar(first, second, level=level)
    inner = mcnemar(first, second, level=1 - 2 * alpha).difference
    return _Tested(wide.difference, inner, "McNemar, exact", wide.pvalue, wide.effect)


def _by_wilcoxon(
    drawn: Resampled, units: Floats, tolerance: float,
    by: Literal["percentile", "bca"], level: float, alpha: float,
) -> _Tested:  # fmt: skip
    test = wilcoxon(units, tolerance=tolerance)
    name = "Wilcoxon signed-rank, " + ("exact" if test.exact else "normal")
    wide, inner = drawn.interval(level=level, by=by), drawn.interval(level=1 - 2 * alpha, by=by)
    return _Tested(wide, inner, name, test.pvalue, test.effect)


def _judged(tested: _Tested, gap: Floats, tolerance: float) -> _Tested:
    """The same with the largest difference; without test, p-value and effect where that is within the tolerance."""
    if not tested.difference.n:
        return replace(tested, test="none: no common image")
    largest = float(np.nanmax(np.abs(gap)))
    if largest > tolerance:
        return replace(tested, largest=largest)
    return replace(
        tested, test="none: identical", pvalue=math.nan, effect=math.nan,
        largest=largest, identical=True,
    )  # fmt: skip


def _same(table: Floats, at: int, identical: list[int]) -> Floats:
    """The scores with methods that are identical to the reference set to it: rounding gives no ranks."""
    table = table.copy()
    table[:, identical] = np.where(np.isnan(table[:, identical]), np.nan, table[:, [at]])
    return table


def _pair(
    name: str, reference: str, tested: _Tested, corrected: Corrected,
    endpoint: Endpoint, tolerance: float,
) -> Pair:  # fmt: skip
    adjusted, margin = corrected.adjusted[name], endpoint.margin
    pair = Pair(
        name, reference, tested.difference, tested.test, tested.pvalue, adjusted, tested.effect,
        significant=adjusted <= corrected.alpha,
        consistent=_agree(tested.difference, tested.effect),
        identical=tested.identical,
        largest=tested.largest,
        undefined=tested.difference.undefined,
        equivalence=None if margin is None else equivalence_of(tested.inner, margin=margin),
        sentence="",
    )  # fmt: skip
    said = pair_sentence(pair, endpoint=endpoint, rule=corrected.rule, tolerance=tolerance)
    return replace(pair, sentence=said)


def _agree(difference: Interval, effect: float) -> bool:
    """Whether mean, interval and ranks lie on one side of 0."""
    if difference.estimate > 0:
        return difference.low > 0 and effect > 0
    return difference.estimate < 0 and difference.high < 0 and effect < 0
