"""What a data set is made of: samples with their annotated regions and masks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from saliscope.boxes import Box
from saliscope.data.annotations import Truth
from saliscope.errors import DataError, SaliscopeError
from saliscope.images import ImageSource, Photo, load_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DataSet", "Failed", "Listing", "Region", "Sample", "fingerprint", "read_samples"]

Masks = Mapping[str, "NDArray[np.bool_]"]
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Region:
    """One annotated thing: its box, half-open in image pixels, and what it is called.

    `part` names the piece of the thing that the box holds ("head"), None for the whole. `difficult` and `crowd` are the
    flags of VOC and COCO: scores leave such regions out unless they are asked for them.
    """

    box: Box
    label: str
    part: str | None = None
    difficult: bool = False
    crowd: bool = False


@dataclass(frozen=True, eq=False)
class Sample:
    """One image of a data set, with what is known about it.

    `id` is unique in its data set and the same on every machine. `image` is a path or a picture in memory, and is
    decoded by `photo()` only. `label` is the index of its class in the data set's `classes`, None where images have no
    single class. `size` is (H, W) as the annotation states it, None where it does not. `details` holds what only one
    data set knows, by name.
    """

    id: str
    image: ImageSource
    label: int | None
    split: str
    regions: tuple[Region, ...] = ()
    size: tuple[int, int] | None = None
    details: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    mask_reader: Callable[[], Masks] | None = field(default=None, repr=False)

    def photo(self) -> Photo:
        """Decode the image; raises `ImageError`."""
        return load_image(self.image)

    def masks(self) -> Masks:
        """Read the masks, bool (H, W) by name, True where the named thing is visible; empty where there are none.

        The names are those that the data set documents; "ignore" marks pixels that no score may count. Raises
        `DataError` for mask files that are damaged or of another size than the image.
        """
        return self.mask_reader() if self.mask_reader is not None else {}

    def boxes(self, *, part: str | None = None, difficult: bool = True) -> tuple[Box, ...]:
        """The boxes of the whole things, or of one `part` of them; never those of crowds."""
        return tuple(
            r.box
            for r in self.regions
            if r.part == part and not r.crowd and (difficult or not r.difficult)
        )

    @property
    def truth(self) -> Truth:
        """The whole things as an annotation, for everything that judges one photograph."""
        whole = ((r.box, r.label) for r in self.regions if r.part is None and not r.crowd)
        return Truth(self.size, tuple(whole))


class DataSet(Protocol):
    """A sequence of samples: what every data set here is, and what one of your own has to be.

    `ids` and `labels` are known without reading any image. Indexing reads the annotation of one sample and raises
    `DataError` or `ImageError`, naming the sample, where it is damaged; `read_samples` turns that into a value.
    """

    @property
    def name(self) -> str:
        """The words that open this data set again, options included."""
        ...

    @property
    def split(self) -> str:
        """Which part this is: "train", "val", "test" or "all"."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order that labels count."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """The ids of the samples, in order."""
        ...

    @property
    def labels(self) -> Sequence[int | None]:
        """The class index of each sample, in the same order."""
        ...

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def __getitem__(self, index: int, /) -> Sample:
        """Read one sample."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class Listing:
    """A data set given by its list of ids and a function that reads one sample by its position in the list."""

    name: str
    split: str
    classes: tuple[str, ...]
    ids: Sequence[str]
    labels: Sequence[int | None]
    read: Callable[[int], Sample]

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.labels):
            raise DataError(
                f"{self.name} lists {len(self.ids)} ids but {len(self.labels)} labels; give one label, or None, for each"
            )

    def __repr__(self) -> str:
        return f"<{self.name}, {self.split}: {len(self)} samples, {len(self.classes)} classes>"

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        position = range(len(self.ids))[index]  # also counts from the end, and raises IndexError
        return self.read(position)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class Failed:
    """A sample that cannot be read: its id, and why in one sentence."""

    id: str
    message: str


def read_samples(
    data: DataSet, indices: Iterable[int] | None = None
) -> Iterator[tuple[int, Sample | Failed]]:
    """Yield each sample with its index, or `Failed` in its place: a damaged one neither ends the run nor vanishes.

    Only annotations are read here; a damaged image shows when `photo()` decodes it.
    """
    for index in range(len(data)) if indices is None else indices:
        try:
            yield index, data[index]
        except SaliscopeError as err:
            yield index, Failed(data.ids[index], str(err))


def fingerprint(data: DataSet) -> str:
    """Hash what the data set consists of, sha256 in hex: its split, classes, ids and labels, in order.

    The same copy of the same data has the same fingerprint wherever it lies; a missing image or another split changes it.
    """
    found = hashlib.sha256()
    for word in (data.split, *data.classes):
        found.update(f"{word}\0".encode())
    for name, label in zip(data.ids, data.labels, strict=True):
        found.update(f"{name}\0{label}\n".encode())
    return found.hexdigest()
