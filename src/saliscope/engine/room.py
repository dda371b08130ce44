"""Many variants of a batch in as few passes as memory allows; where it runs out, in more."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

from saliscope.engine.footprint import out_of_memory

__all__ = ["Room"]

log = logging.getLogger(__name__)

Job = Callable[[range, slice], Tensor]
"""Some variants (a range of their numbers) of some images (a slice of the batch) to values (v, b, ...)."""


class Room:
    """How many images may be in the network at once; it shrinks where memory runs out, and stays so.

    `whole`: the images of a batch belong together and are never parted, only the variants.
    """

    def __init__(self, limit: int, *, whole: bool = False) -> None:
        self.limit = limit
        self.whole = whole

    def portion(self, left: int, each: int = 1) -> int:
        """How many of `left` variants of `each` images go next: in as few passes as fit, all of about one size.

        A last pass of what is left over would cost more an image than the others.

        >>> Room(64).portion(65), Room(64).portion(32), Room(8).portion(10, each=3)
        (33, 32, 2)
        """
        most = max(1, self.limit // each)
        passes = math.ceil(left / most)
        return math.ceil(left / passes)

    def ask(self, job: Job, variants: range, images: slice) -> Tensor:
        """Do a job in pieces that fit, and put them together: (v, b, ...).

        One image always runs. Raises what the job does; that memory ran out only where there is nothing left to part.
        """
        size = len(variants) * (images.stop - images.start)
        parts = self._halves(variants, images)
        if size <= self.limit or not parts:
            try:
                return job(variants, images)
            except (MemoryError, RuntimeError) as err:
                if not parts or not out_of_memory(err):
                    raise
            # Not in the handler: the exception keeps what the pass had made.
            self.limit = max(1, size // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            log.warning(
                "memory ran out with %d images at once; going on with %d. A smaller memory= avoids the attempt",
                size,
                self.limit,
            )
        axis = 0 if len(variants) > 1 else 1
        return torch.cat([self.ask(job, *part) for part in parts], axis)

    def _halves(self, variants: range, images: slice) -> list[tuple[range, slice]]:
        """Half of the variants and the rest; of one variant, half of the images; nothing where neither can be parted."""
        if len(variants) > 1:
            middle = len(variants) // 2
            return [(variants[:middle], images), (variants[middle:], images)]
        if self.whole or images.stop - images.start < 2:
            return []
        middle = (images.start + images.stop) // 2
        return [(variants, slice(images.start, middle)), (variants, slice(middle, images.stop))]
