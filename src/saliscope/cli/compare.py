"""`saliscope compare`: one photograph, several methods and layers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from saliscope.cli.options import Memory, ModelOptions, OneTarget, open_truth
from saliscope.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure

    from saliscope.api import Comparison
    from saliscope.boxes import Box
    from saliscope.images import Photo
    from saliscope.models import Model

__all__ = ["compare", "default_methods", "finish"]

FigureName = Literal["comparison", "method", "stages", "boxes"]


def compare(
    image: Annotated[Path, Parameter(help="the photograph")],
    /,
    *methods: Annotated[
        str,
        Parameter(
            help="name, name@layer or name@layer:option=value, `saliscope methods` lists them; default: "
            "cam (where it applies), grad-cam, random, centre, edges"
        ),
    ],
    network: Annotated[ModelOptions | None, Parameter(name="*")] = None,
    aim: Annotated[OneTarget | None, Parameter(name="*")] = None,
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
    convention: Annotated[
        Literal["half-open", "inclusive"], Parameter(help="how IoU counts pixels")
    ] = "half-open",
    every: Annotated[
        bool,
        Parameter(name="--all", negative=(), help="every method that applies, each run alone"),
    ] = False,
    memory: Memory = None,
    figure: Annotated[FigureName, Parameter(help="which figure is drawn")] = "comparison",
    output: Annotated[
        list[Path] | None,
        Parameter(
            name=["--output", "-o"],
            negative=(),
            help="figure files (.png, .svg, .pdf); repeat for several",
        ),
    ] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="print the table as JSON")
    ] = False,
) -> int:
    """Compare methods and layers on one photograph: the IoU table on stdout, the figure in a file.

    Examples: saliscope compare dog.jpg cam grad-cam@conv3_block3_out grad-cam@layer4 --truth 29,5,433,374 -o panel.pdf

    saliscope compare dog.jpg --truth Annotation/ --protocol gradcam2017 --figure boxes -o boxes.png

    saliscope compare dog.jpg --all -o gallery.png
    """
    from saliscope.api import compare as run
    from saliscope.boxes import Box
    from saliscope.data import TruthSource
    from saliscope.images import load_image

    network, aim = network or ModelOptions(), aim or OneTarget()
    for path in output or []:
        _check_figure(path)
    _check_words(image, methods, figure, every=every)
    photo = load_image(image)
    source = open_truth(truth, corners)
    boxes: tuple[Box, ...] = ()
    if isinstance(source, Box):
        boxes = (source,)
    found = None
    if isinstance(source, TruthSource):
        found = source.find(image, size=photo.size)
        if found is None:
            raise OptionError(f"{truth} annotates nothing on {image.name}; check --truth")
    model = network.load()
    target = None if aim.target is None else model.class_index(aim.target)
    if found is not None:
        explained = run(model, photo, ["centre"], target=target).explanations[0].target
        boxes = found.boxes_for(explained.label)
    if every:
        return _every(model, photo, boxes, target, aim, protocol, output or [], as_json=as_json)
    comparison = run(
        model,
        photo,
        methods or default_methods(model),
        truth=boxes,
        target=target,
        target_space=aim.target_space,
        protocol=protocol,
        convention=convention,
        memory=memory,
    )
    return finish(comparison, figure, output or [], as_json=as_json)


def _every(
    model: Model,
    photo: Photo,
    truth: Sequence[Box],
    target: int | None,
    aim: OneTarget,
    protocol: str,
    outputs: Sequence[Path],
    *,
    as_json: bool,
) -> int:
    """Run every method, print the table with what each cost, and draw the gallery."""
    from saliscope.every import explain_every

    def tell(name: str, place: int, total: int) -> None:
        print(f"{place}/{total} {name}", file=sys.stderr)

    every = explain_every(
        model,
        photo,
        truth=truth,
        target=target,
        target_space=aim.target_space,
        protocol=protocol,
        tell=tell,
    )
    print_comparison(every.comparison, as_json=as_json)
    for name, why in every.left_out:
        print(f"does not apply: {name}: {why}", file=sys.stderr)
    write_figures(every.figure, outputs)
    return 0


def default_methods(model: Model) -> list[str]:
    """What is compared when nothing is named: CAM where the network allows it, Grad-CAM, and the trivial rows."""
    cam = ["cam"] if model.survey.head is not None else []
    return [*cam, "grad-cam", "random", "centre", "edges"]


def finish(
    comparison: Comparison, figure: FigureName, outputs: list[Path], *, as_json: bool
) -> int:
    """Print the table and write the figure."""
    print_comparison(comparison, as_json=as_json)
    write_figures(lambda: _figure(comparison, figure), outputs)
    return 0


def print_comparison(comparison: Comparison, *, as_json: bool) -> None:
    """The table of a comparison on stdout."""
    from saliscope.results import defined

    if as_json:
        rows = [row | {"iou": defined(row["iou"])} for row in comparison.rows()]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        print(comparison.table())


def write_figures(draw: Callable[[], Figure], outputs: Sequence[Path]) -> None:
    """Draw and write a figure into each file."""
    from saliscope.errors import DataError
    from saliscope.report import save_figure

    for path in outputs:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_figure(draw(), path)
        except OSError as err:
            raise DataError(f"cannot write {path}: {err.strerror or err}") from None
        print(f"wrote {path}", file=sys.stderr)


def _figure(comparison: Comparison, name: FigureName) -> Figure:
    from saliscope import report

    explanations = comparison.explanations
    if name == "comparison":
        return comparison.figure()
    if name == "boxes":
        return report.boxes_figure(explanations, comparison.truth, protocol=comparison.protocol)
    if name == "stages":
        return report.stages_figure(explanations)
    return report.method_figure(explanations[0])


def _check_words(image: Path, methods: Sequence[str], figure: FigureName, *, every: bool) -> None:
    if every and (methods or figure != "comparison"):
        given = f"--figure {figure}" if not methods else " ".join(methods)
        raise OptionError(
            f"--all takes every method and draws a figure of its own; leave out {given}"
        )
    if image.is_dir():
        raise OptionError(
            f"compare takes one photograph, and {image} is a folder; `saliscope explain {image}` takes many"
        )
    files = [name for name in methods if Path(name).is_file()]
    if files:
        raise OptionError(
            f"compare takes one photograph; what follows it are methods, and {files[0]} is a file. "
            "`saliscope explain` takes many photographs"
        )
    if figure == "method" and len(methods) != 1:
        raise OptionError(
            "--figure method draws one method; name just one, or use --figure comparison"
        )


def _check_figure(path: Path) -> None:
    if path.is_dir() or path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise OptionError(f"-o {path} names no .png, .svg or .pdf file")
