"""Gradients of many variants of each image of a batch, several variants in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from saliscope.engine import Question

__all__ = ["gradients_of"]


def gradients_of(
    question: Question, layers: Sequence[str], variants: Iterable[Tensor]
) -> Iterator[list[dict[str, Tensor]]]:
    """Yield for each variant (B, C, H, W) of the batch, in order, the K targets' gradients by layer.

    Each is (B, C, h, w) float32. As many variants go in one pass as the budget allows, at least one; a target that is a
    function of the user's own is asked about one batch at a time.
    """
    batch = len(question.images)
    # A pass that keeps its graph holds every layer, not only the widest.
    step = max(1, question.at_once() // (2 * batch)) if question.together else 1
    waiting = iter(variants)
    while chunk := list(islice(waiting, step)):
        rows = torch.arange(batch).repeat(len(chunk)) if len(chunk) > 1 else None
        capture = question.capture(layers, pictures=torch.cat(chunk), rows=rows)
        found = question.gradients(capture, layers, rows)
        for i in range(len(chunk)):
            own = slice(i * batch, (i + 1) * batch)
            yield [{name: g[own] for name, g in target.items()} for target in found]
