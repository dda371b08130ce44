"""Early exits: what a transformer says of the tokens of every block, from one forward pass."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from saliscope.engine.blocks import Blocks
from saliscope.engine.grid import first_tensor, with_first_tensor
from saliscope.engine.space import Space

__all__ = ["Exits"]


class Exits:
    """Puts the tokens of the `chosen` blocks, one batch behind the other, in place of what the last block returns.

    What stands behind the blocks then sees every one as if it were the last. Each block starts from tokens without a
    graph, equal in value, so that what is read of a block depends on its own attention only. With `mean` every token is
    replaced by the mean of all, which is what any pooling then returns. `ran` are the blocks that ran, in order.
    """

    def __init__(
        self, blocks: Blocks, chosen: Collection[int], space: Space, *, mean: bool
    ) -> None:
        self.wanted = frozenset(blocks.names)
        self.space = space
        self.ran: list[str] = []
        self._blocks, self._mean = blocks, mean
        self._chosen = {blocks.names[i] for i in chosen}
        self._tokens: list[Tensor] = []

    def __call__(self, name: str, output: Any) -> Any:
        tokens = first_tensor(output)
        assert tokens is not None, "a block returns tokens"
        self.ran.append(name)
        if name in self._chosen:
            self._tokens.append(self._read(tokens))
        if name != self._blocks.names[-1]:
            return tree_map_only(Tensor, lambda t: t.detach().clone(), output)
        found, self._tokens = self._tokens, []
        return with_first_tensor(output, torch.cat(found, self._blocks.axis).to(tokens.dtype))

    def _read(self, tokens: Tensor) -> Tensor:
        if not self._mean:
            return tokens
        wide = torch.promote_types(tokens.dtype, torch.float32)
        mean = tokens.mean(1 - self._blocks.axis, keepdim=True, dtype=wide)
        return mean.to(tokens.dtype).expand_as(tokens)
