import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from saliscope.errors import ImageError
from saliscope.images import Photo, load_image

RAMP = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3


def saved(image, format_, **options):
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


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
