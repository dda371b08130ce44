"""Which part of a network runs before a layer, found by running it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saliscope.engine import shadow
from saliscope.errors import LayerError, ModelError
from saliscope.models.outputs import logits_of

__all__ = ["Frozen", "Passed", "frozen_names", "run_once"]


@dataclass(frozen=True)
class Passed:
    """What one pass showed: the layers in the order they finished, each time they did, and the width of the logits.

    `feeding` are the parameters that the output of the layer asked about was computed from.
    """

    finished: tuple[str, ...]
    num_classes: int
    feeding: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Frozen:
    """What keeps its values: the names of parameters, and of the outermost modules that are fixed as a whole."""

    parameters: frozenset[str] = frozenset()
    modules: tuple[str, ...] = ()


def run_once(module: nn.Module, size: int, *, layer: str | None = None) -> Passed:
    """Run noise (2, 3, size, size) through a copy of a network and note the order in which layers finish.

    With `layer`, also which parameters went into its output. Raises ModelError where the network does not run on such
    inputs or returns no logits.
    """
    twin = shadow(module)
    finished: list[str] = []
    roots: list[Any] = []
    for name, part in twin.named_modules():
        if name:
            part.register_forward_hook(_noting(name, finished, roots if name == layer else None))
    if layer is not None:
        for parameter in twin.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
    noise = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode(mode=False), torch.set_grad_enabled(layer is not None):
            logits = logits_of(twin(noise))
    except ModelError:
        raise
    except Exception as err:  # a user's network may raise anything
        raise ModelError(
            f"{type(module).__name__} does not run on pictures of {size} x {size} ({type(err).__name__}: {err}): choose "
            "another size, or build the network for this one"
        ) from err
    names = {id(value): name for name, value in twin.named_parameters()}
    feeding = frozenset(names[key] for key in _leaves(roots) if key in names)
    return Passed(tuple(finished), int(logits.shape[1]), feeding)


def _noting(name: str, finished: list[str], roots: list[Any] | None) -> Callable[..., None]:
    def note(*seen: Any) -> None:  # the module, what it was given, what it returned
        finished.append(name)
        if roots is not None:
            roots.extend(tensor.grad_fn for tensor in _tensors(seen[-1]))

    return note


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        yield from _tensors(list(output.values()))
    elif isinstance(output, list | tuple):
        for value in output:
            yield from _tensors(value)


def _leaves(roots: list[Any]) -> Iterator[int]:
    """The ids of the parameters at the ends of a graph."""
    waiting, seen = list(roots), set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield id(node.variable)
        waiting.extend(following for following, _ in node.next_functions)


def frozen_names(module: nn.Module, layer: str, passed: Passed) -> Frozen:
    """Find what runs up to and including a layer: every module that finished by then, and what fed the layer besides.

    `layer` is its native name, `passed` the pass that was run for it. A layer that runs several times counts with its
    last run. Parameters of modules that are still running then (a class token, embeddings of positions) count if the
    layer's output depends on them. Raises LayerError for a layer that the network does not run.
    """
    if layer not in passed.finished:
        raise LayerError(
            f'freeze "{layer}": {type(module).__name__} has this layer but does not run it as one; name a layer that runs, '
            "`saliscope layers` lists those with a grid"
        )
    last = len(passed.finished) - passed.finished[::-1].index(layer)
    done = set(passed.finished[:last])
    modules = tuple(_outermost(module, done))
    parameters = {
        name
        for name, _ in module.named_parameters()
        if name in passed.feeding or any(name.startswith(f"{whole}.") for whole in modules)
    }
    return Frozen(frozenset(parameters), modules)


def _outermost(module: nn.Module, done: set[str], prefix: str = "") -> Iterator[str]:
    """The largest modules that are done, in the order the network lists them."""
    for name, child in module.named_children():
        if prefix + name in done:
            yield prefix + name
        else:
            yield from _outermost(child, done, f"{prefix}{name}.")
