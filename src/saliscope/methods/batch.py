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
from saliscope.methods.base import Evidence, Method
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
) -> BatchMaps:
    """Make the maps of every method and target for one batch from a single forward pass.

    Layers in `specs` are names of modules (None only where a method has no layer). One backward pass serves all layers
    of a target; a pooling + linear head asked for its last feature map needs none. `target` as in `attribute`.
    """
    layers = list(dict.fromkeys(s.layer for s in specs if s.layer is not None))
    backward = any(s.method.reads == "gradients" for s in specs)
    function = target if callable(target) else None
    _check_heads(network, specs, function, space)
    with torch.inference_mode(mode=False), torch.enable_grad():
        capture = network.capture(inputs, layers, gradients=backward, of_logits=function is None)
        if callable(target):
            scalars = [function_scores(target, capture.output, len(capture.logits))]
            classes, several = None, False
        else:
            classes, several = class_indices(target, capture.logits.detach())
            scalars = [class_scores(capture.logits, c, space=space) for c in classes.T]
        columns = []
        for k, scores in enumerate(scalars):
            last = k == len(scalars) - 1
            chosen = None if classes is None else classes[:, k]
            with torch.autocast(scores.device.type, enabled=False):  # maps are float32 throughout
                gradients = capture.gradients(scores, last=last) if backward else {}
                columns.append(
                    [_one_map(s, capture, inputs, gradients, network.head, chosen) for s in specs]
                )
    signed = tuple(torch.stack(maps, 1) for maps in zip(*columns, strict=True))
    values = torch.stack([s.detach().float() for s in scalars], 1)
    return BatchMaps(signed, classes, values, capture.logits.detach().float(), several)


def _one_map(
    spec: MethodSpec,
    capture: Capture,
    inputs: Any,
    gradients: dict[str, Tensor],
    head: Head | None,
    classes: Tensor | None,
) -> Tensor:
    method = spec.method
    images = _images(inputs) if method.reads == "inputs" else torch.empty(0)
    if spec.layer is None:
        return method.signed_map(Evidence(images))
    activation = capture.activations[spec.layer]
    with torch.no_grad():
        if method.reads == "head" and head is not None and classes is not None:
            features = head.features(activation)
            weights = head.class_weights(classes, features.shape[1])
            return method.signed_map(Evidence(images, features, None, weights))
        return method.signed_map(Evidence(images, activation, gradients.get(spec.layer)))


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
            if function is not None or space != "logit":
                what = "a function" if function is not None else f"a {space}"
                raise MethodError(
                    f"{spec.method.title} reads the weights of a class, so it explains a class logit, not {what}; "
                    "use grad-cam"
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
