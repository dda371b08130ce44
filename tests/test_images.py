import io
import logging
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from saliscope.errors import ImageError
from saliscope.images import image_size, load_image

RAMP = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3


def saved(image, format_, **options):
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def flat(colour, mode="RGB", size=(16, 16)):
    return Image.new(mode, size, colour)


# --- formats and modes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format_", "options"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("PPM", {}), ("WEBP", {"lossless": True})],
)
def test_lossless_files_come_back_exactly(tmp_path, format_, options):
    file = tmp_path / f"a.{format_.lower()}"
    file.write_bytes(saved(Image.fromarray(RAMP), format_, **options))
    photo = load_image(file)
    np.testing.assert_array_equal(photo.pixels, RAMP)
    assert photo.pixels.dtype == np.uint8
    assert (photo.name, photo.path, photo.size) == (file.name, file, (4, 6))
    assert image_size(file) == (4, 6)
    np.testing.assert_array_equal(load_image(str(file)).pixels, RAMP)
    np.testing.assert_array_equal(load_image(file.read_bytes()).pixels, RAMP)


def test_jpeg_is_rgb_not_bgr(tmp_path):
    flat((200, 40, 10)).save(tmp_path / "a.jpg", quality=100, subsampling=0)
    assert np.abs(load_image(tmp_path / "a.jpg").pixels.astype(int) - [200, 40, 10]).max() <= 3


def test_a_png_named_jpg_is_read_by_content(tmp_path):
    (tmp_path / "n02105855_2933.jpg").write_bytes(saved(Image.fromarray(RAMP), "PNG"))
    np.testing.assert_array_equal(load_image(tmp_path / "n02105855_2933.jpg").pixels, RAMP)


CMYK = (0, 128, 255, 0)  # 0 = no ink: red full, green half, blue none


def without_adobe_marker(jpeg):
    at = jpeg.index(b"\xff\xee")
    length = struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
    return jpeg[:at] + jpeg[at + 2 + length :]


def test_cmyk_jpeg_as_adobe_writes_it():
    jpeg = saved(flat(CMYK, "CMYK"), "JPEG", quality=100)
    assert b"Adobe" in jpeg
    assert np.abs(load_image(jpeg).pixels.astype(int) - [255, 127, 0]).max() <= 3


def test_cmyk_jpeg_without_the_adobe_marker_is_not_inverted():
    ink = flat(
        tuple(255 - v for v in CMYK), "CMYK"
    )  # Pillow writes the inverse of what it is given
    jpeg = without_adobe_marker(saved(ink, "JPEG", quality=100))
    assert np.abs(load_image(jpeg).pixels.astype(int) - [255, 127, 0]).max() <= 3


def test_cmyk_tiff():
    assert load_image(saved(flat(CMYK, "CMYK"), "TIFF")).pixels[0, 0].tolist() == [255, 127, 0]


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_by_its_type(format_):
    values = np.array([[0, 127, 128, 129], [257, 1000, 32768, 65535]], np.uint16)
    photo = load_image(saved(Image.fromarray(values), format_))
    expected = np.array([[round(int(v) * 255 / 65535) for v in row] for row in values])
    np.testing.assert_array_equal(photo.pixels, np.repeat(expected[..., None], 3, 2))
    dark = load_image(saved(Image.fromarray(np.full((2, 2), 300, np.uint16)), format_))
    assert (dark.pixels == 1).all()


def test_16_bit_grey_of_the_other_byte_order():
    little = np.array([[0, 65535], [257, 514]], np.uint16)
    big = Image.frombytes("I;16B", (2, 2), little.astype(">u2").tobytes())
    assert load_image(big).pixels[..., 0].tolist() == [[0, 255], [1, 2]]


def test_16_bit_pgm():
    values = np.array([[0, 65535], [257, 514]], ">u2")
    pgm = b"P5 2 2 65535\n" + values.tobytes()
    assert load_image(pgm).pixels[..., 0].tolist() == [[0, 255], [1, 2]]


def test_mode_i_holds_16_bit_values():
    image = Image.fromarray(np.array([[0, 65535], [257, 514]], np.int32))
    assert image.mode == "I"
    assert load_image(image).pixels[..., 2].tolist() == [[0, 255], [1, 2]]
    assert load_image(saved(image, "TIFF")).pixels[..., 0].tolist() == [[0, 255], [1, 2]]
    for bad in (-1, 65536):
        with pytest.raises(
            ImageError, match=r"holds integers from .*; 32-bit pictures are read as 0"
        ):
            load_image(Image.fromarray(np.array([[0, bad]], np.int32)))


def test_mode_f_holds_floats_in_0_1():
    image = Image.fromarray(np.array([[0.0, 1.0], [0.5, 0.2]], np.float32))
    assert load_image(saved(image, "TIFF")).pixels[..., 0].tolist() == [[0, 255], [128, 51]]
    with pytest.raises(
        ImageError, match=r"holds floats from 0 to 200; float pictures lie in \[0, 1\]"
    ):
        load_image(Image.fromarray(np.array([[0.0, 200.0]], np.float32)))


def test_palette():
    image = flat(0, "P")
    image.putpalette([10, 200, 30])
    assert load_image(saved(image, "PNG")).pixels[3, 3].tolist() == [10, 200, 30]


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_a_transparent_palette_entry_is_white(transparency):
    image = flat(0, "P")
    image.putpalette([10, 200, 30, 1, 2, 3])
    image.putpixel((1, 0), 1)
    photo = load_image(saved(image, "PNG", transparency=transparency))
    assert photo.pixels[0, :2].tolist() == [[255, 255, 255], [1, 2, 3]]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (200, 0, 0, 0), [255, 255, 255]),
        ("RGBA", (200, 0, 0, 255), [200, 0, 0]),
        ("RGBA", (200, 0, 0, 51), [244, 204, 204]),
        ("LA", (100, 0), [255, 255, 255]),
        ("LA", (100, 255), [100, 100, 100]),
        ("LA", (0, 51), [204, 204, 204]),
        ("L", 77, [77, 77, 77]),
        ("1", 1, [255, 255, 255]),
        ("1", 0, [0, 0, 0]),
    ],
)
def test_transparency_is_composited_on_white(mode, colour, expected):
    photo = load_image(saved(flat(colour, mode), "PNG"))
    assert np.abs(photo.pixels[5, 5].astype(int) - expected).max() <= 1
    assert photo.pixels.shape == (16, 16, 3)


def test_rgb_with_one_transparent_colour():
    image = flat((9, 8, 7))
    image.putpixel((0, 0), (1, 1, 1))
    photo = load_image(saved(image, "PNG", transparency=(9, 8, 7)))
    assert photo.pixels[0, :2].tolist() == [[1, 1, 1], [255, 255, 255]]


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB", "RGBX", "RGBa", "La", "PA"])
def test_rarer_modes_of_pil_images_become_rgb(mode):
    image = Image.new(mode, (3, 2))
    assert load_image(image).pixels.shape == (2, 3, 3)


def test_the_first_frame_of_an_animation():
    frames = [flat(c) for c in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    for format_ in ("GIF", "PNG", "WEBP", "TIFF"):
        data = saved(frames[0], format_, save_all=True, append_images=frames[1:], lossless=True)
        assert load_image(data).pixels[0, 0].tolist() == [255, 0, 0], format_


def test_one_pixel_is_a_picture(tmp_path):
    flat((1, 2, 3), size=(1, 1)).save(tmp_path / "one.png")
    assert load_image(tmp_path / "one.png").pixels.tolist() == [[[1, 2, 3]]]


# --- EXIF ------------------------------------------------------------------------------------------------------------

UPRIGHT = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
STORED = {  # what a camera stores, for each orientation, of the picture UPRIGHT
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT, 1),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}


def with_orientation(orientation, format_="PNG"):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.ascontiguousarray(STORED.get(orientation, UPRIGHT)))
    return saved(picture, format_, exif=exif)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_exif_rotation_is_applied_once(tmp_path, orientation, format_):
    data = with_orientation(orientation, format_)
    np.testing.assert_array_equal(load_image(data).pixels[..., 0], UPRIGHT)
    (tmp_path / "a").write_bytes(data)
    assert image_size(tmp_path / "a") == (4, 6)
    image = Image.open(io.BytesIO(data))
    np.testing.assert_array_equal(load_image(image).pixels[..., 0], UPRIGHT)
    np.testing.assert_array_equal(load_image(image).pixels[..., 0], UPRIGHT)
    assert load_image(load_image(data)).size == (4, 6)


def test_exif_rotation_of_a_jpeg(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 8, 0).repeat(8, 1))
    wide.save(tmp_path / "a.jpg", exif=exif, quality=100)
    pixels = load_image(tmp_path / "a.jpg").pixels
    assert pixels.shape == (16, 8, 3)
    assert pixels[:7].max() < 10
    assert pixels[9:].min() > 245
    assert image_size(tmp_path / "a.jpg") == (16, 8)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_orientations_that_do_not_exist_are_left_aside(orientation):
    np.testing.assert_array_equal(load_image(with_orientation(orientation)).pixels[..., 0], UPRIGHT)


def test_damaged_exif_is_left_aside(caplog):
    jpeg = saved(flat((9, 9, 9)), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff garbage")
    with caplog.at_level(logging.DEBUG, "saliscope"):
        assert load_image(jpeg).size == (16, 16)


# --- files that are no pictures --------------------------------------------------------------------------------------


def test_a_text_file_named_jpg(tmp_path):
    (tmp_path / "a.jpg").write_text("hello, this is no picture")
    with pytest.raises(
        ImageError, match=r"a\.jpg is not a picture.*begins with b'hello.*convert it"
    ):
        load_image(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="is not a picture"):
        image_size(tmp_path / "a.jpg")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files_raise_and_are_never_half_grey(tmp_path, format_, share):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), format_)
    file = tmp_path / "cut.jpg"
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match=r"cut\.jpg is (damaged|not a picture)"):
        load_image(file)


def test_a_truncated_progressive_jpeg_raises(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), "JPEG", progressive=True)
    with pytest.raises(ImageError, match="the image given as bytes is damaged or truncated"):
        load_image(data[: int(len(data) * 0.7)])


def test_empty_missing_folder_and_address(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match=r"empty\.jpg is empty \(0 bytes\)"):
        load_image(tmp_path / "empty.jpg")
    with pytest.raises(ImageError, match=r"the image is empty \(0 bytes\)"):
        load_image(b"")
    with pytest.raises(ImageError, match=r"there is no file .*dog\.jpg; check the path"):
        load_image(tmp_path / "dog.jpg")
    with pytest.raises(ImageError, match="is a folder, not a picture"):
        load_image(tmp_path)
    with pytest.raises(ImageError, match="is an address on the network; download"):
        load_image("https://example.org/dog.jpg")
    with pytest.raises(ImageError, match="cannot be opened"):
        load_image("x" * 5000)
    with pytest.raises(ImageError, match=r"cannot be opened|there is no file"):
        load_image("a\0b.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    file = tmp_path / "a.png"
    flat(0).save(file)
    file.chmod(0)
    with pytest.raises(ImageError, match=r"a\.png cannot be opened: Permission denied"):
        load_image(file)


def test_a_file_that_cannot_be_opened(tmp_path, monkeypatch):
    flat(0).save(tmp_path / "a.png")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"a\.png cannot be opened: Permission denied"):
        load_image(tmp_path / "a.png")


def test_a_postscript_drawing_is_not_run():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(ImageError, match=r"is a vector drawing \(EPS\); convert it"):
        load_image(eps)


@pytest.mark.parametrize("source", [None, 3, [1, 2], object()])
def test_things_that_are_no_image(source):
    with pytest.raises(ImageError, match=r"cannot read an image from .*; give a path"):
        load_image(source)


WHOLE = [
    saved(Image.fromarray(RAMP), "PNG"),
    saved(Image.fromarray(RAMP), "JPEG"),
    saved(Image.fromarray(RAMP), "GIF"),
    saved(Image.fromarray(RAMP), "TIFF"),
    with_orientation(6, "TIFF"),
    with_orientation(6, "JPEG"),
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
)
def test_a_damaged_file_gives_a_photo_or_an_image_error(data, changes):
    damaged = bytearray(data)
    for where, value in changes:
        damaged[where % len(damaged)] = value
    try:
        photo = load_image(bytes(damaged), max_pixels=100_000)
    except ImageError as err:
        assert "image given as bytes" in str(err)  # noqa: PT017  either outcome is right
    else:
        assert photo.pixels.ndim == 3


# --- size limits -----------------------------------------------------------------------------------------------------


def png_of(width, height):
    """A PNG whose header says width x height, with almost no data behind it."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def test_20000_by_20000_is_refused_before_it_is_decoded(tmp_path):
    (tmp_path / "big.png").write_bytes(png_of(20_000, 20_000))
    with pytest.raises(
        ImageError,
        match=r"big\.png is 20,000 x 20,000 pixels, more than the limit of 178,956,970; shrink it, or raise.*max_pixels",
    ):
        load_image(tmp_path / "big.png")
    with pytest.raises(ImageError, match="20,000 x 20,000"):
        image_size(tmp_path / "big.png")


def test_the_size_pillow_warns_about_passes_without_a_warning(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = saved(flat((1, 2, 3), size=(15, 10)), "PNG")
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(data))
    assert load_image(data).size == (10, 15)


def test_the_limit_can_be_raised_beyond_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    data = saved(flat((1, 2, 3), size=(20, 20)), "PNG")
    assert load_image(data).size == (20, 20)
    assert Image.MAX_IMAGE_PIXELS == 10
    with pytest.raises(ImageError, match="20 x 20 pixels, more than the limit of 399"):
        load_image(data, max_pixels=399)
    assert load_image(data, max_pixels=400).size == (20, 20)


def test_the_limit_holds_for_pictures_in_memory():
    for source in (np.zeros((4, 6, 3), np.uint8), Image.fromarray(RAMP)):
        with pytest.raises(ImageError, match="6 x 4 pixels, more than the limit of 23"):
            load_image(source, max_pixels=23)
        assert load_image(source, max_pixels=24).size == (4, 6)


def test_eight_threads_read_the_same():
    data = with_orientation(6)
    found = []

    def read():
        for _ in range(20):
            found.append(load_image(data).pixels[..., 0])

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    for pixels in found:
        np.testing.assert_array_equal(pixels, UPRIGHT)
