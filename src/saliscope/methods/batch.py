"""Many maps of one batch from one capture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from saliscope.engine import (
    BatchTarget,
    Budget,
    Capture,
    Head,
    Network,
    OwnClasses,
    Survey,
    TargetFunction,
    TargetSpace,
    TopClasses,
    class_indices,
    picture,
    with_picture,
)
from saliscope.errors import MethodError
from saliscope.methods.base import Asking, Captured, Evidence, Method, Scalar
from saliscope.methods.noise import Moments, noisy_copies
from saliscope.methods.question import Question
from saliscope.methods.spec import MethodSpec, layers_of

__all__ = ["BatchMaps", "check_head", "map_batch"]

_DIFFERENTIATED = ("pixels", "gradients", "curvature")


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
    budget: Budget | None = None,
) -> BatchMaps:
    """Make the maps of every method and target for one batch, from a single forward pass where they need no more.

    Layers in `specs` are names of modules (None only where a method has no layer). One backward pass serves all layers
    and methods of a target; a method with a scalar of its own takes one more, and a pooling + linear head asked for its
    last feature map needs none. Methods that are smoothed with the same noise share its passes; those that ask the
    network again do so within `budget` (None: the usual one). `target` as in `attribute`.
    """
    function = target if callable(target) else None
    _check_heads(network, specs, function, space)
    budget = budget or Budget()
    groups = _by_noise(specs)
    plain = groups.pop(None, [])
    with torch.inference_mode(mode=False), torch.enable_grad():
        clean = [specs[i] for i in plain]
        capture = _captured(network, inputs, clean, of_logits=function is None)
        targets, classes, several = _targets(target, space, capture)
        values = [t.scores(capture.output, capture.logits) for t in targets]
        found: dict[int, Tensor] = {}
        once = _Pass(network, inputs, clean, targets, budget, capture=capture)
        found.update(zip(plain, once.maps(values), strict=True))
        for places in groups.values():
            smoothed = _smoothed(network, inputs, [specs[i] for i in places], targets, budget)
            found.update(zip(places, smoothed, strict=True))
    scores = torch.stack([v.detach().float() for v in values], 1)
    maps = tuple(found[i] for i in range(len(specs)))
    return BatchMaps(maps, classes, scores, capture.logits.detach().float(), several)


def _by_noise(specs: Sequence[MethodSpec]) -> dict[tuple[int, float, int] | None, list[int]]:
    """The places of the methods that look at the same noisy copies; None for the image as it is."""
    groups: dict[tuple[int, float, int] | None, list[int]] = {}
    for i, spec in enumerate(specs):
        m = spec.method
        groups.setdefault((m.smooth, m.noise, m.seed) if m.smooth else None, []).append(i)
    return groups


def _captured(
    network: Network, inputs: Any, specs: Sequence[MethodSpec], *, of_logits: bool
) -> Capture:
    return network.capture(
        inputs,
        layers_of(specs),
        gradients=any(s.method.reads in _DIFFERENTIATED for s in specs),
        of_logits=of_logits,
        curvature=any(s.method.reads == "curvature" for s in specs),
    )


def _targets(
    target: Any, space: TargetSpace, capture: Capture
) -> tuple[list[BatchTarget], Tensor | None, bool]:
    """The targets of each image, their classes (B, K), and whether K was asked for."""
    if callable(target):
        return [BatchTarget(None, space, target)], None, False
    classes, several = class_indices(target, capture.logits.detach())
    return [BatchTarget(c, space) for c in classes.T], classes, several


def _smoothed(
    network: Network,
    inputs: Any,
    specs: Sequence[MethodSpec],
    targets: Sequence[BatchTarget],
    budget: Budget,
) -> list[Tensor]:
    """For each method the map made of those of noisy copies, (B, K, h, w); several copies go in one batch."""
    first, images = specs[0].method, _images(inputs)
    batch = len(images)
    alone = any(isinstance(s.method, Asking) for s in specs)
    together = 1 if alone or not all(t.row_by_row for t in targets) else max(1, 16 // batch)
    copies = noisy_copies(images, first.smooth, level=first.noise, seed=first.seed)
    moments = [Moments() for _ in specs]
    while chunk := list(islice(copies, together)):
        rows = torch.arange(batch).repeat(len(chunk)) if len(chunk) > 1 else None
        noisy = with_picture(inputs, torch.cat(chunk), rows)
        made = _Pass(network, noisy, specs, targets, budget, rows=rows).maps()
        for found, maps in zip(moments, made, strict=True):
            for one in maps.unflatten(0, (-1, batch)):
                found.add(one)
    return [s.method.average(m) for s, m in zip(specs, moments, strict=True)]


class _Pass:
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
        self.capture = capture or _captured(network, inputs, specs, of_logits=of_logits)
        seen = any(s.method.reads in ("inputs", "network") for s in specs)
        self.images = _images(inputs) if seen else torch.empty(0)

    def maps(self, values: Sequence[Tensor] | None = None) -> list[Tensor]:
        """For each method the maps of all targets (B, K, h, w); `values` are the targets' scores where known."""
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
        return Question(*parts, self.targets, self.budget)


class _Maps:
    """The maps of one capture, target by target."""

    def __init__(self, one: _Pass, specs: Sequence[MethodSpec]) -> None:
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
        assert isinstance(method, Captured)
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
        assert isinstance(spec.method, Captured)
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
