"""The table of `saliscope data check`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from saliscope.cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saliscope.data.check import Audit, Finding, SplitCount

__all__ = ["print_audit"]


def print_audit(found: Audit, *, every: bool) -> None:
    """Print the counts, then what was found of each kind with the first three of each, or `every` one; a word on stderr."""
    from saliscope.data.check import WHAT

    header = ("split", "samples", "published", "samples per class", "")
    print_table(header, [_count_row(count) for count in found.counts])
    published = "" if found.published_classes is None else f" of {found.published_classes:,}"
    print(f"\n{found.classes:,}{published} classes\n")
    rows = []
    for what, words in WHAT.items():
        if what == "mask" and not found.deep:
            continue
        for number, line in enumerate(_lines(found.of(what), every=every)):
            first = (words, f"{len(found.of(what)):,}")
            rows.append((*(("", "") if number else first), line))
    print_table(("what", "found", "where"), rows)
    faults = len(found.faults)
    told = "no faults" if not faults else f"{faults:,} fault{'s' * (faults != 1)}"
    print(f"{found.name}: {told}", file=sys.stderr)


def _lines(findings: Sequence[Finding], *, every: bool) -> list[str]:
    shown = findings if every else findings[:3]
    left = len(findings) - len(shown)
    return [*map(_words, shown), *([f"and {left:,} more (--all)"] if left else [])] or [""]


def _count_row(count: SplitCount) -> tuple[str, ...]:
    spread = ""
    if count.per_class is not None:
        low, middle, high = count.per_class
        spread = f"{low:,} to {high:,}, median {middle:g}"
    notes = []
    if count.published is not None and count.partial:
        notes.append(f"partial copy: {count.samples / count.published:.1%}")
    if count.empty:
        notes.append(f"{len(count.empty):,} classes without a sample")
    published = "" if count.published is None else f"{count.published:,}"
    return count.split, f"{count.samples:,}", published, spread, "; ".join(notes)


def _words(finding: Finding) -> str:
    several = len(set(finding.splits)) > 1
    names = [
        f"{split}: {each}" if several else each
        for each, split in zip(finding.ids, finding.splits, strict=False)
    ]
    where = " = ".join(names) if names else ", ".join(finding.splits)
    return ", ".join(text for text in (where, " ".join(finding.detail.split())) if text)
