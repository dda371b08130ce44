"""The images of a training, read once before it begins; what cannot be read is left out and written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from saliscope.data.sample import Failed
from saliscope.errors import DataError
from saliscope.training.images import Images, fits_in_memory, read_images
from saliscope.training.skipped import SKIPPED, read_skipped, write_skipped
from saliscope.training.trainer import Place, choose_readers, is_first

if TYPE_CHECKING:
    from saliscope.models.preprocessing import Preprocessing
    from saliscope.training.callbacks import Watch
    from saliscope.training.recipes import Recipe
    from saliscope.training.splits import Splits

__all__ = ["Intake"]


@dataclass(frozen=True)
class Intake:
    """Reads the images of a training into memory, where they fit in a quarter of what is free, or only checks them.

    A training that is continued leaves out what it left out in the beginning: its batches are the same.
    """

    folder: Path
    recipe: Recipe
    place: Place
    say: Callable[[str], None]
    watch: Watch | None = None

    def read(self, splits: Splits, look: Preprocessing) -> tuple[Images, Images | None]:
        """The images of train and val. Raises `DataError` where other images can be read than in the beginning."""
        train = Images(splits.train, look, augment=self.recipe.augment, seed=self.recipe.seed)
        val = Images(splits.val, look) if splits.val is not None else None
        known = read_skipped(self.folder)
        failed = {"train": self._one(train, "train", known)}
        if val is not None:
            failed["val"] = self._one(val, "val", known)
        if is_first() and known is None:
            write_skipped(self.folder, failed)
        count = sum(map(len, failed.values()))
        if count:
            self.say(
                f"{count} images cannot be read and are left out; {self.folder / SKIPPED} names them"
            )
        return train, val

    def tell(self, split: str) -> Callable[[int, int, int], None] | None:
        """Whom to tell how many images of a split are read."""
        return partial(self.watch.reading, split) if self.watch is not None else None

    def _one(
        self, images: Images, split: str, known: Mapping[str, list[Failed]] | None
    ) -> list[Failed]:
        share = 0.25 / self.place.devices
        wanted = self.recipe.cache == "memory"
        keep = wanted and fits_in_memory(images, share)
        if wanted and not keep:
            self.say(
                f"the {len(images)} {split} images do not fit in a quarter of the free memory; they are read again every time"
            )
        if not keep and known is not None:  # all were read when the training began
            before = known.get(split, [])
            images.leave_out([row.id for row in before])
            return before
        workers = choose_readers(self.recipe, self.place)
        failed = read_images(images, keep=keep, workers=workers, tell=self.tell(split))
        if known is not None:
            _same_as_before(images, split, failed, known.get(split, []))
        return failed


def _same_as_before(images: Images, split: str, failed: list[Failed], before: list[Failed]) -> None:
    if {row.id for row in failed} != {row.id for row in before}:
        raise DataError(
            f"other images of {images.data.name}, {split}, can be read now than when this training began: {len(failed)} "
            f"cannot be, {len(before)} could not be then. Put the data back as it was, or begin anew with --overwrite"
        )
