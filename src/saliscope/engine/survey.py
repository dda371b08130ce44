"""One pass that looks at every layer: which have a grid, which is the last feature map, how the network ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from saliscope.engine.grid import Layout, first_tensor, layout_of
from saliscope.engine.heads import Classifier, Head, PooledGrid, find_head
from saliscope.engine.inputs import call
from saliscope.engine.reach import last_reached
from saliscope.engine.shadow import shadow
from saliscope.engine.space import Space, is_spatial, prefix_tokens, space_of

__all__ = ["LayerFacts", "Survey", "survey"]

# A map of what these return is a coarser or identical copy of the map before them.
_PASSIVE = ("Pool", "Dropout", "DropPath", "DropBlock", "StochasticDepth", "Identity", "Flatten")


@dataclass(frozen=True)
class LayerFacts:
    """One layer that a map can be read from: its name, class name, grid (C, h, w), and whether it only passes on.

    The layers of a signal have (C, 1, l), those of a volume (C, d, h * w).
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    passive: bool


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass showed: layers with a grid in the order they finish, the head, the recommended layer.

    `layers` leaves out layers that run more than once in a pass. `head` is None where the network does not end in
    pooling + linear; `no_head` then says what was found. `recommended` is the last feature map: the last grid of more
    than one cell that is neither a pooled copy nor already one channel per class; in a network with tokens that does not
    end in pooling + linear, the last whose cells the logits depend on (see `last_reached`). None where there is none. `ran` are the names of all layers that ran.
    """

    layers: tuple[LayerFacts, ...]
    head: Head | None
    no_head: str
    recommended: str | None
    logits: Tensor
    ran: frozenset[str]


@dataclass(eq=False)
class _Notes:
    space: Space
    facts: dict[str, LayerFacts | None] = field(default_factory=dict)
    grids: dict[str, PooledGrid] = field(default_factory=dict)
    classifiers: dict[str, Classifier] = field(default_factory=dict)
    ran: dict[str, int] = field(default_factory=dict)
    previous: tuple[str, Tensor | None, int, bool] = ("", None, 0, False)
    tail: list[str] = field(default_factory=list)  # classifiers behind the last feature map
    tokens: bool = (
        False  # whether token layers (B, N, C) stand behind the last feature map, or are it
    )

    def see(self, name: str, module: nn.Module, given: Any, output: Any) -> None:
        self.ran[name] = self.ran.get(name, 0) + 1
        tensor = first_tensor(output)
        passive = self._is_passive(name, module, tensor)
        self.previous = (name, tensor, -1 if tensor is None else tensor._version, passive)
        self._see_classifier(name, module, first_tensor(given), tensor)
        if is_spatial(module):
            self.space.see(tensor)
        self.tokens |= tensor is not None and tensor.ndim == 3 and tensor.shape[1] > 1
        layout = layout_of(tensor, self.space)
        if tensor is None or not isinstance(layout, Layout):
            return
        grid = layout.view(tensor)
        shape = (grid.shape[1], grid.shape[2], grid.shape[3])
        self.facts[name] = LayerFacts(name, type(module).__name__, shape, passive)
        if not passive and shape[1] * shape[2] > 1:
            self.tail = []
            mean = grid.float().mean((2, 3))
            self.grids[name] = PooledGrid(name, mean, grid.float().relu().mean((2, 3)))

    def _is_passive(self, name: str, module: nn.Module, tensor: Tensor | None) -> bool:
        """Whether the layer only passes on: by its class, or as the container of a child that does."""
        if any(word in type(module).__name__ for word in _PASSIVE):
            return True
        inner, before, version, passive = self.previous
        if not passive or tensor is None or not inner.startswith(f"{name}."):
            return False
        return tensor is before and tensor._version == version  # else it was changed in place

    def _see_classifier(
        self, name: str, module: nn.Module, given: Tensor | None, returned: Tensor | None
    ) -> None:
        pointwise = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
        if not (pointwise or isinstance(module, nn.Linear)) or given is None or returned is None:
            return
        if given[0].numel() == given.shape[1] and returned[0].numel() == returned.shape[1]:
            vectors = given.flatten(1).float(), returned.flatten(1).float()
            self.classifiers[name] = Classifier(name, module, *vectors)
            self.tail.append(name)

    def once(self, name: str) -> bool:
        return self.ran[name] == 1


def survey(module: nn.Module, inputs: Any, *, read: Callable[[Any], Tensor]) -> Survey:
    """Run `inputs` through a copy of `module` once and note every layer's output.

    `inputs` is a tensor (B, C, H, W), or a tuple or dict of arguments; two images are enough. `read` takes the logits
    (B, N) out of the network's output. Cost: one forward pass without gradients.
    """
    twin = shadow(module)
    notes = _Notes(space_of(inputs, prefix_tokens(twin)))
    for name, part in twin.named_modules():
        if name:
            part.register_forward_hook(_noting(notes, name))
    with torch.inference_mode(mode=False), torch.no_grad():
        logits = read(call(twin, inputs))
    head, no_head = find_head(
        logits,
        [notes.classifiers[name] for name in notes.tail if notes.once(name)],
        [g for g in notes.grids.values() if notes.once(g.name)],
    )
    layers = tuple(f for f in notes.facts.values() if f is not None and notes.once(f.name))
    recommended = head.layer if head is not None and head.weight is not None else None
    if recommended is None:
        wanted = _last_first(layers, head)
        recommended = next(iter(wanted), None)
        if notes.tokens:
            recommended = last_reached(module, inputs, wanted[::-1], notes.space, read=read)
    return Survey(layers, head, no_head, recommended, logits, frozenset(notes.ran))


def _noting(notes: _Notes, name: str) -> Callable[[nn.Module, Any, Any], None]:
    return lambda module, given, output: notes.see(name, module, given, output)


def _last_first(layers: tuple[LayerFacts, ...], head: Head | None) -> list[str]:
    """The layers that may be recommended, the last first: no pooled copies, no class scores, more than one cell."""
    class_scores = set(head.layers) if head is not None else set()
    classes = {f.shape for f in layers if f.name in class_scores}
    return [
        f.name
        for f in reversed(layers)
        if not f.passive and f.shape not in classes and f.shape[1] * f.shape[2] > 1
    ]
