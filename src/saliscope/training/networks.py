"""A network to train: built for the classes of the data, started from weights, each tensor accounted for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from saliscope.errors import ModelError, OptionError
from saliscope.models.layers import layer_name
from saliscope.models.preprocessing import Preprocessing
from saliscope.models.sources import build, spelled
from saliscope.training.freezing import Frozen, frozen_names, run_once
from saliscope.training.starting import (
    Donor,
    State,
    TensorReport,
    check_share,
    find_donor,
    inside,
    start,
)

if TYPE_CHECKING:
    from saliscope.training.recipes import Recipe

__all__ = ["TensorReport", "Trainable", "build_trainable"]


@dataclass(frozen=True, eq=False)
class Trainable:
    """A network ready to be trained.

    `module` is in eval mode on the CPU, in float32; parameters of the frozen part require no gradient. `name` opens the
    architecture again from any working folder, `origin` says where values were loaded from. `frozen` names the outermost modules of the frozen part: they run in eval
    mode. `still` names batch norms that learn but run in eval mode, because the statistics of a batch would change what
    they compute. `new` names the trained parameters that start anew beside loaded ones: head_learning_rate is theirs.
    """

    module: nn.Module
    preprocessing: Preprocessing
    name: str
    report: tuple[TensorReport, ...]
    labels: tuple[str, ...]
    origin: str = "untrained"
    frozen: tuple[str, ...] = ()
    still: tuple[str, ...] = ()
    new: frozenset[str] = frozenset()

    @property
    def learns(self) -> tuple[str, ...]:
        """The outermost modules (and loose parameters) that are trained."""
        return tuple(_learning(self.module))

    def train(self) -> None:
        """Put the module in training mode, but for its frozen part and for the batch norms that stay still."""
        self.module.train()
        for name in (*self.frozen, *self.still):
            self.module.get_submodule(name).eval()

    def summary(self) -> tuple[str, ...]:
        """What was loaded and what was not, in a few lines; `report` has every tensor."""
        return tuple(_summary(self))


def build_trainable(
    model: str, recipe: Recipe, *, num_classes: int, labels: Sequence[str] | None = None
) -> Trainable:
    """Build a network with `num_classes` outputs and start it as the recipe says.

    `model` is any name that `load_model` takes. All values are made from `recipe.seed`; then every tensor of the weights
    that fits by name and shape is copied (float16 is widened), except those of `recipe.fresh` modules. `labels` name
    the classes. Raises ModelError for networks and weights that cannot be had, that give fewer than half of the
    parameters, or that do not run on the recipe's size; DataError for a weights file that is damaged or fits less than
    half; LayerError for unknown names in freeze and fresh; OptionError where freeze and fresh contradict each other.
    """
    classes = tuple(labels) if labels is not None else tuple(map(str, range(num_classes)))
    if len(classes) != num_classes:
        raise OptionError(f"{len(classes)} labels for {num_classes} classes; give one for each")
    source = build(model, "untrained", num_classes=num_classes, seed=recipe.seed)
    module = source.module.float()
    asked = tuple(layer_name(module, name) for name in recipe.fresh)
    layer = layer_name(module, recipe.freeze) if recipe.freeze is not None else None
    passed = run_once(module, recipe.size, layer=layer)
    _check_width(passed.num_classes, num_classes, model)
    frozen = frozen_names(module, layer, passed) if layer is not None else Frozen()
    donor = find_donor(model, recipe, module, num_classes=num_classes)
    report = tuple(start(module, donor, asked, frozen, seed=recipe.seed))
    if donor is not None:
        check_share(module, report, donor, num_classes=num_classes)
    _check_frozen(module, report, frozen, recipe)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(parameter.is_floating_point() and name not in frozen.parameters)
    states = {entry.name: entry.state for entry in report}
    return Trainable(
        module=module.eval(),
        preprocessing=Preprocessing(
            (recipe.size, recipe.size), recipe.mean, recipe.std, recipe.resize
        ),
        name=spelled(model, source),
        report=report,
        labels=classes,
        origin="untrained" if donor is None else donor.title,
        frozen=frozen.modules,
        still=tuple(_still(module, recipe, donor, states, frozen)),
        new=_new(module, states),
    )


def _check_width(found: int, num_classes: int, model: str) -> None:
    if found != num_classes:
        raise ModelError(
            f"{model} returns {found} logits for {num_classes} classes: give its function a parameter num_classes that it "
            "makes its last layer from"
        )


def _check_frozen(
    module: nn.Module, report: Sequence[TensorReport], frozen: Frozen, recipe: Recipe
) -> None:
    parameters = {name for name, _ in module.named_parameters()}
    random = [
        entry
        for entry in report
        if entry.frozen
        and entry.state.startswith("fresh")
        and (
            entry.name in parameters or "running_" in entry.name
        )  # else a table the network made for itself
    ]
    if random:
        raise OptionError(
            f'freeze "{recipe.freeze}" would keep {len(random)} tensors that were never trained, first {random[0]}: freeze '
            "less, or start from weights that have them"
        )
    if parameters <= frozen.parameters:
        raise OptionError(
            f'freeze "{recipe.freeze}" leaves nothing to train: name a layer further from the head'
        )


def _still(
    module: nn.Module,
    recipe: Recipe,
    donor: Donor | None,
    states: Mapping[str, State],
    frozen: Frozen,
) -> Iterator[str]:
    """The batch norms with loaded statistics that stay in eval mode outside the frozen part."""
    if recipe.batch_norms == "learn" or donor is None:
        return
    for name, part in module.named_modules():
        if not isinstance(part, nn.modules.batchnorm._BatchNorm) or part.running_mean is None:
            continue
        loaded = states.get(f"{name}.running_mean") == "loaded" and not inside(
            f"{name}.", frozen.modules
        )
        if loaded and (
            recipe.batch_norms == "keep" or _is_folded(part, returned=donor.kind == "returned")
        ):
            yield name


def _is_folded(norm: Any, *, returned: bool) -> bool:
    """Whether a batch norm's statistics were folded into the convolution before it: no trained one has mean 0, var 1.

    In training mode such a norm would divide by statistics that its network never saw. Of what a function returned, one
    that was never trained looks the same but for its bias.
    """
    identity = not norm.running_mean.any() and bool(((norm.running_var - 1).abs() < 1e-3).all())
    untouched = norm.bias is None or not norm.bias.any()
    return identity and not (returned and untouched)


def _new(module: nn.Module, states: Mapping[str, State]) -> frozenset[str]:
    return frozenset(
        name
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
        and states[name] in ("fresh: asked", "fresh: shape differs", "fresh: missing in file")
    )


def _learning(module: nn.Module, prefix: str = "") -> Iterator[str]:
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.requires_grad:
            yield prefix + name
    for name, child in module.named_children():
        trained = {parameter.requires_grad for parameter in child.parameters()}
        if trained == {True}:
            yield prefix + name
        elif True in trained:
            yield from _learning(child, f"{prefix}{name}.")


def _summary(trainable: Trainable) -> Iterator[str]:
    counted = [e for e in trainable.report if e.state != "unused in file"]
    loaded = sum(entry.state == "loaded" for entry in counted)
    yield f"weights: {trainable.origin}; {loaded} of {len(counted)} tensors loaded"
    for state in (
        "fresh: shape differs",
        "fresh: asked",
        "fresh: missing in file",
        "unused in file",
    ):
        names = [entry.name for entry in trainable.report if entry.state == state]
        if names:
            more = f" and {len(names) - 4} more (all in model.json)" if len(names) > 4 else ""
            yield f"{state}: {', '.join(names[:4])}{more}"
    if trainable.frozen:
        yield f"frozen: {', '.join(trainable.frozen)}; trained: {', '.join(trainable.learns)}"
    if trainable.still:
        yield f"{len(trainable.still)} batch norms keep the statistics of the weights"
