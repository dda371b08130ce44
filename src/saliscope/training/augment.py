"""Random changes of training pictures: quick, on 8-bit pixels, and a pure function of the numbers drawn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Augment", "augmented", "stored_size"]

Augment = Literal["none", "flip", "light", "standard"]

_AREA = (0.35, 1.0)  # "standard": share of the picture that a crop shows
_ASPECT = 4 / 3  # "standard": crops are up to this much wider or taller than the picture
_SHIFT = 0.15  # "light": up to this share of the side, and this much larger or smaller
_LIGHT, _COLOUR = 0.2, 0.3  # brightness and contrast; "standard": and saturation
_GREY = np.array([0.299, 0.587, 0.114])


def stored_size(size: tuple[int, int], augment: Augment) -> tuple[int, int]:
    """The size (h, w) at which pictures wait to be augmented: a little above the input where crops are magnified."""
    if augment in ("none", "flip"):
        return size
    return round(size[0] * 8 / 7), round(size[1] * 8 / 7)


def augmented(
    picture: NDArray[np.uint8], size: tuple[int, int], augment: Augment, random: Generator
) -> NDArray[np.uint8]:
    """Change a stored picture, uint8 (H, W, 3), at random into an input picture, uint8 (h, w, 3) with (h, w) = `size`.

    "flip" mirrors every second one; "light" also shifts and scales by up to 15 % (the border mirrored) and changes
    brightness and contrast by up to 20 %; "standard" mirrors, crops 35 to 100 % of the area, and changes brightness,
    contrast and saturation by up to 30 %. The picture given is not changed.
    """
    if augment == "none":
        return picture
    mirrored = bool(random.random() < 0.5)
    if augment == "light":
        picture = _moved(picture, size, random)
        picture = _coloured(picture, _LIGHT, 0.0, random)
    elif augment == "standard":
        picture = _cropped(picture, size, random)
        picture = _coloured(picture, _COLOUR, _COLOUR, random)
    if mirrored:
        return np.ascontiguousarray(picture[:, ::-1])
    return picture


def _moved(
    picture: NDArray[np.uint8], size: tuple[int, int], random: Generator
) -> NDArray[np.uint8]:
    import cv2

    (height, width), (h, w) = picture.shape[:2], size
    down, right = random.uniform(-_SHIFT, _SHIFT, 2) * (height, width)
    scale = random.uniform(1 - _SHIFT, 1 + _SHIFT)
    y, x = height / h / scale, width / w / scale
    back = np.array(  # from a pixel of the input to its place in the stored picture
        [
            [x, 0, (width - 1) / 2 + right - x * (w - 1) / 2],
            [0, y, (height - 1) / 2 + down - y * (h - 1) / 2],
        ]
    )
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved: NDArray[np.uint8] = cv2.warpAffine(
        picture, back, (w, h), flags=how, borderMode=cv2.BORDER_REFLECT_101
    )
    return moved


def _cropped(
    picture: NDArray[np.uint8], size: tuple[int, int], random: Generator
) -> NDArray[np.uint8]:
    import cv2

    top, left, height, width = _crop(picture.shape[0], picture.shape[1], random)
    part = picture[top : top + height, left : left + width]
    resized: NDArray[np.uint8] = cv2.resize(
        part, (size[1], size[0]), interpolation=cv2.INTER_LINEAR
    )
    return resized


def _crop(height: int, width: int, random: Generator) -> tuple[int, int, int, int]:
    """Draw top, left, height and width of a crop."""
    share = random.uniform(*_AREA)
    # Not so long that the area would not fit: no second try is needed.
    limit = min(math.log(_ASPECT), -math.log(share))
    aspect = math.exp(random.uniform(-limit, limit))
    h = min(max(round(height * math.sqrt(share / aspect)), 1), height)
    w = min(max(round(width * math.sqrt(share * aspect)), 1), width)
    return int(random.integers(height - h + 1)), int(random.integers(width - w + 1)), h, w


def _coloured(
    picture: NDArray[np.uint8], light: float, saturation: float, random: Generator
) -> NDArray[np.uint8]:
    """Change brightness, contrast (about the mean grey) and saturation in one pass: together they are one affine map."""
    import cv2

    bright, contrast = random.uniform(1 - light, 1 + light, 2)
    mean = bright * float(_GREY @ cv2.mean(picture)[:3])
    if not saturation:
        plain: NDArray[np.uint8] = cv2.LUT(
            picture, _levels(bright * contrast, (1 - contrast) * mean)
        )
        return plain
    colour = random.uniform(1 - saturation, 1 + saturation)
    mixed = colour * np.eye(3) + (1 - colour) * np.tile(_GREY, (3, 1))
    matrix = np.column_stack([bright * contrast * mixed, np.full(3, (1 - contrast) * mean)])
    changed: NDArray[np.uint8] = cv2.transform(picture, matrix)
    return changed


def _levels(factor: float, offset: float) -> NDArray[np.uint8]:
    table: NDArray[np.float64] = np.rint(np.arange(256) * factor + offset)
    return table.clip(0, 255).astype(np.uint8)
