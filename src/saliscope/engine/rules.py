"""Other ways back through a ReLU: the backward rules of deconvolution and of guided backpropagation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.overrides import TorchFunctionMode

from saliscope.engine.network import Rules

__all__ = ["Rectified", "ReluRule", "relu_rule"]

ReluRule = Literal["deconvnet", "guided"]


def relu_rule(rule: ReluRule) -> Rules:
    """Open a context in which every ReLU that this thread calls goes back by another rule; forward nothing changes.

    "deconvnet" passes on the positive part of the signal, whatever was let through on the way forward (Zeiler and Fergus
    2014); "guided" passes on that part where the ReLU was open, too (Springenberg et al. 2014). A ReLU is any call that
    cuts its input at 0: `relu` in each of its forms, `relu6`, `hardtanh`, `clamp` and `threshold` with a lower bound of 0,
    and the maximum with zeros; in place or not, from a module or not. The call is seen, not torch changed: other threads
    and other passes go on as they were. What no call shows (a ReLU in compiled code) `unruled` finds afterwards.
    """
    return partial(_RectifierMode, rule)


class _RectifierMode(TorchFunctionMode):
    def __init__(self, rule: ReluRule) -> None:
        super().__init__()
        self.rule = rule

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        own = partial(func, *args, **(kwargs or {}))
        form = _FORMS.get(func)
        found = form.read(args, kwargs or {}) if form is not None else None
        if found is None:
            return own()
        return Rectified.apply(found.signal, own, found, self.rule)


class Rectified(torch.autograd.Function):
    """A rectifier as the network calls it, with another way back."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, signal: Tensor, own: Callable[[], Tensor], call: _Call, rule: ReluRule
    ) -> Tensor:
        result = own()
        if call.in_place:
            ctx.mark_dirty(signal)
        if rule == "guided":
            passed = result > 0 if call.upper is None else (result > 0) & (result < call.upper)
            ctx.save_for_backward(passed)
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        signal = grads[0].relu()
        if ctx.saved_tensors:
            signal = torch.where(ctx.saved_tensors[0], signal, torch.zeros_like(signal))
        return signal, None, None, None


@dataclass(frozen=True)
class _Call:
    """One call of a rectifier: what it cuts, at which upper bound, and whether in place."""

    signal: Tensor
    upper: float | None
    in_place: bool


@dataclass(frozen=True)
class _Form:
    """A function that may rectify: its arguments by name, and how its bounds are read from them (None: it does not)."""

    names: tuple[str, ...]
    bounds: Callable[[Mapping[str, Any]], tuple[Any, Any]]
    in_place: bool = False

    def read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Call | None:
        given = dict(zip(self.names, args, strict=False)) | dict(kwargs)
        signal = given.get("input", given.get("self"))
        if not isinstance(signal, Tensor) or not signal.is_floating_point() or "out" in given:
            return None
        lower, upper = self.bounds(given)
        if _number(lower) != 0 or not (upper is None or (_number(upper) or 0) > 0):
            return None
        in_place = self.in_place or bool(given.get("inplace"))
        return _Call(signal, None if upper is None else _number(upper), in_place)


class _Maximum(_Form):
    """The larger of two tensors, one of which is zero everywhere and no signal."""

    def read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Call | None:
        given = dict(zip(self.names, args, strict=False)) | dict(kwargs)
        pair = [t for t in (given.get("input"), given.get("other")) if isinstance(t, Tensor)]
        if len(pair) != 2 or "out" in given:
            return None
        signals = [t for t in pair if t.requires_grad]
        zeros = [t for t in pair if not t.requires_grad and not bool(t.any())]
        if not signals or not zeros or zeros[0].ndim > signals[0].ndim:
            return None
        grown = any(z not in (1, n) for z, n in _sides(zeros[0], signals[0]))
        return None if grown else _Call(signals[0], None, in_place=False)


def _sides(small: Tensor, large: Tensor) -> list[tuple[int, int]]:
    """The sides of two shapes that broadcasting brings together."""
    return list(zip(reversed(small.shape), reversed(large.shape), strict=False))


def _number(bound: Any) -> float | None:
    """A bound as a number, also from a tensor of one element; None where it is neither."""
    if isinstance(bound, Tensor):
        return float(bound) if bound.numel() == 1 and not bound.requires_grad else None
    return float(bound) if isinstance(bound, int | float) else None


def _cut(given: Mapping[str, Any]) -> tuple[Any, Any]:
    return given.get("min"), given.get("max")


def _hardtanh(given: Mapping[str, Any]) -> tuple[Any, Any]:
    return given.get("min_val", -1.0), given.get("max_val", 1.0)


def _threshold(given: Mapping[str, Any]) -> tuple[Any, Any]:
    return (0, None) if given.get("threshold") == 0 == given.get("value") else (None, None)


def _forms() -> dict[Any, _Form]:
    relu = ("input", "inplace")
    cut = ("input", "min", "max")
    tanh = ("input", "min_val", "max_val", "inplace")
    over = ("input", "threshold", "value", "inplace")
    forms: dict[Any, _Form] = {
        F.relu: _Form(relu, lambda _: (0, None)),
        F.relu6: _Form(relu, lambda _: (0, 6.0)),
        F.hardtanh: _Form(tanh, _hardtanh),
        F.hardtanh_: _Form(tanh, _hardtanh, in_place=True),
        F.threshold: _Form(over, _threshold),
        torch.threshold: _Form(over, _threshold),
        torch.threshold_: _Form(over, _threshold, in_place=True),
    }
    for home in (torch, Tensor):
        for mark, in_place in (("", False), ("_", True)):
            named = partial(getattr, home)
            forms[named(f"relu{mark}")] = _Form(relu, lambda _: (0, None), in_place)
            forms[named(f"clamp_min{mark}")] = _Form(cut, _cut, in_place)
            for name in ("clamp", "clip"):
                forms[named(name + mark)] = _Form(cut, _cut, in_place)
        for name in ("maximum", "max", "fmax"):
            forms[getattr(home, name)] = _Maximum(("input", "other"), _cut)
    return forms


_FORMS = _forms()
