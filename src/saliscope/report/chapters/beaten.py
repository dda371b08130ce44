"""Do the networks' methods beat what knows no network? The best of it is always named, and what is not clearly beaten warned of."""

from __future__ import annotations

import math

from saliscope.report.chapters.evidence import MOST, Evidence, describe, listed, say
from saliscope.report.study.compare import gaps
from saliscope.report.study.together import Method, kind_of
from saliscope.stats import Interval

__all__ = ["Beaten"]


class Beaten:
    """Whether the networks' methods beat what knows no network."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        scored, endpoint = evidence.primary.scored, evidence.primary.endpoint
        rows = {r.method: r.estimate for r in evidence.comparison.rows}
        self.own = [m for m in evidence.study.networks if m.name in rows and rows[m.name].n]
        self.trivial = [m for m in evidence.study.trivial if m.name in rows and rows[m.name].n]
        sign = 1 if endpoint.better == "higher" else -1
        self.trivial.sort(key=lambda m: -sign * rows[m.name].estimate)
        self.rows, self.sign = rows, sign
        names = [m.name for m in self.own]
        self.gaps = gaps(evidence.study, scored, names, [m.name for m in self.trivial])

    @property
    def best(self) -> Method | None:
        """The best of what knows no network."""
        return self.trivial[0] if self.trivial else None

    def best_for(self, method: str) -> Method | None:
        """The best of what knows no network on the images of a method."""
        return next((t for t in self.trivial if self._common(method, t.name)), None)

    def gain(self, method: str) -> Interval | None:
        """By how much a method is above the best of what knows no network."""
        best = self.best_for(method)
        return None if best is None else self.gaps.get((method, best.name))

    def _common(self, method: str, other: str) -> bool:
        gap = self.gaps.get((method, other))
        return gap is not None and gap.n > 0

    def clear(self, method: Method, other: Method) -> bool:
        """Whether a method is better by an interval that leaves 0 out, and by no less than the margin."""
        gap = self.gaps[method.name, other.name]
        least = gap.low if self.sign > 0 else -gap.high
        margin = self.evidence.primary.endpoint.margin or 0.0
        return least > 0 and self.sign * gap.estimate >= margin

    @property
    def _few(self) -> bool:
        """Whether no difference has an interval, as there are too few images."""
        known = [gap for gap in self.gaps.values() if gap.n]
        return bool(known) and all(math.isnan(gap.low) for gap in known)

    def _sides(self, other: Method) -> tuple[list[Method], list[Method]]:
        """The methods that clearly beat another, and those that do not, of those with images in common."""
        shared = [m for m in self.own if self._common(m.name, other.name)]
        clear = [m for m in shared if self.clear(m, other)]
        return clear, [m for m in shared if m not in clear]

    @property
    def sentence(self) -> str:
        """The best of what knows no network, always."""
        best = self.best
        if best is None:
            return _NOTHING if self.own else ""
        if not self.own:
            return ""
        clear, lost = self._sides(best)
        what = f"With no network at all, {describe(best, self.evidence.primary.scored.detail)} has {say(self.rows[best.name])}"
        if kind_of(best.spec) == "edges":
            what = what.replace(" has ", " have ", 1)
        if self._few:
            return f"{what}; so few images cannot say whether a method is better."
        if not lost:
            return f"{what}; {'every method is' if len(clear) > 1 else 'the method is'} clearly better."
        if clear:
            return f"{what}; clearly better: {listed((m.name for m in clear), MOST)}."
        return (
            f"{what}: {'no method' if len(lost) > 1 else lost[0].name} is clearly better.".replace(
                f"{lost[0].name} is clearly", f"{lost[0].name} is not clearly"
            )
        )

    @property
    def warnings(self) -> list[str]:
        """One for the best of what knows no network, and one for all others that the same methods do not clearly beat."""
        if not self.trivial:
            return [_NOTHING] if self.own else []
        if self._few:
            return []
        groups: dict[tuple[bool, tuple[str, ...]], list[Method]] = {}
        for other in self.trivial:
            clear, lost = self._sides(other)
            if lost:
                lost.sort(key=lambda m: -self.sign * self.rows[m.name].estimate)
                alone = other is self.trivial[0]
                key = (alone, ("clear" if clear or len(lost) == 1 else "", *(m.name for m in lost)))
                groups.setdefault(key, []).append(other)
        return [self._warning(others, *names) for (_, names), others in groups.items()]

    def _warning(self, others: list[Method], some: str, *lost: str) -> str:
        detail = self.evidence.primary.scored.detail
        said = "; ".join(f"{describe(m, detail)} {say(self.rows[m.name])}" for m in others)
        named = listed((f"{name} ({self.rows[name].estimate:.3f})" for name in lost), MOST)
        every = "Not clearly" if some else "No method is clearly"
        what = self.evidence.primary.endpoint.name
        return f"With no network at all, by {what}: {said}. {every} better: {named}."


_NOTHING = "Nothing that knows no network was scored beside them, so nothing says what these numbers are worth."
