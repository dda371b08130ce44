"""Which activations a network has, read from the graph of one forward pass: nothing that ran can hide."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.utils._pytree import tree_leaves

from saliscope.engine.rules import Rectified

__all__ = ["Unruled", "graph_of", "kind_of", "unruled"]

# Operations that bend the signal otherwise than a ReLU, by the names of torch's graph.
_OTHERS = {
    "Gelu": "GELU", "Silu": "SiLU", "Hardswish": "Hardswish", "Mish": "Mish", "Tanh": "tanh", "Softplus": "softplus",
    "LogSigmoid": "log-sigmoid", "LeakyRelu": "leaky ReLU", "PreluKernel": "PReLU", "RreluWithNoise": "RReLU",
    "Elu": "ELU", "Celu": "CELU", "Glu": "GLU", "Softshrink": "softshrink", "Hardshrink": "hardshrink",
    "Hardtanh": "hardtanh", "Threshold": "threshold", "Sigmoid": "sigmoid", "Hardsigmoid": "hardsigmoid",
    "Softmax": "softmax", "LogSoftmax": "log-softmax", "SafeSoftmax": "softmax", "Erf": "erf", "Exp": "exp",
    "Sin": "sine", "Cos": "cosine", "Relu": "ReLU inside compiled code",
    "Where": "torch.where", "MaskedFill": "masked_fill", "Abs": "absolute value",
}  # fmt: skip
_GATES = ("Sigmoid", "Hardsigmoid")
_LAST = ("Sigmoid", "Softmax", "LogSoftmax", "LogSigmoid", "Exp")
_PASSING = (
    *("Expand", "View", "UnsafeView", "Alias", "ReshapeAlias", "Clone", "ToCopy", "Unsqueeze"),
    *("Squeeze", "Select", "Slice", "Permute", "T", "Transpose", "NativeDropout"),
)
_UNARY = (*_GATES, "Add", "Sub", "Rsub", "Div", "Mul", "Tanh", "Softplus", "Hardtanh", "Clamp")


@dataclass
class Unruled:
    """The ReLUs that follow a rule, by their number, and all other activations, by their names.

    `depends`: whether the output depends on the input at all.
    """

    depends: bool
    rectifiers: int = 0
    others: list[str] = field(default_factory=list)


def unruled(output: Any) -> Unruled:
    """Look through the graph behind a network's output for activations that are no ReLU under a rule.

    A sigmoid that only scales another signal (squeeze and excitation) is a gate, not an activation, and one at the end,
    or a softmax there, is what the network answers: neither is counted. x sigmoid(x), written out, is.
    """
    nodes, readers = graph_of(t.grad_fn for t in tree_leaves(output) if isinstance(t, Tensor))
    found = Unruled(depends=bool(nodes))
    names: dict[str, None] = {}
    for node in nodes:
        kind = kind_of(node)
        if getattr(type(node), "_forward_cls", None) is Rectified:
            found.rectifiers += 1
        elif isinstance(node, BackwardCFunction):
            names[f"the custom function {kind}"] = None
        elif "Attention" in kind:
            names["softmax attention"] = None
        elif kind == "Mul" and _gates_itself(node):
            names["a signal times a function of itself, as in SiLU"] = None
        elif kind in _OTHERS and not _excused(node, kind, readers):
            names[_OTHERS[kind]] = None
    found.others = list(names)
    return found


def graph_of(roots: Iterable[Any]) -> tuple[list[Any], dict[Any, list[Any]]]:
    """All nodes behind the roots, and which nodes read each of them."""
    waiting = [node for node in roots if node is not None]
    nodes: dict[Any, None] = dict.fromkeys(waiting)
    readers: dict[Any, list[Any]] = {}
    while waiting:
        node = waiting.pop()
        for source, _ in node.next_functions:
            if source is None:
                continue
            readers.setdefault(source, []).append(node)
            if source not in nodes:
                nodes[source] = None
                waiting.append(source)
    return list(nodes), readers


def kind_of(node: Any) -> str:
    return re.sub(r"Backward\d*$", "", type(node).__name__)


def _excused(node: Any, kind: str, readers: dict[Any, list[Any]]) -> bool:
    """Whether a function of the signal is the answer of the network, or only scales another signal."""
    ends = _ends(node, readers)
    if kind in _LAST and not ends:
        return True
    return kind in _GATES and bool(ends) and all(kind_of(end) == "Mul" for end in ends)


def _ends(node: Any, readers: dict[Any, list[Any]]) -> list[Any]:
    """What reads a node's result, behind what only passes it on."""
    found: list[Any] = []
    for reader in readers.get(node, ()):
        found += _ends(reader, readers) if kind_of(reader) in _PASSING else [reader]
    return found


def _gates_itself(product: Any) -> bool:
    """Whether one factor of a product is a function of the other: x sigmoid(x), x relu6(x + 3) / 6, x tanh(softplus(x))."""
    factors = product.next_functions
    if len(factors) != 2 or any(node is None for node, _ in factors):
        return False
    return any(_made_from(factors[i][0], factors[1 - i]) for i in (0, 1))


def _made_from(node: Any, other: tuple[Any, int]) -> bool:
    """Whether a chain of functions of one variable leads from a node back to `other`, through an activation."""
    bent = False
    while True:
        kind = kind_of(node)
        rectifier = getattr(type(node), "_forward_cls", None) is Rectified
        sources = [pair for pair in node.next_functions if pair[0] is not None]
        if len(sources) != 1 or not (rectifier or kind in _UNARY):
            return False
        bent |= rectifier or kind not in ("Add", "Sub", "Rsub", "Div", "Mul")
        if sources[0] == other:
            return bent
        node = sources[0][0]
