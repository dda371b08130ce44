"""What each layer adds of its own: biases, explicit and implicit, and the gradient that arrives where they are added."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from saliscope.engine.activations import graph_of, kind_of
from saliscope.engine.network import Rules

__all__ = ["Heard", "biases", "undecomposed"]

Heard = Callable[[Tensor, Tensor], object]
"""Called in each backward pass with a bias, broadcast to what it is added to, and the gradient that arrives there."""


def biases(heard: Heard) -> Rules:
    """Open a context in which every bias that this thread's network adds is heard of when a gradient passes it.

    A layer z -> f(z) adds b = f(z) - J z, J its Jacobian at z: the bias of a convolution or linear layer, the shift of a
    batch norm (Srinivas and Fleuret 2019, section 3.1: implicit biases), a constant, the rest of an activation that is
    not linear in pieces, minus the product where two signals are multiplied. Nothing is changed, forward or back.
    """
    return partial(_BiasMode, heard)


class _BiasMode(TorchFunctionMode):
    def __init__(self, heard: Heard) -> None:
        super().__init__()
        self.heard = heard

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        make = _KNOWN.get(func)
        # Before the call: what works in place leaves nothing of its input.
        bias = make(func, args, kwargs) if make is not None else None
        result = func(*args, **kwargs)
        if bias is not None and isinstance(result, Tensor) and result.requires_grad:
            shaped = bias.expand(result.shape)
            result.register_hook(partial(_hear, self.heard, shaped))  # type: ignore[no-untyped-call] # torch's own
        return result


def _hear(heard: Heard, bias: Tensor, gradient: Tensor) -> None:
    heard(bias, gradient)


def _convolved(axes: int) -> Callable[..., Tensor | None]:
    def own(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:  # noqa: ARG001 - all take three
        bias = args[2] if len(args) > 2 else kwargs.get("bias")
        return None if bias is None else bias.detach().view(-1, *[1] * axes)

    return own


_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_NORM_OF_TORCH = ("input", "weight", "bias", "running_mean", "running_var", *_NORM[5:])


def _normed(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    names = _NORM if func is F.batch_norm else _NORM_OF_TORCH
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    mean, variance, bias = given["running_mean"], given["running_var"], given.get("bias")
    if given.get("training") or mean is None or variance is None:
        return _mixed(func, args, kwargs)  # it takes mean and variance of what it is given
    shift: Tensor = -mean.double() / (variance.double() + given.get("eps", 1e-5)).sqrt()
    weight = given.get("weight")
    shift = shift if weight is None else shift * weight.double()
    shift = shift if bias is None else shift + bias.double()
    signal = given["input"]
    return shift.detach().to(signal.dtype).view(-1, *[1] * (signal.ndim - 2))


def _added(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """A constant beside one signal: what comes of a signal of zeros."""
    given = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor) and a.requires_grad]
    if len(given) != 1:
        return None
    (signal,) = given
    with torch.no_grad():

        def still(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            # Cloned: the call may work in place.
            return torch.zeros_like(signal) if value is signal else value.clone()

        constant = func(*map(still, args), **{k: still(v) for k, v in kwargs.items()})
    return constant if isinstance(constant, Tensor) else None


def _multiplied(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:  # noqa: ARG001
    pair = [a for a in (*args[:2], kwargs.get("other")) if isinstance(a, Tensor)]
    if len(pair) != 2 or not all(t.requires_grad for t in pair):
        return None
    return -(pair[0].detach() * pair[1].detach())


def _bent(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """f(z) - f'(z) z of a function that works cell by cell."""

    def along(value: Tensor, at: Tensor) -> Tensor:
        return torch.autograd.grad(value.sum(), at)[0] * at.detach()

    return _rest(func, args, kwargs, along)


def _mixed(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """f(z) - J z of a function that mixes cells."""

    def along(value: Tensor, at: Tensor) -> Tensor:
        # J z is the derivative by u of (u J) z, which is linear in u.
        start = torch.zeros_like(value, requires_grad=True)
        (pulled,) = torch.autograd.grad(value, at, start, create_graph=True)
        return torch.autograd.grad(pulled, start, at.detach())[0]

    return _rest(func, args, kwargs, along)


def _rest(
    func: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    along: Callable[[Tensor, Tensor], Tensor],
) -> Tensor | None:
    """A function of one signal less its slope along the signal; None where it is given none."""
    if "input" in kwargs:
        args, kwargs = (kwargs["input"], *args), {k: v for k, v in kwargs.items() if k != "input"}
    signal = args[0]
    if not isinstance(signal, Tensor) or not signal.requires_grad:
        return None
    with torch.enable_grad():
        at = signal.detach().requires_grad_(True)
        value = func(at.clone(), *args[1:], **kwargs)  # some work in place
        rest: Tensor = value.detach() - along(value, at)
        return rest


def _known() -> dict[Any, Callable[..., Tensor | None]]:
    known: dict[Any, Callable[..., Tensor | None]] = {
        F.linear: _convolved(0),
        F.batch_norm: _normed,
    }
    for axes in (1, 2, 3):
        known[getattr(F, f"conv{axes}d")] = known[getattr(F, f"conv_transpose{axes}d")] = (
            _convolved(axes)
        )
    known[torch.batch_norm] = _normed
    for name in ("add", "sub", "__add__", "__radd__", "__sub__", "__rsub__", "add_", "sub_", "__iadd__", "__isub__", "rsub"):  # fmt: skip
        known |= {getattr(home, name): _added for home in (torch, Tensor) if hasattr(home, name)}
    for name in ("mul", "multiply", "__mul__", "__rmul__", "mul_", "__imul__"):
        known |= {
            getattr(home, name): _multiplied for home in (torch, Tensor) if hasattr(home, name)
        }
    for name in ("gelu", "silu", "hardswish", "mish", "softplus", "elu", "celu", "selu", "relu6", "hardtanh", "hardsigmoid",
                 "logsigmoid", "threshold", "sigmoid", "tanh", "elu_", "hardtanh_"):  # fmt: skip
        known[getattr(F, name)] = _bent
    known |= {
        F.layer_norm: _mixed,
        F.group_norm: _mixed,
        F.instance_norm: _mixed,
        F.rms_norm: _mixed,
    }
    for name in ("sigmoid", "sigmoid_", "tanh", "tanh_", "clamp", "clamp_", "clip", "clip_"):
        known |= {getattr(home, name): _bent for home in (torch, Tensor)}
    return known


_KNOWN = _known()

# Operations of torch's graph whose share cannot be told from the call of one function.
_OTHERS = {
    "Softmax": "softmax", "LogSoftmax": "log-softmax", "SafeSoftmax": "softmax", "Exp": "exp", "Erf": "erf", "Log": "log",
    "Pow": "powers", "Sqrt": "square roots", "Rsqrt": "square roots", "Reciprocal": "reciprocals", "Var": "variances",
    "VarMean": "variances", "Std": "standard deviations", "LinalgVectorNorm": "norms", "Sin": "sine", "Cos": "cosine",
    "Glu": "GLU", "Softshrink": "softshrink", "Hardshrink": "hardshrink",
}  # fmt: skip
_TWO = {
    "Div": "quotients of signals",
    "Mm": "products of signals",
    "Bmm": "products of signals",
    "Convolution": "products of signals",
}


def undecomposed(output: Any) -> list[str]:
    """What stands in the graph behind a network's output whose share of it no layer's bias tells."""
    names: dict[str, None] = {}
    nodes, _ = graph_of(t.grad_fn for t in tree_leaves(output) if isinstance(t, Tensor))
    for node in nodes:
        kind = kind_of(node)
        if isinstance(node, BackwardCFunction):
            names[f"the custom function {kind}"] = None
        elif "Attention" in kind:
            names["softmax attention"] = None
        elif kind in _OTHERS:
            names[_OTHERS[kind]] = None
        elif (
            kind == "Div" and len(node.next_functions) > 1 and node.next_functions[1][0] is not None
        ):
            names["quotients of signals"] = None
        elif kind in _TWO and sum(source is not None for source, _ in node.next_functions[:2]) > 1:
            names[_TWO[kind]] = None
    return list(names)
