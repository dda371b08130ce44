"""Auditing a copy of a data set: is it whole, can all of it be read, do its annotations fit, does test leak into train."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import median
from typing import Literal

from saliscope.data.catalog import DataKind
from saliscope.data.looking import Look, Problem, digest_of, look_at
from saliscope.data.sample import DataSet, Failed, read_samples

__all__ = ["WHAT", "Audit", "Finding", "SplitCount", "audit"]

What = Literal["surplus", "leak", "conflict", "duplicate"] | Problem

WHAT: Mapping[What, str] = {
    "surplus": "more than published",
    "annotation": "annotations that cannot be read",
    "image": "images that cannot be read",
    "mask": "masks that cannot be read",
    "leak": "equal files in different splits",
    "conflict": "equal files with different labels",
    "duplicate": "equal files in one split",
    "size": "images of another size than their annotation says",
    "outside": "images with boxes that leave them",
    "flat": "images with boxes without area",
    "bare": "images without regions",
    "disguised": "other pictures behind .jpg names",
    "mode": "images that are not RGB",
}
"""Everything that can be found, in the order in which it is shown, in words."""

_HARMLESS: frozenset[What] = frozenset(["bare", "disguised", "mode"])
_BATCH = 256  # samples in flight


@dataclass(frozen=True)
class Finding:
    """One thing found: `what` (a key of `WHAT`), the samples it concerns with the split of each, and details in words."""

    what: What
    ids: tuple[str, ...]
    splits: tuple[str, ...]
    detail: str = ""

    @property
    def harmless(self) -> bool:
        """Whether this is worth knowing but no fault: such pictures are read and used like any other."""
        return self.what in _HARMLESS


@dataclass(frozen=True)
class SplitCount:
    """How many samples a split has, how many are published (None: no number is), and how many its classes have.

    `per_class` is the smallest, median and largest number of samples of a class that has any, None without labels;
    `empty` names the classes without a sample.
    """

    split: str
    samples: int
    published: int | None = None
    per_class: tuple[int, float, int] | None = None
    empty: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether this copy has fewer samples than are published."""
        return self.published is not None and self.samples < self.published


@dataclass(frozen=True)
class Audit:
    """What was found in a copy of a data set.

    `deep` says whether every image was decoded. A partial copy is no fault: `counts` tell it.
    """

    name: str
    counts: tuple[SplitCount, ...]
    classes: int
    published_classes: int | None
    deep: bool
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that are not harmless."""
        return tuple(finding for finding in self.findings if not finding.harmless)

    @property
    def clean(self) -> bool:
        """Whether there are no faults."""
        return not self.faults

    def of(self, what: What) -> tuple[Finding, ...]:
        """The findings of one kind."""
        return tuple(finding for finding in self.findings if finding.what == what)


@dataclass(frozen=True)
class _Seen:
    """A sample whose annotation was read."""

    id: str
    split: str
    label: str | None
    look: Look


def audit(
    splits: Sequence[DataSet],
    kind: DataKind | None = None,
    *,
    deep: bool = False,
    threads: int | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Audit:
    """Read every annotation and every image's header of the `splits` of a data set, and say what is wrong.

    Truncated files are found without decoding the others: `deep` decodes every image and reads every mask. `kind` brings
    the published counts. Files of equal size are compared by sha256, also across the splits. A box counts as outside when
    it leaves the image by more than half a pixel. `watch` is called with the number of samples done and of all. Annotations
    are read in this thread, images in `threads` others (default: one for each core, 8 at most).
    """
    total = sum(map(len, splits))
    seen: list[_Seen] = []
    findings: list[Finding] = []
    workers = threads or min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        looks = (found for data in splits for found in _looked(data, pool, deep=deep))
        for done, found in enumerate(looks, 1):
            if isinstance(found, Finding):
                findings.append(found)
            else:
                seen.append(found)
                for what, detail in found.look.problems:
                    findings.append(Finding(what, (found.id,), (found.split,), detail))
            if watch is not None:
                watch(done, total)
        findings += _equal_files(seen, pool)
    counts = tuple(_counts(splits, kind))
    findings += _surplus(counts)
    order = list(WHAT)
    findings.sort(key=lambda finding: order.index(finding.what))  # samples keep their order
    return Audit(
        name=splits[0].name if splits else "",
        counts=counts,
        classes=len({name for data in splits for name in data.classes}),
        published_classes=kind.num_classes if kind else None,
        deep=deep,
        findings=tuple(findings),
    )


def _looked(data: DataSet, pool: Executor, *, deep: bool) -> Iterator[_Seen | Finding]:
    """Look at the samples of a split, in order; a few hundred at a time, so that a million fit into memory."""
    samples = read_samples(data)
    while batch := list(islice(samples, _BATCH)):
        good = [sample for _, sample in batch if not isinstance(sample, Failed)]
        looks = pool.map(partial(look_at, deep=deep), good)
        for index, sample in batch:
            if isinstance(sample, Failed):
                yield Finding("annotation", (sample.id,), (data.split,), sample.message)
            else:
                label = data.labels[index]
                name = None if label is None else data.classes[label]
                yield _Seen(sample.id, data.split, name, next(looks))


def _equal_files(seen: Sequence[_Seen], pool: Executor) -> Iterator[Finding]:
    """Find samples with the same image, byte for byte. Only files that are equally long are read."""
    sizes = Counter(one.look.bytes for one in seen)
    alike = [one for one in seen if one.look.bytes and sizes[one.look.bytes] > 1]
    groups: defaultdict[str, list[_Seen]] = defaultdict(list)
    for one, digest in zip(alike, pool.map(_digest, alike), strict=True):
        if digest:
            groups[digest].append(one)
    for group in groups.values():
        if len(group) > 1:
            yield from _equal(group)


def _digest(one: _Seen) -> str:
    return digest_of(one.look.path) if one.look.path is not None else one.look.digest


def _equal(group: Sequence[_Seen]) -> Iterator[Finding]:
    splits = Counter(one.split for one in group)
    ids, places = tuple(one.id for one in group), tuple(one.split for one in group)
    if len({one.label for one in group}) > 1:
        yield Finding("conflict", ids, places)
    if len(splits) > 1:
        yield Finding("leak", ids, places)
    for split, count in splits.items():
        if count > 1:
            inside = tuple(one.id for one in group if one.split == split)
            yield Finding("duplicate", inside, (split,) * count)


def _counts(splits: Sequence[DataSet], kind: DataKind | None) -> Iterator[SplitCount]:
    published = kind.counts if kind else {}
    for data in splits:
        labels = Counter(label for label in data.labels if label is not None)
        empty = tuple(name for label, name in enumerate(data.classes) if label not in labels)
        each = sorted(labels.values())
        spread = (each[0], median(each), each[-1]) if each else None
        yield SplitCount(
            data.split, len(data), published.get(data.split), spread, empty if labels else ()
        )
    found = {data.split: len(data) for data in splits}
    if "trainval" in published and "trainval" not in found and {"train", "val"} <= found.keys():
        whole = found["train"] + found["val"]  # the official list, which was divided here
        yield SplitCount("train + val", whole, published["trainval"])


def _surplus(counts: Sequence[SplitCount]) -> Iterator[Finding]:
    for count in counts:
        if count.published is not None and count.samples > count.published:
            detail = f"{count.samples:,} samples, published {count.published:,}"
            yield Finding("surplus", (), (count.split,), detail)
