"""What each method says of itself, as facts, and as a page of the documentation."""

from __future__ import annotations

from dataclasses import fields
from itertools import groupby
from typing import Any

from saliscope.methods.base import Method, Reads
from saliscope.methods.spec import METHODS

__all__ = ["by_family", "facts_of", "has_picture", "page_of"]

_MEMORY: dict[Reads, str] = {
    "inputs": "the picture",
    "head": "the layer's activations",
    "activations": "the layer's activations",
    "gradients": "the graph from the layer to the score",
    "curvature": "the graph from the layer to the score, twice",
    "pixels": "the graph of the whole network",
    "network": "what the memory budget allows",
}


def by_family() -> list[str]:
    """The names of all methods, family by family, the families in the order of `METHODS`."""
    families = list(dict.fromkeys(kind.family for kind in METHODS.values()))
    return sorted(METHODS, key=lambda name: families.index(METHODS[name].family))


def facts_of(kind: type[Method]) -> dict[str, Any]:
    """All a method states: names, what it reads and costs, formula and paper, when to use it, and its own options."""
    common = [f.name for f in fields(Method)]
    options = {
        f.name: str(f.default).lower() if isinstance(f.default, bool) else f.default
        for f in fields(kind)
        if f.name not in common or f.default != getattr(Method, f.name)
    }
    stated = ("name", "title", "family", "reads", "class_discriminative", "signed", "passes")
    reasons = ("equation", "paper", "use", "avoid", "caveat")
    facts = {name: getattr(kind, name) for name in stated}
    facts["memory"] = _MEMORY[kind.reads]
    return facts | {name: getattr(kind, name) for name in reasons} | {"options": options}


def page_of() -> str:
    """The page of the documentation about all methods, in Markdown."""
    parts = [_HEAD]
    names = by_family()
    for family, group in groupby(names, lambda name: METHODS[name].family):
        parts.append(f"## {family.capitalize()}\n")
        parts += [_entry(facts_of(METHODS[name])) for name in group]
    return "\n".join(parts)


_HEAD = """# Methods

One entry a method: its formula, a picture, when to use it and when not. The formulas in full, with what was left open by a paper, are in [formulas](formulas.md).
This page is what `saliscope methods --markdown` prints. Every method also takes `smooth=N` (the mean over N noisy copies of the image), `noise=0.15` and `seed=0`.

The pictures: one critter, a round-eared thistle, whose evidence are its ears, its horn and its collar; the network is critternet, the layer the recommended one. Maps of
layers are drawn from their minimum to their maximum, maps of pixels from 0 to their 99th percentile. Two methods that look alike are not therefore equally true: see [results](results.md).
"""


def has_picture(name: str) -> bool:
    """Whether the page shows the method at work: the network that comes with saliscope is no transformer."""
    return METHODS[name].family != "transformers"


def _entry(facts: dict[str, Any]) -> str:
    name, options = facts["name"], facts["options"]
    lines = [f"### `{name}`", ""]
    if has_picture(name):
        lines += [f"![{facts['title']} of a critter](images/methods/{name}.jpg)", ""]
    lines += [f"    {facts['equation']}", "", f"{facts['paper']}.", ""]
    lines += [f"**When to use it:** {facts['use']}.", "", f"**When not:** {facts['avoid']}.", ""]
    if facts["caveat"]:
        lines += [f"**Beware**: {facts['caveat']}", ""]
    asks = (
        "another target, another map"
        if facts["class_discriminative"]
        else "the same map for every class"
    )
    signs = "signed" if facts["signed"] else "not signed"
    lines += [f"{asks.capitalize()}; {signs}; {facts['passes']}; memory: {facts['memory']}."]
    if options:
        listed = " ".join(f"`{k}={v}`" for k, v in options.items())
        lines[-1] += f" Options: {listed}."
    return "\n".join([*lines, ""])
