"""Functions whose way back is a rule of our own in place of their derivative."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from saliscope.errors import MethodError

__all__ = ["Stop", "divided", "refuse_unseen", "ruled"]

# What autograd calls the steps back through functions that only move values, or choose among them.
_MOVING = frozenset(
    [
        "accumulategrad",
        "adaptivemaxpool1d",
        "adaptivemaxpool2d",
        "adaptivemaxpool3d",
        "alias",
        "amax",
        "asstrided",
        "cat",
        "clone",
        "constantpadnd",
        "copy",
        "copyslices",
        "detach",
        "expand",
        "flip",
        "index",
        "indexselect",
        "maxpool2dwithindices",
        "maxpool3dwithindices",
        "narrow",
        "nativechannelshuffle",
        "permute",
        "pixelshuffle",
        "pixelunshuffle",
        "reflectionpad1d",
        "reflectionpad2d",
        "replicationpad1d",
        "replicationpad2d",
        "reshapealias",
        "roll",
        "ruled",
        "select",
        "slice",
        "split",
        "splitwithsizes",
        "squeeze",
        "stack",
        "stop",
        "t",
        "tocopy",
        "transpose",
        "unbind",
        "unsafesplit",
        "unsafeview",
        "unsqueeze",
        "view",
    ]
)

_NO_RULE = (
    '{title} has no rule for "{name}", through which this network passes; use a layer behind it, or a method of gradients: '
    "grad-cam, layer-cam"
)


class Ruled(torch.autograd.Function):
    """A function whose way back is a rule; `compute` runs it, `back` shares among the tensors it read."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, compute: Callable[[], Tensor], back: Any, *read: Tensor
    ) -> Tensor:
        ctx.save_for_backward(*read)
        ctx.back = back  # type: ignore[attr-defined] # torch's way to remember
        return compute()

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> Any:
        read = [t.detach() for t in ctx.saved_tensors]
        work = torch.promote_types(read[0].dtype, torch.float32)
        with torch.no_grad(), torch.autocast(given.device.type, enabled=False):
            found = ctx.back(given.to(work), *[t.to(work) for t in read])
        return None, None, *[f.to(t.dtype) for f, t in zip(found, read, strict=True)]


class Stop(torch.autograd.Function):
    """The result of a function for which there is no rule."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, name: str, title: str) -> Tensor:
        ctx.function, ctx.title = name, title  # type: ignore[attr-defined] # torch's way to remember
        return values.clone()  # not a view: it may be changed in place

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> Any:
        if not bool(given.any()):
            return given, None, None
        raise MethodError(_NO_RULE.format(title=ctx.title, name=ctx.function))


def ruled(compute: Callable[[], Tensor], back: Any, *read: Tensor) -> Tensor:
    return Ruled.apply(compute, back, *read)  # type: ignore[no-any-return] # torch does not type it


def divided(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, and 0 where the denominator is 0 or too small to be told from it."""
    none = denominator.abs() < torch.finfo(denominator.dtype).tiny
    return (numerator / denominator.masked_fill(none, 1)).masked_fill_(none, 0)


def refuse_unseen(output: Tensor, title: str) -> None:
    """Let what would pass a function that no rule saw raise `MethodError`: one of TorchScript, or with a backward of its own.

    Functions that a mode is not told of would hand back their derivative. Walks the graph behind `output` once.
    """
    seen: set[Any] = set()
    todo = [output.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        kind = re.sub(r"Backwards?\d*$", "", node.name().rpartition("::")[2])
        if kind.lower() not in _MOVING:
            node.register_prehook(_refusing(kind, title))
        todo += [before for before, _ in node.next_functions]


def _refusing(kind: str, title: str) -> Callable[[Any], None]:
    def hook(given: Any) -> None:
        if any(g is not None and bool(g.any()) for g in given):
            raise MethodError(_NO_RULE.format(title=title, name=kind))

    return hook
