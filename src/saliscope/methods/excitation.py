"""Excitation backprop: a probability passed down through the excitatory connections of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from saliscope.engine import (
    PIXELS,
    Capture,
    LinearMap,
    Propagation,
    Question,
    divided,
    picture,
    refuse_unseen,
)
from saliscope.errors import LayerError, MethodError
from saliscope.methods.base import Asking
from saliscope.methods.layers import average

__all__ = ["MWP", "ContrastiveMWP"]


class Winners:
    """Passes marginal winning probabilities down: to each input of a unit its share of what excites the unit.

    P(a_i | a_j) = Z_j (a_i w_ij)+, which is a_i w_ij+ of the paper wherever activations are not negative. Inputs are held
    twice: in the first half of the batch a unit's probability speaks of what raises its value, in the second of what lowers
    it. The second half is there for what the paper's networks do not have: a negative scale behind a linear map, whose
    unit is excited by its negative weights, and activations below 0, whose share goes to what lowers them. A unit that
    nothing excites, but its bias, passes nothing on: its mass is dropped, as in the paper.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.above = False  # whether the classifier of a contrast is yet to be reached

    def run(self, op: LinearMap, values: Tensor) -> Tensor:
        half = op.run(values[: len(values) // 2], op.weight, op.bias)
        return torch.cat([half, half])

    def through(self, op: LinearMap, values: Tensor, back: Tensor) -> Tensor:
        half = values[: len(values) // 2]
        half = half / _largest(half)  # shares do not depend on it, and small numbers stay in range
        up, down = back.chunk(2)
        plus, minus = half.relu(), (-half).relu()
        if op.weight is None:
            self._check(f'"{op.name}"')
            raised, lowered = _shares(op, up, [(plus, None)]), _shares(op, down, [(minus, None)])
            return torch.cat([*raised, *lowered])
        self.above = False
        weight = op.weight.to(values.dtype)
        weight = weight / weight.abs().amax().clamp_min(torch.finfo(weight.dtype).tiny)
        excite, inhibit = weight.relu(), (-weight).relu()
        signed = bool(minus.any())
        found = [torch.zeros_like(half), torch.zeros_like(half)]
        for given, same, other in ((up, excite, inhibit), (down, inhibit, excite)):
            if bool(given.any()):
                parts = [(plus, same), (minus, other)] if signed else [(plus, same)]
                for i, share in enumerate(_shares(op, given, parts)):
                    found[i] = found[i] + share
        return torch.cat(found)

    def summands(
        self, values: Sequence[Tensor], signs: Sequence[float], back: Tensor
    ) -> list[Tensor]:
        self._check("addition")
        up, down = back.chunk(2)
        terms = [v[: len(up)] * sign for v, sign in zip(values, signs, strict=True)]
        plus, minus = [t.relu() for t in terms], [(-t).relu() for t in terms]
        total, deficit = torch.stack(plus).sum(0), torch.stack(minus).sum(0)
        found = []
        for raising, lowering, sign in zip(plus, minus, signs, strict=True):
            both = [divided(raising, total) * up, divided(lowering, deficit) * down]
            found.append(torch.cat(both if sign > 0 else both[::-1]))
        return found

    def activation(self, before: Tensor, after: Tensor, back: Tensor) -> Tensor:
        self._check("an activation")
        up, down = back.chunk(2)
        before, after = before[: len(up)], after[: len(up)]
        return torch.cat([up * ((before > 0) & (after > 0)), down * ((before < 0) & (after < 0))])

    def scaled(self, factor: Tensor, back: Tensor) -> Tensor:
        up, down = back.chunk(2)
        if factor.ndim == back.ndim and len(factor) == len(back):
            factor = factor[: len(up)]
        turned, kept = factor < 0, factor > 0
        return torch.cat([up * kept + down * turned, down * kept + up * turned])

    def shifted(self, values: Tensor, total: Tensor, back: Tensor) -> Tensor:  # noqa: ARG002 - biases win nothing
        return back

    def _check(self, what: str) -> None:
        if self.above:
            raise MethodError(
                f"{self.title} contrasts a class with its negated weights, and here {what} stands behind the classifier, "
                "which has no such opposite; use mwp"
            )


def _shares(
    op: LinearMap, given: Tensor, parts: Sequence[tuple[Tensor, Tensor | None]]
) -> list[Tensor]:
    """For each of the inputs, none negative, its shares of what is given to the units that read it through the weights."""
    with torch.enable_grad():
        read = [values.detach().requires_grad_(True) for values, _ in parts]
        sums = [op.run(x, weight, None) for x, (_, weight) in zip(read, parts, strict=True)]
    total = torch.stack([s.detach() for s in sums]).sum(0)
    each = divided(given, total)
    slopes = torch.autograd.grad(sums, read, [each] * len(sums))
    return [x.detach() * slope for x, slope in zip(read, slopes, strict=True)]


def _largest(values: Tensor) -> Tensor:
    """The largest absolute value of each row, and 1 for a row of zeros."""
    found = values.abs().flatten(1).amax(1).view(-1, *[1] * (values.ndim - 1))
    return found.masked_fill(found == 0, 1)


@dataclass(frozen=True, kw_only=True)
class Excitation(Asking):
    """The facts that MWP and its contrast share."""

    family: ClassVar = "propagation"
    at_layer: ClassVar[bool] = True
    class_discriminative: ClassVar = True
    paper: ClassVar = "Zhang et al. 2016, Top-down Neural Attention by Excitation Backprop"

    @property
    def logits_only(self) -> str:
        return "starts from one class unit"


@dataclass(frozen=True, kw_only=True)
class MWP(Excitation):
    """The probability that a walk from the class down the excitatory connections passes a cell of the layer.

    It begins as 1 at the class and is shared at each unit among what excites it: P(a_i) = sum_j P(a_j) a_i w_ij+ / z_j with
    z_j = sum_i a_i w_ij+. Channels are summed. On a trunk the map sums to 1 less what units passed that nothing but their
    bias excites; on a branch, to the share of that branch. Networks whose activations may be negative (linear
    bottlenecks, SiLU) get the rule for signed activations that docs/formulas.md derives.
    """

    name: ClassVar = "mwp"
    title: ClassVar = "MWP"
    signed: ClassVar = False
    passes: ClassVar = "1 forward of twice the batch + 1 backward to the layer"
    equation: ClassVar = "P(a_i) = Σ_j a_i w⁺_ij P(a_j) / Σ_k a_k w⁺_kj   (eqs. 1 to 3)"
    use: ClassVar = "which units win on the way down from a class, in networks of ReLUs"
    avoid: ClassVar = (
        "telling classes apart: much of the mass is common to them all; take the contrastive one"
    )

    def ask(self, question: Question) -> Tensor:
        walk = _Walk(question, self.title)
        return torch.stack([walk.map(k) for k in range(len(question.targets))], 1)


@dataclass(frozen=True, kw_only=True)
class ContrastiveMWP(Excitation):
    """MWP of the class less MWP of its opposite: a unit whose weights are the class's with their signs turned.

    What excites any class cancels. Both are divided by their sum, so that the signed map sums to 0; the paper keeps the
    positive part (`relu`). The opposite exists right below the class's own weights, whatever number of linear layers follow.
    """

    name: ClassVar = "c-mwp"
    title: ClassVar = "c-MWP"
    signed: ClassVar = True
    passes: ClassVar = "1 forward of twice the batch + 2 backward to the layer"
    equation: ClassVar = "M = ReLU(MWP(c) − MWP(c̄)),  c̄ the unit with weights −w_c   (section 3.3)"
    use: ClassVar = "telling classes apart with the whole network's wiring, in networks of ReLUs"
    avoid: ClassVar = "networks with other activations, where the probabilities have no meaning"

    relu: bool = True

    def ask(self, question: Question) -> Tensor:
        walk = _Walk(question, self.title)
        return torch.stack([walk.contrast(k) for k in range(len(question.targets))], 1)


class _Walk:
    """One pass of a batch whose probabilities can be asked at the layers of a question."""

    def __init__(self, question: Question, title: str) -> None:
        given = picture(question.inputs)
        assert given is not None, "a question has a picture"
        batch = len(given)
        self.question, self.title, self.carrier = question, title, Winners(title)
        layers = list(dict.fromkeys([PIXELS, *question.layers]))
        twice = torch.cat([given, given])
        rows = torch.arange(batch).repeat(2)
        self.capture: Capture = question.capture(
            layers, rules=lambda: Propagation(self.carrier), pictures=twice, rows=rows
        )
        refuse_unseen(self.capture.logits, title)
        self.scores = question.scores(self.capture, rows)
        # Of the smallest shares, float16 keeps those above 2^-24.
        self.unit = 2.0**15 if self.scores.dtype == torch.float16 else 1.0

    def map(self, k: int) -> Tensor:
        """The map (B, h, w) of what excites target `k`."""
        return _together(list(self._masses(k, opposite=False).values()))

    def contrast(self, k: int) -> Tensor:
        """The signed map (B, h, w) of what excites target `k` more than its opposite."""
        own, opposite = self._masses(k, opposite=False), self._masses(k, opposite=True)
        return _together([_normalised(own[n]) - _normalised(opposite[n]) for n in own])

    def _masses(self, k: int, *, opposite: bool) -> dict[str, Tensor]:
        half = len(self.scores) // 2
        start = self.scores[half:, k] if opposite else self.scores[:half, k]
        self.carrier.above = opposite
        try:
            found = self.capture.gradients(start * self.unit, layers=self.question.layers)
        except LayerError as err:
            raise MethodError(
                f"{self.title} gives no mass to one of the layers {', '.join(self.question.layers)}: it stands behind the "
                "class, or in a gate, whose mass goes to what it gates"
            ) from err
        both = {n: g.float().sum(1) / self.unit for n, g in found.items()}
        return {n: mass[:half] + mass[half:] for n, mass in both.items()}


def _together(maps: list[Tensor]) -> Tensor:
    return maps[0] if len(maps) == 1 else average(maps)


def _normalised(masses: Tensor) -> Tensor:
    """Divided by the sum of each (B, h, w); NaN where nothing arrived, which has no distribution."""
    return masses / masses.sum((1, 2), keepdim=True)
