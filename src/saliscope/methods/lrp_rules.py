"""How layer-wise relevance propagation shares the relevance of a unit among its inputs, rule by rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saliscope.engine import LinearMap, divided

__all__ = ["COMPOSITES", "Composite", "Relevance"]


@dataclass(frozen=True)
class Composite:
    """Which rule holds where: in linear layers, in convolutions, and in the convolution that reads the picture."""

    dense: str
    conv: str
    first: str


COMPOSITES = {
    "epsilon": Composite("epsilon", "epsilon", "epsilon"),
    "epsilon-plus": Composite("epsilon", "plus", "plus"),
    "epsilon-plus-flat": Composite("epsilon", "plus", "flat"),
    "epsilon-plus-squares": Composite("epsilon", "plus", "squares"),
    "epsilon-gamma-box": Composite("epsilon", "gamma", "box"),
}


class Relevance:
    """Passes relevance back by a composite of rules; what has no weights (pooling, addition) follows that of convolutions.

    `epsilon` is a share of the root mean square of a layer's outputs, one for each image: no absolute number, so that a
    scaled network has the same map.
    """

    def __init__(self, title: str, composite: Composite, *, epsilon: float, gamma: float) -> None:
        self.title, self.composite, self.epsilon, self.gamma = title, composite, epsilon, gamma

    def run(self, op: LinearMap, values: Tensor) -> Tensor:
        return op.run(values, op.weight, op.bias)

    def through(self, op: LinearMap, values: Tensor, back: Tensor) -> Tensor:
        c = self.composite
        rule = c.dense if op.dense else c.first if op.first else c.conv
        by_name: dict[str, Callable[[LinearMap, Tensor, Tensor], Tensor]] = {
            "epsilon": self._epsilon,
            "plus": self._plus,
            "gamma": self._gamma,
            "flat": _flat,
            "squares": _squares,
            "box": _box,
        }
        return by_name[rule](op, values, back)

    def summands(
        self, values: Sequence[Tensor], signs: Sequence[float], back: Tensor
    ) -> list[Tensor]:
        terms = [v * sign for v, sign in zip(values, signs, strict=True)]
        if self.composite.conv == "epsilon":
            total = torch.stack(terms).sum(0)
            each = divided(back, self._stable(total))
            return [t * each for t in terms]
        plus, minus = [t.relu() for t in terms], [(-t).relu() for t in terms]
        sums = torch.stack(plus).sum(0), torch.stack(minus).sum(0)
        for_plus, for_minus = _favoured(*sums, None, back, *self._coefficients())
        return [p * for_plus + m * for_minus for p, m in zip(plus, minus, strict=True)]

    def activation(self, before: Tensor, after: Tensor, back: Tensor) -> Tensor:  # noqa: ARG002 - one input gets all
        return back

    def scaled(self, factor: Tensor, back: Tensor) -> Tensor:  # noqa: ARG002 - one input gets all
        return back

    def shifted(self, values: Tensor, total: Tensor, back: Tensor) -> Tensor:
        if self.composite.conv != "epsilon":  # a bias gets nothing by the other rules
            return back
        return values * divided(back, self._stable(total))

    def _stable(self, total: Tensor) -> Tensor:
        """A denominator pushed away from 0 by `epsilon` times the root mean square of its image's."""
        scale = total.square().flatten(1).mean(1).sqrt().view(-1, *[1] * (total.ndim - 1))
        return total + self.epsilon * scale * torch.where(total < 0, -1.0, 1.0).to(total.dtype)

    def _epsilon(self, op: LinearMap, values: Tensor, back: Tensor) -> Tensor:
        """R_i = sum_j a_i w_ij R_j / (z_j + epsilon sign z_j), where z_j has its bias."""
        weight, bias = op.weights(values.dtype), op.offset(values.dtype)
        with torch.enable_grad():
            read = values.detach().requires_grad_(True)
            total = op.run(read, weight, bias)
        each = divided(back, self._stable(total.detach()))
        (slope,) = torch.autograd.grad(total, read, each)
        return values * slope

    def _coefficients(self) -> tuple[float, float]:
        """How much all contributions count, and how much more those that favour the unit."""
        return (0.0, 1.0) if self.composite.conv == "plus" else (1.0, self.gamma)

    def _gamma(self, op: LinearMap, values: Tensor, back: Tensor) -> Tensor:
        return _favouring(op, values, back, 1.0, self.gamma, op.offset(values.dtype))

    def _plus(self, op: LinearMap, values: Tensor, back: Tensor) -> Tensor:
        return _favouring(op, values, back, 0.0, 1.0, None)


def _favouring(
    op: LinearMap,
    values: Tensor,
    back: Tensor,
    all_count: float,
    favour: float,
    bias: Tensor | None,
) -> Tensor:
    """Shares by contributions, `favour` times more by those of the unit's own sign.

    For a unit z_j >= 0: R_i = sum_j (c a_i w_ij + g (a_i w_ij)+) R_j / (the same summed over i, and the bias); for
    z_j < 0 with the negative part in place of the positive. With inputs and units that are not negative, c = 1 and g = gamma
    is LRP-gamma, and c = 0 is z+ (alpha 1, beta 0).
    """
    weight = op.weights(values.dtype)
    plus, minus = values.relu(), (-values).relu()
    excite, inhibit = (None, None) if weight is None else (weight.relu(), (-weight).relu())
    with torch.enable_grad():
        read = [v.detach().requires_grad_(True) for v in (plus, minus)]
        if weight is None:
            raising, lowering = op.run(read[0], None, None), op.run(read[1], None, None)
        else:
            raising = op.run(read[0], excite, None) + op.run(read[1], inhibit, None)
            lowering = op.run(read[0], inhibit, None) + op.run(read[1], excite, None)
    sign = None if weight is None else _sign_with_bias(op, raising, lowering)
    if bias is not None:
        bias = bias.view(1, -1, *[1] * (raising.ndim - 2)) if not op.dense else bias
    each = _favoured(raising.detach(), lowering.detach(), bias, back, all_count, favour, sign)
    slopes = torch.autograd.grad([raising, lowering], read, list(each))
    return plus * slopes[0] + minus * slopes[1]


def _sign_with_bias(op: LinearMap, raising: Tensor, lowering: Tensor) -> Tensor:
    total = raising.detach() - lowering.detach()
    bias = op.offset(total.dtype)
    if bias is None:
        return total
    return total + (bias if op.dense else bias.view(1, -1, *[1] * (total.ndim - 2)))


def _favoured(
    raising: Tensor,
    lowering: Tensor,
    bias: Tensor | None,
    back: Tensor,
    all_count: float,
    favour: float,
    sign: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What each raising and each lowering contribution is multiplied by, from their sums, none of them negative."""
    total = raising - lowering if sign is None else sign
    positive = total >= 0
    sum_all = raising - lowering
    above, below = raising, lowering
    if bias is not None:
        sum_all = sum_all + bias
        above, below = raising + bias.relu(), lowering + (-bias).relu()
    up = divided(back * positive, all_count * sum_all + favour * above)
    down = divided(back * ~positive, favour * below - all_count * sum_all)
    both = all_count + favour
    return both * up - all_count * down, both * down - all_count * up


def _flat(op: LinearMap, values: Tensor, back: Tensor) -> Tensor:
    """Even shares for all inputs of a unit: the rule for a picture where values mean nothing by their size."""
    assert op.weight is not None
    return _by_weight(op, values, back, torch.ones_like(op.weight, dtype=values.dtype))


def _squares(op: LinearMap, values: Tensor, back: Tensor) -> Tensor:
    """Shares w_ij^2 / sum_k w_kj^2, for inputs of any sign (Montavon et al. 2017)."""
    weight = op.weights(values.dtype)
    assert weight is not None
    return _by_weight(op, values, back, weight.square())


def _by_weight(op: LinearMap, values: Tensor, back: Tensor, weight: Tensor) -> Tensor:
    with torch.enable_grad():
        ones = torch.ones_like(values).requires_grad_(True)
        total = op.run(ones, weight, None)
    (slope,) = torch.autograd.grad(total, ones, divided(back, total.detach()))
    return slope


def _box(op: LinearMap, values: Tensor, back: Tensor) -> Tensor:
    """z^B: contributions x_i w_ij - l_i w_ij+ - h_i w_ij-, where l and h are the least and the largest of each channel."""
    weight = op.weights(values.dtype)
    assert weight is not None
    over = tuple(range(2, values.ndim))
    low, high = values.amin(over, keepdim=True), values.amax(over, keepdim=True)
    parts = [values, low.expand_as(values), high.expand_as(values)]
    with torch.enable_grad():
        read = [p.detach().clone().requires_grad_(True) for p in parts]
        total = op.run(read[0], weight, None) - op.run(read[1], weight.relu(), None)
        total = total + op.run(read[2], (-weight).relu(), None)
    slopes = torch.autograd.grad(total, read, divided(back, total.detach()))
    return torch.stack([p * s for p, s in zip(parts, slopes, strict=True)]).sum(0)
