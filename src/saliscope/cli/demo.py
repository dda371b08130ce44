"""`saliscope demo`: something real to look at, with nothing to prepare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from saliscope.cli.progress import Progress
from saliscope.cli.tables import print_table

if TYPE_CHECKING:
    from saliscope.demo import Demo

__all__ = ["demo"]


def demo(
    *,
    output: Annotated[
        Path, Parameter(name=["--output", "-o"], help="folder for the table and the pictures")
    ] = Path("saliscope-demo"),
    count: Annotated[int, Parameter(help="how many critters are explained")] = 200,
) -> int:
    """Explain generated animals of which it is known what makes their breed, and measure whether the maps show it.

    Everything comes with saliscope: no download, no GPU. Some ten seconds on two cores.
    """
    from saliscope.demo import run_demo
    from saliscope.errors import OptionError

    if count < 1:
        raise OptionError(f"--count is how many critters are explained, at least 1; got {count}")
    with Progress(count) as bar:
        found = run_demo(output, count=count, step=lambda done: bar.step(done, 0))
    _print(found, count)
    print("look at:", file=sys.stderr)
    for file in found.files:
        print(f"  {file}", file=sys.stderr)
    return 0


def _print(found: Demo, count: int) -> None:
    print(f"critternet names {found.accuracy:.1%} of {count} test critters rightly")
    print()
    header = ("method", "IoU, yang2025", "IoU, cam2016", "heat on the body", "on the evidence")
    names = ("yang2025", "cam2016", "body", "evidence")
    print_table(header, [(r.method, *(str(r.scores[n]) for n in names)) for r in found.rows])
    print("means over images with 95 % bootstrap intervals; the class explained is the true one")
    print()
    honest, cheating = found.tag_heat
    print("A tag in a corner, of heat (CAM of the predicted class) on it:")
    print(f"  {honest} by critternet, which never saw one")
    print(
        f"  {cheating} by a network trained where the tag betrays the breed; it names the tag's breed in "
        f"{found.tag_fooled:.0%} of the images where the tag lies"
    )
