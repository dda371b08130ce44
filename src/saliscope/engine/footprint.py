"""How much memory a network takes while it runs, counted tensor by tensor; and whether memory ran out."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Footprint", "Living", "out_of_memory"]

_MARGIN = 1.1  # resident memory of ResNet-18 grew by 5 % more than its tensors, on a CPU
_KEPT = 24 << 20  # bytes: up to 18 MB with a ResNet-18 at 224, by what the operating system counts
_SMALL = 1 << 20  # bytes an image
_BLOCKED = (torch.float32, torch.bfloat16, torch.float16)  # what oneDNN convolves on a CPU


@dataclass(frozen=True)
class Footprint:
    """Bytes that a pass takes: `each` for every image in it, and `fixed` however many there are."""

    each: int
    fixed: int = 0


class Living(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's own
    """Counts the bytes of the tensors that operations of this thread make, while they live; `peak` is the most at once.

    What was there before (weights, inputs) is not counted. What a convolution needs besides, and frees again, is: copies
    of its input and output in another layout, or the input unfolded into columns. `weight` is the largest weight of a
    convolution, of which a copy in another layout may exist besides.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch's own
        self.now = self.peak = self.weight = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:  # fmt: skip
        out = func(*args, **(kwargs or {}))
        given = {t.untyped_storage()._cdata for t in _tensors((args, kwargs))}
        for tensor in _tensors(out):
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key in given or key in self._known:
                continue
            size = storage.nbytes()
            self._known.add(key)
            self.now += size
            weakref.finalize(storage, self._gone, key, size).atexit = False
        more = 0
        if func is torch.ops.aten.convolution.default:
            more = _workspace(args, out)
            self.weight = max(self.weight, args[1].nbytes)
        self.peak = max(self.peak, self.now + more)
        return out

    def footprint(self, images: int) -> Footprint:
        """What a pass of so many images took, with a margin for what the allocator leaves between tensors.

        Large passes make oneDNN and the allocator keep something beside all tensors; small ones do not.
        """
        each = int(_MARGIN * self.peak) // images
        return Footprint(each, self.weight + (_KEPT if each > _SMALL else 0))

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _tensors(value: Any) -> Iterator[Tensor]:
    return (t for t in tree_leaves(value) if isinstance(t, Tensor) and t.layout == torch.strided)


def _workspace(args: tuple[Any, ...], out: Tensor) -> int:
    given, weight = args[0], args[1]
    if given.device.type != "cpu" or given.dtype in _BLOCKED:
        return int(given.nbytes + out.nbytes)
    cells = out.shape[0] * prod(out.shape[2:])
    return int(cells * weight[0].numel() * args[8] * out.element_size())


def out_of_memory(err: BaseException) -> bool:
    """Whether memory ran out; on the CPU torch says so in a plain `RuntimeError`."""
    known = isinstance(err, MemoryError | torch.OutOfMemoryError)
    return known or (isinstance(err, RuntimeError) and "DefaultCPUAllocator" in str(err))
