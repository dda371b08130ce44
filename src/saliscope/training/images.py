"""The images of a data set as batches for training: read once, changed at random in a way that can be repeated."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from traceback import clear_frames
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from saliscope.data.sample import DataSet, Failed
from saliscope.errors import DataError, SaliscopeError
from saliscope.models.preprocessing import Preprocessing
from saliscope.training.augment import Augment, augmented, stored_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Batches",
    "Images",
    "batch_loader",
    "explained",
    "fits_in_memory",
    "free_memory",
    "read_images",
    "reading",
]

log = logging.getLogger(__name__)

Key = tuple[int, int]
"""Epoch and row of one image; a row below 0 is padding: the image of row `-1 - row`, without a label."""


class Images(Dataset[tuple[Tensor, int]]):
    """The labelled images of a data set as inputs of a network; row i is what `images[i]` gives.

    `images[epoch, i]` is a float32 (3, h, w) tensor, normalised, and the class index. With `augment` the picture is
    changed at random; how, depends on the seed, the epoch and the sample's place in the data set, and on nothing else.
    Without, it equals what `preprocessing` makes of the photograph, bit for bit. Raises `DataError` for samples
    without a label, and for an image that cannot be read.
    """

    def __init__(
        self,
        data: DataSet,
        preprocessing: Preprocessing,
        *,
        augment: Augment = "none",
        seed: int = 0,
        rows: Sequence[int] | None = None,
    ) -> None:
        self.data = data
        self.preprocessing = preprocessing
        self.augment = augment
        self.seed = seed
        self.rows = np.arange(len(data)) if rows is None else np.asarray(rows, np.int64)
        self.labels = _labels(data)
        self.stored = preprocessing
        self.cache: NDArray[np.uint8] | None = None
        self._choose_size()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | Key) -> tuple[Tensor, int]:
        pictures, labels = self.__getitems__([(0, key) if isinstance(key, int) else key])
        return self.normalised(pictures)[0], int(labels[0])

    def __getitems__(self, keys: Sequence[Key]) -> tuple[Tensor, Tensor]:
        """A batch as it travels: uint8 (B, h, w, 3), and class indices (B,), -1 for padding."""
        height, width = self.preprocessing.size
        pictures = np.empty((len(keys), height, width, 3), np.uint8)
        labels = np.full(len(keys), -1, np.int64)
        for place, (epoch, row) in enumerate(keys):
            position = int(self.rows[row if row >= 0 else -1 - row])
            pictures[place] = self._input(epoch, position)
            if row >= 0:
                labels[place] = self.labels[position]
        return torch.from_numpy(pictures), torch.from_numpy(labels)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {
            "cache": None
        }  # gigabytes do not travel: a spawned worker reads the images itself

    def normalised(self, pictures: Tensor) -> Tensor:
        """Turn uint8 (B, h, w, 3) on any device into float32 (B, 3, h, w), channels last in memory."""
        levels = pictures.permute(0, 3, 1, 2).float().div_(255)
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=levels.device).view(1, 3, 1, 1)
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        return levels.sub_(mean).div_(std)

    def picture(self, position: int) -> NDArray[np.uint8]:
        """Decode a sample, uint8 (H, W, 3) of the stored size; raises what reading it raises."""
        return self.stored.resized(self.data[position].photo().pixels)[0]

    def without(self, failed: Sequence[int]) -> None:
        """Leave out the samples at these places of the data set."""
        self.rows = self.rows[~np.isin(self.rows, failed)]

    def leave_out(self, ids: Sequence[str]) -> None:
        """Leave out samples by their ids."""
        gone = set(ids)
        self.without([place for place, name in enumerate(self.data.ids) if name in gone])

    def _input(self, epoch: int, position: int) -> NDArray[np.uint8]:
        if self.cache is not None:
            picture: NDArray[np.uint8] = self.cache[position]
        else:
            try:
                picture = self.picture(position)
            except SaliscopeError as err:
                raise DataError(
                    f'sample "{self.data.ids[position]}" of {self.data.name} could be read when the training began and '
                    f"cannot be now: {err}"
                ) from err
        if self.augment == "none":
            return picture
        random = np.random.default_rng((self.seed, epoch, position))
        return augmented(picture, self.preprocessing.size, self.augment, random)

    def _choose_size(self) -> None:
        """Settle the stored size by the first sample that can be read: magnified pictures would hold nothing more."""
        larger = stored_size(self.preprocessing.size, self.augment)
        first = next(_readable(self), None)
        if first is None:
            return  # all are damaged: read_images says so
        small = all(
            a <= b for a, b in zip(first.photo().size, self.preprocessing.size, strict=True)
        )
        if larger != self.preprocessing.size and not small:
            grow = larger[0] / self.preprocessing.size[0]
            shorter = self.preprocessing.shorter
            self.stored = replace(
                self.preprocessing, size=larger, shorter=shorter and round(shorter * grow)
            )
            if self.preprocessing.resize == "crop":
                # The same part of the photograph as the plain input shows, only larger.
                whole = shorter or round(max(self.preprocessing.size) / 0.875)
                self.stored = replace(self.stored, shorter=round(whole * grow))


def _readable(images: Images) -> Iterator[Any]:
    for position in images.rows:
        try:
            sample = images.data[int(position)]
            sample.photo()
        except SaliscopeError:
            continue
        yield sample


def _labels(data: DataSet) -> NDArray[np.int64]:
    for name, label in zip(data.ids, data.labels, strict=True):
        if label is None:
            raise DataError(
                f'sample "{name}" of {data.name} has no single class, and training needs one for every image; use a data '
                "set of labelled images, or class folders with folder:PATH"
            )
        if not 0 <= label < len(data.classes):
            raise DataError(
                f'sample "{name}" of {data.name} has label {label}, but there are {len(data.classes)} classes'
            )
    return np.asarray(data.labels, np.int64)


class Batches(Sampler[list[Key]]):
    """The rows of each batch with their epoch; the order is a function of seed and epoch alone.

    `batch_size` counts all `world` processes together; each takes every `world`-th row of a batch, starting at `rank`.
    Shuffled for training: a last batch of one image is left out (a batch norm cannot learn from it), with several
    processes every incomplete one. Otherwise in order, and padded so that every process has as many batches.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        seed: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.world = rank, world
        self.epoch = 0
        self.sampler = self  # where Lightning looks for set_epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next pass is."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(self.count, self.batch_size)
        if self.seed is None:
            return whole + bool(rest)
        if not whole:  # one small batch is all there is
            return int(rest >= self.world)
        return whole + (rest > 1 and self.world == 1)

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self.epoch
        order = self.order(epoch)
        for number in range(len(self)):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield [(epoch, int(row)) for row in self._own(batch)]

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The rows in the order in which this epoch takes them."""
        if self.seed is None:
            return np.arange(self.count)
        # The last number sets it apart from every image's own stream, (seed, epoch, place), which numpy fills with 0.
        return np.random.default_rng((self.seed, epoch, 0, 1)).permutation(self.count)

    def _own(self, batch: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.seed is not None:
            return batch[: len(batch) // self.world * self.world][self.rank :: self.world]
        spare = -len(batch) % self.world
        return np.concatenate([batch, np.full(spare, -1 - batch[-1])])[self.rank :: self.world]


def batch_loader(
    images: Images, batches: Sampler[list[Key]], *, workers: int = 0, pinned: bool = False
) -> DataLoader[Any]:
    """Load batches, uint8 (B, h, w, 3) with class indices (B,), here or in `workers` processes."""
    # Forked workers see the pictures in memory without a copy; spawned ones cannot.
    forked = workers > 0 and sys.platform.startswith("linux")
    return DataLoader(
        images,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_as_it_is,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if forked else None,
        worker_init_fn=_begin_worker if workers else None,
        pin_memory=pinned,
        # Its own: each pass draws a number, and the network's dropout must not depend on that.
        generator=torch.Generator().manual_seed(0),
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _begin_worker(_worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()


def _leave_with(parent: int) -> None:
    # A worker whose parent was killed would wait for ever to hand over what nobody takes.
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class _Reader(Dataset[Any]):
    """Reads samples in a worker: the pictures of a batch, and why the others are missing."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __getitems__(self, positions: Sequence[int]) -> list[tuple[int, Any]]:
        return [(position, self._read(position)) for position in positions]

    def _read(self, position: int) -> NDArray[np.uint8] | str:
        try:
            return self.images.picture(position)
        except SaliscopeError as err:
            return str(err)


def read_images(
    images: Images,
    *,
    keep: bool,
    workers: int = 0,
    tell: Callable[[int, int, int], None] | None = None,
) -> list[Failed]:
    """Read every image once: leave out and return those that cannot be, and keep the pictures in memory with `keep`.

    `tell(done, failed, total)` is called now and then. Raises `DataError` where none can be read.
    """
    shape = (len(images.data), *images.stored.size, 3)
    cache = np.empty(shape, np.uint8) if keep else None
    failed: dict[int, str] = {}
    done, total = 0, len(images)
    with explained():
        for batch in reading(images, workers):
            for position, found in batch:
                if isinstance(found, str):
                    failed[position] = found
                elif cache is not None:
                    cache[position] = found
            done += len(batch)
            if tell is not None:
                tell(done - len(failed), len(failed), total)
    images.without(list(failed))
    images.cache = cache
    if not len(images):
        reason = next(iter(failed.values()), "there are none")
        raise DataError(
            f"none of the {total} images of {images.data.name}, {images.data.split}, can be read: {reason}"
        )
    return [Failed(images.data.ids[position], failed[position]) for position in sorted(failed)]


def reading(images: Images, workers: int = 0) -> DataLoader[list[tuple[int, Any]]]:
    """Read every image once, in any process: pairs of place and stored picture, or the reason why there is none."""
    forked = workers > 0 and sys.platform.startswith("linux")
    return DataLoader(
        _Reader(images),
        batch_sampler=[[int(p) for p in part] for part in _parts(images.rows, 32)],
        num_workers=workers,
        collate_fn=_as_it_is,
        multiprocessing_context="fork" if forked else None,
        worker_init_fn=_begin_worker if workers else None,
        generator=torch.Generator().manual_seed(0),
    )


def _parts(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


@contextmanager
def explained() -> Iterator[None]:
    """Word what went wrong in a process that reads images: the traceback of its own says nothing to a user."""
    try:
        yield
    except (DataError, RuntimeError) as err:
        worded = _from_worker(err)
        if worded is None:
            raise
        # The frames hold the loader. Let go of it here: its pipes must not be closed at some later moment.
        clear_frames(err.__traceback__)
        raise worded from err


def _from_worker(err: Exception) -> Exception | None:
    """Word what went wrong in a process that reads images: its own traceback says nothing to a user."""
    text = str(err)
    if "DataLoader worker" in text and ("unexpectedly" in text or "killed by signal" in text):
        return DataError(
            f"a process that reads images was ended from outside ({text.splitlines()[0]}): most often the memory, or the "
            "shared memory /dev/shm, was full. The same call continues; with workers 0 no such process is needed"
        )
    if isinstance(err, DataError) and "Original Traceback" in text:
        return DataError(text.strip().splitlines()[-1].partition(": ")[2])
    return None


def fits_in_memory(images: Images, share: float = 0.25) -> bool:
    """Whether the pictures of all images take at most this share of the free memory."""
    return len(images) * math.prod(images.stored.size) * 3 <= share * free_memory()


def free_memory() -> int:
    """Bytes of memory that can still be used, by this machine or by this container; 0 where nobody says."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        found.append(int(fields["MemAvailable"].split()[0]) * 1024)
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            found.append(int(limit) - int((group / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError, KeyError):
        log.debug("the free memory is not told in full")
    return max(min(found), 0) if found else _physical_memory() // 2


def _physical_memory() -> int:
    import os

    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
