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
    Footprint,
    Living,
    Network,
    OwnClasses,
    Room,
    Survey,
    TargetFunction,
    TargetSpace,
    TopClasses,
    class_indices,
    with_picture,
)
from saliscope.errors import MethodError, TargetError
from saliscope.methods.base import Asking, Method
from saliscope.methods.noise import Moments, noisy_copies
from saliscope.methods.passes import Pass, captured, signal_of
from saliscope.methods.spec import MethodSpec

__all__ = ["BatchMaps", "check_head", "map_batch"]


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
        capture = captured(network, inputs, clean, of_logits=function is None)
        targets, classes, several = _targets(target, space, capture)
        values = [t.scores(capture.output, capture.logits) for t in targets]
        found: dict[int, Tensor] = {}
        once = Pass(network, inputs, clean, targets, budget, capture=capture)
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


def _targets(
    target: Any, space: TargetSpace, capture: Capture
) -> tuple[list[BatchTarget], Tensor | None, bool]:
    """The targets of each image, their classes (B, K), and whether K was asked for."""
    if callable(target):
        if space != "logit":
            raise TargetError(
                f"a target function decides itself what is explained, so target_space={space!r} says nothing; leave it out"
            )
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
    first, images = specs[0].method, signal_of(inputs)
    batch = len(images)
    copies = noisy_copies(images, first.smooth, level=first.noise, seed=first.seed)
    moments = [Moments() for _ in specs]

    def take_in(chunk: Sequence[Tensor]) -> None:
        rows = torch.arange(batch).repeat(len(chunk)) if len(chunk) > 1 else None
        noisy = with_picture(inputs, torch.cat(list(chunk)), rows)
        made = Pass(network, noisy, specs, targets, budget, rows=rows).maps()
        for found, maps in zip(moments, made, strict=True):
            for one in maps.reshape(-1, batch, *maps.shape[1:]):
                found.add(one)

    def count() -> Footprint:
        with Living() as living:
            take_in([next(copies)])
        counted = living.footprint(batch)
        return Footprint(counted.each + 2 * images[0].nbytes, counted.fixed)

    room = Room(batch, whole=True)
    asking = any(isinstance(s.method, Asking) for s in specs)  # these fill the memory by themselves
    if not asking and all(t.row_by_row for t in targets):
        key = ("smooth", tuple(map(str, specs)), tuple(images.shape[1:]), len(targets))
        footprint = network.once(key, count)
        room = Room(budget.images(footprint, images.device), whole=True)
    while chunk := list(islice(copies, max(1, room.limit // batch))):

        def job(some: range, _: slice, chunk: list[Tensor] = chunk) -> Tensor:
            take_in(chunk[some.start : some.stop])
            return torch.empty(len(some), batch)  # the maps are in the moments

        room.ask(job, range(len(chunk)), slice(0, batch))
    return [s.method.average(m) for s, m in zip(specs, moments, strict=True)]


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
