"""The rest of a network: what it computes behind one layer, for other outputs of that layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from saliscope.engine.footprint import Footprint, Living
from saliscope.engine.grid import as_grid, first_tensor, with_first_tensor
from saliscope.engine.inputs import picture, with_picture
from saliscope.engine.space import Space
from saliscope.engine.tally import uncounted
from saliscope.errors import LayerError

if TYPE_CHECKING:
    from saliscope.engine.network import Network

__all__ = ["Answer", "Replacement", "Rest", "rest_of"]

_TRIED = 3  # variants that are asked both ways


@dataclass(frozen=True, eq=False)
class Answer:
    """What a network returned: its `output`, and the `logits` (n, N) read from it."""

    output: Any
    logits: Tensor


class Replacement:
    """Puts grids (n, C, h, w) in place of what one layer returns during one pass of one thread."""

    def __init__(self, layer: str, grids: Tensor, space: Space) -> None:
        self.wanted = frozenset((layer,))
        self.space = space
        self._grids: Tensor | None = grids

    def __call__(self, name: str, output: Any) -> Any:
        if self._grids is None:
            raise LayerError(
                f'layer "{name}" runs more than once in one pass, so nothing can take its place; choose a layer around '
                "it that `saliscope layers` lists"
            )
        own, grids = first_tensor(output), self._grids
        assert own is not None, "a layer with a grid returns a tensor"
        _, layout = as_grid(output, self.space, layer=name)
        whole = layout.restored(grids, own)
        like = torch.channels_last if own.ndim == 4 and own.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format  # fmt: skip
        self._grids = None
        return with_first_tensor(output, whole.to(own.dtype).contiguous(memory_format=like))

    @property
    def used(self) -> bool:
        """Whether the layer ran."""
        return self._grids is None


@dataclass(frozen=True)
class Rest:
    """How variants of one layer's output for one image are asked about, and the bytes each takes.

    `behind`: everything before the layer runs once, on one image, and the rest on all variants. Otherwise the image is
    repeated, since the network passes the layer by (concatenation), or counts its images before it.
    """

    behind: bool
    footprint: Footprint

    def ask(self, network: Network, inputs: Any, layer: str, grids: Tensor) -> Answer:
        """The answers to `grids` (n, C, h, w) in place of the layer's output; `inputs` are the arguments of one image."""
        own = picture(inputs)
        if not self.behind and own is not None and len(grids) > 1:
            rows = torch.zeros(len(grids), dtype=torch.long)
            inputs = with_picture(inputs, own[rows.to(own.device)], rows)
        return network.replaced(inputs, layer, grids)


def rest_of(network: Network, inputs: Any, layer: str, grid: Tensor) -> Rest:
    """Find out once for a layer how its variants can be asked about; `inputs` and `grid` (1, C, h, w) are of one image.

    Noise in place of the layer's output is asked about both ways. They have to agree: where a network mixes its images
    behind the layer, the short way gives other numbers, or none.
    """
    own = picture(inputs)
    shape = None if own is None else (tuple(own.shape), own.dtype, own.device)
    key = ("rest", layer, shape, tuple(grid.shape), grid.dtype)

    def find() -> Rest:
        with uncounted():
            return _find(network, inputs, layer, grid)

    return network.once(key, find)


def _find(network: Network, inputs: Any, layer: str, grid: Tensor) -> Rest:
    noise = torch.rand(_TRIED, *grid.shape[1:], generator=torch.Generator().manual_seed(0))
    scale = grid.float().abs().amax().nan_to_num(1.0, 1.0).clamp(min=1e-3)
    grids = (noise.to(grid.device) * scale).to(grid.dtype)
    repeated, behind = Rest(False, Footprint(0)), Rest(True, Footprint(0))
    with Living() as living:
        expected = _numbers(repeated.ask(network, inputs, layer, grids))
    long = Rest(False, Footprint(living.peak // _TRIED + grids[0].nbytes + _size_of(inputs)))
    try:
        with Living() as living:
            found = _numbers(behind.ask(network, inputs, layer, grids))
    except (
        Exception
    ):  # whatever a network makes of one image before the layer and several behind it
        return long
    rounding = max(1e-4, 8 * torch.finfo(grid.dtype).eps)
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape or bool(((one - other).abs() > rounding * other.abs().max()).any()):  # fmt: skip
            return long
    # The peak may be that of the one image before the layer, or of the variants behind it.
    more, peak = grids.repeat(4, 1, 1, 1), living.peak
    with Living() as living:
        behind.ask(network, inputs, layer, more)
    drawn = more[0].nbytes  # the variants themselves
    each = max((living.peak - peak) // (len(more) - _TRIED), drawn)
    return Rest(True, Footprint(each + drawn, max(0, peak - _TRIED * each)))


def _size_of(inputs: Any) -> int:
    own = picture(inputs)
    return 0 if own is None else own[0].nbytes


def _numbers(answer: Answer) -> list[Tensor]:
    """All that a target may be made of."""
    leaves = tree_leaves((answer.output, answer.logits))
    return [t.float() for t in leaves if isinstance(t, Tensor) and t.is_floating_point()]
