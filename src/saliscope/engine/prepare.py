"""An equal but faster copy of a network: batch norms folded away, channels last, perhaps in bfloat16."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from saliscope.engine.inputs import call, private_inputs
from saliscope.engine.network import Network
from saliscope.engine.shadow import shadow
from saliscope.engine.survey import Survey

__all__ = ["Prepared", "foldable", "prepare"]

log = logging.getLogger(__name__)

# Largest difference of a logit, as a share of the largest logit, that still counts as the same network.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6, torch.bfloat16: 0.1, torch.float16: 0.02}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A prepared network and what was done to it.

    `folded` batch norms are gone; `notes` say what could not be done and why; the layers in `changed` return something
    else than in the original (a convolution returns what its batch norm did).
    """

    network: Network
    folded: int = 0
    notes: tuple[str, ...] = ()
    changed: frozenset[str] = frozenset()


def prepare(
    module: nn.Module,
    inputs: Any,
    survey: Survey,
    *,
    read: Callable[[Any], Tensor],
    dtype: torch.dtype | None = None,
    keep: Iterable[str] = (),
) -> Prepared:
    """Make a faster copy of `module` and check it: on the surveyed `inputs` it must give the same logits.

    Where it does not, the folding is dropped, with a note.

    Layers named in `keep` return what they return in the original; a convolution whose batch norm was folded into it
    does not, so it is left alone when a map of it is wanted. `dtype` is the precision to run in (None: the module's
    own). Names of layers survive.
    """
    notes: list[str] = []
    pairs, why_not = foldable(module, inputs)
    if why_not:
        notes.append(why_not)
    chosen = [pair for pair in pairs if _changed(pair).isdisjoint(keep)]
    network = _build(module, chosen, survey, read=read, dtype=dtype)
    if chosen and (why_not := _differs(network, inputs, survey.logits, read, dtype)):
        notes.append(f"batch norms kept: with them folded {why_not}")
        chosen = []
        network = _build(module, chosen, survey, read=read, dtype=dtype)
    if dtype not in (None, torch.float32) and (
        why_not := _differs(network, inputs, survey.logits, read, dtype)
    ):
        notes.append(
            f"{str(dtype).removeprefix('torch.')} is too coarse for this network: {why_not}"
        )
    for note in notes:
        log.info("prepare: %s", note)
    changed = frozenset().union(*map(_changed, chosen))
    return Prepared(network, len(chosen), tuple(notes), changed)


def _build(
    module: nn.Module,
    pairs: list[tuple[str, str]],
    survey: Survey,
    *,
    read: Callable[[Any], Tensor],
    dtype: torch.dtype | None,
) -> Network:
    twin = shadow(module, share=False)
    with (
        torch.inference_mode(mode=False),
        torch.no_grad(),
    ):  # no weight may become an inference tensor
        for conv, norm in pairs:
            _fold(twin, conv, norm)
        channels_last = any(isinstance(m, nn.Conv2d) for m in twin.modules())
        if channels_last:
            twin = twin.to(memory_format=torch.channels_last)
        parameters = next(twin.parameters(), None)
        own = dtype or (parameters.dtype if parameters is not None else None)
        twin = twin.to(own)
        if own in (torch.bfloat16, torch.float16) and survey.head is not None:
            _keep_float32(twin.get_submodule(survey.head.classifier))
    return Network(
        twin, read=read, survey=survey, dtype=own, channels_last=channels_last, long_lived=True
    )


def _keep_float32(classifier: nn.Module) -> None:
    """Let a linear classifier of a low-precision network work in float32: rounded logits tie, and ties mislead argmax."""
    if isinstance(classifier, nn.Linear):
        classifier.float()
        classifier.register_forward_pre_hook(lambda _, given: tuple(x.float() for x in given))


def foldable(module: nn.Module, inputs: Any) -> tuple[list[tuple[str, str]], str]:
    """Pairs (convolution, batch norm) that can become one convolution, found by running `inputs`; or why none was.

    A pair qualifies where the convolution's only reader is the batch norm, both run once, and the batch norm has
    running statistics. The run is watched from this thread alone: `torch.fx` would patch every module of the process
    while it traces, and break the passes of other threads.
    """
    if not any(isinstance(m, _BatchNorm) for m in module.modules()):
        return [], ""
    readers = _Readers()
    twin = shadow(module)
    for name, part in twin.named_modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(partial(readers.made, name))
        elif isinstance(part, _BatchNorm):
            part.register_forward_pre_hook(partial(readers.normed, name))
    try:
        with torch.inference_mode(mode=False), torch.no_grad(), readers:
            output = call(twin, private_inputs(inputs))
    except Exception as err:  # the user's own code runs under watch: anything can come out
        return [], f"batch norms not folded: the network cannot be watched ({type(err).__name__})"
    readers.read(tree_leaves(output))
    names = Counter(id(m) for _, m in module.named_modules(remove_duplicate=False))
    pairs = []
    for conv, norm in readers.pairs:
        parts = module.get_submodule(conv), module.get_submodule(norm)
        once = readers.counts[conv] == readers.runs[conv] == readers.runs[norm] == 1
        if once and all(names[id(part)] == 1 for part in parts) and _fits(*parts):
            pairs.append((conv, norm))
    return pairs, ""


class _Readers(TorchFunctionMode):
    """Counts what reads the output of each convolution during one pass of this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: MutableMapping[Tensor, str] = (
            WeakIdKeyDictionary()
        )  # tensor -> name of the convolution it came from
        self.counts: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        self.pairs: list[tuple[str, str]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):  # not a mere `x.shape`
            self.read(tree_leaves((args, kwargs)))
        return result

    def read(self, values: Iterable[Any]) -> None:
        found = (self.outputs.get(v) for v in values if isinstance(v, Tensor))
        self.counts.update(name for name in found if name is not None)

    def made(self, name: str, module: nn.Module, given: Any, output: Any) -> None:  # noqa: ARG002 - torch's own
        self.runs[name] += 1
        if isinstance(output, Tensor):
            self.outputs[output] = name

    def normed(self, name: str, module: nn.Module, given: Any) -> None:  # noqa: ARG002 - torch's own
        self.runs[name] += 1
        source = self.outputs.get(given[0]) if given else None
        if source is not None:
            self.pairs.append((source, name))


def _fits(conv: nn.Module, norm: nn.Module) -> bool:
    # Only convolutions known to use their weight as it stands; a weight-standardised one would undo the folding.
    plain = type(conv) is nn.Conv2d or type(conv).__name__ == "Conv2dSame"
    known = type(norm) is nn.BatchNorm2d or type(norm).__name__ == "BatchNormAct2d"
    # A weight that a hook computes (pruning, weight norm) is no parameter, and a hook may look at what is folded away.
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in (conv, norm))
    if not (plain and known) or hooked or conv._parameters.get("weight") is None:
        return False
    assert isinstance(norm, _BatchNorm)
    return norm.running_mean is not None and norm.running_var is not None


def _changed(pair: tuple[str, str]) -> frozenset[str]:
    """Layers that return something else once the pair is folded: those that hold the convolution, not the norm."""
    holding_conv, holding_norm = (
        {".".join(path[: i + 1]) for i in range(len(path))} for path in (n.split(".") for n in pair)
    )
    return frozenset(holding_conv - holding_norm)


def _fold(module: nn.Module, conv: str, norm: str) -> None:
    convolution, batch_norm = module.get_submodule(conv), module.get_submodule(norm)
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(batch_norm, _BatchNorm)
    assert batch_norm.running_mean is not None
    assert batch_norm.running_var is not None
    if batch_norm.weight is None:  # affine=False
        batch_norm.weight = nn.Parameter(torch.ones_like(batch_norm.running_var))
        batch_norm.bias = nn.Parameter(torch.zeros_like(batch_norm.running_mean))
    # In float64, so that a folded weight is rounded once and not at every step of its computation.
    precision = convolution.weight.dtype
    fused = fuse_conv_bn_eval(convolution.double(), batch_norm.double()).to(precision)
    fused.requires_grad_(False)
    module.set_submodule(conv, fused)
    rest = nn.Sequential()
    for name, child in batch_norm.named_children():
        rest.add_module(
            name, child.to(precision)
        )  # timm's norm + activation in one: the latter stays
    module.set_submodule(norm, rest if len(rest) else nn.Identity())


def _differs(
    network: Network,
    inputs: Any,
    logits: Tensor,
    read: Callable[[Any], Tensor],
    dtype: torch.dtype | None,
) -> str:
    with torch.inference_mode(mode=False), torch.no_grad():
        ready = private_inputs(inputs, dtype=network.dtype, channels_last=network.channels_last)
        found = read(call(network.module, ready))
    difference = float((found.cpu().float() - logits.cpu().float()).abs().max())
    scale = max(float(logits.float().abs().max()), torch.finfo(torch.float32).tiny)
    limit = _TOLERANCE.get(dtype or logits.dtype, 1e-3)
    if difference <= limit * scale:
        return ""
    return f"logits differ by {difference / scale:.2g} of the largest (allowed {limit:g})"
