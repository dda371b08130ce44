"""Which layer of a network of tokens a map is read from: the last one whose patches the logits depend on."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from saliscope.engine.grid import first_tensor, grid_of
from saliscope.engine.inputs import call, private_inputs, signal, with_picture
from saliscope.engine.shadow import shadow
from saliscope.engine.space import Space

__all__ = ["last_reached"]


def last_reached(
    module: nn.Module,
    inputs: Any,
    layers: Collection[str],
    space: Space,
    *,
    read: Callable[[Any], Tensor],
) -> str | None:
    """The last of `layers` (in the order they finish) at whose cells the logits have a gradient; None where none has.

    A network that reads its class token depends on the patches no later than in its last attention. The projections to
    queries, keys and values are passed over for the layer they project (`blocks.11.norm1` of a ViT), which is where maps
    of transformers are usually read. Weights that are all zero, as in a new classifier, are filled with noise in a copy.
    Cost: one forward and one backward pass.
    """
    twin = shadow(module)
    _fill_zeros(twin)
    returned: dict[str, Tensor] = {}
    given: dict[str, Tensor] = {}
    for name, part in twin.named_modules():
        if name in layers or isinstance(part, nn.Linear):
            part.register_forward_hook(partial(_note, returned, given, name))
    with torch.inference_mode(mode=False), torch.enable_grad():
        logits = read(call(twin, _differentiable(inputs)))
        reached = _reached(logits, returned, space) if logits.requires_grad else set()
    ordered = [n for n in layers if n in reached]
    return _projected(twin, ordered, returned, given) if ordered else None


def _note(
    returned: dict[str, Tensor],
    given: dict[str, Tensor],
    name: str,
    module: nn.Module,
    arguments: Any,
    output: Any,
) -> None:
    tensor, first = first_tensor(output), first_tensor(arguments)
    if tensor is not None:
        returned[name] = tensor
    if isinstance(module, nn.Linear) and first is not None:
        given[name] = first


def _reached(logits: Tensor, returned: dict[str, Tensor], space: Space) -> set[str]:
    """The layers with a gradient of a random mixture of the logits that is not zero at all cells."""
    names = [n for n, t in returned.items() if t.requires_grad]
    mixture = torch.randn(logits.shape[1], generator=torch.Generator().manual_seed(0))
    found = torch.autograd.grad(
        (logits.float() @ mixture.to(logits.device)).sum(),
        [returned[n] for n in names],
        allow_unused=True,
    )
    grids = {n: grid_of(g, space) for n, g in zip(names, found, strict=True)}
    return {n for n, g in grids.items() if g is not None and bool((g != 0).any())}


def _projected(
    twin: nn.Module, reached: list[str], returned: dict[str, Tensor], given: dict[str, Tensor]
) -> str:
    """The last layer reached; if it is linear, the one that returned its input, where there is one."""
    name = reached[-1]
    while isinstance(twin.get_submodule(name), nn.Linear):
        sources = [n for n in reached if n != name and _same(returned[n], given[name])]
        if not sources:
            break
        name = sources[-1]
    return name


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether one is the other, or a view of it: the patches without their class token."""
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _differentiable(inputs: Any) -> Any:
    """A copy of the inputs whose picture requires a gradient, and may be changed in place all the same."""
    ready = private_inputs(inputs)
    found = signal(ready)
    return (
        ready if found is None else with_picture(ready, found.detach().requires_grad_(True).clone())
    )


def _fill_zeros(twin: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in twin.modules():
            for name, old in part._parameters.items():
                if old is not None and old.ndim > 1 and not bool(old.any()):
                    noise = torch.randn(old.shape, generator=generator).to(old)
                    part._parameters[name] = nn.Parameter(noise, requires_grad=False)
