"""The blocks of a transformer: the modules that hand its tokens on, each with one attention inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from saliscope.engine.attention import AttentionTap
from saliscope.engine.grid import first_tensor
from saliscope.engine.inputs import call, private_inputs
from saliscope.engine.shadow import shadow

if TYPE_CHECKING:
    from saliscope.engine.network import Network

__all__ = ["Blocks", "blocks_of"]


@dataclass(frozen=True)
class Blocks:
    """The `names` of a network's blocks in the order they run, and the `axis` of their tokens that counts the images."""

    names: tuple[str, ...]
    axis: int


@dataclass(eq=False)
class _Call:
    """One call of a module: what it was given and returned, and which attentions ran meanwhile, `first` to `end`."""

    name: str
    kind: type
    given: Tensor | None
    seen: int  # how often what was given had been changed in place
    first: int
    end: int = -1
    returned: Tensor | None = None
    left: int = 0  # the same of what was returned

    def follows(self, other: _Call) -> bool:
        """Whether it was given what the other returned, as it was."""
        if self.given is None or other.returned is None:
            return False
        same = self.given.untyped_storage().data_ptr() == other.returned.untyped_storage().data_ptr()  # fmt: skip
        return same and self.given.shape == other.returned.shape and self.seen == other.left


@dataclass(eq=False)
class _Calls:
    """All calls of one pass; the tensors live on with them, so that no storage is used twice."""

    tap: AttentionTap
    done: list[_Call] = field(default_factory=list)
    running: list[_Call] = field(default_factory=list)

    def begin(self, name: str, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        tensors = map(first_tensor, [*args, *kwargs.values()])
        given = next((t for t in tensors if t is not None), None)
        seen = 0 if given is None else given._version
        self.running.append(_Call(name, type(module), given, seen, len(self.tap.matrices)))

    def end(self, module: nn.Module, args: Any, output: Any) -> None:  # noqa: ARG002 - torch calls it with three
        one = self.running.pop()
        one.end, one.returned = len(self.tap.matrices), first_tensor(output)
        one.left = 0 if one.returned is None else one.returned._version
        self.done.append(one)


def blocks_of(network: Network, inputs: Any) -> Blocks | None:
    """Find the blocks by one pass of a copy of the network; None where there are none to be seen.

    They are modules of one class, each with one attention inside, the outermost such, and each is given the very tensor
    that the one before returned: the tokens (B, N, C) or (N, B, C). Where additions stand between the modules, the
    tokens are nobody's output. Of a single attention nobody can tell. `inputs` hold two images.
    """
    twin = shadow(network.module)
    tap = AttentionTap(gradients=False)
    calls = _Calls(tap)
    for name, part in twin.named_modules():
        if name:
            part.register_forward_pre_hook(partial(calls.begin, name), with_kwargs=True)
            part.register_forward_hook(calls.end)
    with torch.inference_mode(mode=False), torch.enable_grad(), tap:
        call(twin, private_inputs(inputs, dtype=network.dtype))
    for chain in _chains(calls.done, len(tap.matrices)):
        shapes = {tuple(c.returned.shape) for c in chain if c.returned is not None}
        tokens = tap.matrices[0].shape[-1]
        names = tuple(c.name for c in chain)
        if len(shapes) == 1 and len(set(names)) == len(names):
            shape = shapes.pop()
            if len(shape) == 3 and tokens in shape[:2]:
                return Blocks(names, 0 if shape[1] == tokens else 1)
    return None


def _chains(calls: Sequence[_Call], attentions: int) -> Iterator[list[_Call]]:
    """Calls of one class, one for each attention, each of which follows the one before; outermost first."""
    around = [[c for c in calls if (c.first, c.end) == (i, i + 1)] for i in range(attentions)]
    if attentions < 2:
        return
    kinds = dict.fromkeys(c.kind for c in reversed(around[0]))  # outer calls end after inner ones
    for kind in kinds:
        own = [[c for c in some if c.kind is kind] for some in around]
        if all(own):
            chain = [some[-1] for some in own]
            if all(later.follows(earlier) for earlier, later in pairwise(chain)):
                yield chain
