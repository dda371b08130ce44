"""Find the logits in whatever a classifier returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from saliscope.errors import ModelError

__all__ = ["logits_of"]

_KEYS = ("logits", "out", "scores", "prediction")


def logits_of(output: Any) -> Tensor:
    """Take the logits (B, N) out of a network's output, without copying.

    A float tensor (B, N) is returned as it is, (B, 1) of a one-logit network too. An object with `.logits`
    (transformers, GoogLeNet, Inception) gives these. A dict gives "logits", "out", "scores" or "prediction", or its
    only (B, N) tensor; a tuple or list its first, where all have one width (main and auxiliary logits). Raises ModelError, naming what was found, for anything else.
    """
    found = _search(output)
    if found is None:
        raise ModelError(
            f"the network returned {_describe(output)}, in which no logits (batch, classes) were found: wrap the "
            "module so that it returns them, or pass a callable target"
        )
    return found


def _search(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output if _is_logits(output) else None
    named = getattr(output, "logits", None)
    if _is_logits(named):
        return _tensor(named)
    if isinstance(output, Mapping):
        return _in_mapping(output)
    if isinstance(output, Sequence) and not isinstance(output, str):
        return _first(output)
    return None


def _in_mapping(output: Mapping[Any, Any]) -> Tensor | None:
    for key in _KEYS:
        if _is_logits(output.get(key)):
            return _tensor(output[key])
    fitting = [value for value in output.values() if _is_logits(value)]
    return _tensor(fitting[0]) if len(fitting) == 1 else None


def _first(output: Iterable[Any]) -> Tensor | None:
    """The first (B, N) tensor; None where others of another width make it a guess."""
    fitting = [value for value in output if _is_logits(value)]
    widths = {value.shape[1] for value in fitting}
    return fitting[0] if len(widths) == 1 else None


def _tensor(value: Any) -> Tensor:
    assert isinstance(value, Tensor)
    return value


def _is_logits(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.ndim == 2
        and value.shape[1] > 0
        and torch.is_floating_point(value)
    )


def _describe(output: Any, *, depth: int = 0) -> str:
    if isinstance(output, Tensor):
        dtype = str(output.dtype).removeprefix("torch.")
        return f"{'an' if dtype[0] == 'i' else 'a'} {dtype} tensor {tuple(output.shape)}"
    kind = type(output).__name__
    if depth == 2 or isinstance(output, str):
        return kind
    if isinstance(output, Mapping):
        inner = [f"{key!r}: {_describe(value, depth=depth + 1)}" for key, value in output.items()]
    elif isinstance(output, Sequence):
        inner = [_describe(value, depth=depth + 1) for value in output]
    else:
        return f"an object of type {kind}"
    more = f" and {len(inner) - 6} more" if len(inner) > 6 else ""
    return f"a {kind} with {', '.join(inner[:6]) or 'nothing'}{more}"
