"""The full gradient: what the input and every bias of the network add to the score."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saliscope.engine import PIXELS, Question, Space, biases, grid_of, undecomposed
from saliscope.errors import MethodError
from saliscope.methods.base import Asking

__all__ = ["FullGrad"]


@dataclass(frozen=True, kw_only=True)
class FullGrad(Asking):
    """The sizes of all shares of the score: input times gradient, and every bias times the gradient where it is added.

    Without psi the shares sum to the score. psi takes the absolute value, scales it to [0, 1] by its smallest and largest
    (0 where all are equal), and upsamples bilinearly. With `rescale="channel"`, as the paper's formula is printed, each
    channel's map is scaled by itself; with "layer", as in the authors' program, all channels of a layer together. Biases
    of layers without a grid (the last linear ones) have no place in the picture and are left out.
    """

    name: ClassVar = "full-grad"
    title: ClassVar = "FullGrad"
    family: ClassVar = "full gradient"
    class_discriminative: ClassVar = True
    signed: ClassVar = False
    passes: ClassVar = "1 forward + 1 backward to the image"
    paper: ClassVar = "Srinivas and Fleuret 2019, Full-Gradient Representation"
    equation: ClassVar = "M = ψ(x ⊙ ∂y/∂x) + Σ_l Σ_c ψ(b^l_c ⊙ ∂y/∂z^l_c)   (eq. 8)"
    use: ClassVar = "a map of the whole network, every layer's share of the score in it, with the detail of the input"
    avoid: ClassVar = "a quick look: it hears of every layer; networks whose layers it does not know add up to the score no more"

    rescale: Literal["channel", "layer"] = "channel"

    def ask(self, question: Question) -> Tensor:
        shares = _Shares((question.images.shape[2], question.images.shape[3]), self.rescale)
        capture = question.capture((PIXELS,), rules=biases(shares.add))
        shares.space = capture.space  # all grids that the pass showed
        others = undecomposed((capture.output, capture.logits))
        if others:
            raise MethodError(
                f"{self.title} needs a network whose score is the sum of what its input and biases add, and this network has "
                f"{', '.join(others)}; use input-x-gradient or integrated-gradients"
            )
        maps: list[Tensor] = []
        for k, target in enumerate(question.targets):
            scores = target.scores(capture.output, capture.logits)
            last = k == len(question.targets) - 1
            shares.total = None
            gradient = capture.gradients(scores, layers=[PIXELS], last=last)[PIXELS]
            shares.place(capture.activations[PIXELS].float() * gradient.float())
            assert shares.total is not None
            maps.append(shares.total)
        return torch.stack(maps, 1)


@dataclass
class _Shares:
    """The sum of psi of all shares that have a grid, (B, H, W), as they arrive in one backward pass."""

    size: tuple[int, int]
    rescale: Literal["channel", "layer"]
    total: Tensor | None = field(default=None)
    space: Space = field(default_factory=lambda: Space(None))

    @torch.no_grad()
    def add(self, values: Tensor, gradient: Tensor) -> None:
        """Take in the share of a layer; one without a grid (a linear layer's) has no place in the picture."""
        share = values.float() * gradient.float()
        grid = grid_of(share, self.space)
        if grid is not None:
            self.place(grid)
        elif share.ndim == len(self.size) + 2:
            raise MethodError(
                f"FullGrad cannot tell how a share of shape {tuple(share.shape)} lies in the picture, and a map without it "
                "would not add up; use integrated-gradients, or another input size"
            )

    @torch.no_grad()
    def place(self, grid: Tensor) -> None:
        """Add psi of a share (B, C, h, w)."""
        share = grid.float().abs()
        axes = (2, 3) if self.rescale == "channel" else (1, 2, 3)
        least, most = share.amin(axes, keepdim=True), share.amax(axes, keepdim=True)
        unit = torch.where(most == least, 0.0, (share - least) / (most - least))
        summed = unit.sum(1, keepdim=True)  # before the upsampling, which is linear
        psi = F.interpolate(summed, self.size, mode="bilinear", align_corners=False)[:, 0]
        self.total = psi if self.total is None else self.total + psi
