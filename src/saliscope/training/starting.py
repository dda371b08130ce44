"""Where the values of a network to train come from, and what became of each tensor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from saliscope.errors import DataError, ModelError, OptionError, SaliscopeError
from saliscope.models.checkpoints import named_as, read_checkpoint
from saliscope.models.sources import build, is_folder, parse_spec, weights_file

if TYPE_CHECKING:
    from saliscope.training.freezing import Frozen
    from saliscope.training.recipes import Recipe

__all__ = ["Donor", "State", "TensorReport", "check_share", "find_donor", "inside", "start"]

State = Literal[
    "loaded",
    "fresh: untrained",
    "fresh: asked",
    "fresh: shape differs",
    "fresh: missing in file",
    "unused in file",
]


@dataclass(frozen=True)
class TensorReport:
    """What became of one tensor: its name and shape in the network (in the file, if unused), and its state.

    `found` is the shape in the file where it differs; `frozen` whether the tensor keeps its value in training.
    """

    name: str
    shape: tuple[int, ...]
    state: State
    found: tuple[int, ...] | None = None
    frozen: bool = False

    def __str__(self) -> str:
        found = f", {self.found} in the file" if self.found is not None else ""
        return f"{self.name} {self.shape}: {self.state}{found}{', frozen' if self.frozen else ''}"


@dataclass(frozen=True, eq=False)
class Donor:
    """Where values come from: a file, published weights, or what a user's function put into the network itself."""

    title: str
    tensors: Mapping[str, Tensor]
    kind: Literal["published", "file", "returned"]


def find_donor(model: str, recipe: Recipe, module: nn.Module, *, num_classes: int) -> Donor | None:
    """Find the values that `recipe.weights` names for a module built from `model`; None for "untrained".

    Raises ModelError for weights that cannot be had, DataError for a file that is damaged.
    """
    if recipe.weights == "untrained":
        return None
    if recipe.weights == "pretrained":
        if not is_folder(model) and parse_spec(model).library == "file":
            return _returned(model, recipe, module, num_classes=num_classes)
        source = build(model)
        return Donor(f"{source.name} ({source.weights})", source.module.state_dict(), "published")
    if not Path(recipe.weights).exists():
        # The name of published weights (IMAGENET1K_V1), or an error that says what is possible.
        source = build(model, recipe.weights)
        return Donor(f"{source.name} ({source.weights})", source.module.state_dict(), "published")
    file = weights_file(recipe.weights)
    assert file is not None  # the two keywords were answered above
    tensors = named_as(module, read_checkpoint(file))
    if 2 * _fitting(module, tensors) < sum(value.numel() for value in module.parameters()):
        # Names of another library: where the builder knows how to translate them, its network has them in place.
        with suppress(DataError, ModelError):
            return Donor(recipe.weights, build(model, file).module.state_dict(), "file")
    return Donor(recipe.weights, tensors, "file")


def _returned(model: str, recipe: Recipe, module: nn.Module, *, num_classes: int) -> Donor:
    """What a user's function returned that is not random: it is the same when built from another seed."""
    again = build(model, "pretrained", num_classes=num_classes, seed=recipe.seed + 1)
    other = again.module.float().state_dict()
    same = {
        key: value
        for key, value in module.state_dict().items()
        if isinstance(value, Tensor) and key in other and torch.equal(value, other[key])
    }
    return Donor(f"what {again.name} returned", same, "returned")


def _fitting(module: nn.Module, tensors: Mapping[str, Tensor]) -> int:
    own = module.named_parameters()
    return sum(
        value.numel() for key, value in own if key in tensors and tensors[key].shape == value.shape
    )


@torch.no_grad()
def start(
    module: nn.Module, donor: Donor | None, asked: Sequence[str], frozen: Frozen, *, seed: int
) -> Iterator[TensorReport]:
    """Copy what fits, and yield what became of each tensor; the counters of batch norms are not worth a word."""
    if donor is not None and donor.kind == "returned":
        _start_anew(module, asked, seed=seed)
    own = {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    tensors: Mapping[str, Tensor] = donor.tensors if donor is not None else {}
    for key, value in own.items():
        found = tensors.get(key)
        state = _state(key, value, found, asked) if donor is not None else "fresh: untrained"
        if state == "loaded" and found is not None:
            value.copy_(found)
        if key.endswith("num_batches_tracked"):
            continue
        differs = tuple(found.shape) if found is not None and found.shape != value.shape else None
        fixed = key in frozen.parameters or inside(key, frozen.modules)
        yield TensorReport(key, tuple(value.shape), state, differs, fixed)
    for key, value in tensors.items():
        if key not in own:
            yield TensorReport(key, tuple(value.shape), "unused in file")


def _state(key: str, value: Tensor, found: Tensor | None, asked: Sequence[str]) -> State:
    if inside(key, asked):
        return "fresh: asked"
    if found is None:
        return "fresh: missing in file"
    return "loaded" if found.shape == value.shape else "fresh: shape differs"


def inside(key: str, modules: Iterable[str]) -> bool:
    """Whether a tensor belongs to one of some modules."""
    return any(key.startswith(f"{name}.") for name in modules)


def _start_anew(module: nn.Module, asked: Sequence[str], *, seed: int) -> None:
    """Initialise modules again that a user's function has filled: here no build without its weights can be had."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for name in asked:
            for inner, part in module.get_submodule(name).named_modules(prefix=name):
                reset = getattr(part, "reset_parameters", None)
                if callable(reset):
                    reset()
                elif any(True for _ in part.parameters(recurse=False)):
                    raise OptionError(
                        f'fresh "{name}": {inner} ({type(part).__name__}) has no reset_parameters(), so it cannot start '
                        "anew; add one, or let the function return the network untrained and give the weights as a file"
                    )


def check_share(
    module: nn.Module, report: Sequence[TensorReport], donor: Donor, *, num_classes: int
) -> None:
    """Raise where fewer than half of the parameters were loaded: the weights are another network's then.

    What was asked to be fresh, and the head, do not count. DataError for a file, else ModelError.
    """
    parameters = {name for name, _ in module.named_parameters()}
    wanted = [
        entry
        for entry in report
        if entry.name in parameters
        and entry.state != "fresh: asked"
        and not _is_head(entry, num_classes)
    ]
    total = sum(math.prod(entry.shape) for entry in wanted)
    loaded = sum(math.prod(entry.shape) for entry in wanted if entry.state == "loaded")
    if 2 * loaded >= total:
        return
    first = [str(entry) for entry in wanted if entry.state != "loaded"][:3]
    unused = [entry.name for entry in report if entry.state == "unused in file"][:3]
    also = f"; in the file but not in the network: {', '.join(unused)}" if unused else ""
    error: type[SaliscopeError] = DataError if donor.kind == "file" else ModelError
    what = f"weights file {donor.title}" if donor.kind == "file" else donor.title
    raise error(
        f"{what} fits {type(module).__name__} in {loaded / total:.0%} of its parameters only: {', '.join(first)}{also}; "
        'give weights of this very network, or weights "untrained"'
    )


def _is_head(entry: TensorReport, num_classes: int) -> bool:
    """Whether a tensor's size comes from the number of classes."""
    return entry.shape[:1] == (num_classes,) and math.prod(entry.shape[2:]) == 1
