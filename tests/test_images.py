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
from saliscope.images import Photo, find_images, image_size, load_image

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


# --- PIL images, arrays, tensors -------------------------------------------------------------------------------------


def test_a_pil_image_keeps_its_file_and_is_not_changed(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        photo = load_image(image)
    assert (photo.name, photo.path) == ("a.png", tmp_path / "a.png")
    np.testing.assert_array_equal(photo.pixels, RAMP)
    made = load_image(Image.fromarray(RAMP))
    assert (made.name, made.path) == ("image", None)


def test_a_truncated_or_closed_pil_image_raises(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), "JPEG")
    with pytest.raises(ImageError, match="damaged, truncated or closed"):
        load_image(Image.open(io.BytesIO(data[: len(data) // 2])))
    image = Image.open(io.BytesIO(data))
    image.close()
    with pytest.raises(ImageError, match="damaged, truncated or closed"):
        load_image(image)


def test_a_pil_image_without_pixels_raises():
    with pytest.raises(ImageError, match="a picture has at least one pixel"):
        load_image(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (RAMP, RAMP),
        (RAMP[..., 0], np.repeat(RAMP[..., :1], 3, 2)),
        (RAMP[..., :1], np.repeat(RAMP[..., :1], 3, 2)),
        (RAMP / 255.0, RAMP),
        ((RAMP / 255.0).astype(np.float32), RAMP),
        (RAMP.astype(np.uint16) * 257, RAMP),
        (RAMP > 60, (RAMP > 60) * 255),
        (RAMP[::-1, ::-1], RAMP[::-1, ::-1]),
        (np.zeros((2, 2, 4), np.uint8), np.full((2, 2, 3), 255)),
        (np.dstack([RAMP, np.full((4, 6), 255, np.uint8)]), RAMP),
        (np.ones((2, 2)), np.full((2, 2, 3), 255)),
        (np.ones((2, 2), np.uint8), np.ones((2, 2, 3))),
    ],
)
def test_arrays(array, expected):
    before = array.copy()
    pixels = load_image(array).pixels
    np.testing.assert_array_equal(pixels, expected)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert not np.shares_memory(pixels, array)
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("bad", [1.5, -0.2, 255.0, np.nan, np.inf])
def test_floats_outside_0_1_raise(bad):
    array = np.zeros((3, 3, 3), np.float32)
    array[1, 1, 1] = bad
    with pytest.raises(ImageError, match=r"the array holds floats from .*lie in \[0, 1\]"):
        load_image(array)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint32, np.complex64])
def test_types_whose_range_would_be_guessed_raise(dtype):
    with pytest.raises(ImageError, match=r"is uint8 \(0 to 255\), uint16, bool or float .*; got"):
        load_image(np.zeros((3, 3, 3), dtype))


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((0, 5, 3), "at least one pixel"),
        ((5, 0), "at least one pixel"),
        ((7,), "give one image"),
        ((4, 5, 2), "give one image"),
        ((2, 8, 8, 3), "give its images one by one"),
        ((3, 20, 30), r"array\.transpose\(1, 2, 0\)"),
    ],
)
def test_shapes_that_are_no_image_raise(shape, hint):
    with pytest.raises(ImageError, match=rf"got \({shape[0]}.*{hint}"):
        load_image(np.zeros(shape, np.uint8))


def test_tensors():
    torch = pytest.importorskip("torch")
    last = torch.from_numpy(RAMP.copy())
    first = last.permute(2, 0, 1)
    for tensor in (last, first, last / 255, (first / 255).requires_grad_(), first.double() / 255):
        np.testing.assert_array_equal(load_image(tensor).pixels, RAMP)
    half = load_image((first / 255).bfloat16()).pixels
    assert np.abs(half.astype(int) - RAMP).max() <= 1
    grey = torch.full((1, 4, 6), 7, dtype=torch.uint8)
    assert (load_image(grey).pixels == 7).all()
    assert load_image(torch.zeros(3, 5, 3)).size == (5, 3)  # both readings fit: channels first
    assert load_image(torch.zeros(4, 5, 3)).size == (4, 5)
    assert load_image(torch.zeros(1, 5, 3)).size == (1, 5)
    assert load_image(torch.zeros(4, 5, 6)).size == (5, 6)
    assert load_image(torch.zeros(5, 6, 4)).size == (5, 6)
    assert load_image(torch.zeros(5, 6, 1)).size == load_image(torch.zeros(5, 6)).size == (5, 6)
    np.testing.assert_array_equal(last.numpy(), RAMP)


def test_tensors_that_are_no_image():
    torch = pytest.importorskip("torch")
    with pytest.raises(ImageError, match=r"or channels first; got .*looks like a batch"):
        load_image(torch.zeros(1, 3, 8, 8))
    with pytest.raises(
        ImageError, match=r"the tensor holds floats from -1 to 1.*undo the normalisation"
    ):
        load_image(torch.linspace(-1, 1, 3 * 16).reshape(3, 4, 4))
    with pytest.raises(ImageError, match=r"got int64|got torch\.int64"):
        load_image(torch.zeros(3, 4, 4, dtype=torch.int64))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
def test_every_8_bit_value_survives_every_way_in(height, width, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for source in (
        pixels,
        pixels / 255,
        Image.fromarray(pixels),
        saved(Image.fromarray(pixels), "PNG"),
    ):
        np.testing.assert_array_equal(load_image(source).pixels, pixels)


def test_a_photo_passes_through():
    photo = Photo(RAMP)
    assert load_image(photo) is photo


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


# --- finding ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    names = ["b/img10.jpg", "b/img2.JPG", "b/deep/x.png", "a.webp", "notes.txt", "raw.dat"]
    names += [".hidden.jpg", ".cache/y.jpg", "b/._img2.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names_of(paths, root):
    return [path.relative_to(root).as_posix() for path in paths]


def test_a_folder_is_searched_naturally_sorted_without_hidden_files(tree):
    assert names_of(find_images([tree]), tree) == [
        "a.webp",
        "b/deep/x.png",
        "b/img2.JPG",
        "b/img10.jpg",
    ]


def test_the_order_of_arguments_is_kept_and_duplicates_go(tree):
    given_ = [tree / "b" / "img10.jpg", tree / "b", str(tree / "b" / ".." / "a.webp"), tree]
    found = find_images(given_)
    assert [path.name for path in found] == ["img10.jpg", "x.png", "img2.JPG", "a.webp"]


def test_a_file_is_kept_whatever_its_suffix(tree):
    found = find_images([tree / "notes.txt", str(tree / ".hidden.jpg")])
    assert names_of(found, tree) == ["notes.txt", ".hidden.jpg"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("b/*", ["b/img2.JPG", "b/img10.jpg"]),
        ("**/*", ["a.webp", "b/deep/x.png", "b/img2.JPG", "b/img10.jpg"]),
        ("b/img?.*", ["b/img2.JPG"]),
        ("b/img[0-9]*.jpg", ["b/img10.jpg"]),
        ("*.dat", ["raw.dat"]),
        ("**/*.png", ["b/deep/x.png"]),
    ],
)
def test_globs(tree, monkeypatch, pattern, expected):
    assert names_of(find_images([f"{tree}/{pattern}"]), tree) == expected
    monkeypatch.chdir(tree)
    assert [path.as_posix() for path in find_images([pattern])] == expected


def test_a_file_with_glob_signs_in_its_name_is_itself(tree):
    (tree / "dog[1].jpg").touch()
    (tree / "dog1.jpg").touch()
    assert names_of(find_images([tree / "dog[1].jpg"]), tree) == ["dog[1].jpg"]


def test_a_single_string_is_one_source(tree):
    assert names_of(find_images(str(tree / "a.webp")), tree) == ["a.webp"]


def test_nothing_found_raises_with_the_name(tree):
    (tree / "nothing").mkdir()
    (tree / "nothing" / "readme.txt").touch()
    with pytest.raises(ImageError, match=r"there is no file or folder .*dgo\.jpg; check the path"):
        find_images([tree / "a.webp", tree / "dgo.jpg"])
    with pytest.raises(ImageError, match=r"the folder .*nothing holds no pictures"):
        find_images([tree / "nothing"])
    with pytest.raises(ImageError, match=r'no picture matches ".*\*\.tiff"; pictures end in'):
        find_images([f"{tree}/*.tiff"])
    with pytest.raises(ImageError, match=r"no picture matches .*\(1 other files do\)"):
        find_images([f"{tree}/nothing/*"])
    with pytest.raises(ImageError, match="no images were given"):
        find_images([])


@given(st.permutations([f"img{i}.jpg" for i in (1, 2, 9, 10, 11, 100)] + ["Img3.jpg", "a.jpg"]))
@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_natural_order_does_not_depend_on_the_folder(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("natural")
    for name in names:
        (folder / name).touch()
    expected = ["a.jpg", "img1.jpg", "img2.jpg", "Img3.jpg", "img9.jpg", "img10.jpg", "img11.jpg"]
    assert names_of(find_images([folder]), folder) == [*expected, "img100.jpg"]
