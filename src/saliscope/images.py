"""Reading what a user calls an image, and finding image files."""

from __future__ import annotations

import io
import logging
import os
import re
import struct
import sys
import threading
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import ExifTags, Image, ImageChops, UnidentifiedImageError

from saliscope.errors import ImageError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

__all__ = [
    "MAX_PIXELS",
    "Header",
    "ImageSource",
    "Photo",
    "image_header",
    "image_size",
    "load_image",
]

logger = logging.getLogger(__name__)

MAX_PIXELS = 178_956_970
"""The largest picture read by default, in pixels: half a gigabyte of RGB, the point where Pillow suspects an attack."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture in memory.

    `pixels` is uint8 (H, W, 3), RGB, upright (EXIF rotation applied). `name` is the file name, or "image" where there
    is no file; `path` is the file, or None.
    """

    pixels: NDArray[np.uint8]
    name: str = "image"
    path: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True)
class Header:
    """What a picture file says about itself: upright `size` (H, W), Pillow's `mode` ("RGB", "L", "CMYK"), `format` ("JPEG")."""

    size: tuple[int, int]
    mode: str
    format: str


ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | Image.Image | NDArray[np.generic] | torch.Tensor | Photo"
)
"""What can be explained: a path, the bytes of a file, a PIL image, an array, a tensor, or a `Photo`."""

# What Pillow's decoders raise on files that are damaged in one way or another.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    EOFError,
    ArithmeticError,
    AssertionError,
    NotImplementedError,
    struct.error,
    zlib.error,
)

# Silencing Pillow's warnings and lifting its size limit both change the process for a moment, so one thread at a time.
_quiet_lock = threading.Lock()


def load_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read one picture as upright 8-bit RGB.

    Files and bytes are recognised by content, whatever the suffix; of an animation or a multi-page file the first
    frame is read; EXIF rotation is applied once. Transparency is composited on white. CMYK is converted without its
    colour profile. 16-bit grey is scaled by the range of its type, never by its content; 32-bit integer pictures hold
    16-bit values and are scaled the same way; float pictures must lie in [0, 1]. A PIL image is used as it stands, its
    current frame and its EXIF rotation included.

    Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4): uint8, uint16 (0 to 65535), bool, or float in [0, 1], never
    guessed from the content. Tensors may also be channels first: three channels are looked for there, then at the end. The
    input is neither changed nor shared.

    Raises `ImageError`, naming the file, for anything missing, empty, damaged or truncated (no half-grey pictures),
    for values out of range, and for more than `max_pixels` pixels, which are refused before they are decoded.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, (str, os.PathLike)):
        path = _existing_file(source)
        with _opened(path) as stream:
            return Photo(_decode(stream, str(path), max_pixels), path.name, path)
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        if not data:
            raise ImageError("the image is empty (0 bytes); give the bytes of a whole picture file")
        return Photo(_decode(io.BytesIO(data), "the image given as bytes", max_pixels))
    if isinstance(source, Image.Image):
        return _from_pil(source, max_pixels)
    if isinstance(source, np.ndarray):
        return Photo(_from_array(source, max_pixels, "array"))
    torch = sys.modules.get("torch")  # who holds a tensor has imported it
    if torch is not None and isinstance(source, torch.Tensor):
        return Photo(_from_tensor(source, max_pixels))
    raise ImageError(
        f"cannot read an image from {type(source).__name__}; give a path, the bytes of a file, a PIL image, "
        "an (H, W, 3) RGB array or a tensor"
    )


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Read height and width of a picture file, upright, from its header where that says it. Raises `ImageError`."""
    return image_header(path).size


def image_header(path: str | os.PathLike[str]) -> Header:
    """Read what a picture file says about itself, without decoding it where that is possible. Raises `ImageError`."""
    file = _existing_file(path)
    with _opened(file) as stream:
        image = _header(stream, str(file))
        width, height = image.size
        _check_size(width, height, str(file), MAX_PIXELS)
        kind = image.format or ""
        if kind == "TIFF":  # Pillow turns it while decoding, and swaps the size before
            return Header(load_image(file).size, image.mode, kind)
        size = (width, height) if _orientation(image) >= 5 else (height, width)
        return Header(size, image.mode, kind)


# --- files -----------------------------------------------------------------------------------------------------------


def _existing_file(source: str | os.PathLike[str]) -> Path:
    text = os.fspath(source)
    if re.match(r"(?i)(https?|ftp|s3|gs)://", text):
        raise ImageError(
            f"{text} is an address on the network; download the picture and give its path"
        )
    path = Path(text)
    try:
        if path.is_dir():
            raise ImageError(
                f"{path} is a folder, not a picture; find_images lists the pictures in it"
            )
        if not path.exists():
            raise ImageError(f"there is no file {path}; check the path (relative to {Path.cwd()})")
        if path.stat().st_size == 0 and path.is_file():
            raise ImageError(f"{path} is empty (0 bytes); copy or download the picture again")
    except ImageError:
        raise
    except (
        OSError,
        ValueError,
    ) as err:  # a name too long, a null byte, a folder that may not be entered
        raise ImageError(f"{text!r} cannot be opened: {err}; check the path") from err
    return path


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as err:
        raise ImageError(f"{path} cannot be opened: {err.strerror}; check its permissions") from err


def _decode(stream: IO[bytes], name: str, max_pixels: int) -> NDArray[np.uint8]:
    image = _header(stream, name)
    _check_size(image.width, image.height, name, max_pixels)
    try:
        _load(image)
    except _DAMAGE as err:
        raise ImageError(
            f"{name} is damaged or truncated ({err}); copy or download the picture again"
        ) from err
    return _rgb(image, name)


def _header(stream: IO[bytes], name: str) -> Image.Image:
    """Open without decoding, quietly."""
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = _open_any_size(stream)
        except UnidentifiedImageError as err:
            raise ImageError(
                f"{name} is not a picture that can be read{_first_bytes(stream)}; convert it to JPEG or PNG"
            ) from err
        except _DAMAGE as err:
            raise ImageError(
                f"{name} is damaged ({err}); copy or download the picture again"
            ) from err
    if image.format in ("EPS", "WMF"):  # Pillow would start another program to draw them
        raise ImageError(f"{name} is a vector drawing ({image.format}); convert it to JPEG or PNG")
    return image


def _open_any_size(stream: IO[bytes]) -> Image.Image:
    try:
        return Image.open(stream)
    except Image.DecompressionBombError:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            stream.seek(0)
            return Image.open(
                stream
            )  # the header only: the caller compares its size with the caller's own limit
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _first_bytes(stream: IO[bytes]) -> str:
    stream.seek(0)
    start = stream.read(24)
    return f" (it begins with {start!r})"


def _load(image: Image.Image) -> None:
    if image.format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", None):
        image.load()  # several threads at once
        return
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TIFF reads its tags once more
        image.load()


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name} is {width} x {height} pixels; a picture has at least one pixel")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} is {width:,} x {height:,} pixels, more than the limit of {max_pixels:,}; shrink it, or raise "
            "the limit with max_pixels"
        )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none, or none that can be read."""
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = image.getexif().get(ExifTags.Base.Orientation, 1)
        except _DAMAGE as err:
            logger.debug("EXIF data cannot be read and is left aside: %s", err)
            return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(image: Image.Image) -> Image.Image:
    orientation = _orientation(image)
    if orientation == 1:
        return image
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation])


# --- colours ---------------------------------------------------------------------------------------------------------


def _rgb(image: Image.Image, name: str) -> NDArray[np.uint8]:
    """Turn a decoded picture of any mode upright and into uint8 (H, W, 3)."""
    turned = _upright(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _grey(np.asarray(turned), name)
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Pillow takes every CMYK JPEG for an inverted one, as Adobe writes them; without the marker it is not.
        turned = ImageChops.invert(turned)
    if turned.mode == "La":
        turned = turned.convert("LA")
    if turned.has_transparency_data:
        coloured = turned if turned.mode == "RGBA" else turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), coloured)
    try:
        return np.array(turned.convert("RGB"))
    except ValueError as err:
        raise ImageError(f'{name} has colour mode "{image.mode}"; convert it to RGB first') from err


def _grey(values: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    """Scale a one-channel picture of more than 8 bits by the range of its type."""
    if values.dtype.kind == "f":
        return _three(_from_unit(values, name))
    if values.dtype.itemsize > 2 and values.size and (values.min() < 0 or values.max() > 65535):
        raise ImageError(
            f"{name} holds integers from {values.min()} to {values.max()}; 32-bit pictures are read as 0 to 65535, "
            "so scale it to that range, or to 8 bits"
        )
    return _three(_from_16_bit(values))


def _from_16_bit(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    # 65535 = 255 x 257, so this is rounding to the nearest of 256 levels, in integers.
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _from_unit(values: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    wide = values.astype(np.float64)
    low, high = float(wide.min()), float(wide.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):  # also true for NaN
        raise ImageError(
            f"{name} holds floats from {low:.4g} to {high:.4g}; float pictures lie in [0, 1], so undo the "
            "normalisation, divide by 255, or give uint8"
        )
    scaled: NDArray[np.uint8] = np.rint(wide.clip(0, 1) * 255).astype(np.uint8)
    return scaled


def _three(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(grey[..., None] if grey.ndim == 2 else grey, 3, axis=2)


# --- pictures in memory ----------------------------------------------------------------------------------------------


def _from_pil(image: Image.Image, max_pixels: int) -> Photo:
    file = getattr(image, "filename", "")
    path = Path(file) if isinstance(file, str) and file else None
    name = str(path) if path else "the PIL image"
    _check_size(image.width, image.height, name, max_pixels)
    try:
        _load(image)
    except _DAMAGE as err:
        raise ImageError(f"{name} is damaged, truncated or closed ({err}); open it again") from err
    return Photo(_rgb(image, name), path.name if path else "image", path)


def _from_tensor(tensor: torch.Tensor, max_pixels: int) -> NDArray[np.uint8]:
    plain = tensor.detach().cpu()
    array = (plain.float() if plain.is_floating_point() else plain).numpy()
    if array.ndim == 3 and _channels_first(array.shape):
        array = np.moveaxis(array, 0, -1)
    return _from_array(array, max_pixels, "tensor")


def _channels_first(shape: tuple[int, ...]) -> bool:
    if 3 in (shape[0], shape[2]):
        return shape[0] == 3
    return shape[0] in (1, 4)


def _from_array(array: NDArray[np.generic], max_pixels: int, kind: str) -> NDArray[np.uint8]:
    flat = array[..., None] if array.ndim == 2 else array
    if flat.ndim != 3 or flat.shape[2] not in (1, 3, 4) or flat.size == 0:
        raise ImageError(_shape_message(array.shape, kind))
    _check_size(flat.shape[1], flat.shape[0], f"the {kind}", max_pixels)
    values = _eight_bit(flat, kind)
    if values.shape[2] == 1:
        return _three(values)
    if values.shape[2] == 4:
        return _rgb(Image.fromarray(np.ascontiguousarray(values)), f"the {kind}")
    return np.array(values, order="C")


def _shape_message(shape: tuple[int, ...], kind: str) -> str:
    allowed = "(H, W), (H, W, 3) or (H, W, 4)" + (", or channels first" if kind == "tensor" else "")
    hint = "give one image of at least one pixel"
    if len(shape) == 4:
        hint = "that looks like a batch: give its images one by one, x[0]"
    elif len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] > 4:
        hint = "that looks like channels first: move them last with array.transpose(1, 2, 0)"
    return f"an image {kind} has shape {allowed}; got {shape}: {hint}"


def _eight_bit(values: NDArray[np.generic], kind: str) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return np.asarray(values, np.uint8)
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype == np.uint16:
        return _from_16_bit(values)
    if values.dtype.kind == "f":
        return _from_unit(values, f"the {kind}")
    raise ImageError(
        f"an image {kind} is uint8 (0 to 255), uint16, bool or float in [0, 1]; got {values.dtype}: "
        "convert it, so that its range is not guessed"
    )
