"""What a layer returned, as a grid over the image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor

from saliscope.engine.space import Shape, Space, halved
from saliscope.errors import LayerError

__all__ = ["Layout", "as_grid", "first_tensor", "grid_of", "layout_of", "with_first_tensor"]


def first_tensor(output: Any) -> Tensor | None:
    """The tensor a layer's output stands for: itself, or the first entry of a tuple or list."""
    if isinstance(output, list | tuple) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None


def with_first_tensor(output: Any, tensor: Tensor) -> Any:
    """`output` with its first tensor replaced, of the same type."""
    if isinstance(output, Tensor):
        return tensor
    rest = [tensor, *output[1:]]
    return type(output)(*rest) if hasattr(output, "_fields") else type(output)(rest)


@dataclass(frozen=True)
class Layout:
    """Where a layer's output holds the cells of a grid of `shape`: (h, w), (l,) or (d, h, w).

    `order`: channels `first` (B, C, ...), channels `last` (B, ..., C), `tokens` (B, N, C), row by row behind `prefix`
    other tokens, or the same with the `sequence` first (N, B, C).
    """

    shape: Shape
    order: Literal["first", "last", "tokens", "sequence"]
    prefix: int = 0

    def view(self, tensor: Tensor) -> Tensor:
        """The output as (B, C, h, w); a signal is one row of cells, a volume has (d, h * w)."""
        if self.order == "sequence":
            tensor = tensor.transpose(0, 1)
        if self.order in ("tokens", "sequence"):
            cells = tensor[:, self.prefix :].transpose(1, 2)
            tensor = cells.reshape(*cells.shape[:2], *self.shape)
        if self.order == "last":
            tensor = tensor.movedim(-1, 1)
        return tensor[:, :, None] if len(self.shape) == 1 else tensor.flatten(3)

    def restored(self, grids: Tensor, like: Tensor) -> Tensor:
        """What `view` takes `grids` (n, C, h, w) from; other tokens are those of `like`, of n images or of one."""
        cells = grids.reshape(*grids.shape[:2], *self.shape)
        if self.order == "first":
            return cells
        if self.order == "last":
            return cells.movedim(1, -1)
        tokens = cells.flatten(2).transpose(1, 2)
        own = like.transpose(0, 1) if self.order == "sequence" else like
        front = own[:, : self.prefix].expand(len(tokens), -1, -1)
        whole = torch.cat([front, tokens.to(front.dtype)], 1)
        return whole.transpose(0, 1) if self.order == "sequence" else whole


def grid_of(tensor: Tensor | None, space: Space) -> Tensor | None:
    """View a layer's output as (B, C, h, w), or None where it is no grid."""
    found = layout_of(tensor, space)
    return found.view(tensor) if isinstance(found, Layout) and tensor is not None else None


def as_grid(output: Any, space: Space, *, layer: str) -> tuple[Tensor, Layout]:
    """Like `grid_of`, with the layout, but raise `LayerError` where the output has no grid to draw."""
    tensor = first_tensor(output)
    found = layout_of(tensor, space)
    if tensor is None or isinstance(found, str):
        what = type(output).__name__ if tensor is None else f"a tensor of shape {_text(tensor)}"
        raise LayerError(
            f'layer "{layer}" returns {what}, not a grid (batch, channels, height, width){found or ""}; choose a layer that '
            "`saliscope layers` lists"
        )
    return found.view(tensor), found


def layout_of(tensor: Tensor | None, space: Space) -> Layout | str:
    """Find the grid in a layer's output, or say as the rest of a sentence why there is none.

    The grid is one that a convolution or pooling of the same pass returned, or one that merging neighbours makes of it;
    where none fits, one with the aspect ratio of the input. Channels first goes before channels last. Tokens must be as
    many as such a grid has cells, or as many more as the network puts in front.
    """
    if tensor is None or not tensor.is_floating_point():
        return ""
    if space.size is None:
        return Layout(tuple(tensor.shape[2:]), "first") if tensor.ndim == 4 else ""
    dims = len(space.size)
    if tensor.ndim == 3 and dims > 1:
        return _tokens(tensor, space)
    if tensor.ndim != dims + 2:
        return ""
    return _parts(space) if space.batch not in (None, len(tensor)) else _dense(tensor, space)


def _dense(tensor: Tensor, space: Space) -> Layout | str:
    """The grid of an output with an axis for each of the input's: channels first or last."""
    first, last = tuple(tensor.shape[2:]), tuple(tensor.shape[1:-1])
    known = {*space.seen, *halved(space.seen)}
    seen = [
        Layout(first, "first") if first in known else None,
        Layout(last, "last") if last in known else None,
    ]
    if found := next(filter(None, seen), None):
        return found
    if tuple(tensor.shape[1:]) == (space.channels, *(space.size or ())):
        return Layout(first, "first")  # the picture, only changed
    if tensor.ndim == 3:
        tokens = _tokens(tensor, space)
        return tokens if isinstance(tokens, Layout) or space.seen else Layout(first, "first")
    if tensor.ndim == 4 and tensor.shape[2] in _lengths(space):
        return ": these are attention heads with a vector or a row of weights for each token"
    return _by_aspect(first, last, space)


def _by_aspect(first: Shape, last: Shape, space: Space) -> Layout | str:
    assert space.size is not None
    if not _fits(first, space.size) and _fits(last, space.size):
        return Layout(last, "last")
    if _fits(first, space.size) or not space.seen:
        return Layout(first, "first")
    return f": neither {first} nor {last} is a grid that a convolution returned or has the aspect of the input"


def _tokens(tensor: Tensor, space: Space) -> Layout | str:
    """The grid of tokens (B, N, C), or (N, B, C) where the first axis is not the batch and the second is."""
    rows, tokens = tensor.shape[:2]
    order: Literal["tokens", "sequence"] = "tokens"
    if rows != space.batch:
        if tokens != space.batch:
            return _parts(space)
        rows, tokens, order = tokens, rows, "sequence"
    found = _matches(tokens, space)
    if len(found) == 1:
        ((shape, prefix),) = found
        return Layout(shape, order, prefix)
    if found:
        shapes = " or ".join(str(shape) for shape, _ in sorted(found))
        return f": {tokens} tokens may be a grid of {shapes}"
    seen = ", ".join(map(str, _aligned(space))) or "none"
    front = " or ".join(map(str, sorted(space.prefix))) or "an unknown number"
    return (
        f": {tokens} tokens are not those of a grid in this pass ({seen}), alone or behind {front} of other tokens. Where "
        "the network puts more in front of its patches, set its attribute num_prefix_tokens; where tokens were dropped or "
        "shuffled there is no grid"
    )


def _matches(tokens: int, space: Space) -> set[tuple[Shape, int]]:
    """The grids, with the tokens in front of them, that explain a number of tokens."""
    known = _aligned(space)
    for shapes in (known, halved(known)):
        if found := _explained(tokens, shapes, space.prefix):
            return found
    if known or space.size is None or len(space.size) != 2:
        return set()
    height, width = space.size
    sides = [(s, front) for front in {0, *space.prefix} for s in _divided(tokens - front)]
    exact = {(s, front) for s, front in sides if s[0] * width == s[1] * height}
    return exact or {(s, front) for s, front in sides if _fits(s, space.size)}


def _explained(
    tokens: int, shapes: Iterable[Shape], prefix: frozenset[int]
) -> set[tuple[Shape, int]]:
    """Where nobody says how many tokens stand in front, fewer than a row or column: else the grid itself is in doubt."""
    return {
        (shape, extra)
        for shape in shapes
        if (extra := tokens - prod(shape)) == 0
        or extra in prefix
        or (not prefix and 0 < extra < min(shape))
    }


def _divided(cells: int) -> list[Shape]:
    return [(h, cells // h) for h in range(1, cells + 1) if cells % h == 0]


def _aligned(space: Space) -> list[Shape]:
    """The grids seen, without those that squeeze the picture: tokens laid out as (N, 1) to be convolved."""
    assert space.size is not None
    fitting = [shape for shape in space.seen if _fits(shape, space.size)]
    return fitting or space.seen


def _lengths(space: Space) -> set[int]:
    """How many tokens there may be."""
    return {
        prod(shape) + front for shape in _aligned(space) for front in {0, *(space.prefix or {1})}
    }


def _parts(space: Space) -> str:
    return f" of each of {space.batch} images: it works on windows or other parts of them. Choose the layer around it"


def _fits(shape: Shape, size: Shape) -> bool:
    """Whether height and width of `size` shrank to `shape` by nearly the same factor (one cell of rounding each way).

    Time, the first axis of a volume, may shrink by another one.
    """
    if min(shape) < 1 or any(a > b for a, b in zip(shape, size, strict=True)):
        return False
    if len(size) == 1:
        return True
    (h, w), (height, width) = shape[-2:], size[-2:]
    return (h - 1) * width < (w + 1) * height and (w - 1) * height < (h + 1) * width


def _text(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
