"""One batch of photographs, many methods, layers and targets: from a model to explanations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from saliscope.engine import Budget, OwnClasses, TargetFunction, TargetSpace, TopClasses
from saliscope.errors import MethodError, OptionError, TargetError
from saliscope.explanation import Explanation, Target
from saliscope.frames import Frame
from saliscope.images import Photo
from saliscope.localization import status_of
from saliscope.methods import BatchMaps, MethodSpec, check_head, layers_of, map_batch
from saliscope.models import Model, recommended_layer

__all__ = ["ClassTarget", "explain_batch", "resolve_specs"]

ClassTarget = int | str | Sequence[int | str] | Tensor | OwnClasses | TargetFunction | None
"""What may be explained: None (the predicted class), a class by index or label, one for each image, or a function."""

# Below this share of the logit's gradient only rounding is left.
_SATURATED = 1e-3


@dataclass(frozen=True, eq=False)
class _Facts:
    """What is known of one image besides its maps."""

    model: Model
    photo: Photo
    frame: Frame
    logits: np.ndarray
    seconds: float


def resolve_specs(model: Model, specs: Sequence[MethodSpec]) -> list[MethodSpec]:
    """Fill in the recommended layers and replace aliases by native names (results keep the name that was written).

    Raises `LayerError` for an unknown layer and `MethodError` where CAM meets a network without pooling + linear head, or
    where a method would make one map for each colour.
    """
    return [_resolve(model, spec) for spec in specs]


def _resolve(model: Model, spec: MethodSpec) -> MethodSpec:
    method = spec.method.for_network(model.module)
    if getattr(method, "channels", None) == "keep":
        raise MethodError(
            f"{method.name} with channels=keep makes a map for each colour, and an explanation has one; use channels=sum "
            "or absmax, or sc.attribute"
        )
    if not method.on_layer or (method.else_pixels and spec.layer is None):
        return MethodSpec(method, None)
    named = "+".join(model.layer_name(name) for name in spec.layers) or None
    if method.reads == "head":
        check_head(model.survey, method, named)
        head = model.survey.head
        assert head is not None
        return MethodSpec(method, named or head.layer, spec.layer)
    return MethodSpec(method, named or recommended_layer(model.module, model.survey), spec.layer)


def explain_batch(
    model: Model,
    photos: Sequence[Photo],
    specs: Sequence[MethodSpec],
    *,
    target: ClassTarget = None,
    top: int | None = None,
    space: TargetSpace = "logit",
    inputs: tuple[Tensor, Sequence[Frame]] | None = None,
    budget: Budget | None = None,
) -> list[list[Explanation]]:
    """Explain one batch of photographs from one forward pass.

    `specs` are resolved (see `resolve_specs`). For each photograph the explanations come target by target, and for each
    target in the order of `specs`. `top` explains the `top` best classes of each image instead of `target`. `inputs` is
    what `model.inputs(photos)` returns, where it was called before. `budget` bounds methods that ask the network again.
    """
    if space not in get_args(TargetSpace):
        known = ", ".join(f'"{s}"' for s in get_args(TargetSpace))
        raise OptionError(f'target space "{space}" is unknown; use one of {known}')
    network = model.network(layers_of(specs))  # made before the clock
    start = time.perf_counter()
    batch, frames = model.inputs(photos) if inputs is None else inputs
    maps = map_batch(
        network,
        batch,
        specs,
        target=_target(model, target, top, len(photos)),
        space=space,
        budget=budget,
    )
    signed = [stack.cpu().numpy() for stack in maps.signed]
    finished = [
        spec.method.finish(stack).cpu().numpy()
        for spec, stack in zip(specs, maps.signed, strict=True)
    ]
    logits = maps.logits.cpu().numpy()
    seconds = (time.perf_counter() - start) / len(photos)
    results = []
    for i, (photo, frame) in enumerate(zip(photos, frames, strict=True)):
        facts = _Facts(model, photo, frame, logits[i], seconds)
        results.append(
            [
                _explanation(
                    facts,
                    spec,
                    finished[j][i, k],
                    signed[j][i, k],
                    _explained(maps, facts, i, k, target, space),
                )
                for k in range(maps.scores.shape[1])
                for j, spec in enumerate(specs)
            ]
        )
    return results


def _explanation(
    facts: _Facts, spec: MethodSpec, grid: np.ndarray, signed: np.ndarray, target: Target
) -> Explanation:
    passed_on = _share_passed_on(target)
    saturated = passed_on < _SATURATED and spec.method.class_discriminative
    return Explanation(
        map=np.array(grid, np.float32),
        frame=facts.frame,
        target=target,
        status=status_of(signed, saturated=saturated),
        method=str(spec.method),
        layer=spec.written or spec.layer,
        model=facts.model.title,
        photo=facts.photo,
        predicted=_class(facts, int(facts.logits.argmax()), "logit"),
        seconds=facts.seconds,
    )


def _share_passed_on(target: Target) -> float:
    """How much of the logit's gradient the explained scalar passes on: p(1 - p) for a probability, 1 - p for its log."""
    p = target.probability
    if target.space == "log-probability":
        return 1 - p
    return p * (1 - p) if target.space == "probability" else 1.0


def _explained(
    maps: BatchMaps, facts: _Facts, image: int, k: int, target: ClassTarget, space: TargetSpace
) -> Target:
    if maps.classes is None:
        name = getattr(target, "name", None)
        return Target(None, name, "callable", float(maps.scores[image, k]))
    return _class(facts, int(maps.classes[image, k]), space)


def _class(facts: _Facts, index: int, space: TargetSpace) -> Target:
    logits = facts.logits.astype(np.float64)
    share = np.exp(logits - logits.max())
    probability = float(share[index] / share.sum())
    rank = int((logits > logits[index]).sum())
    return Target(index, facts.model.label(index), space, float(logits[index]), probability, rank)


def _target(model: Model, target: ClassTarget, top: int | None, batch: int) -> Any:
    if top is not None:
        if target is not None:
            raise TargetError("give either a target or the number of top classes, not both")
        return TopClasses(top)
    if isinstance(target, str):
        return model.class_index(target)
    if isinstance(target, list | tuple):
        if len(target) != batch:
            raise TargetError(
                f"{len(target)} targets for {batch} images; give one for each, or a single one for all"
            )
        return torch.tensor([model.class_index(t) for t in target])
    return target
