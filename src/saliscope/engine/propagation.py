"""Pass something else than a gradient back through a network: one rule for each kind of function it calls."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from saliscope.engine.function_names import (
    ACTIVATIONS,
    GATES,
    MOVES,
    PRODUCTS,
    SAME,
    SUMS,
    is_in_place,
    name_of,
    not_in_place,
    out_of_place,
)
from saliscope.engine.linear_maps import LinearMap, linear_map
from saliscope.engine.rule_functions import Stop, ruled

__all__ = ["Carrier", "Propagation"]


class Carrier(Protocol):
    """How a quantity on what a function returned is shared among what it read; both come in float32 or float64.

    The whole network behind the picture has a graph, so whatever needs no gradient is a constant. `back` has the shape of what was returned; each answer has the shape of what was read.
    """

    title: str

    def run(self, op: LinearMap, values: Tensor) -> Tensor:
        """Compute a linear map of the values it reads, in the network's precision."""

    def through(self, op: LinearMap, values: Tensor, back: Tensor) -> Tensor:
        """Share among the values a linear map read."""

    def summands(
        self, values: Sequence[Tensor], signs: Sequence[float], back: Tensor
    ) -> list[Tensor]:
        """Share among tensors of one shape whose weighted sum was returned."""

    def activation(self, before: Tensor, after: Tensor, back: Tensor) -> Tensor:
        """Pass back through an elementwise function that keeps zero."""

    def scaled(self, factor: Tensor, back: Tensor) -> Tensor:
        """Pass back to what was multiplied by a factor that itself gets nothing."""

    def shifted(self, values: Tensor, total: Tensor, back: Tensor) -> Tensor:
        """Pass back to `values` what came to `total`, the same with a constant added."""


class Propagation(TorchFunctionMode):
    """While open in a thread, functions pass back what `carrier` says, in place of gradients.

    Results are what they always are. A function for which there is no rule raises `MethodError`, with its name, once
    something is to be passed back through it. Functions in place are run out of place and copied over what they would have
    changed, since rules may have to look at it.
    """

    def __init__(self, carrier: Carrier) -> None:
        super().__init__()
        self.carrier = carrier
        self._made: MutableMapping[Tensor, LinearMap] = WeakIdKeyDictionary()
        self._gates: MutableMapping[Tensor, bool] = WeakIdKeyDictionary()
        self._begun = False
        self._picture: MutableMapping[Tensor, bool] = WeakIdKeyDictionary()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name, in_place = name_of(func), is_in_place(func, kwargs)
        read = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        graph = torch.is_grad_enabled() and any(t.requires_grad for t in read)
        if in_place and graph and name not in MOVES:
            return self._in_place(func, name, args, kwargs)
        result = self._called(name, func, args, kwargs, read)
        self._note(name, read, result)
        return result

    def _called(
        self,
        name: str,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        read: list[Tensor],
    ) -> Any:
        found = linear_map(name, func, args, kwargs)
        if found is not None and isinstance(found[0], Tensor):
            return self._linear(found[0], found[1])
        if name == "batch_norm":
            return self._batch_norm(func, args, kwargs)
        if name in MOVES or not (torch.is_grad_enabled() and any(t.requires_grad for t in read)):
            return func(*args, **kwargs)
        return self._elementwise(name, func, args, kwargs)

    def _elementwise(
        self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if name in ACTIVATIONS:
            return self._activation(func, args, kwargs)
        if name in SUMS and len(args) == 2:
            return self._sum(name, func, args, kwargs)
        if name in PRODUCTS and len(args) == 2 and not kwargs:
            return self._product(name, func, args)
        return self._without_rule(func(*args, **kwargs), name)

    def _in_place(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        changed = args[0] if args else kwargs["input"]
        if args:
            args = (changed.clone(), *args[1:])
        else:
            kwargs = kwargs | {"input": changed.clone()}
        read = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        outside = out_of_place(func, name)
        result = self._called(name, outside, args, kwargs | not_in_place(kwargs), read)
        changed.copy_(result)
        self._note(name, [changed, *read[1:]], changed)
        return changed

    def _note(self, name: str, read: Sequence[Tensor], result: Any) -> None:
        """Remember what a result comes from, and that what was read has one reader more."""
        made = next((m for t in read[:1] if (m := self._made.get(t)) is not None), None)
        if name in SAME and isinstance(result, Tensor):
            if made is not None:
                self._made[result] = made
        elif any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
            for tensor in read:
                if (op := self._made.get(tensor)) is not None:
                    op.readers += 1
        moved = name in MOVES and any(t in self._gates for t in read)
        if isinstance(result, Tensor) and (name in GATES or moved):
            self._gates[result] = True

    def _linear(self, values: Tensor, op: LinearMap) -> Tensor:
        if op.name.startswith("conv"):
            if not self._begun:
                self._begun = self._picture[values] = True
            op.first = values in self._picture
        carrier = self.carrier

        def back(given: Tensor, values: Tensor) -> tuple[Tensor]:
            return (carrier.through(op, values, given),)

        result = ruled(lambda: carrier.run(op, values.detach()), back, values)
        if op.weight is not None:
            self._made[result] = op
        return result

    def _batch_norm(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum")
        given: dict[str, Any] = {"training": False, "eps": 1e-5, "weight": None, "bias": None}
        given |= dict(zip((*names, "eps"), args, strict=False)) | kwargs
        values, carrier = given["input"], self.carrier
        if given["training"] or given["running_mean"] is None:
            return self._without_rule(func(*args, **kwargs), "batch_norm of each batch's own mean")  # type: ignore[no-any-return] # a tensor
        scale, shift = _affine(given)
        op = self._made.get(values)
        if op is not None and op.norm is None:
            op.norm = (scale, shift)
        shape = (1, -1, *[1] * (values.ndim - 2))

        def back(passed: Tensor, values: Tensor) -> tuple[Tensor]:
            s, t = (v.to(values.dtype).view(shape) for v in (scale, shift))
            if not (op is not None and op.folded):
                passed = carrier.shifted(values * s, values * s + t, passed)
            return (carrier.scaled(s, passed),)

        return ruled(lambda: func(*args, **kwargs), back, values)

    def _activation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        values = args[0] if args else kwargs["input"]
        carrier = self.carrier

        def back(passed: Tensor, before: Tensor) -> tuple[Tensor]:
            with torch.no_grad():
                rest = [a.to(before.dtype) if isinstance(a, Tensor) else a for a in args[1:]]
                named = {k: v for k, v in kwargs.items() if k != "input"}
                after = func(before, *rest, **named)
            return (carrier.activation(before, after, passed),)

        return ruled(lambda: func(*args, **kwargs), back, values)

    def _sum(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        factor = SUMS[name] * kwargs.get("alpha", 1)
        signs = [factor, 1.0] if name == "rsub" else [1.0, factor]
        both = [isinstance(a, Tensor) and a.requires_grad for a in args]
        carrier = self.carrier
        if all(both):

            def share(passed: Tensor, *values: Tensor) -> list[Tensor]:
                shaped = [v.expand_as(passed) for v in values]
                found = carrier.summands(shaped, signs, passed)
                return [f.sum_to_size(v.shape) for f, v in zip(found, values, strict=True)]

            return ruled(lambda: func(*args, **kwargs), share, *args)
        place = both.index(True)
        constant, sign = args[1 - place], signs[place]

        def pass_on(passed: Tensor, values: Tensor) -> tuple[Tensor]:
            scaled = values * sign
            total = scaled + constant * signs[1 - place]
            found = carrier.scaled(values.new_tensor(sign), carrier.shifted(scaled, total, passed))
            return (found.sum_to_size(values.shape),)

        return ruled(lambda: func(*args, **kwargs), pass_on, args[place])

    def _product(self, name: str, func: Any, args: tuple[Any, ...]) -> Any:
        """To one factor alone: the other is a constant, or a gate that says how much of it goes on."""
        place = self._feature(name, args)
        if place is None:
            return self._without_rule(func(*args), name)
        other = args[1 - place].detach() if isinstance(args[1 - place], Tensor) else args[1 - place]
        carrier = self.carrier

        def back(passed: Tensor, values: Tensor) -> tuple[Tensor]:
            factor = torch.as_tensor(other, device=values.device).to(values.dtype)
            return (carrier.scaled(factor, passed).sum_to_size(values.shape),)

        fixed = tuple(a.detach() if isinstance(a, Tensor) else a for a in args)
        return ruled(lambda: func(*fixed), back, args[place])

    def _feature(self, name: str, args: Sequence[Any]) -> int | None:
        """Which of two factors is passed on to: the one that is no constant, no gate, or larger than the gate."""
        alive = [isinstance(a, Tensor) and a.requires_grad for a in args]
        if name not in ("mul", "multiply", "rmul"):
            return 0 if alive == [True, False] else None
        if sum(alive) == 1:
            return alive.index(True)
        gates = [a in self._gates for a in args]
        return gates.index(False) if sum(gates) == 1 else None

    def _without_rule(self, result: Any, name: str) -> Any:
        if isinstance(result, Tensor):
            return Stop.apply(result, name, self.carrier.title) if result.requires_grad else result
        if isinstance(result, list | tuple):
            parts = [self._without_rule(r, name) for r in result]
            if hasattr(result, "_fields") or type(result) not in (list, tuple):
                return type(result)(parts)
            return type(result)(parts)
        return result


def _affine(given: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The scale and the shift (C,) that a batch norm of fixed statistics applies, in float32 or float64."""
    mean, var = given["running_mean"], given["running_var"]
    work = torch.promote_types(mean.dtype, torch.float32)
    scale = (var.to(work) + given["eps"]).rsqrt()
    if given["weight"] is not None:
        scale = scale * given["weight"].to(work)
    shift = -mean.to(work) * scale
    return scale, shift if given["bias"] is None else shift + given["bias"].to(work)
