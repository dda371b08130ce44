"""What each metric says of itself, as facts, and as a page of the documentation."""

from __future__ import annotations

import math
from typing import Any, get_args

from saliscope.metrics.every import every_metric
from saliscope.metrics.likeness import SIMILARITY_METRICS
from saliscope.metrics.scores import Family, Metric

__all__ = ["FAMILIES", "by_family", "facts_of", "page_of", "range_of"]

FAMILIES: tuple[Family, ...] = get_args(Family)
"""The families in the order of the page."""

_ASKS: dict[Family, str] = {
    "localisation": "Does the heat, or the box made of it, lie where the thing was annotated?",
    "pointing": "Does the hottest point lie on the thing?",
    "pixels": "Does the heat follow the pixels of the thing?",
    "classification": "Is the box right, and the class too?",
    "faithfulness": "Does the network mind losing what the map marks? The picture is changed, and the network asked again.",
    "robustness": "Does the map stay when the picture hardly changes?",
    "complexity": "In how much of the picture is the heat? None of these knows the picture or the network.",
    "sanity": "Does the map depend on what was learned, and on the class?",
    "agreement": "Are two maps alike, do metrics agree on methods, and can a metric tell maps from shuffled ones?",
    "evidence": "Does the heat lie on what is known to make the class? Of generated critters, whose masks say so.",
}

_ALIKE = (*SIMILARITY_METRICS, "top-overlap")  # whether that is good depends on what was changed

_HEAD = """# Metrics

One entry a metric: its formula, a picture, what it cannot show, and whose it is. The formulas at length, with examples, are in [localisation scores](scores.md), [faithfulness scores](faithfulness.md) and [Is the map true?](sanity.md).
This page is what `saliscope metrics --markdown` prints; `saliscope metrics NAME` describes one, `--json` gives the facts to a program. In Python each is a `Metric` that carries them and can be called:

```python
import numpy as np

from saliscope.metrics import Mean, every_metric

gini = every_metric()["gini"]
assert gini(np.array([[1.0, 2.0], [3.0, 4.0]])) == 0.25
assert (gini.direction, gini.bounds, gini.needs) == ("higher", (0.0, 1.0), ("map",))
assert Mean(gini).update(np.eye(2)).compute().n == 1
```

x is the picture, M the signed map and H the same brought to the picture, f the score of the class that is asked about, P a box found, G one annotated, R a region of the picture's n pixels, ρ Spearman's rank correlation.
**Undefined** is NaN: left out of means and counted beside them, never 0. A metric of a *set* is no mean over images. None of them alone says that a map is true: read several, beside `random`, `centre`, `edges` and `shuffled`.

The pictures are drawn from generated critters, critternet and the maps of saliscope's own methods; the numbers in them are of those pictures alone.
"""


def by_family() -> list[str]:
    """The names of all metrics, family by family, in the order of `FAMILIES`."""
    known = every_metric()
    return sorted(known, key=lambda name: FAMILIES.index(known[name].family))


def facts_of(metric: Metric) -> dict[str, Any]:
    """All that a metric states, ready for JSON: no bound is None."""
    stated = ("name", "title", "family", "of", "formula", "paper", "direction")
    reasons = ("protocol", "needs", "undefined", "cannot_show", "picture")
    bounds = [b if math.isfinite(b) else None for b in metric.bounds]
    facts = {name: getattr(metric, name) for name in stated} | {"bounds": bounds}
    return facts | {name: getattr(metric, name) for name in reasons}


def range_of(metric: Metric) -> str:
    """The bounds in words: "0 to 1", "0 and up"."""
    low, high = metric.bounds
    return f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} and up"


def page_of() -> str:
    """The page of the documentation about all metrics, in Markdown."""
    known, drawn = every_metric(), dict[str, str]()
    parts = [_HEAD]
    family = ""
    for name in by_family():
        metric = known[name]
        if metric.family != family:
            family = metric.family
            parts.append(f"## Family: {family}\n\n{_ASKS[metric.family]}\n")
        parts.append(_entry(metric, drawn.setdefault(metric.picture, name)))
    return "\n".join(parts)


def _entry(metric: Metric, shown_at: str) -> str:
    """One metric; a picture that another showed already is referred to."""
    lines = [f"### `{metric.name}`", "", f"{metric.title}.", ""]
    if metric.picture and shown_at == metric.name:
        lines += [f"![{metric.title}, drawn](images/metrics/{metric.picture}.png)", ""]
    lines += [f"    {metric.formula}", "", f"{metric.paper}.", ""]
    lines += [
        f"**Cannot show:** {metric.cannot_show}.",
        "",
        f"**Undefined:** {metric.undefined}.",
        "",
    ]
    whole = " Of a set." if metric.of == "set" else ""
    better = "more alike" if metric.name in _ALIKE else "better"
    lines += [
        f"{metric.direction.capitalize()} is {better}; {range_of(metric)}; needs {_listed(metric.needs)}; "
        f"protocol: {metric.protocol}.{whole}"
    ]
    if metric.picture and shown_at != metric.name:
        lines[-1] += f" Picture: at [`{shown_at}`](#{shown_at})."
    return "\n".join([*lines, ""])


def _listed(needs: tuple[str, ...]) -> str:
    named = [f"the {need}" if need != "scores" else need for need in needs]
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
