"""`saliscope explain`: photographs in, pictures, maps and a table out."""

from __future__ import annotations

import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from saliscope.cli.options import Memory, ModelOptions, OneTarget, open_truth
from saliscope.errors import DataError, ImageError, OptionError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from saliscope.cli.progress import Progress
    from saliscope.engine import Budget
    from saliscope.pipeline import Outcome
    from saliscope.results import ResultFolder

__all__ = ["explain"]


def explain(
    *images: Annotated[str, Parameter(help="files, folders and globs; one at least")],
    network: Annotated[ModelOptions | None, Parameter(name="*")] = None,
    method: Annotated[
        list[str] | None,
        Parameter(
            name=["--method", "-M"],
            negative=(),
            help="name, name@layer or name@layer:option=value; repeat the flag for several; "
            "`saliscope methods` lists them [default: grad-cam]",
        ),
    ] = None,
    layer: Annotated[
        str | None,
        Parameter(
            name=["--layer", "-l"],
            help="layer of methods that name none; `saliscope layers MODEL` lists them; default: the "
            "last feature map",
        ),
    ] = None,
    aim: Annotated[OneTarget | None, Parameter(name="*")] = None,
    top: Annotated[
        int | None, Parameter(help="explain the N most probable classes of each image")
    ] = None,
    truth: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="annotated boxes: VOC XML file or folder, COCO JSON, or x0,y0,x1,y1",
        ),
    ] = None,
    corners: Annotated[
        Literal["half-open", "inclusive", "voc"],
        Parameter(help="how XML corners are meant; PASCAL VOC files: voc"),
    ] = "half-open",
    protocol: Annotated[
        str, Parameter(help="how a heatmap becomes a box; `saliscope info` lists them")
    ] = "yang2025",
    normalise: Annotated[
        Literal["min-max", "max", "percentile"], Parameter(help="how a map becomes a heatmap")
    ] = "min-max",
    colormap: Annotated[
        str, Parameter(help="a matplotlib colour map, e.g. inferno, jet")
    ] = "inferno",
    alpha: Annotated[float, Parameter(help="share of the heatmap in overlays, 0 to 1")] = 0.5,
    batch_size: Annotated[
        int, Parameter(name=["--batch-size", "-b"], help="images per forward pass")
    ] = 8,
    memory: Memory = None,
    output: Annotated[
        Path, Parameter(name=["--output", "-o"], help="folder for everything that is written")
    ] = Path("saliscope-out"),
    progress: Annotated[bool, Parameter(help="show a progress bar")] = True,
    quiet: Annotated[
        bool, Parameter(name=["--quiet", "-q"], negative=(), help="only errors on stderr")
    ] = False,
) -> int:
    """Explain photographs: overlays, panels, raw maps and a table of results.

    Writes into the output folder, for each image: one overlay for each method and target, one panel, and the raw maps
    (.npz); and for all of them results.json and results.csv with target, score, status, box, IoU and seconds.

    Examples: saliscope explain dog.jpg --method cam --method grad-cam@layer3 -o out

    saliscope explain photos/ --model timm:convnext_tiny --target "golden retriever" --truth Annotation/ -o out
    """
    from saliscope.cli.progress import Progress
    from saliscope.engine import make_budget
    from saliscope.finding import find_images
    from saliscope.localization import parse_protocol
    from saliscope.results import Look, ResultFolder, unique_stems

    network, aim = network or ModelOptions(), aim or OneTarget()
    if top is not None and aim.target is not None:
        raise OptionError("give either --target or --top, not both")
    if output.exists() and not output.is_dir():
        raise OptionError(f"-o {output} is a file; name a folder")
    _check_images(images)
    paths = _not_written_here(find_images(images), images, output)
    source = open_truth(truth, corners)
    look = Look(parse_protocol(protocol), normalise, colormap, alpha)
    _check_look(look.colormap, look.alpha)
    folder = ResultFolder(output, look, unique_stems(paths), source)
    bar = Progress(len(paths), shown=progress and not quiet)
    budget = make_budget(memory, bar.asking)
    model = network.load()
    folder.model = model.title
    outcomes = _outcomes(
        model, paths, method or ["grad-cam"], layer, aim, top, batch_size, folder, budget
    )
    folder.prepare()
    return _run(folder, outcomes, bar, quiet=quiet)


def _outcomes(
    model: Any,
    paths: Sequence[Path],
    methods: Sequence[str],
    layer: str | None,
    aim: OneTarget,
    top: int | None,
    batch_size: int,
    folder: ResultFolder,
    budget: Budget,
) -> Generator[Outcome[list[dict[str, Any]]], None, None]:
    """Check every argument before the first image is read."""
    from saliscope.explainer import resolve_specs
    from saliscope.methods import parse_method
    from saliscope.pipeline import explain_files

    for name in layer.split("+") if layer else ():
        model.layer_name(name)  # an unknown one is told also where no method is read from a layer
    specs = resolve_specs(model, [parse_method(m, layer=layer) for m in methods])
    target = None if aim.target is None else model.class_index(aim.target)
    return explain_files(
        model,
        paths,
        list(dict.fromkeys(specs)),
        folder.write,
        target=target,
        top=top,
        space=aim.target_space,
        batch_size=batch_size,
        budget=budget,
    )


def _run(
    folder: ResultFolder,
    outcomes: Generator[Outcome[list[dict[str, Any]]], None, None],
    bar: Progress,
    *,
    quiet: bool,
) -> int:
    failed = done = 0
    total = bar.total
    table = folder.folder / "results.csv"
    if not quiet:
        print(f"{total} image{'s' * (total != 1)} -> {folder.folder}", file=sys.stderr)
    try:
        with closing(outcomes), bar:
            for outcome in outcomes:
                if outcome.error is not None:
                    folder.failed(outcome.path, outcome.error)
                if problem := folder.problem(outcome.path):
                    bar.say(f"failed: {problem}")
                failed, done = failed + bool(problem), done + (not problem)
                bar.step(done, failed)
    except BaseException:
        _keep(folder, total)
        raise
    folder.save()
    if folder.unannotated and not quiet:
        print(
            f"{folder.unannotated} of {total} images have no box in the annotations: their IoU is empty",
            file=sys.stderr,
        )
    if not quiet:
        print(f"{done} explained, {failed} failed -> {table}", file=sys.stderr)
    return 1 if failed else 0


def _keep(folder: ResultFolder, total: int) -> None:
    """Write the table of what is done before the run was stopped; its pictures are there already."""
    count = len({row["path"] for row in folder.rows})
    if count:
        with suppress(DataError):  # the reason why it stopped is told; a full disk has only one
            folder.save()
            print(
                f"{count} of {total} images are in {folder.folder / 'results.csv'}", file=sys.stderr
            )


def _not_written_here(paths: Sequence[Path], given: Sequence[str], output: Path) -> list[Path]:
    """Leave out the pictures that an earlier run wrote into the output folder, unless they are named one by one."""
    home, named = output.resolve(), set(map(Path, given))
    own = {
        p
        for p in paths
        if p.name.endswith((".overlay.jpg", ".panel.jpg"))
        and p.parent.resolve() == home
        and p not in named
    }
    if own and len(own) == len(paths):
        raise ImageError(
            f"all {len(own)} pictures found are ones that saliscope wrote into {output}"
        )
    if own:
        print(f"left out {len(own)} pictures that saliscope wrote into {output}", file=sys.stderr)
    return [p for p in paths if p not in own]


def _check_images(images: Sequence[str]) -> None:
    """Catch `--method cam grad-cam`, where the second word is taken for a photograph."""
    from saliscope.methods import METHODS

    for name in images:
        if "://" in name and not Path(name).exists():
            raise OptionError(f"{name} is an address; download the picture and name the file")
        if name.partition("@")[0].partition(":")[0] in METHODS and not Path(name).exists():
            raise OptionError(
                f'"{name}" is a method, not a photograph; repeat the flag: --method {name}'
            )


def _check_look(colormap: str, alpha: float) -> None:
    from saliscope.pictures import colour_table

    colour_table(colormap)
    if not 0 <= alpha <= 1:
        raise OptionError(f"--alpha is between 0 and 1; got {alpha:g}")
