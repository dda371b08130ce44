"""Which metric should I believe? What tells good maps from shuffled ones on these images, steadily, at what cost, and is it right?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from saliscope.report.chapters.evidence import MOST, Evidence, counted, first_up, listed, put
from saliscope.report.charts.forest import Entry, forest
from saliscope.report.charts.style import looks_of
from saliscope.report.sections import Chart, Column, Section, Table
from saliscope.report.study.believing import Belief, beliefs

__all__ = ["believe_section", "verdict_of", "which"]

_SURE = 0.9  # share of images from which a metric tells maps apart as a matter of course
_BARELY = 0.7  # below it is little better than a coin
_STEADY, _BLURRED = 0.1, 0.5  # spread over seeds, in spreads between methods
_RIGHT, _WRONG = 0.7, 0.3  # rank correlations with the known truth


def believe_section(evidence: Evidence) -> Section | None:
    """Every metric with a verdict; None where no shuffled map was measured."""
    primary = evidence.primary
    found = beliefs(evidence.study, evidence.grid, evidence.reference, (primary.metric, primary.protocol))  # fmt: skip
    if not found:
        return None
    return Section(
        "believe", "Which metric should I believe?", _lead(evidence, found),
        (_table(evidence, found),), (_chart(evidence, found),),
    )  # fmt: skip


def verdict_of(one: Belief) -> str:
    """What a metric is worth on these images, in plain words."""
    return ", ".join(word for word in (_separates(one), _steady(one), _right(one)) if word)


def _separates(one: Belief) -> str:
    wins, share = one.wins, f"{100 * one.wins.estimate:.0f} %"
    if not wins.n:
        return "no shuffled map has this score"
    if math.isnan(wins.low):
        return f"{share} of too few images"
    if wins.low > 0.5:
        how = "barely tells" if wins.estimate < _BARELY else "tells"
        return f"{how} a good map from a shuffled one in {share} of images"
    if wins.high < 0.5:
        return f"prefers the shuffled map: the good one wins in {share} of images"
    return f"cannot tell: {share}"


def _steady(one: Belief) -> str:
    noise = one.noise
    if noise is None or math.isnan(noise):
        return ""
    if noise < _STEADY:
        return "steady over seeds"
    if noise < _BLURRED:
        return f"blurred by seeds ({noise:.2f} of what lies between methods)"
    return f"seeds weigh {noise:.2f} times as much as methods"


def _right(one: Belief) -> str:
    if math.isnan(one.truth):
        return ""
    value = f"{one.truth:.2f}".replace("-", "−")
    if one.truth >= _RIGHT:
        return f"agrees with the truth ({value})"
    return f"{'against' if one.truth < -_WRONG else 'hardly agrees with' if one.truth < _WRONG else 'agrees in part with'} the truth ({value})"  # fmt: skip


def _lead(evidence: Evidence, found: Sequence[Belief]) -> str:
    """The answer for this data set."""
    images = max(one.wins.n for one in found)
    units = "image" if not evidence.study.several else "image and class"
    name = evidence.reference.name
    asked = f"A metric is worth believing if it prefers a good map to the same map shuffled: here those of {name}, on {counted(images, units, 'images and classes' if evidence.study.several else None)}. "  # fmt: skip
    return f"{asked}{which(found)}\n\n{_careful(found)}"


def which(found: Sequence[Belief]) -> str:
    """Which metrics prefer the map, and which do not, of `found` with the best first."""
    # What reads the values alone cannot tell a map from the same one shuffled, and does not claim to.
    judged = [
        one for one in found if not math.isnan(one.wins.low) and one.metric.family != "complexity"
    ]
    if not judged:
        return "So few images cannot say which metric does."
    best = judged[0]
    sure = [one for one in judged if one.wins.low > 0.5 and one.wins.estimate >= _SURE]
    if sure:
        verb = "does" if len(sure) == 1 else "do"
        said = (
            f"{first_up(_several(sure))} {verb} so in 90 % of them or more{''.join(_more(sure))}."
        )
    else:
        said = f"None does so in 90 % of them; the best is {best.metric.name} ({100 * best.wins.estimate:.0f} %)."
    lost = [one for one in judged if one.wins.low <= 0.5]
    return f"{said} Not told apart from a coin on these images: {_several(lost)}." if lost else said


def _several(some: Sequence[Belief]) -> str:
    return listed((one.metric.name for one in some), MOST + 2)


def _more(sure: Sequence[Belief]) -> list[str]:
    """Of the metrics that separate, the one that is closest to the known truth, and the one that is cheapest to ask."""
    found = []
    known = [one for one in sure if not math.isnan(one.truth)]
    if known:
        best = max(known, key=lambda one: one.truth)
        value = f"{best.truth:.2f}".replace("-", "−")
        if best.truth >= _WRONG:
            found.append(f"; of these {best.metric.name} ranks methods most as the known truth does ({value})")  # fmt: skip
        else:
            found.append(f"; none of these ranks methods as the known truth does ({value} at most)")
    paid = [(o.cost.pictures, o.metric.name) for o in sure if o.cost is not None and o.metric.family == "faithfulness"]  # fmt: skip
    if len(paid) > 1:
        pictures, name = min(paid)
        found.append(f"; the cheapest of those of faithfulness is {name} ({_pictures(pictures)} pictures a map)")  # fmt: skip
    return found


def _careful(found: Sequence[Belief]) -> str:
    said = [
        "This is necessary, not sufficient: it does not say that the metric prefers the better of two good maps."
    ]
    if any(one.metric.family == "place" for one in found):
        said.append(
            "Metrics of place cost no pictures but need annotation, and say where heat is, not whether the network used it."
        )
    if any(not math.isnan(one.truth) for one in found):
        said.append(
            "The truth is how much of the heat lies on what makes a breed, which generated critters know; agreement is the rank "
            f"correlation over {counted(max(one.methods for one in found), 'method')} of the network."
        )
    elif any(one.methods for one in found):
        said.append(
            f"What makes a breed is known here, but agreement with it takes four methods of the network or more; there are {max(one.methods for one in found)}."
        )
    return " ".join(said)


def _pictures(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _table(evidence: Evidence, found: Sequence[Belief]) -> Table:
    rows = [
        {"score": one.metric.name, "verdict": verdict_of(one)}
        | put("wins", one.wins)
        | {
            "auroc": one.separation.auroc, "n": one.wins.n, "undefined": one.wins.undefined,
            "noise": one.noise, "truth": None if math.isnan(one.truth) else one.truth,
            "methods": one.methods or None,
            "seconds": None if one.cost is None else one.cost.seconds,
            "pictures": one.cost.pictures if one.cost is not None else None if one.metric.asked else 0.0,
            "together": None if one.cost is None else ", ".join(one.cost.metrics),
            "family": one.metric.family, "metric": one.metric.metric, "protocol": one.metric.protocol,
        }
        for one in found
    ]  # fmt: skip
    columns = [
        Column("score", "metric"), Column("verdict", "verdict"),
        Column("wins", "separation", "interval", 2, "higher", "share of images whose map scores better than its own shuffled map; equals count half, .5 is a coin"),
        Column("n", "images", "count"), Column("undefined", "undefined", "count"),
        Column("noise", "noise of seeds", "number", 2, "lower", "spread over seeds over the spread between methods: at 1 a ranking is one of seeds"),
        Column("truth", "agreement with the truth", "number", 2, "higher", "rank correlation over methods with how much heat lies on what makes a breed"),
        Column("seconds", "seconds a map", "number", 3, "lower", "of one image and one method, all metrics of the same question together"),
        Column("pictures", "pictures a map", "number", 1, "lower", "that went through the network, for one image and one method"),
        Column("family", "family"),
    ]  # fmt: skip
    kept = [c for c in columns if c.key in ("score", "verdict") or any(r.get(c.key) is not None for r in rows)]  # fmt: skip
    return Table("believe", "Metrics put to the test", tuple(kept), rows, _note(evidence, found))


def _note(evidence: Evidence, found: Sequence[Belief]) -> str:
    note = "Sorted by separation. “Barely” is below 70 %; steady is a noise of seeds below .1; agreement with the truth is from .7 on. "
    note += "Sparseness and entropy are at .5 by construction: on its own grid, a shuffled map holds the same values. "
    if len(evidence.study.networks) < 2:
        note += "Noise of seeds takes two methods of the network or more. "
    elif any(one.metric.asked for one in found) and all(one.noise is None for one in found):
        note += "Every metric was asked with one seed, so that nothing is known of its noise: evaluate with --ask-seeds 3. "
    elif any(one.metric.asked and one.noise is None for one in found):
        note += "No noise stands beside metrics that draw nothing. "
    if any(one.cost is not None for one in found):
        note += "Metrics that one question answers share its cost. "
    return note.strip()


def _chart(evidence: Evidence, found: Sequence[Belief]) -> Chart:
    (look,) = looks_of([("metric", "metric", False)]).values()
    entries = [Entry(one.metric.name, look, one.wins) for one in found]
    said = "; ".join(f"{one.metric.name} {one.wins.estimate:.2f}" for one in found)
    return Chart(
        "believe", "How often each metric prefers the map to its shuffled one",
        lambda: forest(
            "How often each metric prefers the map to its shuffled one, with 95 % intervals", entries,
            score=f"share of images, maps of {evidence.reference.name}", line=(0.5, "a coin"),
        ),
        f"Forest plot of separation: {said}.",
    )  # fmt: skip
