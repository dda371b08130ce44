"""What a layer returned, as a grid over the image."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from saliscope.errors import LayerError

__all__ = ["as_grid", "first_tensor", "grid_of", "with_first_tensor"]

Size = tuple[int, int]


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


def grid_of(tensor: Tensor | None, size: Size | None) -> Tensor | None:
    """View a layer's output as (B, C, h, w), or None where it is no grid.

    `size` is the height and width of the network's input. Channels-last outputs (B, h, w, C), as Swin returns them, are
    told from (B, C, h, w) by the aspect ratio of the input: the two axes that shrank by the same factor are the space.
    """
    if tensor is None or tensor.ndim != 4 or not tensor.is_floating_point():
        return None
    if size is not None and not _fits(tensor.shape[2:], size) and _fits(tensor.shape[1:3], size):
        return tensor.permute(0, 3, 1, 2)
    return tensor


def as_grid(output: Any, size: Size | None, *, layer: str) -> Tensor:
    """Like `grid_of`, but raise `LayerError` where the output has no grid to draw."""
    tensor = first_tensor(output)
    grid = grid_of(tensor, size)
    if grid is None:
        found = (
            f"a tensor of shape {tuple(tensor.shape)}"
            if tensor is not None
            else f"{type(output).__name__}"
        )
        raise LayerError(
            f'layer "{layer}" returns {found}, not a grid (batch, channels, height, width); choose a layer that '
            "`saliscope layers` lists"
        )
    return grid


def _fits(shape: tuple[int, ...], size: Size) -> bool:
    """Whether both sides of `size` shrank to `shape` by nearly the same factor (one cell of rounding each way)."""
    (h, w), (height, width) = shape, size
    if min(h, w) < 1 or h > height or w > width:
        return False
    return (h - 1) * width < (w + 1) * height and (w - 1) * height < (h + 1) * width
