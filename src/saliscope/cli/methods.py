"""`saliscope methods`: every way to make a map."""

from __future__ import annotations

import json
from typing import Annotated, Any

from cyclopts import Parameter

from saliscope.cli.tables import print_table
from saliscope.errors import OptionError

__all__ = ["methods"]


def methods(
    names: Annotated[
        tuple[str, ...], Parameter(help="methods to describe in full; default: a table of all")
    ] = (),
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help="print as JSON")] = False,
    markdown: Annotated[
        bool, Parameter(negative=(), help="print the page of the documentation")
    ] = False,
) -> int:
    """List the methods with their options and facts; name some to read all that is known of them.

    Written as name, name@layer or name@layer:option=value, here and everywhere.
    """
    from saliscope.methods import METHODS, by_family, facts_of, make_method, page_of

    if as_json and markdown:
        raise OptionError("give either --json or --markdown, not both")
    for name in names:
        make_method(name)  # an unknown one gets the nearest
    if markdown:
        print(page_of(), end="")
        return 0
    found = [facts_of(METHODS[name]) for name in names or by_family()]
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    elif names:
        print("\n\n".join(map(_in_full, found)))
    else:
        _print_tables(found)
    return 0


def _print_tables(found: list[dict[str, Any]]) -> None:
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
    for facts in found:
        if facts["caveat"]:
            warned.setdefault(facts["caveat"], []).append(facts["name"])
    for caveat, names in warned.items():
        print(f"{', '.join(names)}: {caveat}")
    print()
    print("Every method also takes smooth=N (the mean over N noisy copies), noise=0.15 and seed=0.")
    print("saliscope methods NAME describes one in full.")


def _in_full(facts: dict[str, Any]) -> str:
    """All facts of one method, a line each."""
    words = dict(facts)
    words["options"] = " ".join(f"{k}={v}" for k, v in facts["options"].items())
    for flag in ("class_discriminative", "signed"):
        words[flag] = "yes" if facts[flag] else "no"
    wide = max(map(len, words))
    lines = [f"{k.replace('_', ' '):{wide}}  {v}" for k, v in words.items() if v != ""]
    return "\n".join(lines)
