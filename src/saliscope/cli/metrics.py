"""`saliscope metrics`: every score, with what it cannot show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from saliscope.cli.tables import print_table
from saliscope.errors import OptionError, nearest

if TYPE_CHECKING:
    from saliscope.metrics import Metric

__all__ = ["metrics"]


def metrics(
    names: Annotated[
        tuple[str, ...], Parameter(help="metrics to describe in full; default: a table of all")
    ] = (),
    /,
    *,
    family: Annotated[
        str | None, Parameter(help="only those of one family, e.g. faithfulness")
    ] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help="print as JSON")] = False,
    markdown: Annotated[
        bool, Parameter(negative=(), help="print the page of the documentation")
    ] = False,
) -> int:
    """List the metrics with range and direction; name some to read formula, paper and what they cannot show."""
    from saliscope.metrics import by_family, facts_of, metric_named, page_of

    if as_json and markdown:
        raise OptionError("give either --json or --markdown, not both")
    if markdown and (names or family):
        raise OptionError("the page of --markdown has all metrics; leave out NAMES and --family")
    if markdown:
        print(page_of(), end="")
        return 0
    found = [metric_named(name) for name in names or by_family()]
    if family is not None:
        found = _of_family(found, family)
    if as_json:
        print(json.dumps([facts_of(metric) for metric in found], indent=1, ensure_ascii=False))
    elif names:
        print("\n\n".join(map(_in_full, found)))
    else:
        _print_tables(found)
    return 0


def _of_family(found: Sequence[Metric], family: str) -> list[Metric]:
    from saliscope.metrics import FAMILIES

    if family not in FAMILIES:
        raise OptionError(
            f'family "{family}" is unknown; {nearest(family, FAMILIES)}. `saliscope metrics` shows them all'
        )
    chosen = [metric for metric in found if metric.family == family]
    if not chosen:
        named = ", ".join(metric.name for metric in found)
        raise OptionError(f"none of {named} is of the family {family}; leave out --family")
    return chosen


def _print_tables(found: list[Metric]) -> None:
    from saliscope.metrics import range_of

    rows = [
        (m.name, m.family, m.direction, range_of(m), m.of, " ".join(m.needs), m.title)
        for m in found
    ]
    print_table(("metric", "family", "better", "range", "of", "needs", "title"), rows)
    print()
    print_table(("metric", "formula", "paper"), [(m.name, m.formula, m.paper) for m in found])
    print()
    print("saliscope metrics NAME says when one is undefined and what it cannot show.")


def _in_full(metric: Metric) -> str:
    """All facts of one metric, a line each."""
    from saliscope.metrics import facts_of, range_of

    words = facts_of(metric) | {"needs": ", ".join(metric.needs)}
    words["better"] = words.pop("direction")
    words["range"] = range_of(metric)
    del words["bounds"], words["picture"]
    wide = max(map(len, words))
    return "\n".join(f"{k.replace('_', ' '):{wide}}  {v}" for k, v in words.items())
