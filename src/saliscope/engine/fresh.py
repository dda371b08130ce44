"""A private copy of a network in which some layers have forgotten what they learned."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from saliscope.engine.inputs import call, private_inputs
from saliscope.engine.shadow import shadow, unwrap
from saliscope.errors import LayerError, ModelError, OptionError, nearest

__all__ = ["Stage", "few_stages", "reinitialised", "stages"]

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_WEIGHED = (_ConvNd, nn.Linear, nn.Bilinear, nn.MultiheadAttention)
# What cutting a normal distribution at two standard deviations leaves of its standard deviation: .8796.
_LEFT = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


@dataclass(frozen=True)
class Stage:
    """Layers that forget together: a name, and the names of the layers, the last one of the pass first."""

    name: str
    layers: tuple[str, ...]


def stages(
    module: nn.Module,
    inputs: Any,
    *,
    read: Callable[[Any], Tensor],
    depth: int | None = None,
) -> tuple[Stage, ...]:
    """The layers that learn, from the top of a network down: the last one of the pass first.

    One stage a layer with parameters of its own or running statistics; with `depth`, one for all layers whose names share
    their first `depth` parts (`layer4.1.conv2` is of `layer4` at depth 1), which stands where the last of them does. The
    order is that in which layers begin in one pass of `inputs` (the last time, where they run twice), so that what a
    container holds itself, a position embedding, stands below the layers in it. A layer that never runs is a stage where
    the logits depend on it all the same (the projection of an attention that is called as a function), else not (an
    auxiliary head, a spare parameter).

    `read` takes the logits (n, classes) out of the output. Cost: one forward and backward pass of a copy. Raises
    `ModelError` where nothing learns, `OptionError` for a depth below 1.
    """
    if depth is not None and depth < 1:
        raise OptionError(
            f"depth is a number of parts of a layer's name, at least 1, or None; got {depth}"
        )
    twin = shadow(unwrap(module), share=False)
    ticks, began = itertools.count(), dict[str, int]()
    for name, part in twin.named_modules():
        part.register_forward_pre_hook(_noting(began, name, ticks))
    parameters = [p for p in twin.parameters() if p.is_floating_point()]
    with torch.inference_mode(mode=False), torch.enable_grad():
        for parameter in parameters:
            parameter.requires_grad = True
        logits = read(call(twin, private_inputs(inputs)))
        follows = parameters if logits.requires_grad else []
        found = torch.autograd.grad(logits.sum(), follows, allow_unused=True) if follows else ()
    matter = {id(p) for p, g in zip(follows, found, strict=True) if g is not None}
    order = {
        name: _place(name, began)
        for name, part in twin.named_modules()
        if _learns(part) and _counts(part, matter, ran=name in began)
    }
    if not order:
        raise ModelError("no layer of the network learns: there is nothing to randomise")
    names = sorted(order, key=lambda n: order[n], reverse=True)
    return _grouped(names, depth, type(twin).__name__)


def _grouped(names: Iterable[str], depth: int | None, root: str) -> tuple[Stage, ...]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(".".join(name.split(".")[:depth]) or root, []).append(name)
    return tuple(Stage(label, tuple(layers)) for label, layers in groups.items())


def few_stages(
    module: nn.Module, inputs: Any, *, read: Callable[[Any], Tensor], most: int = 8
) -> tuple[Stage, ...]:
    """The `stages` of a network in at most `most` steps of like size: few enough that each can be asked of several images.

    Of the smallest depth at which no stage holds more than half of the layers, or, where there is none, of all layers: of a
    residual network its stages, of a transformer its blocks. Then, until they are few enough, the two neighbours with
    the fewest layers between them become one, the lowest of equals; the top one, which decides between classes, stays
    alone. `conv1 to bn0` has all from `conv1` down to `bn0`.
    Raises `OptionError` for `most` below 2, and what `stages` does.
    """
    if most < 2:
        raise OptionError(f"most is the largest number of stages, at least 2; got {most}")
    alone = stages(module, inputs, read=read)
    names = [layer for stage in alone for layer in stage.layers]
    deepest = max(name.count(".") for name in names) + 1
    found = list(alone)
    for depth in range(1, deepest + 1):
        grouped = _grouped(names, depth, type(unwrap(module)).__name__)
        if 2 * max(len(stage.layers) for stage in grouped) <= len(names):
            found = list(grouped)
            break
    while len(found) > most:
        sizes = [len(a.layers) + len(b.layers) for a, b in itertools.pairwise(found)]
        at = min(range(1, len(sizes)), key=lambda i: (sizes[i], -i))
        found[at : at + 2] = [_joined(found[at], found[at + 1])]
    return tuple(found)


def _joined(upper: Stage, lower: Stage) -> Stage:
    first, last = upper.name.split(" to ")[0], lower.name.split(" to ")[-1]
    return Stage(f"{first} to {last}", upper.layers + lower.layers)


def _noting(began: dict[str, int], name: str, ticks: Iterator[int]) -> Callable[..., None]:
    def note(_module: nn.Module, _given: Any) -> None:
        began[name] = next(ticks)

    return note


def _learns(part: nn.Module) -> bool:
    statistics = isinstance(part, _NormBase) and part.running_mean is not None
    return statistics or any(p.is_floating_point() for p in part.parameters(recurse=False))


def _counts(part: nn.Module, matter: set[int], *, ran: bool) -> bool:
    """Whether the logits depend on a layer's own parameters, as far as one can know where gradients are cut off."""
    if any(id(p) in matter for p in part.parameters(recurse=False)):
        return True
    return ran and not any(id(p) in matter for p in part.parameters())


def _place(name: str, began: dict[str, int]) -> tuple[int, str]:
    """When a layer began, or the nearest of its containers that did; the name decides between equals."""
    holder = name
    while holder not in began and holder:
        holder = holder.rpartition(".")[0]
    return began.get(holder, -1), name


def reinitialised(module: nn.Module, layers: Iterable[str], *, seed: int) -> nn.Module:
    """A private copy of a network, in evaluation mode, whose `layers` are as before any training.

    What a layer gets is decided by its kind: a normalisation its initial state (weight 1, bias 0, mean 0, variance 1), so
    batch statistics are forgotten too; a convolution, linear layer or attention biases of 0 and weights from a normal
    distribution cut at two standard deviations, of variance 2 / fan-in (He et al. 2015, equation 10), which keeps the scale of what passes
    through; any other parameter (a class token, a position embedding, a layer's scale) one of its own root mean square.
    Numbers are drawn on the CPU from `seed` and the layer's name: a layer forgets to the same values whichever
    others do. The module given is not touched, and torch's own generator is not used.

    Raises `LayerError` for a layer that is not in the network.
    """
    twin = shadow(unwrap(module), share=False)
    parts = dict(twin.named_modules())
    with torch.inference_mode(mode=False), torch.no_grad():
        for name in layers:
            if name not in parts:
                raise LayerError(
                    f'layer "{name}" is not in {type(twin).__name__}; {nearest(name, filter(None, parts))}'
                )
            _forget(parts[name], name, seed)
    return twin


def _forget(part: nn.Module, layer: str, seed: int) -> None:
    if isinstance(part, _NORMS):
        part.reset_parameters()
        return
    for name, parameter in part.named_parameters(recurse=False):
        if not parameter.is_floating_point():
            continue
        spread = _spread(part, parameter)
        start = zlib.crc32(f"{seed}/{layer}/{name}".encode())
        drawn = torch.empty(parameter.shape)
        nn.init.trunc_normal_(drawn, a=-2.0, b=2.0, generator=torch.Generator().manual_seed(start))
        parameter.copy_(drawn * (spread / _LEFT))


def _spread(part: nn.Module, parameter: Tensor) -> float:
    """The standard deviation that a parameter is drawn with."""
    if not isinstance(part, _WEIGHED):
        return float(parameter.double().square().mean().sqrt()) if parameter.numel() else 0.0
    if parameter.ndim < 2:
        return 0.0
    outputs = parameter.shape[0]
    if isinstance(part, _ConvTransposeNd):
        outputs = parameter.shape[1] * part.groups
    return math.sqrt(2 * outputs / parameter.numel())
