"""`saliscope train`: fine-tune a network on a data set, by a recipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from saliscope.cli.setting_flags import make_flags, overrides
from saliscope.errors import DataError, OptionError, SaliscopeError
from saliscope.training.recipes import Recipe

__all__ = ["app", "train"]

_WORDS = ("augment", "cache", "freeze")  # they know "none" themselves
RecipeFlags = make_flags(Recipe, without=("name",))

app = App(
    name="train",
    suppress_keyboard_interrupt=False,  # what is kept is said below
    help_epilogue=(
        "The same command on the same folder continues a training that was stopped in whatever way.\n\n"
        "Written: model.safetensors and model.json (the network), curves.png and curves.csv, run.json (settings), "
        "skipped.csv (images that cannot be read), last.ckpt (to continue from), tensorboard/.\n\n"
        "saliscope train --model resnet50 --data stanford_dogs --recipe yang2025 -o runs/dogs\n\n"
        "saliscope train --model timm:convnext_tiny --data folder:photos --epochs 8 --freeze stages.2 -o runs/mine"
    ),
)


@app.default
def train(
    *,
    model: Annotated[
        str | None,
        Parameter(
            name=["--model", "-m"],
            help="resnet50, critternet, timm:NAME, hf:NAME, FILE.py:function, or the folder of a trained network",
        ),
    ] = None,
    data: Annotated[
        str | None,
        Parameter(
            name=["--data", "-d"],
            help="the data set, `saliscope data list` has them; folder:PATH for class folders of your own",
        ),
    ] = None,
    recipe: Annotated[
        str,
        Parameter(
            name=["--recipe", "-r"], help="yang2025, lee2024, modern, critters, or a TOML file"
        ),
    ] = "modern",
    output: Annotated[
        Path | None,
        Parameter(name=["--output", "-o"], help="folder for everything that is written"),
    ] = None,
    root: Annotated[
        Path | None, Parameter(help="folder of the unpacked data; default: the cache folder")
    ] = None,
    device: Annotated[
        str | None, Parameter(help="cpu or cuda; the GPU is used where there is one")
    ] = None,
    devices: Annotated[int, Parameter(help="how many GPUs (processes) on this host")] = 1,
    nodes: Annotated[int, Parameter(help="how many hosts")] = 1,
    print_config: Annotated[
        bool, Parameter(negative=(), help="print the recipe with all flags as TOML, and stop")
    ] = False,
    overwrite: Annotated[
        bool, Parameter(negative=(), help="begin anew where the folder holds another training")
    ] = False,
    mlflow: Annotated[
        bool, Parameter(negative=(), help="also log to MLflow (MLFLOW_TRACKING_URI, else -o)")
    ] = False,
    progress: Annotated[bool, Parameter(help="show a progress bar")] = True,
    quiet: Annotated[
        bool, Parameter(name=["--quiet", "-q"], negative=(), help="only errors on stderr")
    ] = False,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="print the scores, or the recipe, as JSON")
    ] = False,
    fields: Annotated[RecipeFlags | None, Parameter(name="*", group="Recipe")] = None,  # type: ignore[valid-type]  # made from Recipe
) -> int:
    """Train a network, and write it where `--model DIR` opens it. The same command again continues."""
    from saliscope.training.recipes import read_recipe

    settled = read_recipe(recipe, **(overrides(fields, words=_WORDS) if fields is not None else {}))
    if print_config:
        _print_recipe(settled, as_json=as_json)
        return 0
    if model is None or data is None or output is None:
        given = {"--model": model, "--data": data, "-o": output}
        missing = " and ".join(name for name, value in given.items() if value is None)
        raise OptionError(
            f"train needs {missing}: saliscope train --model resnet50 --data stanford_dogs -o DIR"
        )
    if output.exists() and not output.is_dir():
        raise OptionError(f"-o {output} is a file; name a folder")
    more = {
        "root": root,
        "device": device,
        "devices": devices,
        "nodes": nodes,
        "overwrite": overwrite,
        "mlflow": mlflow,
    }
    return _run(model, data, settled, output, more, shown=progress, quiet=quiet, as_json=as_json)


def _print_recipe(recipe: Recipe, *, as_json: bool) -> None:
    from saliscope.training.recipes import recipe_toml

    if as_json:
        print(recipe.model_dump_json(indent=1))
    else:
        print(recipe_toml(recipe), end="")


def _run(
    model: str,
    data: str,
    recipe: Recipe,
    output: Path,
    more: dict[str, Any],
    *,
    shown: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    from saliscope.cli.train_progress import TrainProgress
    from saliscope.training.fit import train as run
    from saliscope.training.trainer import is_first

    with TrainProgress(shown=shown and not quiet, quiet=quiet or not is_first()) as bar:
        try:
            done = run(model, data, recipe, output, say=bar.say, watch=bar, **more)
        except KeyboardInterrupt:
            if bar.began:
                kept = f"continues after epoch {bar.finished}" if bar.finished else "begins again"
                bar.say(f"stopped; the same command {kept}")
            raise
        except OSError as err:  # a full disk, a folder that may not be written
            if isinstance(err, SaliscopeError):
                raise
            raise DataError(
                f"{output} cannot be written to ({err.strerror or err}): make room, or name another folder with -o; the "
                "same command continues"
            ) from err
    if not is_first():
        return 0
    if as_json:
        print(json.dumps({"folder": str(output), **done.scores}, indent=1))
    elif not quiet:
        print(f"the network is in {output}", file=sys.stderr)
    return 0
