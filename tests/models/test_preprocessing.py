import logging

import numpy as np
import pytest
from PIL import Image

from saliscope.errors import ImageError, OptionError
from saliscope.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

SIZES = [
    (375, 500),
    (500, 333),
    (224, 224),
    (31, 47),
    (7, 5),
    (1000, 233),
    (1, 300),
    (233, 999),
    (1, 1),
    (641, 480),
]
TIMM = {
    "centre": {"crop_pct": 0.875, "interpolation": "bicubic"},
    "tight centre": {"crop_pct": 0.95, "interpolation": "bicubic", "input_size": (3, 160, 160)},
    "whole centre": {"crop_pct": 1.0, "interpolation": "bilinear"},
    "squash": {"crop_mode": "squash", "crop_pct": 1.0, "interpolation": "bicubic"},
    "squash and cut": {"crop_mode": "squash", "crop_pct": 0.95, "interpolation": "bicubic"},
    "border": {
        "crop_mode": "border",
        "crop_pct": 1.0,
        "mean": (0.5, 0.4, 0.3),
        "std": (0.5, 0.5, 0.5),
    },
    "not square": {"crop_mode": "squash", "crop_pct": 1.0, "input_size": (3, 64, 48)},
}


def noise(size):
    return np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), dtype=np.uint8)


def grey_levels(values, preprocessing):
    std = np.array(preprocessing.std)[:, None, None]
    mean = np.array(preprocessing.mean)[:, None, None]
    return np.rint((np.asarray(values, np.float64) * std + mean) * 255)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_torchvision(size):
    from torchvision.models import ResNet50_Weights

    transforms = ResNet50_Weights.IMAGENET1K_V2.transforms()
    ours = Preprocessing.from_torchvision(transforms)
    assert (ours.resize, ours.shorter, ours.size, ours.interpolation) == (
        "crop", 232, (224, 224), "bilinear",
    )  # fmt: skip
    pixels = noise(size)
    got, frame = ours(pixels)
    np.testing.assert_array_equal(got, transforms(Image.fromarray(pixels)).numpy())
    assert (frame.source, frame.size) == (size, (224, 224))


@pytest.mark.parametrize("shorter", [200, 221, 223])
def test_equals_torchvision_where_the_cut_is_larger_than_the_image(shorter):
    from torchvision.transforms._presets import ImageClassification

    transforms = ImageClassification(crop_size=224, resize_size=shorter)
    pixels = noise((60, 61))
    got, _ = Preprocessing.from_torchvision(transforms)(pixels)
    np.testing.assert_array_equal(got, transforms(Image.fromarray(pixels)).numpy())


@pytest.mark.parametrize("kind", TIMM)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_timm(size, kind):
    from timm.data import create_transform, resolve_data_config

    logging.getLogger("timm").setLevel(logging.ERROR)
    config = resolve_data_config({}, pretrained_cfg=TIMM[kind])
    ours = Preprocessing.from_timm(config)
    pixels = noise(size)
    got, _ = ours(pixels)
    wanted = create_transform(**config)(Image.fromarray(pixels)).numpy()
    np.testing.assert_array_equal(grey_levels(got, ours), grey_levels(wanted, ours))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


def test_reads_a_timm_pretrained_cfg():
    from timm.models import get_pretrained_cfg

    ours = Preprocessing.from_timm(get_pretrained_cfg("resnet50.a1_in1k"))
    assert ours == Preprocessing(
        (224, 224), IMAGENET_MEAN, IMAGENET_STD, "crop", 235, "bicubic"
    )  # timm: floor(224 / 0.95)


def test_normalises_slowly_the_same():
    pixels = noise((4, 6))
    got, frame = Preprocessing(size=(4, 6))(pixels)
    for y in range(4):
        for x in range(6):
            for channel in range(3):
                value = (pixels[y, x, channel] / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[
                    channel
                ]
                assert got[channel, y, x] == pytest.approx(value, abs=2e-6)
    assert (got.dtype, got.shape, got.flags.c_contiguous) == (np.float32, (3, 4, 6), True)
    assert tuple(frame.region) == (0, 0, 6, 4)


def test_default_crop_resizes_to_an_eighth_more():
    frame = Preprocessing(resize="crop").frame((256, 512))
    assert tuple(frame.region) == (144, 16, 368, 240)


def test_letterbox_pads_with_the_mean_colour_or_the_given_one():
    pixels = np.full((10, 20, 3), 255, np.uint8)
    got, frame = Preprocessing((8, 8), resize="letterbox")(pixels)
    assert tuple(frame.region) == (0, -5, 20, 15)
    padding = [(round(255 * m) / 255 - m) / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]  # fmt: skip
    np.testing.assert_allclose(got[:, 0, 0], padding, atol=1e-6)
    np.testing.assert_allclose(got[:, 6:, :].reshape(3, -1).max(1), padding, atol=1e-6)
    white = [(1 - m) / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    np.testing.assert_allclose(got[:, 2:6, :].reshape(3, -1).min(1), white, atol=1e-6)
    plain = Preprocessing((8, 8), (0, 0, 0), (1, 1, 1), "letterbox", fill=(255, 0, 51))
    np.testing.assert_allclose(plain(pixels)[0][:, 0, 0], [1, 0, 0.2])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_very_long_images_are_cut_before_they_are_resized(interpolation, monkeypatch):
    ours = Preprocessing(resize="crop", interpolation=interpolation)
    pixels = noise((9, 400))
    whole, _ = ours(pixels)
    monkeypatch.setattr("saliscope.models.preprocessing._WHOLE", 0)
    part, _ = ours(pixels)
    difference = np.abs(grey_levels(part, ours) - grey_levels(whole, ours))
    assert difference.max() <= 1


def test_does_not_change_its_input():
    pixels = noise((30, 20))
    before = pixels.copy()
    pixels.flags.writeable = False
    Preprocessing(resize="crop")(pixels[::-1, ::-1])
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (0, 224)}, r"size is \(height, width\).*got \(0, 224\)"),
        ({"size": 224}, r"size is \(height, width\).*got 224"),
        ({"shorter": 0}, "shorter is the shorter side.*got 0"),
        ({"std": (1, 0, 1)}, r"std is three numbers above 0.*got \(1, 0, 1\)"),
        ({"mean": (0.5,)}, "mean is three numbers in"),
        ({"mean": (0.5, float("nan"), 0)}, "mean is three numbers in"),
        ({"fill": (0, 0, 256)}, "fill is an RGB colour"),
        ({"resize": "squish"}, 'resize \'squish\' is none of "squash".*nearest: "squash"'),
        ({"interpolation": "cubic"}, "interpolation 'cubic'.*nearest: \"bicubic\""),
    ],
)
def test_rejects(options, message):
    with pytest.raises(OptionError, match=message):
        Preprocessing(**options)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"input_size": (1, 28, 28)}, "only RGB"),
        ({"input_size": (3, 64, 48)}, "a centre crop must be square"),
        ({"crop_mode": "middle"}, "crop_mode 'middle'"),
        ({"crop_mode": "border", "crop_pct": 0.9}, "'border' needs crop_pct 1, got 0.9"),
        ({"interpolation": "hamming"}, "interpolation 'hamming'"),
    ],
)
def test_rejects_timm_configurations(config, message):
    with pytest.raises(OptionError, match=message):
        Preprocessing.from_timm(config)


def test_rejects_other_transforms():
    from torchvision.transforms import ToTensor

    with pytest.raises(OptionError, match="ToTensor is no torchvision classification preset"):
        Preprocessing.from_torchvision(ToTensor())


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_rejects_pixels(pixels):
    with pytest.raises(ImageError, match=r"takes uint8 pixels \(H, W, 3\)"):
        Preprocessing()(pixels)
