"""Masks from files, run lengths and polygons, against hand-worked examples and slow twins."""

import numpy as np
import pytest
from PIL import Image

from saliscope.boxes import Box
from saliscope.data.masks import (
    check_mask_size,
    decode_runs,
    fill_polygon,
    read_levels,
    tight_box,
)
from saliscope.errors import DataError

# Down the columns: 0 1 1, 1 0 0, 0 0 0, 0 0 1.
SMALL = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 1]], bool)


def runs_of(mask):
    """The run lengths of a mask, counted one pixel at a time."""
    runs, inside = [0], False
    for pixel in (mask[y, x] for x in range(mask.shape[1]) for y in range(mask.shape[0])):
        if bool(pixel) != inside:
            runs.append(0)
            inside = not inside
        runs[-1] += 1
    return runs


def packed(runs):
    """COCO's text: groups of five bits, a sixth for "more follow", differences from the fourth number on."""
    text = ""
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        while True:
            low, value = value & 31, value >> 5
            done = value == (-1 if low & 16 else 0)
            text += chr(48 + low + (0 if done else 32))
            if done:
                break
    return text


def filled(points, size):
    """The even-odd rule, one pixel centre and one edge at a time."""
    mask = np.zeros(size, bool)
    for row in range(size[0]):
        for column in range(size[1]):
            x, y, inside = column + 0.5, row + 0.5, False
            for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
                if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x:
                    inside = not inside
            mask[row, column] = inside
    return mask


def test_runs_go_down_the_columns():
    np.testing.assert_array_equal(decode_runs([1, 3, 7, 1], (3, 4)), SMALL)
    assert runs_of(SMALL) == [1, 3, 7, 1]


@pytest.mark.parametrize("text", ["137N", b"137N"])
def test_compressed_runs_by_hand(text):
    # 1, 3, 7 as they are; the fourth is 1 - 3 = -2, in five bits 11110: chr(48 + 30) is N.
    np.testing.assert_array_equal(decode_runs(text, (3, 4)), SMALL)


def test_large_and_signed_numbers_by_hand():
    # 40 = 01000 + 1 * 32: chr(48 + 8 + 32), chr(48 + 1); 16 needs a second group, or its bit would be a sign.
    mask = decode_runs("X1`0", (8, 7))
    assert mask.sum() == 16
    assert mask[:, 5:].all()
    assert packed([40, 16]) == "X1`0"


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_runs_agree_with_the_twin(share):
    random = np.random.default_rng(3)
    for size in ((1, 1), (5, 9), (40, 33), (1, 70)):
        mask = random.random(size) < share
        runs = runs_of(mask)
        np.testing.assert_array_equal(decode_runs(runs, size), mask)
        np.testing.assert_array_equal(decode_runs(packed(runs), size), mask)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([1, 3, 7], "covers 11 pixels in 3 runs, but its image is 4 x 3"),
        ([20, -8], "covers 12 pixels"),
        ("13~N", '"~" .*cannot stand|"~" cannot stand'),
        ("137n", "breaks off"),
    ],
)
def test_bad_runs_are_refused(counts, message):
    with pytest.raises(DataError, match=message):
        decode_runs(counts, (3, 4))


def test_a_rectangle_on_the_grid_is_half_open():
    mask = fill_polygon(np.array([[2, 1], [6, 1], [6, 4], [2, 4]], float), (5, 8))
    assert tight_box(mask) == Box(2, 1, 6, 4)
    assert mask.sum() == 12


def test_a_centre_on_the_left_or_upper_edge_is_inside():
    mask = fill_polygon(np.array([[1.5, 0.5], [3.5, 0.5], [3.5, 2.5], [1.5, 2.5]]), (4, 6))
    assert tight_box(mask) == Box(1, 0, 3, 2)


def test_shared_edges_leave_neither_gap_nor_overlap():
    corners = np.array([[0, 0], [9, 0], [9, 7], [0, 7]], float)
    middle = np.array([[4.5, 3.5]])
    parts = [
        fill_polygon(np.vstack([corners[[i, (i + 1) % 4]], middle]), (7, 9)).astype(int)
        for i in range(4)
    ]
    assert (sum(parts) == 1).all()


def test_the_rule_is_even_odd():
    bow = np.array([[0, 0], [8, 8], [8, 0], [0, 8]], float)
    twice = np.vstack([corners := np.array([[1, 1], [7, 1], [7, 7], [1, 7]], float), corners])
    np.testing.assert_array_equal(fill_polygon(bow, (8, 8)), filled(bow, (8, 8)))
    assert not fill_polygon(twice, (8, 8)).any()


@pytest.mark.parametrize("seed", range(5))
def test_polygons_agree_with_the_twin(seed):
    random = np.random.default_rng(seed)
    points = random.uniform(-4, 24, (random.integers(3, 12), 2))  # some of it outside the image
    if seed % 2:
        points = np.round(points * 2) / 2  # through pixel centres and corners
    np.testing.assert_array_equal(fill_polygon(points, (17, 21)), filled(points, (17, 21)))


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.array([[1.0, 1.0]]), np.ones((4, 2))])
def test_polygons_without_area_cover_nothing(points):
    assert not fill_polygon(points, (4, 4)).any()


def test_the_tight_box_holds_every_pixel():
    mask = np.zeros((6, 9), bool)
    mask[1, 4] = mask[3, 2] = True
    assert tight_box(mask) == Box(2, 1, 5, 4)
    assert tight_box(np.zeros((6, 9), bool)) is None


def test_levels_of_grey_and_palette_files(tmp_path):
    levels = np.array([[0, 1, 2], [3, 2, 1]], np.uint8)
    image = Image.fromarray(levels)
    image.putpalette([0, 0, 0, 255, 255, 255, 100, 100, 100, 7, 7, 7])
    image.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_levels(tmp_path / "palette.png", indices=True), levels)
    assert read_levels(tmp_path / "palette.png").tolist() == [[0, 255, 100], [7, 100, 255]]
    Image.fromarray(levels > 1).save(tmp_path / "bits.png")
    assert read_levels(tmp_path / "bits.png", indices=True).tolist() == [[0, 0, 255], [255, 255, 0]]


def test_mask_files_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no mask file .*none.png"):
        read_levels(tmp_path / "none.png")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"mask file .*bad.png is damaged"):
        read_levels(tmp_path / "bad.png")
    Image.new("RGB", (4, 3)).save(tmp_path / "image.png")
    check_mask_size(np.zeros((3, 4)), tmp_path / "mask.png", tmp_path / "image.png")
    with pytest.raises(DataError, match=r"mask.png is 3 x 4 pixels, but image.png is 4 x 3"):
        check_mask_size(np.zeros((4, 3)), tmp_path / "mask.png", tmp_path / "image.png")
