import itertools
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saliscope.localization.components import (
    largest_component,
    largest_contour,
    smallest_rectangle,
)

masks = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1)
)


def flooded(mask):
    """The 8-connected parts by flood fill: lists of (y, x), in reading order of their first pixel."""
    left = {(y, x) for y, x in zip(*np.nonzero(mask), strict=True)}
    parts = []
    for start in sorted(left):
        if start not in left:
            continue
        part, edge = [], [start]
        left.discard(start)
        while edge:
            y, x = edge.pop()
            part.append((int(y), int(x)))
            for dy, dx in itertools.product((-1, 0, 1), repeat=2):
                if (y + dy, x + dx) in left:
                    left.discard((y + dy, x + dx))
                    edge.append((y + dy, x + dx))
        parts.append(part)
    return parts


def largest_twin(mask, heat):
    parts = flooded(mask)
    return max(parts, key=lambda part: (len(part), max(heat[p] for p in part))) if parts else None


def bounds_twin(part):
    ys, xs = [y for y, _ in part], [x for _, x in part]
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def rectangle_twin(points):
    """Area of the smallest rectangle: all directions between two points, in float64 (a superset of the hull's edges)."""
    points = [tuple(map(float, p)) for p in points]
    best = math.inf
    for (ax, ay), (bx, by) in itertools.combinations(set(points), 2):
        length = math.hypot(bx - ax, by - ay)
        ux, uy = (bx - ax) / length, (by - ay) / length
        along = [x * ux + y * uy for x, y in points]
        across = [y * ux - x * uy for x, y in points]
        best = min(best, (max(along) - min(along)) * (max(across) - min(across)))
    return 0.0 if best == math.inf else best


def area(corners):
    side, other = corners[1] - corners[0], corners[3] - corners[0]
    return float(np.hypot(*side) * np.hypot(*other))


@settings(max_examples=300, deadline=None)
@given(masks, st.integers(0, 2**31))
def test_largest_component_is_that_of_a_flood_fill(mask, seed):
    heat = np.random.default_rng(seed).integers(0, 3, mask.shape).astype(np.float32)
    expected = largest_twin(mask, heat)
    found = largest_component(mask, heat)
    assert (found is None) == (expected is None)
    if found is not None:
        assert found.bounds == bounds_twin(expected)
        assert {(y, x) for x, y in found.outline.tolist()} <= set(expected)


@settings(max_examples=300, deadline=None)
@given(masks, st.integers(0, 2**31))
def test_largest_contour_encloses_the_most(mask, seed):
    heat = np.random.default_rng(seed).integers(0, 3, mask.shape).astype(np.float32)
    found = largest_contour(mask, heat)
    parts = flooded(mask)
    assert (found is None) == (not parts)
    if found is None:
        return

    def enclosed(part):
        alone = np.zeros_like(mask)
        alone[tuple(np.array(part).T)] = 1
        return cv2.contourArea(
            cv2.findContours(alone, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0]
        )

    expected = max(parts, key=lambda part: (enclosed(part), max(heat[p] for p in part)))
    assert found.bounds == bounds_twin(expected)
    assert {(y, x) for x, y in found.outline.tolist()} <= set(expected)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12))
def test_smallest_rectangle_is_smallest_and_holds_everything(points):
    corners = smallest_rectangle(np.array(points))
    assert area(corners) == pytest.approx(rectangle_twin(points), abs=1e-7)
    sides = np.roll(corners, -1, axis=0) - corners
    for i in range(4):
        assert float(sides[i] @ sides[(i + 1) % 4]) == pytest.approx(0, abs=1e-7)  # right angles
        if np.hypot(*sides[i]) > 0:
            normal = np.array([-sides[i][1], sides[i][0]]) / np.hypot(*sides[i])
            inner = (np.array(points) - corners[i]) @ normal
            assert inner.min() >= -1e-9 or inner.max() <= 1e-9
    assert (corners.min(0) <= np.min(points, 0) + 1e-9).all()
    assert (corners.max(0) >= np.max(points, 0) - 1e-9).all()
    (_, (width, height), _) = cv2.minAreaRect(np.array(points, np.int32))
    assert area(corners) <= width * height * (1 + 1e-4) + 1e-3


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=9),
    st.randoms(use_true_random=False),
)
def test_smallest_rectangle_does_not_depend_on_the_order(points, random):
    shuffled = list(points)
    random.shuffle(shuffled)
    for one, other in [
        (smallest_rectangle(np.array(points)), smallest_rectangle(np.array(shuffled)))
    ]:
        np.testing.assert_allclose(one.min(0), other.min(0), atol=1e-9)
        np.testing.assert_allclose(one.max(0), other.max(0), atol=1e-9)


def test_the_triangle_of_the_protocol_page():
    """Three rectangles of area 1500 fit it; the most elongated stands at 45 degrees."""
    corners = smallest_rectangle(np.array([[10, 10], [50, 20], [20, 50]]))
    assert area(corners) == pytest.approx(1500)
    np.testing.assert_allclose(corners.min(0), [-5, -5], atol=1e-12)
    np.testing.assert_allclose(corners.max(0), [50, 50], atol=1e-12)


@pytest.mark.parametrize(
    ("points", "low", "high"),
    [
        ([[5, 5]], [5, 5], [5, 5]),
        ([[5, 5], [9, 5]], [5, 5], [9, 5]),
        ([[1, 1], [4, 7]], [1, 1], [4, 7]),
        ([[2, 3], [11, 3], [11, 8], [2, 8]], [2, 3], [11, 8]),
    ],
)
def test_points_lines_and_upright_blobs_are_exact(points, low, high):
    corners = smallest_rectangle(np.array(points))
    assert corners.min(0).tolist() == low
    assert corners.max(0).tolist() == high


def two_parts(first, second, shape=(40, 40)):
    mask = np.zeros(shape, np.uint8)
    mask[first] = mask[second] = 1
    return mask


def test_a_long_line_wins_by_pixels_and_a_square_by_contour():
    mask = two_parts(np.s_[1:2, 1:37], np.s_[20:24, 20:24])
    heat = mask.astype(np.float32)
    assert largest_component(mask, heat).bounds == (1, 1, 37, 2)
    assert largest_contour(mask, heat).bounds == (20, 20, 24, 24)


def test_a_ring_counts_its_hole_for_the_contour_only():
    mask = np.zeros((60, 60), np.uint8)
    mask[5:35, 5:35] = 1
    mask[6:34, 6:34] = 0  # 116 pixels around a hole: the contour encloses 29 x 29 = 841
    mask[40:58, 40:58] = 1  # 324 pixels, the contour encloses 289
    heat = mask.astype(np.float32)
    assert largest_contour(mask, heat).bounds == (5, 5, 35, 35)
    assert largest_component(mask, heat).bounds == (40, 40, 58, 58)


def test_corners_that_touch_connect():
    mask = np.zeros((6, 6), np.uint8)
    mask[0, 0] = mask[1, 1] = mask[2, 2] = mask[5, 0] = mask[5, 1] = 1
    assert largest_component(mask, mask).bounds == (0, 0, 3, 3)


@pytest.mark.parametrize("pick", [largest_component, largest_contour])
def test_ties_go_to_the_peak_then_to_reading_order(pick):
    mask = two_parts(np.s_[2:6, 20:24], np.s_[20:24, 2:6])
    heat = mask.astype(np.float32)
    assert pick(mask, heat).bounds == (20, 2, 24, 6)
    heat[21, 3] = 2
    assert pick(mask, heat).bounds == (2, 20, 6, 24)
    heat[3, 21] = 3
    assert pick(mask, heat).bounds == (20, 2, 24, 6)


@pytest.mark.parametrize("pick", [largest_component, largest_contour])
def test_single_pixels_and_empty_masks(pick):
    mask = np.zeros((3, 4), np.uint8)
    assert pick(mask, mask) is None
    mask[2, 3] = 1
    found = pick(mask, mask)
    assert found.bounds == (3, 2, 4, 3)
    assert found.outline.tolist() == [[3, 2]]
