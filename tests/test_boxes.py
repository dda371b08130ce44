import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from saliscope.boxes import Box, best_iou, iou
from saliscope.errors import OptionError

numbers = st.floats(-1e4, 1e4, allow_nan=False)


@st.composite
def boxes(draw, of=numbers):
    xs, ys = (sorted((draw(of), draw(of))) for _ in "xy")
    return Box(xs[0], ys[0], xs[1], ys[1])


pixel_boxes = boxes(of=st.integers(0, 12))


def paint(box, grid=16):
    image = np.zeros((grid, grid), bool)
    for y in range(int(box.y0), int(box.y1)):
        for x in range(int(box.x0), int(box.x1)):
            image[y, x] = True
    return image


@given(pixel_boxes, pixel_boxes)
def test_half_open_iou_counts_pixels(a, b):
    one, other = paint(a), paint(b)
    either = int((one | other).sum())
    expected = int((one & other).sum()) / either if either else 0.0
    assert iou(a, b) == pytest.approx(expected, abs=1e-15)


@given(pixel_boxes, pixel_boxes)
def test_inclusive_iou_counts_pixels_of_boxes_one_larger(a, b):
    one, other = (paint(Box(c.x0, c.y0, c.x1 + 1, c.y1 + 1)) for c in (a, b))
    expected = (one & other).sum() / (one | other).sum()
    assert iou(a, b, convention="inclusive") == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((1, 2, 5, 6), (3, 1, 4, 5), 8 / 27),
        ((0, 0, 9, 9), (3, 0, 12, 9), 70 / 130),
        ((0, 0, 9, 9), (5, 0, 14, 9), 1 / 3),
        ((0, 0, 9, 9), (0, 0, 9, 4), 0.5),
        ((1, 1, 3, 3), (4, 4, 5, 5), 0.0),
        ((1, 1, 3, 3), (1, 1, 3, 3), 1.0),
    ],
)
def test_inclusive_iou_of_the_development_kits(a, b, expected):
    assert iou(Box(*a), Box(*b), convention="inclusive") == pytest.approx(expected, abs=1e-15)


def test_the_one_pixel_too_wide_box_of_wsol_scores_60_of_77():
    truth, wide = Box(2, 3, 11, 8), Box(2, 3, 12, 9)  # inclusive corners: 10 x 6 and 11 x 7 pixels
    assert iou(truth, wide, convention="inclusive") == pytest.approx(60 / 77)
    assert iou(Box(2, 3, 12, 9), Box(2, 3, 12, 9)) == 1.0


@given(boxes(), boxes())
def test_iou_is_symmetric_and_in_range(a, b):
    for convention in ("half-open", "inclusive"):
        value = iou(a, b, convention=convention)
        assert 0.0 <= value <= 1.0 + 1e-12
        assert value == iou(b, a, convention=convention)


@given(boxes())
def test_a_box_overlaps_itself_wholly_unless_it_is_empty(box):
    assume(box.area == 0 or box.area > 1e-200)
    assert iou(box, box) == (pytest.approx(1.0) if box.area > 0 else 0.0)


@given(pixel_boxes, pixel_boxes, st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 9))
def test_iou_ignores_shift_and_scale(a, b, dx, dy, scale):
    moved = [
        Box(c.x0 * scale + dx, c.y0 * scale + dy, c.x1 * scale + dx, c.y1 * scale + dy)
        for c in (a, b)
    ]
    assert iou(*moved) == pytest.approx(iou(a, b), abs=1e-12)


def test_touching_boxes_do_not_overlap():
    assert iou(Box(0, 0, 5, 5), Box(5, 0, 10, 5)) == 0.0
    assert iou(Box(0, 0, 5, 5), Box(5, 0, 10, 5), convention="inclusive") == pytest.approx(6 / 66)


@pytest.mark.parametrize(
    "corners",
    [(5, 0, 4, 1), (0, 5, 1, 4), (math.nan, 0, 1, 1), (0, 0, math.inf, 1), (0, 0, 1, -math.inf)],
)
def test_boxes_that_are_none_are_refused(corners):
    with pytest.raises(OptionError, match="a box is x0, y0, x1, y1"):
        Box(*corners)


def test_an_unknown_convention_is_refused():
    with pytest.raises(OptionError, match='box convention "coco" is unknown; use "half-open"'):
        iou(Box(0, 0, 1, 1), Box(0, 0, 1, 1), convention="coco")


def test_best_iou_is_that_of_the_instance_that_fits_best():
    box = Box(0, 0, 10, 10)
    truth = [Box(0, 0, 10, 5), Box(0, 0, 10, 9), Box(50, 50, 60, 60)]
    assert best_iou(box, truth) == pytest.approx(0.9)
    assert best_iou(box, truth, convention="inclusive") == pytest.approx(110 / 121)
    assert best_iou(None, truth) == 0.0
    assert math.isnan(best_iou(box, []))
    assert math.isnan(best_iou(None, []))


@given(boxes(of=st.floats(-500, 500)), st.integers(1, 300), st.integers(1, 300))
def test_clip_keeps_the_box_inside_and_is_idempotent(box, height, width):
    cut = box.clip((height, width))
    assert 0 <= cut.x0 <= cut.x1 <= width
    assert 0 <= cut.y0 <= cut.y1 <= height
    assert cut.clip((height, width)) == cut
    whole = Box(0, 0, width, height)
    overlap = max(min(box.x1, width) - max(box.x0, 0), 0) * max(
        min(box.y1, height) - max(box.y0, 0), 0
    )
    assert cut.area == pytest.approx(overlap)
    assert whole.clip((height, width)) == whole


def test_other_conventions_arrive_half_open():
    assert Box.from_xywh(60, 27, 325, 304) == Box(60, 27, 385, 331)
    assert Box.from_inclusive(0, 0, 9, 5) == Box(0, 0, 10, 6)
    assert Box.from_inclusive(1, 1, 500, 375, first=1) == Box(0, 0, 500, 375)
    with pytest.raises(OptionError, match="a box is"):
        Box.from_xywh(0, 0, -1, 5)


def test_a_box_is_a_value():
    box = Box(1, 2, 3, 5)
    assert tuple(box) == (1.0, 2.0, 3.0, 5.0)
    assert (box.width, box.height, box.area) == (2.0, 3.0, 6.0)
    assert {box, Box(1.0, 2.0, 3.0, 5.0)} == {box}
    assert all(type(v) is float for v in Box(*np.array([1, 2, 3, 4])))
    with pytest.raises(AttributeError, match="cannot assign"):
        box.x0 = 3
