"""One forward pass, recorded at several layers; gradients to all of them on demand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from saliscope.engine.grid import Layout, as_grid, first_tensor, with_first_tensor
from saliscope.engine.heads import Head
from saliscope.engine.space import Shape, Space
from saliscope.engine.tally import count_passes
from saliscope.errors import LayerError

__all__ = ["PIXELS", "Capture", "Recorder", "closed_form", "recorded"]

PIXELS = "(pixels)"
"""The picture among the inputs, where the name of a layer is asked for; no module can be called so."""


@dataclass(eq=False)
class Recorder:
    """Collects what the wanted layers return during one forward pass of one thread.

    The tensor kept is the layer's output as the layer returned it. Behind the layers in `copied` the network goes on with
    a copy, so an in-place operation changes the copy only; `changed` names the others that one has changed. Of the layers
    in `leaves`, an output that nothing before it made differentiable is detached and becomes a leaf, so that the graph
    starts at the earliest of them on each branch. The others are looked at, and the network goes on as if they were not.
    """

    wanted: frozenset[str]
    leaves: frozenset[str]
    copied: frozenset[str]
    space: Space
    kept: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    def __call__(self, name: str, output: Any) -> Any:
        if name in self.kept:
            raise LayerError(
                f'layer "{name}" runs more than once in one pass, so its map would be ambiguous; choose a layer around '
                "it that `saliscope layers` lists"
            )
        tensor = first_tensor(output)
        if tensor is None or not tensor.is_floating_point():
            self.kept[name] = output
            return output
        if name not in self.leaves:
            self.kept[name] = with_first_tensor(output, tensor.detach())
            if name in self.copied:
                return with_first_tensor(output, tensor.clone())
            self.versions[name] = tensor._version
            return output
        torch.set_grad_enabled(True)  # the network may run this part under no_grad
        try:
            keep = tensor if tensor.requires_grad else tensor.detach()
            keep.requires_grad_(True)
        except RuntimeError as err:
            raise LayerError(f'no gradient can reach layer "{name}": {err}') from err
        self.kept[name] = with_first_tensor(output, keep)
        if name in self.copied:
            return with_first_tensor(output, keep.clone())
        self.versions[name] = keep._version
        return self.kept[name]

    def changed(self) -> set[str]:
        """Layers whose output was changed in place after they returned it, by the counters torch keeps of that."""
        tensors = {name: first_tensor(self.kept[name]) for name in self.versions}
        return {n for n, t in tensors.items() if t is not None and t._version != self.versions[n]}


class _Differentiate(Protocol):
    """Gradients at some layers and, where `curved`, Hessians applied to activations."""

    def __call__(
        self, scores: Tensor, names: Sequence[str], *, last: bool, curved: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]: ...


@dataclass(frozen=True, eq=False)
class Capture:
    """Activations and logits of one batch at several layers, from one forward pass.

    `activations` maps each layer to its output, (B, C, h, w), on the network's device and in its precision; `grids` says
    what (h, w) stands for: the same, (l,) for the layers of a signal, (d, h, w) for those of a volume. `space` is what the pass showed of the grids. `output` is
    what the network returned and `logits` the (B, N) read from it. `inputs` is the batch it was given. `gradients` and
    `curvature` differentiate any scalars made from `output` or `logits`, as often as wanted.
    """

    inputs: Any
    output: Any
    logits: Tensor
    activations: dict[str, Tensor]
    grids: dict[str, Shape]
    space: Space
    _differentiate: _Differentiate

    def gradients(
        self, scores: Tensor, *, layers: Iterable[str] | None = None, last: bool = False
    ) -> dict[str, Tensor]:
        """Differentiate one scalar per image, (B,), by `layers` (None: all): (B, C, h, w) each, in one backward pass.

        `last` frees the graph. Raises `LayerError` where no gradient arrives: the scalar does not depend on the layer,
        or the network cuts the graph between them.
        """
        names = list(self.activations if layers is None else layers)
        return self._differentiate(scores, names, last=last, curved=False)[0]

    def curvature(
        self, scores: Tensor, *, layers: Iterable[str] | None = None, last: bool = False
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The gradients, and for each layer the Hessian of the scalar applied to the layer's own activation, (B, C, h, w).

        Costs the backward pass, once more in reverse for each layer. Needs a capture made with `curvature=True`. Zeros
        where the network is linear in pieces behind the layer.
        """
        names = list(self.activations if layers is None else layers)
        return self._differentiate(scores, names, last=last, curved=True)


def recorded(
    recorder: Recorder, inputs: Any, output: Any, logits: Tensor, layers: Iterable[str]
) -> Capture:
    """A capture whose gradients come from autograd."""
    kept: dict[str, Tensor] = {}
    layouts: dict[str, Layout] = {}
    for name in layers:
        if name not in recorder.kept:
            raise LayerError(
                f'layer "{name}" never ran in this pass; choose one that `saliscope layers` lists'
            )
        kept[name], layouts[name] = _viewed(recorder, name)
    leaves = {n: leaf for n in kept if (leaf := first_tensor(recorder.kept[n])) is not None}

    def differentiate(
        scores: Tensor, names: Sequence[str], *, last: bool, curved: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        count_passes(backward=len(scores))
        wanted = [leaves[n] for n in names]
        with torch.inference_mode(mode=False):
            found: Sequence[Tensor | None] = [None] * len(wanted)
            if scores.requires_grad:
                found = torch.autograd.grad(
                    scores.sum(),
                    wanted,
                    retain_graph=curved or not last,
                    create_graph=curved,
                    allow_unused=True,
                )
            arrived = [_arrived(g, n) for g, n in zip(found, names, strict=True)]
            bent = _bent(arrived, wanted, last=last) if curved else []
        return _grids(names, arrived, layouts), _grids(names, bent, layouts)

    activations = {name: grid.detach() for name, grid in kept.items()}
    return Capture(
        inputs, output, logits, activations, _shapes(layouts), recorder.space, differentiate
    )


def _viewed(recorder: Recorder, name: str) -> tuple[Tensor, Layout]:
    """What a layer returned, as a grid; the picture itself is one whatever else has its shape."""
    size = recorder.space.size
    if name != PIXELS or size is None:
        return as_grid(recorder.kept[name], recorder.space, layer=name)
    layout = Layout(size, "first")
    return layout.view(recorder.kept[name]), layout


def _arrived(gradient: Tensor | None, layer: str) -> Tensor:
    if gradient is None:
        raise LayerError(
            f'no gradient arrives at layer "{layer}": the target does not depend on it, or the network cuts '
            "the graph (no_grad, detach) between them"
        )
    return gradient


def _bent(gradients: Sequence[Tensor], leaves: Sequence[Tensor], *, last: bool) -> list[Tensor]:
    """The Hessian at each leaf applied to the leaf itself: the gradient, which has a graph, differentiated once more."""
    found = []
    for i, (gradient, leaf) in enumerate(zip(gradients, leaves, strict=True)):
        bent: tuple[Tensor | None, ...] = (None,)
        if gradient.requires_grad:
            keep = not last or i + 1 < len(leaves)
            bent = torch.autograd.grad(
                gradient, leaf, leaf.detach(), retain_graph=keep, allow_unused=True
            )
            count_passes(backward=len(leaf))
        found.append(torch.zeros_like(leaf) if bent[0] is None else bent[0])
    return found


def _grids(
    names: Sequence[str], tensors: Sequence[Tensor], layouts: dict[str, Layout]
) -> dict[str, Tensor]:
    return {n: layouts[n].view(t.detach()) for n, t in zip(names, tensors, strict=False)}


def _shapes(layouts: dict[str, Layout]) -> dict[str, Shape]:
    return {name: layout.shape for name, layout in layouts.items()}


def closed_form(
    recorder: Recorder, inputs: Any, output: Any, logits: Tensor, layers: Iterable[str], head: Head
) -> Capture:
    """A capture at the last feature map of a pooling + linear network: its gradients need no backward pass.

    With logits = W mean(A) + b, the gradient of any function s of the logits is (ds/dlogits W) / Z at each of the Z
    cells, where A is positive if a ReLU stands before the pooling (Selvaraju et al. 2017, section 3.1).
    """
    views = {n: as_grid(recorder.kept[n], recorder.space, layer=n) for n in layers}
    activations = {n: grid for n, (grid, _) in views.items()}
    shapes = _shapes({n: layout for n, (_, layout) in views.items()})
    leaf = logits.detach().requires_grad_(True)

    def differentiate(
        scores: Tensor, names: Sequence[str], *, last: bool, curved: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        assert not curved, "a capture for second derivatives keeps its graph"
        with torch.inference_mode(mode=False):
            (by_logits,) = torch.autograd.grad(scores.sum(), leaf, retain_graph=not last)
        return {name: head.gradient(by_logits, activations[name]) for name in names}, {}

    return Capture(inputs, output, leaf, activations, shapes, recorder.space, differentiate)
