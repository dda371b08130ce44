"""One forward pass of a batch, and the maps of every method that shares it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from saliscope.engine import BatchTarget, Budget, Capture, Head, Network, Question, picture, signal
from saliscope.errors import MethodError
from saliscope.methods.base import Asking, Captured, Evidence, Scalar
from saliscope.methods.spec import MethodSpec, layers_of

__all__ = ["Pass", "captured", "images_of", "signal_of"]

_DIFFERENTIATED = ("pixels", "gradients", "curvature")


def captured(
    network: Network, inputs: Any, specs: Sequence[MethodSpec], *, of_logits: bool
) -> Capture:
    return network.capture(
        inputs,
        layers_of(specs),
        gradients=layers_of(s for s in specs if s.method.reads in _DIFFERENTIATED),
        of_logits=of_logits,
        curvature=any(s.method.reads == "curvature" for s in specs),
    )


class Pass:
    """The maps of all methods that look at the same inputs: those of one capture, and those that ask again.

    `rows` says of which images of the batch that the targets belong to the inputs are variants.
    """

    def __init__(
        self,
        network: Network,
        inputs: Any,
        specs: Sequence[MethodSpec],
        targets: Sequence[BatchTarget],
        budget: Budget,
        *,
        rows: Tensor | None = None,
        capture: Capture | None = None,
    ) -> None:
        self.network, self.inputs, self.specs, self.targets = network, inputs, specs, targets
        self.budget, self.rows = budget, rows
        of_logits = all(t.function is None for t in targets)
        self.capture = capture or captured(network, inputs, specs, of_logits=of_logits)
        seen = any(s.method.reads in ("inputs", "network") for s in specs)
        found = picture(inputs)
        self.images = images_of(inputs) if seen or found is not None else torch.empty(0)

    def maps(self, values: Sequence[Tensor] | None = None) -> list[Tensor]:
        """For each method the maps of all targets (B, K, h, w); `values` are the targets' scores where known.

        Where the inputs are signals or volumes, (B, K, l) or (B, K, d, h, w).
        """
        made: dict[int, Tensor] = {}
        captured = [i for i, s in enumerate(self.specs) if isinstance(s.method, Captured)]
        if captured:
            capture, rows = self.capture, self.rows
            scores = values or [
                t.scores(capture.output, capture.logits, rows) for t in self.targets
            ]
            found = _Maps(self, [self.specs[i] for i in captured])
            for k, (target, score) in enumerate(zip(self.targets, scores, strict=True)):
                classes = target.classes
                chosen = (
                    classes if classes is None or rows is None else classes[rows.to(classes.device)]
                )
                with torch.autocast(
                    score.device.type, enabled=False
                ):  # maps are float32 throughout
                    found.explain(score, chosen, last=k == len(scores) - 1)
            made.update(zip(captured, found.stacked(), strict=True))
        for i, spec in enumerate(self.specs):
            if isinstance(spec.method, Asking):
                made[i] = spec.method.ask(self._question(spec)).detach().float()
        return [made[i] for i in range(len(self.specs))]

    def _question(self, spec: MethodSpec) -> Question:
        known = {n: self.capture.activations[n] for n in spec.layers}
        parts = (self.network, self.inputs, self.images, spec.layers, known)
        return Question(*parts, self.targets, self.budget, str(spec), self.capture)


class _Maps:
    """The maps of one capture, target by target."""

    def __init__(self, one: Pass, specs: Sequence[MethodSpec]) -> None:
        self.capture, self.head, self.specs = one.capture, one.network.head, specs
        self.images = one.images
        self.maps: list[list[Tensor]] = [[] for _ in specs]
        # What no target changes is computed once.
        self.seen = Evidence(self.images)
        self.common = {n: Evidence(self.images, a) for n, a in self.capture.activations.items()}

    def explain(self, scores: Tensor, classes: Tensor | None, *, last: bool) -> None:
        """Add the maps of one target of each image; `last` frees the graph."""
        groups = _by_scalar(self.specs)
        for i, (scalar, group) in enumerate(groups.items()):
            own = scores
            if scalar is not None and classes is not None:
                own = scalar(self.capture.logits, classes)
            evidence = self._differentiated(own, group, last=last and i == len(groups) - 1)
            for place in group:
                self.maps[place].append(self._map(self.specs[place], evidence, classes))

    def stacked(self) -> tuple[Tensor, ...]:
        """For each method the maps of all targets, (B, K, h, w), or over the grid of a signal or volume."""
        return tuple(
            _unfolded(torch.stack(maps, 1), spec, self.capture)
            for maps, spec in zip(self.maps, self.specs, strict=True)
        )

    def _differentiated(
        self, scores: Tensor, group: Sequence[int], *, last: bool
    ) -> dict[str, Evidence]:
        """The evidence at each layer that some method of the group wants gradients of."""
        chosen = [self.specs[i] for i in group if self.specs[i].method.reads in _DIFFERENTIATED]
        bent = layers_of(s for s in chosen if s.method.reads == "curvature")
        plain = [n for n in layers_of(chosen) if n not in bent]
        gradients: dict[str, Tensor] = {}
        curvature: dict[str, Tensor] = {}
        if plain:
            gradients = self.capture.gradients(scores, layers=plain, last=last and not bent)
        if bent:
            more, curvature = self.capture.curvature(scores, layers=bent, last=last)
            gradients |= more
        return {
            n: replace(self.common[n], gradient=g, curvature=curvature.get(n), seen=self.common[n])
            for n, g in gradients.items()
        }

    def _map(
        self, spec: MethodSpec, evidence: dict[str, Evidence], classes: Tensor | None
    ) -> Tensor:
        method = spec.method
        assert isinstance(method, Captured)
        with torch.no_grad():
            if not spec.layers:
                return self.seen.made_by(method)
            _check_volumes(spec, self.capture)
            maps = []
            for name in spec.layers:
                own = method.reads in _DIFFERENTIATED
                known = evidence[name] if own else self.common[name]
                if method.reads == "head" and self.head is not None and classes is not None:
                    known = _head_evidence(self.head, known, classes)
                maps.append(known.made_by(method))
            return maps[0] if len(maps) == 1 else method.fuse(maps)


def _by_scalar(specs: Sequence[MethodSpec]) -> dict[Scalar | None, list[int]]:
    """The places of the methods that share a scalar; those that differentiate nothing go with the target's own."""
    groups: dict[Scalar | None, list[int]] = {}
    for i, spec in enumerate(specs):
        assert isinstance(spec.method, Captured)
        groups.setdefault(spec.method.scalar(), []).append(i)
    return groups


def _head_evidence(head: Head, evidence: Evidence, classes: Tensor) -> Evidence:
    assert evidence.activation is not None
    features = head.features(evidence.activation)
    weights = head.class_weights(classes, features.shape[1])
    return Evidence(evidence.inputs, features, None, weights)


def _unfolded(maps: Tensor, spec: MethodSpec, capture: Capture) -> Tensor:
    """Maps (..., h, w) over the axes that a signal (..., l) or a volume (..., d, h, w) has."""
    grids = {capture.grids[name] for name in spec.layers}
    dims = {len(grid) for grid in grids}
    if not dims or dims == {2}:
        return maps
    return maps.flatten(-2) if dims == {1} else maps.reshape(*maps.shape[:-2], *grids.pop())


def _check_volumes(spec: MethodSpec, capture: Capture) -> None:
    """Refuse to bring the maps of a volume's layers to one grid: depth would be taken for height."""
    grids = {capture.grids[name] for name in spec.layers}
    if len(grids) > 1 and max(map(len, grids)) > 2:
        found = " and ".join(str(capture.grids[name]) for name in spec.layers)
        raise MethodError(
            f"the layers {' and '.join(spec.layers)} return volumes of {found} cells, and maps of volumes are brought "
            "together only on one grid; ask for each layer alone"
        )


def signal_of(inputs: Any) -> Tensor:
    """The picture, volume or signal among the inputs, in float32."""
    found = signal(inputs)
    if found is None:
        raise MethodError(
            "noisy copies are made of the picture; the inputs hold no (B, C, H, W) tensor, signal or volume"
        )
    return found.detach().float()


def images_of(inputs: Any) -> Tensor:
    found = picture(inputs)
    if found is None:
        raise MethodError(
            "this method looks at the picture itself; the inputs hold no (B, C, H, W) tensor. The methods of one capture, "
            "and the gradient at the input, take signals and volumes too"
        )
    return found.detach().float()
