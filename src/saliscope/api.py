"""The front doors: explain photographs, compare methods on one, or attribute tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from torch import Tensor, nn

from saliscope.boxes import Box, BoxConvention, best_iou
from saliscope.engine import (
    Network,
    Survey,
    TargetFunction,
    TargetSpace,
    Tell,
    make_budget,
    shadow,
    signal,
    survey,
    unwrap,
    with_picture,
)
from saliscope.errors import MethodError, ModelError, OptionError, TargetError
from saliscope.explainer import ClassTarget, explain_batch, resolve_specs
from saliscope.explanation import Explanation, boxes_of
from saliscope.images import ImageSource, load_image
from saliscope.localization import Protocol, parse_protocol
from saliscope.methods import (
    Method,
    MethodSpec,
    check_head,
    layers_of,
    make_method,
    map_batch,
    parse_method,
)
from saliscope.models import Model, layer_name, load_model, logits_of, recommended_layer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "attribute", "compare", "explain"]

MethodLike = str | Method | MethodSpec
LayerLike = str | nn.Module


@overload
def explain(
    model: Model | str,
    images: ImageSource,
    method: MethodLike = ...,
    *,
    layer: str | None = ...,
    target: ClassTarget = ...,
    target_space: TargetSpace = ...,
    batch_size: int = ...,
    memory: int | str | None = ...,
    progress: Tell | None = ...,
) -> Explanation: ...
@overload
def explain(
    model: Model | str,
    images: list[ImageSource] | tuple[ImageSource, ...],
    method: MethodLike = ...,
    *,
    layer: str | None = ...,
    target: ClassTarget = ...,
    target_space: TargetSpace = ...,
    batch_size: int = ...,
    memory: int | str | None = ...,
    progress: Tell | None = ...,
) -> list[Explanation]: ...
def explain(
    model: Model | str,
    images: ImageSource | list[ImageSource] | tuple[ImageSource, ...],
    method: MethodLike = "grad-cam",
    *,
    layer: str | None = None,
    target: ClassTarget = None,
    target_space: TargetSpace = "logit",
    batch_size: int = 8,
    memory: int | str | None = None,
    progress: Tell | None = None,
) -> Explanation | list[Explanation]:
    """Show what a classifier looked at in one image, or in each of a list.

    `images` is a path, PIL image, RGB array (H, W, 3), tensor, or a list of these: one gives an `Explanation`, a list a
    list. `method` is written `name`, `name@layer` or `name@layer:option=value`; `layer` (native or Keras name) is used
    where it names none, and the last feature map where there is none at all. `target` is a class index or label, a list
    with one for each image, a function of the network's output, or None for the predicted class. `target_space`
    "probability" explains the softmax probability instead of the logit, "log-probability" its logarithm. Other scalars
    (differences of classes, embeddings, masks) are in `saliscope.targets`.

    `memory` (bytes, "500MB", "2GB"; default 1 GiB) bounds what a method that asks the network again and again has in
    flight; it changes no map beyond rounding. `progress(method, done, total)` is told how far such a method is with the
    images of its batch.

    Raises `ImageError`, `LayerError`, `MethodError`, `TargetError`; nothing is changed on the model, also then.
    """
    model = _model(model)
    sources = list(images) if isinstance(images, list | tuple) else [images]
    single = not isinstance(images, list | tuple)
    specs = resolve_specs(model, [_single(method, layer)])
    if batch_size < 1:
        raise OptionError(f"batch_size is at least 1; got {batch_size}")
    if getattr(target, "shape", None) == ():  # a tensor or numpy scalar is a number
        scalar: Any = target
        target = scalar.item()
    _check_targets(target, len(sources))
    results: list[Explanation] = []
    budget = make_budget(memory, progress)
    for start in range(0, len(sources), batch_size):
        photos = [load_image(s) for s in sources[start : start + batch_size]]
        chosen = _slice(target, start, batch_size)
        for found in explain_batch(
            model, photos, specs, target=chosen, space=target_space, budget=budget
        ):
            results += found
    return results[0] if single else results


def _model(given: Model | str) -> Model:
    """A model as it is, or by name; a bare module does not say how a photograph becomes its input."""
    if isinstance(given, nn.Module):
        raise ModelError(
            f"a {type(given).__name__} does not say how a photograph becomes its input: wrap it, "
            "sc.Model(module, size=224, mean=..., std=...); tensors go through sc.attribute(module, inputs)"
        )
    return load_model(given) if isinstance(given, str) else given


def _single(method: MethodLike, layer: str | None) -> MethodSpec:
    """One method with its layer; a layer given twice, or to a method that has none, is a contradiction."""
    if layer is not None and not isinstance(layer, str):
        raise MethodError(
            f"layer is one name; got {layer!r}. Several layers: sc.compare with method@layer, or sc.attribute"
        )
    spec = parse_method(method)
    if layer is not None and spec.layer not in (None, layer):
        raise MethodError(
            f'two layers were given, "{spec.layer}" in "{spec}" and "{layer}"; give one'
        )
    if layer is not None and not spec.method.on_layer:
        raise MethodError(f'{spec.method.name} is not read from a layer; leave out layer="{layer}"')
    return parse_method(spec, layer=layer)


def _check_targets(target: ClassTarget, images: int) -> None:
    """Refuse lists that do not match the images: a batch of another length could happen to fit."""
    shape = (len(target),) if isinstance(target, list | tuple) else getattr(target, "shape", ())
    if callable(target) or not shape:
        return
    if len(shape) > 1 or shape[0] != images:
        raise TargetError(
            f"{shape[0] if len(shape) == 1 else tuple(shape)} targets for {images} images; give one for each, or a "
            "single one for all (`attribute` takes several for each)"
        )


def _slice(target: ClassTarget, start: int, count: int) -> ClassTarget:
    """The targets of one batch; a list is for all images and is cut like them."""
    if not isinstance(target, list | tuple) and not hasattr(target, "shape"):
        return target
    cut: ClassTarget = target[start : start + count]  # type: ignore[index] # what has a shape is an array
    return cut


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several explanations of one photograph, with the annotated boxes to judge them by.

    `explanations` come in the order asked for; `truth` may be empty. Boxes are drawn by `protocol`.
    """

    explanations: tuple[Explanation, ...]
    truth: tuple[Box, ...]
    protocol: Protocol
    convention: BoxConvention = "half-open"

    def rows(self) -> list[dict[str, Any]]:
        """One row a method: what it is, target, status, box (None: no foreground), IoU (NaN: nothing annotated)."""
        rows = []
        for explanation in self.explanations:
            box = explanation.box(self.protocol)
            rows.append(
                {
                    "method": explanation.spec,
                    "target": explanation.target.name,
                    "status": explanation.status,
                    "protocol": str(self.protocol),
                    "box": None if box is None else tuple(box),
                    "iou": best_iou(box, self.truth, convention=self.convention),
                }
            )
        return rows

    def table(self) -> str:
        """The rows as an aligned text table, ready to print."""
        header = ("method", "target", "status", "box", "IoU")
        lines = [header]
        for row in self.rows():
            box = (
                "none"
                if row["box"] is None
                else " ".join(f"{round(v, 1) + 0.0:.1f}" for v in row["box"])
            )
            iou = f"{row['iou']:.3f}" if row["iou"] == row["iou"] else "n/a"
            lines.append((row["method"], row["target"], row["status"], box, iou))
        widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
        text = [
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        text.insert(1, "  ".join("-" * w for w in widths))
        return "\n".join([*text, f"boxes: {self.protocol}, IoU: {self.convention}"])

    def figure(self) -> Figure:
        """The panel: the photograph with all boxes, one picture a method, the IoU table; a matplotlib `Figure`."""
        from saliscope.report import comparison_figure

        return comparison_figure(self.explanations, self.truth, protocol=self.protocol)

    def __repr__(self) -> str:
        return self.table()


def compare(
    model: Model | str,
    image: ImageSource,
    methods: Sequence[MethodLike],
    *,
    truth: Box | Sequence[Box] = (),
    target: ClassTarget = None,
    target_space: TargetSpace = "logit",
    protocol: str | Protocol = "yang2025",
    convention: BoxConvention = "half-open",
    memory: int | str | None = None,
    progress: Tell | None = None,
) -> Comparison:
    """Explain one image by several methods and layers from a single forward pass, and score their boxes.

    `truth` is the annotated box (half-open xyxy in image pixels) or several of the same object class; the best fitting
    one counts. `protocol` names how a heatmap becomes a box. Otherwise as `explain`.
    """
    if isinstance(methods, str | Method | MethodSpec):
        methods = [methods]
    if not methods:
        raise MethodError(
            'there is nothing to compare; name methods, e.g. ["cam", "grad-cam@layer4"]'
        )
    model = _model(model)
    boxes, photo = tuple(boxes_of(truth)), load_image(image)
    _check_truth(boxes, photo.size)
    named = parse_protocol(protocol)
    specs = resolve_specs(model, [parse_method(m) for m in methods])
    budget = make_budget(memory, progress)
    (found,) = explain_batch(
        model, [photo], specs, target=target, space=target_space, budget=budget
    )
    return Comparison(tuple(found), boxes, named, convention)


def _check_truth(boxes: Sequence[Box], size: tuple[int, int]) -> None:
    """Refuse a box that was drawn on another photograph: more than half of it lies outside this one."""
    for box in boxes:
        if box.area and box.clip(size).area < 0.5 * box.area:
            raise OptionError(
                f"the annotated box {tuple(box)} lies mostly outside the photograph of {size[1]} x {size[0]} pixels; "
                "boxes are x0, y0, x1, y1 in its own pixels"
            )


def attribute(
    module: nn.Module | Model,
    inputs: Any,
    target: int | Sequence[int] | Tensor | TargetFunction | None = None,
    *,
    method: MethodLike = "grad-cam",
    layer: LayerLike | Sequence[LayerLike] | None = None,
    target_space: TargetSpace = "logit",
    memory: int | str | None = None,
    progress: Tell | None = None,
    **options: Any,
) -> Tensor | dict[str, Tensor]:
    """Make maps of tensors: the door without images.

    `module` is any `nn.Module` (run in evaluation mode, from a private copy that shares its weights) or a `Model` (then
    its prepared copy). `inputs` is a tensor (B, C, H, W), or a tuple or dict of arguments with one; signals (B, C, L)
    and volumes (B, C, D, H, W) give maps (B, l) and (B, d, h, w). `target` is None (the largest
    logit), an int, B ints or a LongTensor (B,): the maps are float32 (B, h, w), signed unless the method's ReLU is on, on
    the device of the inputs; a LongTensor (B, K): (B, K, h, w); or a function from the network's output to scalars (B,).
    `layer` is a name, a module, None for the recommended one, or a list of them: then a dict by the names given. A name
    like "layer3+layer4" makes one map of both layers. `memory` and `progress` as in `explain`. `options` are the method's own fields (`relu=False`), checked.

    Raises `LayerError`, `MethodError`, `TargetError`, `ModelError`. Nothing is left behind: no hooks, flags, gradients.
    """
    _check_inputs(inputs)
    spec = _with_options(parse_method(method), options)
    listed = isinstance(layer, list | tuple)
    wanted: list[LayerLike | None] = list(layer) if listed else [layer]  # type: ignore[arg-type, list-item] # as said
    own = module.module if isinstance(module, Model) else unwrap(module)
    facts = _survey_if_needed(module, own, inputs, spec, wanted)
    specs = [_resolved(own, facts, spec, given) for given in wanted]
    names = layers_of(specs)
    if isinstance(module, Model):
        network = module.network(names)
    else:
        network = Network(shadow(own), read=logits_of, survey=facts)
    budget = make_budget(memory, progress)
    maps = map_batch(network, inputs, specs, target=target, space=target_space, budget=budget)
    finished = [spec.method.finish(m if maps.several else m[:, 0]) for m in maps.signed]
    if not listed:
        return finished[0]
    return {_key(given, s): m for given, s, m in zip(wanted, specs, finished, strict=True)}


def _check_inputs(inputs: Any) -> None:
    values = inputs.values() if isinstance(inputs, dict) else inputs
    tensors = (
        [inputs]
        if isinstance(inputs, Tensor)
        else list(values)
        if isinstance(inputs, tuple | list | dict)
        else []
    )
    found = [t for t in tensors if isinstance(t, Tensor)]
    if not found or not all(t.ndim and len(t) for t in found[:1]):
        what = f"an empty batch {tuple(found[0].shape)}" if found else f"a {type(inputs).__name__}"
        raise OptionError(
            f"inputs are a tensor with at least one image, or a tuple or dict of arguments with one; got {what}. "
            "Arrays become tensors by torch.from_numpy; photographs go through sc.explain"
        )


def _with_options(spec: MethodSpec, options: dict[str, Any]) -> MethodSpec:
    if not options:
        return spec
    return MethodSpec(make_method(spec.method.name, spec.method.options() | options), spec.layer)


def _survey_if_needed(
    module: nn.Module | Model,
    own: nn.Module,
    inputs: Any,
    spec: MethodSpec,
    wanted: Sequence[LayerLike | None],
) -> Survey | None:
    """Look at the network where a layer or head has to be found; a `Model` has looked already."""
    if isinstance(module, Model):
        return module.survey
    unnamed = spec.layer is None and any(given is None for given in wanted)
    named = spec.method.on_layer and not spec.method.else_pixels
    if spec.method.reads == "head" or (named and unnamed):
        return survey(own, _finite(inputs), read=logits_of)
    return None


def _finite(inputs: Any) -> Any:
    """The inputs with 0 for what is not finite: what a network is does not depend on a damaged picture."""
    own = signal(inputs)
    if own is None or bool(own.isfinite().all()):
        return inputs
    return with_picture(inputs, own.nan_to_num(0.0, 0.0, 0.0))


def _resolved(
    own: nn.Module, facts: Survey | None, spec: MethodSpec, given: LayerLike | None
) -> MethodSpec:
    method = spec.method.for_network(own)
    given = given if given is not None else spec.layer
    if given is not None and not method.on_layer:
        raise MethodError(
            f"{method.name} is not read from a layer; leave out layer={_written(given)}"
        )
    if not method.on_layer or (method.else_pixels and given is None):
        return MethodSpec(method)
    named = _names(own, given) if given is not None else None
    if method.reads == "head" and facts is not None:
        check_head(facts, method, named)
        assert facts.head is not None
        return MethodSpec(method, named or facts.head.layer)
    if named is None and facts is not None:
        named = recommended_layer(own, facts)
    return MethodSpec(method, named)


def _written(given: LayerLike) -> str:
    return f'"{given}"' if isinstance(given, str) else type(given).__name__


def _names(own: nn.Module, given: LayerLike) -> str:
    """The native name of a layer, or those of several written with "+"."""
    if isinstance(given, nn.Module):
        return layer_name(own, given)
    return "+".join(layer_name(own, name) for name in given.split("+"))


def _key(given: LayerLike | None, spec: MethodSpec) -> str:
    """The name a map goes by in a dict: as the user wrote it, else the native name."""
    return given if isinstance(given, str) else str(spec.layer)
