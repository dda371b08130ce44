import io

import numpy as np
import pytest
from PIL import Image

from saliscope.boxes import Box
from saliscope.errors import ImageError, OptionError
from saliscope.pictures import (
    TRUTH_COLOUR,
    blend,
    box_colours,
    colour_table,
    colourise,
    draw_boxes,
    encode,
    encoded,
)


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def blend_twin(photo, heat, alpha, table):
    out = np.zeros_like(photo)
    for y in range(heat.shape[0]):
        for x in range(heat.shape[1]):
            level = int(min(max(float(heat[y, x]), 0.0), 1.0) * 255.0 + 0.5)
            for c in range(3):
                value = (1.0 - alpha) * float(photo[y, x, c]) + alpha * float(table[level, c])
                out[y, x, c] = int(value + 0.5)
    return out


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("colormap", ["inferno", "jet"])
def test_blend_equals_its_slow_twin(photo, alpha, colormap):
    heat = np.random.default_rng(1).uniform(-0.2, 1.2, (9, 7)).astype(np.float32)
    expected = blend_twin(photo, heat, alpha, colour_table(colormap))
    assert np.array_equal(blend(photo, heat, alpha=alpha, colormap=colormap), expected)


def test_blend_of_other_alphas_is_off_by_one_at_most(photo):
    heat = np.random.default_rng(1).random((9, 7))
    expected = blend_twin(photo, heat, 0.37, colour_table()).astype(int)
    assert np.abs(blend(photo, heat, alpha=0.37).astype(int) - expected).max() <= 1


def test_half_a_heat_is_the_middle_colour_not_a_square_of_it():
    assert np.array_equal(colourise(np.full((1, 1), 0.5))[0, 0], colour_table()[128])


def test_range_is_fixed_whatever_the_largest_value():
    low, high = np.full((2, 2), 0.3), np.array([[0.3, 0.3], [0.3, 1.0]])
    assert np.array_equal(colourise(low)[0], colourise(high)[0])
    grey = np.full((2, 2, 3), 100, np.uint8)
    assert np.array_equal(blend(grey, low)[0], blend(grey, high)[0])


def test_values_outside_the_range_and_infinities_are_clipped():
    table = colour_table("viridis")
    heat = np.array([[-3.0, 4.0, -np.inf, np.inf]])
    assert np.array_equal(colourise(heat, colormap="viridis")[0], table[[0, 255, 0, 255]])


def test_colour_table_has_the_ends_of_the_named_map():
    assert colour_table("jet")[0].tolist() == [0, 0, 127]
    assert colour_table("gray")[[0, 255], 0].tolist() == [0, 255]
    assert colour_table("tab10").shape == (256, 3)


def test_colour_table_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        colour_table()[0] = 1


def test_unknown_colour_map_gets_the_nearest():
    with pytest.raises(OptionError, match='"infernal" is unknown; nearest: "inferno"'):
        colourise(np.zeros((1, 1)), colormap="infernal")


def test_unseen_pixels_are_grey_darker_and_hatched_and_the_others_untouched():
    photo = np.full((40, 40, 3), (200, 100, 50), np.uint8)
    heat = np.full((40, 40), 0.6)
    heat[:, 20:] = np.nan
    mixed = blend(photo, heat)
    assert np.array_equal(mixed[:, :20], blend(photo, np.full((40, 40), 0.6))[:, :20])
    unseen = mixed[:, 20:].reshape(-1, 3)
    assert np.array_equal(unseen[:, 0], unseen[:, 1])
    assert np.array_equal(unseen[:, 0], unseen[:, 2])
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    assert sorted(set(unseen[:, 0].tolist())) == [int(0.6 * luma), int(0.36 * luma + 80)]
    coloured = colourise(heat)[:, 20:].reshape(-1, 3)
    assert len(np.unique(coloured, axis=0)) == 2  # hatched too, and none of the map's colours
    assert np.ptp(coloured, axis=1).max() == 0


def test_inputs_are_not_changed(photo):
    heat, before = np.full((9, 7), np.nan), photo.copy()
    blend(photo, heat)
    draw_boxes(photo, [(Box(0, 0, 7, 9), (1, 2, 3))])
    assert np.array_equal(photo, before)
    assert np.isnan(heat).all()


def test_blend_refuses_other_sizes_alphas_and_pictures(photo):
    heat = np.zeros((9, 7))
    with pytest.raises(OptionError, match=r"heatmap is \(7, 9\) and the photograph \(9, 7\)"):
        blend(photo, heat.T)
    with pytest.raises(OptionError, match=r"alpha is the share .* got 1\.5"):
        blend(photo, heat, alpha=1.5)
    with pytest.raises(ImageError, match=r"uint8 \(H, W, 3\) RGB; got float64"):
        blend(photo / 255.0, heat)
    with pytest.raises(OptionError, match="one heatmap at a time"):
        colourise(np.zeros((1, 9, 7)))


def test_box_line_lies_inside_its_half_open_edges():
    drawn = draw_boxes(np.zeros((30, 40, 3), np.uint8), [(Box(5, 10, 25, 22), (9, 8, 7))], width=1)
    coloured = (drawn == (9, 8, 7)).all(axis=2)
    expected = np.zeros((30, 40), bool)
    expected[10, 5:25] = expected[21, 5:25] = True
    expected[10:22, 5] = expected[10:22, 24] = True
    assert np.array_equal(coloured, expected)


def test_box_of_the_whole_picture_is_visible_on_all_sides():
    drawn = draw_boxes(np.zeros((50, 60, 3), np.uint8), [(Box(0, 0, 60, 50), (0, 255, 0))])
    for edge in (drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]):
        assert (edge == (0, 255, 0)).all()


def test_boxes_outside_are_left_out_and_tiny_ones_keep_a_pixel():
    blank = np.zeros((10, 10, 3), np.uint8)
    red = (255, 0, 0)
    assert not draw_boxes(blank, [(Box(20, 20, 30, 30), red), (Box(3, 3, 3, 8), red)]).any()
    tiny = draw_boxes(blank, [(Box(3.1, 4.1, 3.3, 4.3), red)])
    assert np.argwhere(tiny[..., 0]).tolist() == [[4, 3]]
    assert draw_boxes(np.zeros((1, 1, 3), np.uint8), [(Box(0, 0, 1, 1), red)])[0, 0, 0] == 255


def test_later_boxes_lie_above():
    both = [(Box(0, 0, 9, 9), (1, 1, 1)), (Box(0, 0, 9, 9), (2, 2, 2))]
    assert draw_boxes(np.zeros((9, 9, 3), np.uint8), both, width=1)[0, 0].tolist() == [2, 2, 2]


def test_box_colours_are_those_of_the_papers_and_all_different():
    names = ["cam@layer4", "grad-cam@layer4:relu=false", "grad-cam@layer3", "random", "edges"]
    colours = box_colours([*names, *(f"m{i}" for i in range(9))])
    assert max(colours[0]) == colours[0][2]  # blue
    assert max(colours[1]) == colours[1][1]  # green
    assert max(TRUTH_COLOUR) == TRUTH_COLOUR[0]
    assert len({TRUTH_COLOUR, *colours}) == 15


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp"])
def test_encode_writes_a_picture_of_its_kind(tmp_path, suffix):
    gradient = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None] * 3, (48, 64, 3))
    encode(gradient, tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - gradient).max() <= (
            0 if suffix == ".png" else 8
        )
    assert [p.name for p in tmp_path.iterdir()] == [f"a{suffix}"]


def test_encode_refuses_other_suffixes_and_pictures(tmp_path):
    with pytest.raises(OptionError, match=r'suffix "\.bmp" is no picture; use \.jpg'):
        encode(np.zeros((2, 2, 3), np.uint8), tmp_path / "a.bmp")
    with pytest.raises(ImageError, match="uint8"):
        encoded(np.zeros((2, 2)), "PNG")


def test_a_jpeg_holds_what_pillow_would_write():
    picture = np.random.default_rng(3).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    expected = io.BytesIO()
    Image.fromarray(picture).save(expected, "JPEG", quality=92, subsampling=0)
    with Image.open(io.BytesIO(encoded(picture, "JPEG"))) as own, Image.open(expected) as theirs:
        assert np.abs(np.asarray(own).astype(int) - np.asarray(theirs)).max() <= 1


@pytest.mark.parametrize(("kind", "limit"), [("JPEG", "65,500"), ("WEBP", "16,383")])
def test_a_picture_too_long_for_its_kind_is_refused(kind, limit):
    with pytest.raises(ImageError, match=f"{kind} .* {limit} pixels a side.* 70,000 x 1; shrink"):
        encoded(np.zeros((1, 70_000, 3), np.uint8), kind)
    with Image.open(io.BytesIO(encoded(np.zeros((1, 70_000, 3), np.uint8), "PNG"))) as image:
        assert image.size == (70_000, 1)


def test_missing_folder_and_folder_of_the_same_name_are_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"folder .*gone.* does not exist; create it.*a\.png"
    ):
        encode(np.zeros((2, 2, 3), np.uint8), tmp_path / "gone" / "a.png")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(OSError, match="there is a folder of that name"):
        encode(np.zeros((2, 2, 3), np.uint8), tmp_path / "b.png")
    assert [p.name for p in tmp_path.iterdir()] == ["b.png"]
