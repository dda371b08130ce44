"""Photographs as small pictures for a page, read from the data set of a run where it is still there."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Mapping
from functools import cached_property

from saliscope.data import DataSet, Failed, read_samples
from saliscope.errors import SaliscopeError
from saliscope.pictures import Pixels, encoded
from saliscope.pictures.panels import shrink_photo
from saliscope.runs import RunSettings
from saliscope.runs.splits import moved, open_splits

__all__ = ["LONGEST", "Photographs", "thumbnail", "thumbnail_size"]

LONGEST = 320
"""Pixels of the longer side of a picture on the page."""

_QUALITY = 70


def thumbnail_size(size: tuple[int, int], longest: int = LONGEST) -> tuple[int, int]:
    """The size (h, w) in which an image of `size` (H, W) is shown: never enlarged, at least one pixel."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def thumbnail(photo: Pixels, longest: int = LONGEST) -> str:
    """A photograph as a small WebP picture, in base64."""
    height, width = photo.shape[:2]
    small = shrink_photo(photo, thumbnail_size((height, width), longest))
    return b64encode(encoded(small, "WEBP", quality=_QUALITY)).decode()


class Photographs:
    """The photographs of a run. What cannot be read is None, and `problem` says why, once for all of them."""

    def __init__(
        self,
        settings: RunSettings,
        *,
        root: str | os.PathLike[str] | None = None,
        data: Mapping[str, DataSet] | None = None,
    ) -> None:
        elsewhere = {} if root is None else {"root": os.fspath(root)}
        self.settings = settings.model_copy(update=elsewhere)
        self.problem: str | None = None
        self._given = data

    @cached_property
    def _splits(self) -> Mapping[str, DataSet]:
        if self._given is not None:
            return self._given
        try:
            return open_splits(moved(self.settings))
        except (SaliscopeError, OSError) as err:
            self.problem = f"the data cannot be opened: {err}"
            return {}

    def read(self, split: str, index: int, name: str) -> Pixels | None:
        """The pixels of the sample `name` at place `index`; None where it is not there, is another one, or is damaged."""
        part = self._splits.get(split)
        if part is None:
            self.problem = self.problem or f'the data has no part "{split}"'
            return None
        if index >= len(part) or part.ids[index] != name:
            self.problem = f'the data has no "{name}" at place {index} of {split}: it is another copy; give its folder with --root'
            return None
        ((_, sample),) = read_samples(part, [index])
        try:
            if not isinstance(sample, Failed):
                return sample.photo().pixels
            self.problem = self.problem or sample.message
        except (SaliscopeError, OSError) as err:
            self.problem = self.problem or str(err)
        return None
