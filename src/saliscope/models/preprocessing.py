"""From the pixels of a photograph to the numbers a network was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from PIL import Image

from saliscope.errors import ImageError, OptionError, nearest
from saliscope.frames import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Interpolation", "Preprocessing", "Resize"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Resize = Literal["squash", "crop", "letterbox"]
Interpolation = Literal["bilinear", "bicubic", "lanczos", "nearest"]

_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
# Resized images up to this many pixels are made whole before they are cut.
_WHOLE = 64_000_000
_TIMM_RESIZE: dict[str, Resize] = {"center": "crop", "squash": "squash", "border": "letterbox"}


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a network input: resize, cut or pad, then (pixel / 255 - mean) / std.

    `size` is the input (h, w) in pixels; `mean` and `std` are three numbers each, RGB, for pixels in [0, 1].
    `resize` is "squash" (the whole image, aspect ratio given up), "crop" (resize the shorter side to `shorter`, cut
    the centre) or "letterbox" (the whole image, padded). `shorter` is by default `max(size) / 0.875`, rounded; with
    "squash" a `shorter` means: squash to that shorter side, then cut the centre. `interpolation` is "bilinear",
    "bicubic", "lanczos" or "nearest", always with antialiasing. `fill` is the RGB colour 0..255 of padding: None is
    the rounded mean colour for a letterbox and black for a crop larger than the image, as the libraries have it.

    Raises OptionError for a size below 1, a std that is not positive, or an unknown resize or interpolation.
    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    resize: Resize = "squash"
    shorter: int | None = None
    interpolation: Interpolation = "bilinear"
    fill: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        _check_size(self.size, self.shorter)
        _check_colours(self.mean, self.std, self.fill)
        _check_name("resize", self.resize, get_args(Resize))
        _check_name("interpolation", self.interpolation, get_args(Interpolation))

    @classmethod
    def from_torchvision(cls, transforms: Any) -> Preprocessing:
        """Read a torchvision classification preset, e.g. `ResNet50_Weights.DEFAULT.transforms()`.

        Raises OptionError for a transform that states no crop size, resize size, mean and std.
        """
        try:
            crop, shorter = list(transforms.crop_size), list(transforms.resize_size)
            mean, std = _triple(transforms.mean), _triple(transforms.std)
            interpolation = str(transforms.interpolation.value)
        except (AttributeError, TypeError):
            raise OptionError(
                f"{type(transforms).__name__} is no torchvision classification preset (weights.transforms()): "
                "give size, mean, std and resize to Preprocessing instead"
            ) from None
        size = (int(crop[0]), int(crop[-1]))
        return cls(size, mean, std, "crop", int(shorter[0]), _interpolation(interpolation))

    @classmethod
    def from_timm(cls, config: Any) -> Preprocessing:
        """Read a timm data configuration: a `pretrained_cfg`, or what `timm.data.resolve_data_config` returns.

        Missing entries take timm's own defaults (224, bicubic, 0.875, centre crop). Raises OptionError for inputs
        that are not RGB, and for a centre crop or a border that timm cuts in a way no frame here describes.
        """
        given = config if isinstance(config, Mapping) else vars(config)
        entry = {key: value for key, value in given.items() if value is not None}
        channels, *size = entry.get("input_size", (3, 224, 224))
        mode = entry.get("crop_mode", "center")
        share = float(entry.get("crop_pct", 0.875))
        _check_name("crop_mode", mode, tuple(_TIMM_RESIZE))
        if channels != 3 or (mode == "center" and size[0] != size[1]):
            raise OptionError(
                f"a timm input of {(channels, *size)} with crop_mode {mode!r} cannot be made from a photograph here: "
                "only RGB, and a centre crop must be square; give size, mean, std and resize to Preprocessing instead"
            )
        if mode == "border" and share != 1:
            raise OptionError(f"crop_mode 'border' needs crop_pct 1, got {share}")
        whole = mode == "border" or (mode == "squash" and share == 1)
        return cls(
            (int(size[0]), int(size[1])),
            _triple(entry.get("mean", IMAGENET_MEAN)),
            _triple(entry.get("std", IMAGENET_STD)),
            _TIMM_RESIZE[mode],
            None if whole else math.floor(min(size) / share),
            _interpolation(entry.get("interpolation", "bicubic")),
        )

    def frame(self, source: tuple[int, int]) -> Frame:
        """Describe what the input shows of an image of size `source` (H, W), without touching pixels."""
        if self.resize == "letterbox":
            return Frame.letterbox(source, self.size)
        if self.resize == "crop":
            shorter = self.shorter or round(max(self.size) / 0.875)
            return Frame.crop(source, self.size, shorter=shorter)
        if self.shorter is None:
            return Frame.squash(source, self.size)
        grow = self.shorter / min(self.size)
        return Frame.centre_of(
            source, (round(self.size[0] * grow), round(self.size[1] * grow)), self.size
        )

    def __call__(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Frame]:
        """Turn pixels uint8 (H, W, 3) RGB into an input float32 (3, h, w), C-contiguous, and its frame.

        Equal to the preprocessing of torchvision and timm, bit for bit before the mean and std. Of an image so long
        that its resized whole would have over 64 million pixels, only the part that is kept is resampled. Raises ImageError for anything but uint8 (H, W, 3) with pixels.
        """
        resized, frame = self.resized(pixels)
        return self._scale(resized), frame

    def resized(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Frame]:
        """Like calling it, but before the mean and std: uint8 (h, w, 3), which may not be written to, and the frame."""
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise ImageError(
                f"preprocessing takes uint8 pixels (H, W, 3), RGB; got {pixels.dtype} {pixels.shape}: "
                "load the image with explain() or load_image()"
            )
        frame = self.frame((pixels.shape[0], pixels.shape[1]))
        return self._resample(pixels, frame), frame

    def _resample(self, pixels: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
        image = Image.fromarray(np.ascontiguousarray(pixels))
        filter_ = _RESAMPLING[self.interpolation]
        (height, width), (along_x, along_y) = frame.source, frame.scale
        resized = (max(round(width / along_x), 1), max(round(height / along_y), 1))
        left, top = round(frame.region.x0 / along_x), round(frame.region.y0 / along_y)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(resized[0], left + self.size[1]), min(resized[1], top + self.size[0])
        if resized[0] * resized[1] <= _WHOLE:
            # First all of it, then the cut, like the libraries: Pillow orders its two passes by the sizes it is
            # given, so resampling the part alone differs by up to 20 grey levels on some shapes.
            part = image.resize(resized, filter_).crop((x0, y0, x1, y1))
        else:
            box = (x0 * along_x, y0 * along_y, x1 * along_x, y1 * along_y)
            part = image.resize((x1 - x0, y1 - y0), filter_, box=box)
        if part.size == self.size[::-1]:
            return np.asarray(part)
        canvas = Image.new("RGB", self.size[::-1], self._padding())
        canvas.paste(part, (x0 - left, y0 - top))
        return np.asarray(canvas)

    def _padding(self) -> tuple[int, int, int]:
        if self.fill is not None:
            return self.fill
        if self.resize == "crop":
            return (0, 0, 0)
        red, green, blue = (round(255 * value) for value in self.mean)
        return red, green, blue

    @property
    def black_and_white(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The colours black and white in the network's units, a value for each channel."""
        pairs = list(zip(self.mean, self.std, strict=True))
        return tuple(-m / s for m, s in pairs), tuple((1 - m) / s for m, s in pairs)

    def _scale(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        # 256 grey levels a channel: a table is exact, and faster than arithmetic on every pixel.
        levels = np.arange(256, dtype=np.float32) / np.float32(255)
        out = np.empty((3, *self.size), np.float32)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            table = (levels - np.float32(mean)) / np.float32(std)
            np.take(table, pixels[..., channel], out=out[channel], mode="clip")
        return out


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _interpolation(given: str) -> Interpolation:
    _check_name("interpolation", given, get_args(Interpolation))
    return given  # type: ignore[return-value]  # the check above leaves only the literals


def _check_name(what: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        names = ", ".join(f'"{name}"' for name in allowed)
        raise OptionError(f"{what} {given!r} is none of {names}; {nearest(str(given), allowed)}")


def _check_size(size: tuple[int, int], shorter: int | None) -> None:
    if not isinstance(size, tuple) or len(size) != 2 or min(size) < 1:
        raise OptionError(f"size is (height, width) in pixels, at least (1, 1); got {size!r}")
    if shorter is not None and shorter < 1:
        raise OptionError(f"shorter is the shorter side in pixels, at least 1; got {shorter!r}")


def _check_colours(
    mean: tuple[float, ...], std: tuple[float, ...], fill: tuple[int, ...] | None
) -> None:
    if len(mean) != 3 or not all(0 <= value <= 1 for value in mean):
        raise OptionError(
            f"mean is three numbers in [0, 1], RGB, since pixels are divided by 255 first; got {tuple(mean)}"
        )
    if len(std) != 3 or not all(math.isfinite(value) and value > 0 for value in std):
        raise OptionError(f"std is three numbers above 0, RGB, for pixels in [0, 1]; got {std}")
    if fill is not None and (len(fill) != 3 or not all(0 <= value <= 255 for value in fill)):
        raise OptionError(f"fill is an RGB colour of three numbers 0..255; got {fill}")
