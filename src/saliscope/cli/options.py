"""Settings that several verbs share, and how they become library calls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from saliscope.errors import OptionError

if TYPE_CHECKING:
    from saliscope.boxes import Box
    from saliscope.data import TruthSource
    from saliscope.models import Model

__all__ = [
    "Memory",
    "ModelOptions",
    "OneTarget",
    "comma_numbers",
    "is_number_list",
    "open_truth",
]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which network, and how images enter it."""

    model: Annotated[
        str,
        Parameter(name=["--model", "-m"], help="resnet50, timm:NAME, hf:NAME, or FILE.py:function"),
    ] = "resnet50"
    weights: Annotated[
        str, Parameter(help="pretrained, untrained, or a .safetensors/.pt/.pth file of tensors")
    ] = "pretrained"
    labels: Annotated[
        Path | None, Parameter(help="class names in order: one per line, or JSON")
    ] = None
    num_classes: Annotated[int | None, Parameter(help="classes of an untrained network")] = None
    size: Annotated[
        str | None, Parameter(help="input pixels, 224 or HxW; default: the network's own")
    ] = None
    mean: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=True, help="RGB mean of pixels in [0, 1], e.g. 0.5,0.5,0.5"),
    ] = None
    std: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=True, help="RGB standard deviation, e.g. 0.5,0.5,0.5"),
    ] = None
    resize: Annotated[
        Literal["squash", "crop", "letterbox"] | None,
        Parameter(help="how a photograph becomes an input"),
    ] = None
    precision: Annotated[
        Literal["float32", "bfloat16", "auto"], Parameter(help="arithmetic of the network's copy")
    ] = "float32"
    device: Annotated[
        str | None, Parameter(help="cpu or cuda; the GPU is used where there is one")
    ] = None

    def load(self) -> Model:
        """Load the network; raises what `load_model` does."""
        from saliscope.models import change_preprocessing, load_model

        model = load_model(
            self.model,
            self.weights,
            labels=self.labels,
            num_classes=self.num_classes,
            precision=self.precision,
            device=self.device,
        )
        return change_preprocessing(
            model,
            size=self.size,
            mean=None if self.mean is None else comma_numbers(self.mean, 3, "--mean"),
            std=None if self.std is None else comma_numbers(self.std, 3, "--std"),
            resize=self.resize,
        )


Memory = Annotated[
    str | None,
    Parameter(
        help="what methods that ask the network again may have in flight, e.g. 2GB; default: 1GiB"
    ),
]
"""How much memory probes may take."""


@dataclass(frozen=True, kw_only=True)
class OneTarget:
    """What is explained."""

    target: Annotated[
        str | None,
        Parameter(
            name=["--target", "-t"], help="class index or label; default: the predicted class"
        ),
    ] = None
    target_space: Annotated[
        Literal["logit", "probability", "log-probability"],
        Parameter(help="explain the logit, the softmax probability, or its logarithm"),
    ] = "logit"


def comma_numbers(text: str, count: int, what: str) -> tuple[float, ...]:
    """Read `count` numbers separated by commas; raises `OptionError`."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        raise OptionError(f'{what} is {count} numbers separated by commas; got "{text}"')
    return numbers


def is_number_list(text: str) -> bool:
    """Whether a text is numbers and commas, not a path."""
    return "," in text and not set(text) - set("0123456789.,-+e ")


def open_truth(
    text: str | None, corners: Literal["half-open", "inclusive", "voc"]
) -> TruthSource | Box | None:
    """An annotated box written `x0,y0,x1,y1`, or a file or folder of annotations."""
    from saliscope.boxes import Box
    from saliscope.data import TruthSource, read_voc

    if text is None:
        return None
    if is_number_list(text):
        return Box(*comma_numbers(text, 4, "--truth"))
    source = TruthSource.open(text, corners=corners)
    if source.path.is_file() and source.coco is None:
        read_voc(
            source.path, corners=corners
        )  # one file answers for all: a broken one is no matter of an image
    return source
