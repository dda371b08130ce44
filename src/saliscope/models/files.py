"""A user's own network: FILE.py:function."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from saliscope.errors import ModelError, nearest
from saliscope.models.checkpoints import infer_num_classes, load_weights, read_checkpoint
from saliscope.models.preprocessing import Preprocessing
from saliscope.models.sources import Source, finished, seeded, weights_file

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

__all__ = ["build_file"]


def build_file(
    given: str,
    weights: str | os.PathLike[str] = "pretrained",
    *,
    num_classes: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Source:
    """Call the function in "FILE.py:function" and take the torch module it returns.

    The function gets `options` and, if it has such a parameter, `num_classes` (the given one, or that of a weights
    file). With "pretrained" the weights are those the function returned; random ones come from a fixed seed. The
    preprocessing is the default one (224, squash, ImageNet mean and std), labels are unknown. Raises ModelError when
    the file or the function is missing, raises, or returns something else; DataError for weights that do not fit.
    """
    path, _, wanted = given.rpartition(":")
    file = Path(path or wanted)
    function = _function(file, wanted if path else "")
    name = f"{file.name}:{(path and wanted) or _name(function)}"
    checkpoint_file = weights_file(weights)
    if checkpoint_file is None:
        module = _call(function, name, _arguments(function, options, num_classes))
        described = "untrained" if weights == "untrained" else f"as {name} returned them"
        return finished(Source(module, Preprocessing(), None, name, described))
    checkpoint = read_checkpoint(checkpoint_file)
    takes = "num_classes" in inspect.signature(function).parameters
    first = num_classes or (infer_num_classes(checkpoint) if takes else None)
    module = _call(function, name, _arguments(function, options, first))
    count = infer_num_classes(checkpoint, module)
    if takes and num_classes is None and count not in (None, first):
        module = _call(function, name, _arguments(function, options, count))
    load_weights(module, checkpoint)
    return finished(Source(module, Preprocessing(), None, name, checkpoint_file.name))


def _arguments(
    function: Callable[..., Any], options: Mapping[str, Any] | None, num_classes: int | None
) -> dict[str, Any]:
    arguments = dict(options or {})
    if num_classes is None or "num_classes" in arguments:
        return arguments
    if "num_classes" not in inspect.signature(function).parameters:
        raise ModelError(
            f"{_name(function)}() has no parameter num_classes to pass {num_classes} to: add one, or leave it out"
        )
    return {**arguments, "num_classes": num_classes}


def _call(function: Callable[..., Any], name: str, arguments: Mapping[str, Any]) -> nn.Module:
    try:
        with seeded():
            module = function(**arguments)
    except Exception as err:  # a user's code may raise anything
        shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ModelError(f"{name}({shown}) raised {type(err).__name__}: {err}") from err
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"{name}() returned a {type(module).__name__}: return the network, a torch.nn.Module"
        )
    return module


def _function(file: Path, wanted: str) -> Callable[..., Any]:
    found = _import(file)
    own: dict[str, Callable[..., Any]] = {
        key: value
        for key, value in vars(found).items()
        if callable(value)
        and not key.startswith("_")
        and getattr(value, "__module__", "") == found.__name__
    }
    if not wanted and (len(own) == 1 or "build" in own):
        wanted = "build" if "build" in own else next(iter(own))
    chosen = vars(found).get(wanted)
    if callable(chosen):
        return cast("Callable[..., Any]", chosen)
    hint = nearest(wanted, own) if own else "it defines no function"
    asked = f"has no function {wanted!r}" if wanted else "was given without a function"
    raise ModelError(f"{file} {asked}; {hint}; write FILE.py:function")


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _import(file: Path) -> ModuleType:
    if not file.is_file():
        raise ModelError(f"there is no file {file}: write FILE.py:function with a path that exists")
    place = file.resolve()
    name = f"saliscope_user_{hashlib.sha256(str(place).encode()).hexdigest()[:12]}_{place.stem}"
    spec = importlib.util.spec_from_file_location(name, place)
    assert spec is not None  # the suffix .py always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    try:
        with _beside(place.parent):
            spec.loader.exec_module(module)
    except BaseException as err:
        sys.modules.pop(name)
        if before is not None:
            sys.modules[name] = before
        if not isinstance(err, Exception):
            raise
        raise ModelError(f"{file} cannot be imported ({type(err).__name__}: {err})") from err
    return module


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    # The user's file may import its neighbours, as it can when run as a script.
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
