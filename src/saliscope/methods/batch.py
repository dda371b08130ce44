"""Many maps of one batch from one capture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saliscope.engine import (
    Capture,
    Head,
    Network,
    OwnClasses,
    Survey,
    TargetFunction,
    TargetSpace,
    TopClasses,
    class_indices,
    class_scores,
    function_scores,
    picture,
)
from saliscope.errors import MethodError
from saliscope.methods.base import Evidence, Method, Scalar
from saliscope.methods.spec import MethodSpec, layers_of

__all__ = ["BatchMaps", "check_head", "map_batch"]

_DIFFERENTIATED = ("gradients", "curvature")


@dataclass(frozen=True, eq=False)
class BatchMaps:
    """The maps of one batch.

    `signed[i]` holds, for the i-th method asked for, the maps (B, K, h, w), float32, before the method's own ReLU.
    `classes` (B, K) are the class indices explained, None for a target function; `scores` (B, K) the explained
    scalars; `logits` (B, N) float32. `several` says whether K was asked for (one target an image otherwise).
    """

    signed: tuple[Tensor, ...]
    classes: Tensor | None
    scores: Tensor
    logits: Tensor
    several: bool


def map_batch(
    network: Network,
    inputs: Any,
    specs: Sequence[MethodSpec],
    *,
    target: int | Sequence[int] | Tensor | TopClasses | OwnClasses | TargetFunction | None = None,
    space: TargetSpace = "logit",
) -> BatchMaps:
    """Make the maps of every method and target for one batch from a single forward pass.

    Layers in `specs` are names of modules (None only where a method has no layer). One backward pass serves all layers
    and methods of a target; a method with a scalar of its own takes one more, and a pooling + linear head asked for its
    last feature map needs none. `target` as in `attribute`.
    """
    layers = layers_of(specs)
    function = target if callable(target) else None
    _check_heads(network, specs, function, space)
    with torch.inference_mode(mode=False), torch.enable_grad():
        capture = network.capture(
            inputs,
            layers,
            gradients=any(s.method.reads in _DIFFERENTIATED for s in specs),
            of_logits=function is None,
            curvature=any(s.method.reads == "curvature" for s in specs),
        )
        if callable(target):
            scalars = [function_scores(target, capture.output, len(capture.logits))]
            classes, several = None, False
        else:
            classes, several = class_indices(target, capture.logits.detach())
            scalars = [class_scores(capture.logits, c, space=space) for c in classes.T]
        found = _Maps(capture, inputs, network.head, specs)
        for k, scores in enumerate(scalars):
            chosen = None if classes is None else classes[:, k]
            with torch.autocast(scores.device.type, enabled=False):  # maps are float32 throughout
                found.explain(scores, chosen, last=k == len(scalars) - 1)
    values = torch.stack([s.detach().float() for s in scalars], 1)
    return BatchMaps(found.stacked(), classes, values, capture.logits.detach().float(), several)


class _Maps:
    """The maps of one capture, target by target."""

    def __init__(
        self, capture: Capture, inputs: Any, head: Head | None, specs: Sequence[MethodSpec]
    ) -> None:
        self.capture, self.head, self.specs = capture, head, specs
        seen = any(s.method.reads == "inputs" for s in specs)
        self.images = _images(inputs) if seen else torch.empty(0)
        self.maps: list[list[Tensor]] = [[] for _ in specs]
        # What no target changes is computed once.
        self.seen = Evidence(self.images)
        self.common = {n: Evidence(self.images, a) for n, a in capture.activations.items()}

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
        """For each method the maps of all targets, (B, K, h, w)."""
        return tuple(torch.stack(maps, 1) for maps in self.maps)

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
            n: Evidence(self.images, self.common[n].activation, g, None, curvature.get(n))
            for n, g in gradients.items()
        }

    def _map(
        self, spec: MethodSpec, evidence: dict[str, Evidence], classes: Tensor | None
    ) -> Tensor:
        method = spec.method
        with torch.no_grad():
            if not spec.layers:
                return self.seen.made_by(method)
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
        groups.setdefault(spec.method.scalar(), []).append(i)
    return groups


def _head_evidence(head: Head, evidence: Evidence, classes: Tensor) -> Evidence:
    assert evidence.activation is not None
    features = head.features(evidence.activation)
    weights = head.class_weights(classes, features.shape[1])
    return Evidence(evidence.inputs, features, None, weights)


def _images(inputs: Any) -> Tensor:
    found = picture(inputs)
    if found is None:
        raise MethodError(
            "this method looks at the picture itself; the inputs hold no (B, C, H, W) tensor"
        )
    return found.detach().float()


def _check_heads(
    network: Network,
    specs: Sequence[MethodSpec],
    function: Callable[[Any], Tensor] | None,
    space: TargetSpace,
) -> None:
    for spec in specs:
        if spec.method.reads == "head":
            check_head(network, spec.method, spec.layer)
        why = spec.method.logits_only
        if why and (function is not None or space != "logit"):
            what = "a function" if function is not None else f"a {space}"
            raise MethodError(
                f"{spec.method.title} {why}, so it explains a class logit, not {what}; use grad-cam"
            )


def check_head(facts: Network | Survey, method: Method, layer: str | None) -> None:
    """Raise `MethodError` where a network has no pooling + linear head, or the layer is not the one pooled."""
    head = facts.head
    if head is None:
        raise MethodError(
            f"{method.title} needs a network that ends in global average pooling and one linear layer; "
            f"{facts.no_head}. Use grad-cam, which works at any layer"
        )
    if layer is not None and layer not in head.layers:
        raise MethodError(
            f'{method.title} can be read only where the network pools, at "{head.layer}"; got "{layer}". '
            f"Use grad-cam@{layer}"
        )
