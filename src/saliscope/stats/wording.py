"""Plain sentences for what a comparison found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from saliscope.stats.endpoints import Endpoint
from saliscope.stats.equivalence import Equivalence

if TYPE_CHECKING:
    from saliscope.stats.comparison import Comparison, Pair

__all__ = ["pair_sentence", "say_p", "summary"]

_WITHIN = {"within": "yes", "beyond": "no", "open": "not settled", "undefined": "undefined"}


def say_p(pvalue: float) -> str:
    """A p-value behind its sign: "< 0.001", "= 0.031", "undefined"."""
    if math.isnan(pvalue):
        return "undefined"
    return "< 0.001" if pvalue < 0.001 else f"= {pvalue:.3f}"


def pair_sentence(pair: Pair, *, endpoint: Endpoint, rule: str, tolerance: float) -> str:
    """What one comparison says: the difference, its test, its size against the margin, and what follows."""
    dropped = (
        f" Left out, without both scores: {_images(pair.undefined)}." if pair.undefined else ""
    )
    if not pair.difference.n:
        return f"No image has a score for both {pair.method} and {pair.reference}: nothing can be said."
    if pair.identical:
        return (
            f"{pair.method} and {pair.reference} are identical in {endpoint.name} on {_images(pair.difference.n)} "
            f"(largest difference {pair.largest:.3g}, tolerance {tolerance:.3g}): no test is needed.{dropped}"
        )
    parts = [_measured(pair, endpoint), f"p ({rule}) {say_p(pair.adjusted)}"]
    if pair.equivalence is not None:
        said = _WITHIN[pair.equivalence.verdict]
        parts.append(f"within the margin of {pair.equivalence.margin:g}: {said}")
    return "; ".join(parts) + ". " + _follows(pair, endpoint) + dropped


def _measured(pair: Pair, endpoint: Endpoint) -> str:
    d = pair.difference
    size = f"{abs(d.estimate):.3f}"
    if d.estimate == 0:
        return f"{pair.method} and {pair.reference} have the same {endpoint.name} [{d.low:.3f}, {d.high:.3f}]"
    low, high = (d.low, d.high) if d.estimate > 0 else (-d.high, -d.low)
    words = endpoint.words(d.estimate)
    return (
        f"{_of(pair.method)} {words} than {_of(pair.reference)} by {size} [{low:.3f}, {high:.3f}]"
    )


def _of(name: str) -> str:
    return name + ("'" if name.endswith("s") else "'s")


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _follows(pair: Pair, endpoint: Endpoint) -> str:
    small = _verdict(pair.equivalence) == "within"
    if not pair.significant:
        if small:
            return "No difference is shown, and any is too small to matter."
        return "No difference is shown; these images cannot say that there is none."
    if not pair.consistent:
        return "The two differ from image to image, but the mean does not settle which is better."
    better = pair.method if endpoint.is_better(pair.difference.estimate) else pair.reference
    return f"{better} is better" + (", by too little to matter." if small else ".")


def _verdict(equivalence: Equivalence | None) -> str:
    return "none" if equivalence is None else equivalence.verdict


def summary(comparison: Comparison) -> str:
    """The answer first: who is ahead, and which methods are better, worse, equal or not told apart from the reference."""
    endpoint, reference = comparison.endpoint, comparison.reference
    known = [r for r in comparison.rows if r.estimate.n]
    if not known:
        return f"No method has a defined {endpoint.name}."
    sign = 1 if endpoint.better == "higher" else -1
    ahead = max(known, key=lambda r: sign * r.estimate.estimate)
    kind = "Primary endpoint" if endpoint.primary else "Endpoint"
    extreme = "highest" if sign > 0 else "lowest"
    head = f"{kind} {endpoint.name}: {ahead.method} has the {extreme}, {ahead.estimate}, over {_images(ahead.estimate.n)}."
    groups: dict[str, list[str]] = {}
    for pair in comparison.pairs:
        groups.setdefault(_group(pair, endpoint), []).append(pair.method)
    said = [f"{word} {reference}: {', '.join(groups[word])}" for word in _GROUPS if word in groups]
    if not said:
        return head
    label = " (exploratory)" if comparison.corrected.label == "exploratory" else ""
    return f"{head} After {comparison.corrected.rule} correction{label}, {'; '.join(said)}."


_GROUPS = (
    "better than",
    "worse than",
    "better, by too little to matter, than",
    "worse, by too little to matter, than",
    "identical to",
    "as good as equal to",
    "different, without saying which is better, from",
    "not told apart from",
    "without a common image with",
)


def _group(pair: Pair, endpoint: Endpoint) -> str:
    if not pair.difference.n:
        return "without a common image with"
    if pair.identical:
        return "identical to"
    small = _verdict(pair.equivalence) == "within"
    if not pair.significant:
        return "as good as equal to" if small else "not told apart from"
    if not pair.consistent:
        return "different, without saying which is better, from"
    side = "better" if endpoint.is_better(pair.difference.estimate) else "worse"
    return f"{side}, by too little to matter, than" if small else f"{side} than"
