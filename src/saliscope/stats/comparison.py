"""The table that a comparison of methods is: one row a method, one pair a method and the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from saliscope.errors import OptionError, nearest
from saliscope.stats.endpoints import Endpoint
from saliscope.stats.equivalence import Equivalence
from saliscope.stats.interval import Interval
from saliscope.stats.many import Corrected, Friedman
from saliscope.stats.wording import summary

__all__ = ["Comparison", "Pair", "Row"]


@dataclass(frozen=True)
class Row:
    """A method and its mean score over the images where it is defined."""

    method: str
    estimate: Interval


@dataclass(frozen=True)
class Pair:
    """A method against the reference on the images where both are defined; `undefined` images are not.

    `difference` is method − reference. `test` names the test; `pvalue` is its own and `adjusted` that over the family (NaN where
    nothing is tested). `effect` in [-1, 1] is the rank-biserial correlation. `largest` is the largest absolute difference of an image,
    and `identical` says that it lies within the tolerance. `consistent`: interval and ranks agree with the mean on its side of 0.
    """

    method: str
    reference: str
    difference: Interval
    test: str
    pvalue: float
    adjusted: float
    effect: float
    significant: bool
    consistent: bool
    identical: bool
    largest: float
    undefined: int
    equivalence: Equivalence | None
    sentence: str


@dataclass(frozen=True)
class Comparison:
    """Methods compared by one endpoint; `images` of them were given. `sentence` is the answer, each pair's `sentence` the detail."""

    endpoint: Endpoint
    reference: str
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    corrected: Corrected
    friedman: Friedman | None
    images: int
    tolerance: float
    replicates: int
    seed: int

    @property
    def sentence(self) -> str:
        return summary(self)

    def pair(self, method: str) -> Pair:
        """The pair of one method; raises `OptionError` for a method that was not compared."""
        for pair in self.pairs:
            if pair.method == method:
                return pair
        known = nearest(method, [p.method for p in self.pairs])
        raise OptionError(f'"{method}" was not compared with "{self.reference}"; {known}')

    def table(self) -> list[dict[str, Any]]:
        """One flat row a method, in the order given, for any data frame; the reference has None where a pair has numbers."""
        pairs = {p.method: p for p in self.pairs}
        return [_flat(self.endpoint, row, pairs.get(row.method)) for row in self.rows]


def _flat(endpoint: Endpoint, row: Row, pair: Pair | None) -> dict[str, Any]:
    e, d = row.estimate, None if pair is None else pair.difference
    eq = None if pair is None else pair.equivalence
    return {
        "endpoint": endpoint.name, "method": row.method,
        "estimate": e.estimate, "low": e.low, "high": e.high, "n": e.n, "undefined": e.undefined,
        "level": e.level, "interval": e.by,
        "difference": d and d.estimate, "difference_low": d and d.low, "difference_high": d and d.high,
        "pairs": d and d.n, "pairs_undefined": pair and pair.undefined,
        "test": pair and pair.test, "p": pair and pair.pvalue, "p_adjusted": pair and pair.adjusted,
        "effect": pair and pair.effect, "significant": pair and pair.significant,
        "identical": pair and pair.identical, "largest": pair and pair.largest,
        "margin": eq and eq.margin, "equivalence": eq and eq.verdict, "sentence": pair and pair.sentence,
    }  # fmt: skip
