"""Where networks come from: one name in, one network with its preprocessing and labels out."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from saliscope.errors import ModelError, OptionError, nearest
from saliscope.options import option_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from saliscope.models.preprocessing import Preprocessing

__all__ = [
    "Source",
    "Spec",
    "build",
    "is_folder",
    "model_names",
    "parse_spec",
    "seeded",
    "spelled",
    "weights_file",
]

_FILE = re.compile(r"^(?P<file>.*?\.py)(?::(?P<rest>.*))?$", re.DOTALL)
_LIBRARIES = ("torchvision", "timm", "hf")
KEYWORDS = ("pretrained", "untrained")
OWN = ("critternet", "critternet-cue")
# What random parameters are made from while `build` runs; builders ask for it through `seeded`.
_SEED: ContextVar[int] = ContextVar("saliscope_seed", default=0)


@dataclass(frozen=True, eq=False)
class Source:
    """A network as it was found: the module in eval mode, how images enter it, and what its classes are called.

    `labels` is None where nothing says. `name` is the canonical name ("resnet50", "timm:NAME", "FILE.py:function"),
    `weights` says in words what the parameters are ("IMAGENET1K_V2", a file name, "untrained").
    """

    module: nn.Module
    preprocessing: Preprocessing
    labels: tuple[str, ...] | None
    name: str
    weights: str


@dataclass(frozen=True)
class Spec:
    """A network's name, taken apart: `library` is "torchvision", "timm", "hf", "file", "own" or "" (to be found)."""

    library: str
    name: str
    options: tuple[tuple[str, Any], ...] = ()


def parse_spec(given: str) -> Spec:
    """Take a network's name apart: `NAME`, `timm:NAME`, `hf:NAME`, `FILE.py:function`, each with `:option=value`.

    Values are Python literals ("2", "true", "(1, 2)") or else text. Raises ModelError for an empty name or an
    option without a value.
    """
    match = _FILE.match(given)
    if match:
        parts = (match["rest"] or "").split(":")
        function = parts.pop(0) if "=" not in parts[0] else ""
        return Spec("file", f"{match['file']}:{function}", _options(given, parts))
    head, *parts = given.split(":")
    library = head if head in _LIBRARIES else ""
    name = (parts.pop(0) if parts else "") if library else head
    if not name.strip():
        raise ModelError(
            f'network name {given!r} is empty: give a name such as "resnet50", "timm:NAME" or "FILE.py:function"'
        )
    return Spec(library, name, _options(given, parts))


def _options(given: str, parts: list[str]) -> tuple[tuple[str, Any], ...]:
    pairs = [part.partition("=") for part in parts if part]
    for key, equals, value in pairs:
        if not (key.isidentifier() and equals and value):
            raise ModelError(
                f"network name {given!r}: {key + equals + value!r} is no option; write NAME:option=value, and choose "
                f"the library with one of {', '.join(f'{name}:NAME' for name in _LIBRARIES)}"
            )
    return tuple((key, option_value(value)) for key, _, value in pairs)


def weights_file(weights: str | os.PathLike[str]) -> Path | None:
    """Return the file that `weights` names, or None for "pretrained" and "untrained".

    Of a folder that holds a trained network (model.json) it is the weights file in it. Raises ModelError when it is
    neither a keyword nor an existing file, DataError for a folder whose weights are missing or damaged.
    """
    if weights in KEYWORDS:
        return None
    path = Path(weights)
    if path.is_file():
        return path
    if weights and path.is_dir() and (path / "model.json").is_file():
        from saliscope.models.folders import read_folder

        return read_folder(path).weights_file()
    raise ModelError(
        f'there is no weights file {os.fspath(weights)!r}: give "pretrained", "untrained" or a file '
        "(.safetensors, .pt, .pth) with --weights FILE"
    )


@contextmanager
def seeded() -> Iterator[None]:
    """Build networks from one seed inside, and leave the caller's random numbers where they were."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that would also seed the GPUs, whose state is not put back.
        torch.default_generator.manual_seed(_SEED.get())
        yield


def is_folder(given: str | os.PathLike[str]) -> bool:
    """Whether a network's name means a folder: one that is there and is not also the name of a network.

    A folder called like a network is written with a separator: "./resnet50".
    """
    text = os.fspath(given)
    if not text or not Path(text).is_dir():
        return False
    if isinstance(given, os.PathLike) or Path(text).name != text:
        return True
    from saliscope.models import timm_, torchvision_

    known = text in OWN or text in torchvision_.torchvision_names() or timm_.is_timm(text)
    return not known


def spelled(given: str | os.PathLike[str], source: Source) -> str:
    """The name that opens the network `source`, which `given` opened, from any working folder.

    Files and local folders become absolute; a folder of a trained network gives the name it was trained under.
    """
    if is_folder(given):
        from saliscope.models.folders import read_folder

        return read_folder(given).model
    spec = parse_spec(os.fspath(given))
    tail = "".join(f":{key}={value}" for key, value in spec.options)
    if spec.library == "file":
        file, function = spec.name.rpartition(":")[0], source.name.rpartition(":")[2]
        return f"{Path(file).absolute()}:{function}{tail}"
    if spec.library == "hf" and Path(spec.name).is_dir():
        return f"hf:{Path(spec.name).absolute()}{tail}"
    return source.name


def model_names(library: str = "") -> tuple[str, ...]:
    """List the classifiers that can be built by name: torchvision's, then timm's as "timm:NAME"."""
    from saliscope.models import timm_, torchvision_

    names = [] if library == "timm" else list(torchvision_.torchvision_names())
    if library != "torchvision":
        names += [f"timm:{name}" for name in timm_.timm_names()]
    return tuple(names)


def build(
    given: str | os.PathLike[str],
    weights: str | os.PathLike[str] = "pretrained",
    *,
    num_classes: int | None = None,
    seed: int | None = None,
) -> Source:
    """Build a network by name, with its weights, preprocessing and labels.

    A folder that holds a trained network (model.json) is opened with its own weights, preprocessing and classes. A plain name is looked up among torchvision's classifiers, then timm's; "torchvision:", "timm:" and "hf:" choose;
    "FILE.py:function" calls a function of yours. `weights` is "pretrained", "untrained" (random, always the same, or from `seed`), a file,
    or a folder of a trained network, whose preprocessing and classes come along. `num_classes` is read from a weights file and needed only for an untrained network of another size.
    Raises ModelError for unknown names and for weights that cannot be had, DataError for files that do not fit.
    """
    if num_classes is not None and num_classes < 1:
        raise OptionError(f"num_classes must be at least 1, got {num_classes}")
    token = _SEED.set(_SEED.get() if seed is None else seed)
    try:
        if is_folder(given):
            from saliscope.models.folders import build_folder

            return build_folder(given, weights, num_classes=num_classes)
        spec = parse_spec(os.fspath(given))
        source = _BUILDERS[spec.library or _find_library(spec)](spec, weights, num_classes)
    finally:
        _SEED.reset(token)
    return _as_trained(source, weights)


def _as_trained(source: Source, weights: str | os.PathLike[str]) -> Source:
    """Give a network with the weights of a folder the preprocessing and classes that these were trained with."""
    if weights in KEYWORDS or not Path(weights).is_dir():
        return source
    from saliscope.models.folders import read_folder

    saved = read_folder(weights)
    return replace(source, preprocessing=saved.preprocessing, labels=saved.classes)


def _find_library(spec: Spec) -> str:
    from saliscope.models import timm_, torchvision_

    if spec.name in OWN:
        return "own"
    if spec.name in torchvision_.torchvision_names():
        return "torchvision"
    if timm_.is_timm(spec.name):
        return "timm"
    if Path(spec.name).name != spec.name:
        raise ModelError(
            f"there is no folder {spec.name!r}: give a folder that `saliscope train` wrote, or the name of a network"
        )
    known = dict.fromkeys([*OWN, *torchvision_.torchvision_names(), *timm_.timm_names()])
    raise unknown(spec.name, known)


def unknown(name: str, known: Mapping[str, Any] | tuple[str, ...]) -> ModelError:
    """Word the error for a network that nobody has."""
    return ModelError(
        f"no network is called {name!r}; {nearest(name, known)}; list them with `saliscope info --models`"
    )


def _build_torchvision(spec: Spec, weights: Any, num_classes: int | None) -> Source:
    from saliscope.models.torchvision_ import build_torchvision

    if spec.options:
        raise ModelError(
            f"torchvision networks take no options, got {dict(spec.options)}; timm's do: timm:NAME:option=value"
        )
    return build_torchvision(spec.name, weights, num_classes=num_classes)


def _build_timm(spec: Spec, weights: Any, num_classes: int | None) -> Source:
    from saliscope.models.timm_ import build_timm

    return build_timm(spec.name, weights, num_classes=num_classes, options=dict(spec.options))


def _build_hf(spec: Spec, weights: Any, num_classes: int | None) -> Source:
    from saliscope.models.hf import build_hf

    # Trained anew a network of transformers gets other classes and weights: both are given then.
    if spec.options or (weights == "pretrained") != (num_classes is None):
        raise ModelError(
            f"hf:{spec.name} comes with its own weights, classes and options: leave out weights, num_classes and "
            "options, or give a local folder of the same layout, hf:FOLDER"
        )
    return build_hf(spec.name, weights, num_classes=num_classes)


def _build_file(spec: Spec, weights: Any, num_classes: int | None) -> Source:
    from saliscope.models.files import build_file

    return build_file(spec.name, weights, num_classes=num_classes, options=dict(spec.options))


def _build_own(spec: Spec, weights: Any, num_classes: int | None) -> Source:
    from saliscope.models.folders import build_own

    if spec.options:
        raise ModelError(f"{spec.name} takes no options, got {dict(spec.options)}")
    return build_own(spec.name, weights, num_classes=num_classes)


_BUILDERS = {
    "own": _build_own,
    "torchvision": _build_torchvision,
    "timm": _build_timm,
    "hf": _build_hf,
    "file": _build_file,
}


def finished(source: Source, *, num_classes: int | None = None) -> Source:
    """Put the module in eval mode and drop labels that are not one per class."""
    source.module.eval()
    if source.labels is not None and num_classes not in (None, len(source.labels)):
        return replace(source, labels=None)
    return source
