"""A private copy of a network, so that explaining never touches the user's own."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from saliscope.errors import ModelError

__all__ = ["shadow", "unwrap"]


def unwrap(module: nn.Module) -> nn.Module:
    """The plain module inside `torch.compile`, `DataParallel` or `DistributedDataParallel`.

    Raises `ModelError` for what is no module, and for TorchScript, whose layers cannot be listened to.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"a network is a torch.nn.Module; got {type(module).__name__}. Wrap functions in a module of your own."
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            "a TorchScript network hides its layers; give the torch.nn.Module it was made from"
        )
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return unwrap(module.module)
    original = getattr(module, "_orig_mod", None)  # what torch.compile wraps
    return unwrap(original) if isinstance(original, nn.Module) else module


def shadow(module: nn.Module, *, share: bool = True) -> nn.Module:
    """Copy the module tree in evaluation mode; with `share`, parameters keep their storage.

    Every module object is new (flags, hooks, sub-module tables), so hooks and `training` of the copy are its own, for
    any number of threads. Parameters are detached aliases of the originals (clones where `share` is false or where they
    were made in inference mode) and require no gradient: whatever runs before the first explained layer builds no
    graph. Buffers are always cloned, since a forward pass may write to them. Forward hooks come along, since they may be
    part of what the network computes; backward hooks do not: they belong to the user's own passes. An attribute that
    cannot be copied (a lock, an open file) is shared with the original.
    """
    with torch.inference_mode(mode=False), torch.no_grad():
        memo: dict[int, Any] = {}
        modules = list(module.modules())
        if inner := next((m for m in modules if isinstance(m, torch.jit.ScriptModule)), None):
            raise ModelError(
                f"the network holds a TorchScript module ({inner.original_name}), which hides its layers and cannot be "
                "copied; give the torch.nn.Module it was made from"
            )
        for part in modules:
            memo[id(part)] = object.__new__(type(part))
            for tensor in _tensors(part):
                if id(tensor) not in memo:
                    memo[id(tensor)] = _alias(tensor, share=share)
        for part in modules:
            memo[id(part)].__dict__ = {k: _copied(v, memo) for k, v in part.__dict__.items()}
        twin: nn.Module = memo[id(module)]
    for part in twin.modules():
        own = {"training": False, "_backward_hooks": {}, "_backward_pre_hooks": {}}
        own["_compiled_call_impl"] = None  # what `module.compile()` made runs the original
        part.__dict__.update(own)
    return twin


def _tensors(module: nn.Module) -> list[Tensor]:
    loose = [value for value in module.__dict__.values() if isinstance(value, Tensor)]
    registered = [*module._parameters.values(), *module._buffers.values()]
    return loose + [value for value in registered if value is not None]


def _alias(tensor: Tensor, *, share: bool) -> Tensor:
    if isinstance(tensor, nn.UninitializedParameter | nn.UninitializedBuffer):
        raise ModelError(
            "the network has lazy layers that were never run; run one batch through it first"
        )
    is_parameter = isinstance(tensor, nn.Parameter)
    keep = share and is_parameter and not tensor.is_inference()
    values = tensor.detach() if keep else tensor.detach().clone()
    return nn.Parameter(values, requires_grad=False) if is_parameter else values


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # whatever a user's attribute raises on copying, the attribute is shared
        tables = (
            dict,
            list,
            set,
        )  # but not a table: hooks of the copy must not land in the original's
        return copy.copy(value) if isinstance(value, tables) else value
