"""`saliscope methods`: every way to make a map."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Annotated, Any

from cyclopts import Parameter

from saliscope.cli.tables import print_table

__all__ = ["methods"]


def methods(
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help="print as JSON")] = False,
) -> int:
    """List the methods with their options and facts.

    Written as name, name@layer or name@layer:option=value, here and everywhere.
    """
    from saliscope.methods import METHODS

    found = [_facts(kind) for kind in METHODS.values()]
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    rows = [
        (
            f["name"],
            f["family"],
            "yes" if f["class_discriminative"] else "no",
            f["passes"],
            " ".join(f"{k}={v}" for k, v in f["options"].items()),
        )
        for f in found
    ]
    print_table(("method", "family", "per class", "passes", "options"), rows)
    print()
    print_table(
        ("method", "formula", "paper"), [(f["name"], f["equation"], f["paper"]) for f in found]
    )
    print()
    warned: dict[str, list[str]] = {}
    for f in found:
        if f["caveat"]:
            warned.setdefault(f["caveat"], []).append(f["name"])
    for caveat, names in warned.items():
        print(f"{', '.join(names)}: {caveat}")
    print()
    print("Every method also takes smooth=N (the mean over N noisy copies), noise=0.15 and seed=0.")
    return 0


def _facts(kind: Any) -> dict[str, Any]:
    from saliscope.methods import Method

    common = [f.name for f in fields(Method)]
    options = {
        f.name: str(f.default).lower() if isinstance(f.default, bool) else f.default
        for f in fields(kind)
        if f.name not in common or f.default != getattr(Method, f.name)
    }
    names = (
        "name",
        "title",
        "family",
        "reads",
        "class_discriminative",
        "signed",
        "passes",
        "equation",
        "paper",
        "caveat",
    )
    return {name: getattr(kind, name) for name in names} | {"options": options}
