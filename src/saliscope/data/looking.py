"""Looking at one sample: can its image be read, and does its annotation fit it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from saliscope.boxes import Box
from saliscope.data.sample import Sample
from saliscope.errors import DataError, ImageError
from saliscope.images import Header, Photo, image_header, load_image

__all__ = ["Look", "Problem", "digest_of", "look_at"]

Problem = Literal[
    "annotation", "image", "mask", "size", "outside", "flat", "bare", "disguised", "mode"
]
_JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
_JPEG = ("JPEG", "MPO")  # a camera's second picture behind the first
_BEYOND = 0.5  # pixels; less is how floats and conventions round


@dataclass(frozen=True)
class Look:
    """What was seen: problems with a detail each; `bytes` and `digest` tell equal images, where these are known.

    `path` is the image's file, None for a picture in memory, whose `digest` is then known at once.
    """

    problems: tuple[tuple[Problem, str], ...]
    bytes: int = 0
    path: Path | None = None
    digest: str = ""


def look_at(sample: Sample, *, deep: bool) -> Look:
    """Check one sample; `deep` decodes its image and reads its masks, otherwise only suspicious images are decoded."""
    if isinstance(sample.image, (str, os.PathLike)):
        path = Path(sample.image)
        try:
            header, length = _read(path, deep=deep), path.stat().st_size
        except (ImageError, OSError) as err:
            return Look((("image", str(err)), *_annotation(sample, None)))
        fits = (*_annotation(sample, header.size), *_masks(sample, header.size, deep=deep))
        return Look((*fits, *_colours(path, header)), length, path)
    try:
        photo = sample.photo()
    except ImageError as err:
        return Look((("image", str(err)), *_annotation(sample, None)))
    problems = (*_annotation(sample, photo.size), *_masks(sample, photo.size, deep=deep))
    return Look(problems, photo.pixels.nbytes, None, _digest_in_memory(sample, photo))


def digest_of(path: Path) -> str:
    """The sha256 of a file's content, in hex; empty where the file is gone by now."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _digest_in_memory(sample: Sample, photo: Photo) -> str:
    if isinstance(sample.image, (bytes, bytearray, memoryview)):
        return hashlib.sha256(sample.image).hexdigest()
    return hashlib.sha256(f"{photo.size}".encode() + photo.pixels.tobytes()).hexdigest()


def _read(path: Path, *, deep: bool) -> Header:
    """Read a header, and the rest where it is asked for or the file does not end as its kind does."""
    header = image_header(path)
    if deep or not _ends_well(path, header.format):
        load_image(path)
    return header


def _ends_well(path: Path, kind: str) -> bool:
    """Whether a file ends as a whole one does. What is written behind the end (some cameras do) leaves a doubt."""
    if kind not in (*_JPEG, "PNG"):
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64))
        tail = file.read()
    return tail.endswith(b"IEND\xaeB`\x82") if kind == "PNG" else tail.endswith(b"\xff\xd9")


def _annotation(sample: Sample, size: tuple[int, int] | None) -> Iterator[tuple[Problem, str]]:
    """Compare the regions with the image of `size`, or where it cannot be read with the size that is annotated."""
    if size is not None and sample.size is not None and tuple(sample.size) != tuple(size):
        turned = ", turned" if tuple(sample.size) == tuple(size)[::-1] else ""
        yield "size", f"annotated at {_times(sample.size)}, the file is {_times(size)}{turned}"
    if not sample.regions:
        yield "bare", ""
    boxes = [region.box for region in sample.regions]
    flat = sum(box.area == 0 for box in boxes)
    if flat:
        yield "flat", f"{flat} of {len(boxes)} boxes"
    within = size or sample.size
    beyond = [far for box in boxes if within and (far := _beyond(box, within)) > _BEYOND]
    if beyond and within:
        yield "outside", f"{len(beyond)} of {len(boxes)} boxes, by {max(beyond):.4g} pixels"


def _beyond(box: Box, size: tuple[int, int]) -> float:
    """How far a box leaves the image, in pixels."""
    return max(-box.x0, -box.y0, box.x1 - size[1], box.y1 - size[0])


def _colours(path: Path, header: Header) -> Iterator[tuple[Problem, str]]:
    if path.suffix.lower() in _JPEG_SUFFIXES and header.format not in _JPEG:
        yield "disguised", header.format
    if header.mode != "RGB":
        yield "mode", header.mode


def _masks(sample: Sample, size: tuple[int, int], *, deep: bool) -> Iterator[tuple[Problem, str]]:
    if not deep:
        return
    try:
        masks = sample.masks()
    except DataError as err:
        yield "mask", str(err)
        return
    for name, mask in masks.items():
        if np.shape(mask) != size:
            yield "mask", f'"{name}" is {np.shape(mask)}, its image {size} (H, W)'


def _times(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
