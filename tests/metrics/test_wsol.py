"""The numbers of the wsolevaluation program's own checks, and a few more: see docs on box protocols."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saliscope.boxes import Box, iou
from saliscope.errors import DataError
from saliscope.metrics.wsol import (
    wsol_boxes,
    wsol_curve,
    wsol_grid,
    wsol_iou,
    wsol_mask,
    wsol_resize_box,
    wsol_scoremap,
)

STEPS = [
    [0, 0, 0, 0, 0],
    [0, 0.4, 0.4, 0.4, 0.6],
    [0, 0.4, 1, 0.8, 0.6],
    [0, 0.4, 0.4, 0.4, 0.6],
]
BLOBS = [
    [0.4, 0, 0.2, 0.2, 0.2],
    [0.4, 0.4, 0, 0.4, 0],
    [0, 0, 0, 0.4, 0],
    [1, 0.6, 0.8, 0.2, 0.2],
]
GRID = np.arange(0, 1, 0.2)  # its .6000000000000001 is part of the definition


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_box_of_one_blob(dtype):
    found = wsol_boxes(np.array(STEPS, dtype), GRID)
    assert found == [[(1, 1, 4, 3)], [(1, 1, 4, 3)], [(2, 1, 4, 3)], [(2, 2, 4, 3)], [(2, 2, 3, 3)]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_several_blobs(dtype):
    scores = np.array(BLOBS, dtype)
    assert [at[0] for at in wsol_boxes(scores, GRID)] == [
        (0, 0, 4, 3),
        (0, 0, 2, 2),
        (0, 3, 3, 3),
        (2, 3, 3, 3),
        (0, 3, 1, 3),
    ]
    every = wsol_boxes(scores, GRID, every=True)
    assert set(every[1]) == {(0, 1, 4, 3), (0, 0, 2, 2)}
    assert set(every[3]) == {(2, 3, 3, 3), (0, 3, 1, 3)}


def test_the_identity_table():
    boxes = np.array([[1, 1, 3, 3], [4, 4, 5, 5]])
    np.testing.assert_array_equal(wsol_iou(boxes, boxes), np.eye(2))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((1, 2, 5, 6), (3, 1, 4, 5), 8 / 27),
        ((0, 0, 9, 9), (3, 0, 12, 9), 70 / 130),
        ((0, 0, 9, 9), (5, 0, 14, 9), 1 / 3),
        ((0, 0, 9, 9), (0, 0, 9, 4), 0.5),
    ],
)
def test_inclusive_overlaps(a, b, expected):
    assert wsol_iou(np.array([a]), np.array([b])).item() == expected
    assert iou(Box(*a), Box(*b), convention="inclusive") == pytest.approx(expected, abs=1e-15)
    assert iou(Box.from_inclusive(*a), Box.from_inclusive(*b)) == pytest.approx(expected, abs=1e-15)


corners = hnp.arrays(np.int64, st.tuples(st.integers(1, 5), st.just(4)), elements=st.integers(0, 9))


@given(corners, corners)
def test_overlaps_by_counting_pixels(a, b):
    def pixels(box):
        return {(x, y) for x in range(box[0], box[2] + 1) for y in range(box[1], box[3] + 1)}

    a, b = (
        np.concatenate([np.minimum(c[:, :2], c[:, 2:]), np.maximum(c[:, :2], c[:, 2:])], 1)
        for c in (a, b)
    )
    expected = [
        [len(pixels(p) & pixels(q)) / len(pixels(p) | pixels(q)) for q in b.tolist()]
        for p in a.tolist()
    ]
    np.testing.assert_allclose(wsol_iou(a, b), expected, atol=1e-15)


def test_boxes_are_cut_to_whole_numbers():
    assert wsol_resize_box(Box(1, 2, 4, 3), (20, 10), to=(10, 35)) == (3, 1, 14, 1)
    assert wsol_resize_box(Box(0, 0, 500, 375), (375, 500)) == (0, 0, 224, 224)


def test_a_perfect_blob_is_one_pixel_too_wide():
    blob = np.zeros((224, 224), np.float32)
    blob[20:26, 30:40] = 1
    curve, count = wsol_curve(blob, [(30, 20, 39, 25)], [0.5])
    assert curve.tolist() == [60 / 77]
    assert count.tolist() == [1]


def test_holes_count_as_contours():
    ring = np.zeros((40, 40), np.float32)
    ring[5:35, 5:35] = 1
    ring[10:30, 10:30] = 0
    found = wsol_boxes(ring, [0.5], every=True)[0]
    assert set(found) == {(5, 5, 35, 35), (9, 9, 31, 31)}
    curve, count = wsol_curve(ring, [(9, 9, 31, 31)], [0.5], every=True)
    assert curve.tolist() == [1.0]
    assert count.tolist() == [2]
    assert wsol_curve(ring, [(9, 9, 31, 31)], [0.5])[0].tolist() == [23 * 23 / 31 / 31]


def test_nothing_above_the_threshold_is_a_box_of_one_pixel():
    assert wsol_boxes(np.zeros((5, 6)), [0, 0.5]) == [[(0, 0, 0, 0)]] * 2
    assert wsol_curve(np.zeros((5, 6)), [(0, 0, 1, 1)], [0.5])[0].tolist() == [0.25]


def slow_boxes(scores, threshold):
    """One threshold at a time, without the table of cuts."""
    grey = (scores * 255).astype(np.uint8)
    _, mask = cv2.threshold(grey, int(threshold * np.max(grey)), 255, cv2.THRESH_BINARY)
    outlines, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    boxes = [cv2.boundingRect(outline) for outline in outlines]
    height, width = scores.shape
    return [(x, y, min(x + w, width - 1), min(y + h, height - 1)) for x, y, w, h in boxes]


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float32, (7, 6), elements=st.floats(0, 1, width=32)))
def test_all_contours_at_every_threshold(scores):
    grid = wsol_grid(0.01)
    for threshold, found in zip(grid, wsol_boxes(scores, grid, every=True), strict=True):
        assert found == (slow_boxes(scores, threshold) or [(0, 0, 0, 0)])


@pytest.mark.parametrize(
    "scores", [np.full((4, 4), np.nan), np.full((4, 4), 1.5), np.full((4, 4), -0.1), np.zeros(4)]
)
def test_score_maps_lie_between_0_and_1(scores):
    with pytest.raises(DataError, match=r"\(H, W\) with values in \[0, 1\]"):
        wsol_boxes(scores, [0.5])


def test_score_maps_are_stretched_to_the_frame():
    grid = np.float32([[0, 1], [2, 5]])
    scores = wsol_scoremap(grid)
    assert scores.shape == (224, 224)
    assert (scores.min(), scores.max()) == (0, 1)
    wide = cv2.resize(grid, (224, 224), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(scores, (wide - wide.min()) / np.ptp(wide), atol=1e-6)
    assert not wsol_scoremap(np.zeros((3, 3))).any()
    assert not wsol_scoremap(np.array([[0.0, np.nan], [1.0, 2.0]])).any()


def test_a_constant_map_becomes_a_picture_of_rounding():
    """Cubic weights do not add up to exactly 1, and min-max stretches what is left: a quirk that is kept."""
    scores = wsol_scoremap(np.full((3, 3), 2.0))
    wide = cv2.resize(np.full((3, 3), 2, np.float32), (224, 224), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(scores > 0, wide > wide.min())


def test_masks_are_stretched_to_the_nearest():
    mask = np.array([[True, False], [False, False]])
    wide = wsol_mask(mask)
    assert wide.dtype == bool
    assert wide[:112, :112].all()
    assert wide.sum() == 112 * 112


def test_the_grid_keeps_the_rounding_of_arange():
    assert len(wsol_grid()) == 1000
    assert wsol_grid(0.2).tolist() == [0.0, 0.2, 0.4, 0.6000000000000001, 0.8]
