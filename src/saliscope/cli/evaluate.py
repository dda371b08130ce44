"""`saliscope evaluate`: explain and measure a whole data set, continued after any stop."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from saliscope.cli.run_progress import RunProgress, finished, stopped
from saliscope.cli.setting_flags import make_flags, overrides
from saliscope.errors import OptionError
from saliscope.runs.settings import ASKING, DECLARED, FREE, MEASURING, RunSettings

if TYPE_CHECKING:
    from saliscope.runs import Outcome

__all__ = ["app", "evaluate"]

NAMES: dict[str, str | list[str]] = {
    "model": ["--model", "-m"],
    "data": ["--data", "-d"],
    "methods": ["--method", "-M"],
    "target": ["--target", "-t"],
    "protocols": ["--protocol"],
    "rules": ["--rule"],
}
"""Flags that are not called as their field is."""

_GROUPS = {
    **dict.fromkeys(sorted(MEASURING), "Measuring"),
    **dict.fromkeys(sorted(ASKING), "Asking the network about the maps"),
    **dict.fromkeys(sorted(DECLARED), "Declared before the run"),
    **dict.fromkeys(sorted(FREE), "Where and how (may change when a run is continued)"),
}
EvaluateFlags = make_flags(RunSettings, names=NAMES, groups=_GROUPS)

app = App(
    name="evaluate",
    suppress_keyboard_interrupt=False,  # what is kept is said below
    help_epilogue=(
        "The same command on the same folder continues a run that was stopped in whatever way, a killed process included.\n\n"
        "Written: run.json (settings, versions, hashes), maps/ (raw maps), scores/, boxes/, curves/, pixels/, images/ (Parquet), "
        "with --ask also answers/, removal/, costs/, sanity/, "
        "errors.jsonl (samples that failed). `saliscope report DIR` makes a page of it.\n\n"
        "saliscope evaluate -m resnet50 -d stanford_dogs --tune val --method cam --method grad-cam@layer3 -o runs/dogs\n\n"
        "saliscope evaluate dogs.toml -o runs/dogs"
    ),
)


@app.default
def evaluate(
    config: Annotated[
        Path | None,
        Parameter(help="a TOML file with the same fields (--print-config writes one)"),
    ] = None,
    /,
    *,
    output: Annotated[
        str | None,
        Parameter(
            name=["--output", "-o"],
            help="folder of the run, or an address (s3://...); the same again continues",
        ),
    ] = None,
    overwrite: Annotated[
        bool, Parameter(negative=(), help="begin anew where the folder holds another run")
    ] = False,
    retry_failed: Annotated[
        bool, Parameter(negative=(), help="do the samples again that failed")
    ] = False,
    print_config: Annotated[
        bool, Parameter(negative=(), help="print all settings as TOML, and stop")
    ] = False,
    progress: Annotated[bool, Parameter(help="show a progress bar")] = True,
    quiet: Annotated[
        bool, Parameter(name=["--quiet", "-q"], negative=(), help="only errors on stderr")
    ] = False,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="print what the run holds as JSON")
    ] = False,
    fields: Annotated[EvaluateFlags | None, Parameter(name="*", group="What")] = None,  # type: ignore[valid-type]  # made from RunSettings
) -> int:
    """Explain and measure a whole data set: maps, boxes and scores of every image, in one folder. The same again continues."""
    settings = _settings(config, overrides(fields) if fields is not None else {})
    if print_config:
        _print(settings, as_json=as_json)
        return 0
    if output is None:
        raise OptionError(
            "evaluate needs -o DIR, the folder of the run; the same folder continues it"
        )
    if Path(output).is_file():
        raise OptionError(f"-o {output} is a file; name a folder")
    outcome = _run(
        settings, output, overwrite=overwrite, retry=retry_failed, shown=progress, quiet=quiet
    )
    return finished(outcome, quiet=quiet, as_json=as_json)


def _settings(config: Path | None, given: dict[str, Any]) -> RunSettings:
    from saliscope.runs import make_run_settings, read_run_settings

    if config is not None:
        return read_run_settings(config, **given)
    missing = [f"--{name}" for name in ("model", "data") if name not in given]
    if missing:
        raise OptionError(
            f"evaluate needs {' and '.join(missing)}: saliscope evaluate --model resnet50 --data stanford_dogs -o DIR, or a TOML "
            "file with these fields"
        )
    return make_run_settings(**given)


def _print(settings: RunSettings, *, as_json: bool) -> None:
    from saliscope.settings import settings_toml

    print(
        json.dumps(settings.model_dump(mode="json"), indent=1)
        if as_json
        else settings_toml(settings),
        end="",
    )
    if as_json:
        print()


def _run(
    settings: RunSettings, output: str, *, overwrite: bool, retry: bool, shown: bool, quiet: bool
) -> Outcome:
    from saliscope.runs import evaluate as run

    if not quiet:
        print(f"{settings.model} on {settings.data} -> {output}", file=sys.stderr)
    with RunProgress(shown=shown and not quiet, quiet=quiet) as watch:
        try:
            return run(settings, output, overwrite=overwrite, retry_failed=retry, watch=watch)
        except KeyboardInterrupt:
            stopped(watch, output)
            raise
