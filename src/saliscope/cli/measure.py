"""`saliscope measure`: score stored maps again, with other protocols or thresholds, or ask the network about them."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from saliscope.cli.evaluate import NAMES
from saliscope.cli.run_progress import RunProgress, finished, stopped
from saliscope.cli.setting_flags import make_flags, overrides
from saliscope.runs.settings import ASKING, MEASURING, RunSettings

__all__ = ["app", "measure"]

_WHERE = ("root", "workers", "engine", "address", "memory", "device")
MeasureFlags = make_flags(
    RunSettings,
    without=[n for n in RunSettings.model_fields if n not in (*MEASURING, *ASKING, *_WHERE)],
    names=NAMES,
)

app = App(
    name="measure",
    suppress_keyboard_interrupt=False,  # what is kept is said below
    help_epilogue=(
        "What is not named stays as the run has it. The same command continues after a stop.\n\n"
        "saliscope measure runs/dogs --protocol cam2016:threshold=0.3 --protocol yang2025\n\n"
        "saliscope measure runs/dogs --ask faithfulness --ask sanity"
    ),
)


@app.default
def measure(
    run: Annotated[str, Parameter(help="the folder of a run, or its address")],
    /,
    *,
    progress: Annotated[bool, Parameter(help="show a progress bar")] = True,
    quiet: Annotated[
        bool, Parameter(name=["--quiet", "-q"], negative=(), help="only errors on stderr")
    ] = False,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="print what the run holds as JSON")
    ] = False,
    fields: Annotated[MeasureFlags | None, Parameter(name="*", group="Measuring")] = None,  # type: ignore[valid-type]  # made from RunSettings
) -> int:
    """Score the stored maps of a run again: other protocols, thresholds or pointing; the network is needed for --ask alone."""
    from saliscope.runs import measure as again

    given: dict[str, Any] = overrides(fields) if fields is not None else {}
    with RunProgress(shown=progress and not quiet, quiet=quiet) as watch:
        try:
            outcome = again(run, watch=watch, **given)
        except KeyboardInterrupt:
            stopped(watch, run)
            raise
    return finished(outcome, quiet=quiet, as_json=as_json)
