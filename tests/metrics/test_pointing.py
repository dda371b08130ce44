import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saliscope.boxes import Box
from saliscope.errors import DataError, OptionError
from saliscope.metrics import (
    PointingGame,
    hottest_point,
    is_difficult,
    mask_hit,
    pointing_hit,
    points_at,
)

SIZE = (40, 60)


def pixel(x, y, size=SIZE):
    mask = np.zeros(size, bool)
    mask[y, x] = True
    return mask


def test_a_pixel_at_15_pixels():
    truths = [pixel(20, 0), [Box(20, 0, 21, 1)]]
    for truth in truths:
        assert not pointing_hit((5, 0), truth, SIZE, variant="torchray")
        assert pointing_hit((5, 0), truth, SIZE, variant="caffe")
        assert pointing_hit((6, 0), truth, SIZE, variant="torchray")
        assert not pointing_hit((4, 0), truth, SIZE, variant="caffe")


def test_one_trial_with_a_map():
    heat = np.zeros(SIZE)
    heat[0, 5] = 1.0
    for truth in (pixel(20, 0), [Box(20, 0, 21, 1)]):
        assert points_at(heat, truth) == 0.0
        assert points_at(heat, truth, variant="caffe") == 1.0
        assert points_at(heat, truth, radius=16) == 1.0


def test_a_trial_without_a_truth_or_a_point_is_undefined():
    for truth in ([], np.zeros(SIZE, bool)):
        assert math.isnan(points_at(np.ones(SIZE), truth))
        score = PointingGame().update(np.ones(SIZE), truth, label=0).compute().all
        assert (score.n, score.undefined) == (0, 1)
    assert math.isnan(points_at(np.full(SIZE, np.nan), pixel(3, 3)))


@pytest.mark.parametrize("level", [-2.0, 0.0, 0.3])
def test_a_constant_map_misses_wherever_the_truth_is(level):
    """Its first pixel is no place that it shows, nor one that upsampling left a rounding higher."""
    heat = np.full(SIZE, level, np.float32)
    heat[3, 3] *= np.float32(1 + 3e-7)
    heat[8, 8] = np.nan
    for truth in (np.ones(SIZE, bool), pixel(3, 3), [Box(0, 0, 9, 9)]):
        assert points_at(heat, truth) == 0.0
        score = PointingGame().update(heat, truth, label=0).compute().all
        assert (score.value, score.n, score.undefined) == (0.0, 1, 0)
    heat[3, 3] = level + 1
    assert points_at(heat, pixel(3, 3)) == 1.0
    heat[3, 3] = np.inf
    assert points_at(heat, pixel(3, 3)) == 0.0


def test_the_square_takes_what_the_disk_leaves():
    size = (224, 224)
    for truth in (pixel(20, 15, size), [Box(20, 15, 21, 16)]):
        assert pointing_hit((6, 1), truth, size, variant="square")
        assert pointing_hit((5, 0), truth, size, variant="square")
        assert not pointing_hit((4, 0), truth, size, variant="square")
        assert not pointing_hit((6, 1), truth, size, variant="caffe")
        assert not pointing_hit((6, 1), truth, size, variant="torchray")
        assert pointing_hit((35, 30), truth, size, variant="square")
        assert not pointing_hit((36, 30), truth, size, variant="square")


def test_the_square_is_grown_at_224():
    size = (
        448,
        112,
    )  # twice as tall, half as wide: 15 pixels there are 30 down and 7.5 across here
    truth = [Box(50, 200, 60, 220)]
    assert pointing_hit((55, 171), truth, size, variant="square")
    assert not pointing_hit((55, 169), truth, size, variant="square")
    assert pointing_hit((43, 210), truth, size, variant="square")
    assert not pointing_hit((42, 210), truth, size, variant="square")


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(0, 29), st.integers(0, 24)),
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 6), st.integers(1, 5)),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([1.0, 3.0, 5.0, 7.5]),
)
def test_masks_and_boxes_by_loops(point, boxes, radius):
    size = (26, 30)
    truth = [Box.from_xywh(*box) for box in boxes]
    inside = {(x + i, y + j) for x, y, w, h in boxes for i in range(w) for j in range(h)}
    mask = np.zeros(size, bool)
    for x, y in inside:
        mask[y, x] = True
    near = min((x - point[0]) ** 2 + (y - point[1]) ** 2 for x, y in inside)
    for given_ in (truth, mask):
        assert pointing_hit(point, given_, size, radius=radius) == (near < radius**2)
        assert pointing_hit(point, given_, size, variant="caffe", radius=radius) == (
            near <= radius**2
        )


def distance_twin(point, corners):
    """To the outline by 2,001 points an edge; 0 inside, by the winding angle."""
    x, y = point
    angle, nearest = 0.0, math.inf
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        for t in np.linspace(0, 1, 2001):
            nearest = min(nearest, math.hypot(ax + t * (bx - ax) - x, ay + t * (by - ay) - y))
        angle += math.atan2(
            (ax - x) * (by - y) - (ay - y) * (bx - x), (ax - x) * (bx - x) + (ay - y) * (by - y)
        )
    return 0.0 if abs(angle) > 1 else nearest


def test_polygons():
    arrow = np.array([[10, 10], [40, 12], [22, 18], [30, 36]], float)
    for point in itertools.product(range(0, 60, 7), range(0, 40, 6)):
        far = distance_twin(point, arrow)
        if abs(far - 6) > 0.02:
            hit = pointing_hit(point, [arrow], SIZE, variant="caffe", radius=6)
            assert hit == (far <= 6), (point, far)


@pytest.mark.parametrize("variant", ["torchray", "caffe", "square"])
def test_nothing_to_hit(variant):
    assert not pointing_hit((5, 5), [], SIZE, variant=variant)
    assert not pointing_hit((5, 5), np.zeros(SIZE, bool), SIZE, variant=variant)


def test_the_hottest_point():
    heat = np.zeros((4, 6))
    heat[1, 4] = heat[2, 0] = 3
    assert hottest_point(heat) == (4, 1)
    heat[1, 4] = np.nan
    assert hottest_point(heat) == (0, 2)
    assert hottest_point(np.full((2, 2), -1.0)) == (0, 0)
    assert hottest_point(np.full((2, 2), np.nan)) is None
    with pytest.raises(DataError, match=r"\(H, W\); got \(2, 2, 2\)"):
        hottest_point(np.zeros((2, 2, 2)))


def test_the_mean_is_over_classes():
    game = PointingGame(classes=None)
    game.record(hit=True, label="dog").record(hit=True, label="dog").record(hit=False, label="dog")
    game.record(hit=False, label="cat", difficult=True)
    game.record(hit=True, label="dog", difficult=True)
    found = game.compute()
    assert found.all.value == pytest.approx((3 / 4 + 0 / 1) / 2)
    assert found.all.n == 5
    assert found.difficult.value == 0.5
    assert found.difficult.n == 2
    assert found.by_class == {"dog": (3, 1), "cat": (0, 1)}


def test_classes_without_a_trial_are_left_out_or_count_0():
    for classes, value in ((None, 1.0), (4, 0.25)):
        game = PointingGame(classes=classes).record(hit=True, label=0)
        assert game.compute().all.value == value
        assert math.isnan(game.compute().difficult.value)
    assert math.isnan(PointingGame(classes=4).compute().all.value)


def test_trials_are_played():
    heat = np.zeros(SIZE)
    heat[0, 5] = 1
    far, near = [Box(20, 0, 21, 1)], [Box(19, 0, 21, 1)]
    game = PointingGame().update(heat, far, label=1).update(heat, near, label=1, difficult=True)
    game.update(np.full(SIZE, np.nan), near, label=1, difficult=True).update(heat, [], label=1)
    found = game.compute()
    assert (found.all.value, found.all.n, found.all.undefined) == (0.5, 2, 2)
    assert (found.difficult.value, found.difficult.n, found.difficult.undefined) == (1.0, 1, 1)
    assert PointingGame("caffe").update(heat, far, label=1).compute().all.value == 1
    assert game.protocol == "pointing game, torchray, 15 px"
    assert (game.direction, game.bounds) == ("higher", (0.0, 1.0))


def test_the_difficult_subset():
    quarter, less = [Box(0, 0, 30, 20)], [Box(0, 0, 20, 20), Box(0, 0, 9, 20)]
    assert not is_difficult(quarter, SIZE, other_classes=1)
    assert is_difficult(less, SIZE, other_classes=1)
    assert not is_difficult(less, SIZE, other_classes=0)


def test_what_cannot_be():
    polygon = [np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])]
    with pytest.raises(OptionError, match='pointing variant "cafe" is unknown; nearest: "caffe"'):
        pointing_hit((0, 0), [], SIZE, variant="cafe")
    with pytest.raises(OptionError, match='pointing variant "square15" is unknown'):
        PointingGame("square15")
    with pytest.raises(DataError, match=r"mask is \(3, 3\) and the image \(40, 60\)"):
        pointing_hit((0, 0), np.ones((3, 3), bool), SIZE)
    with pytest.raises(DataError, match='"torchray" needs a mask or boxes'):
        pointing_hit((0, 0), polygon, SIZE)
    with pytest.raises(DataError, match='"square" needs boxes or a mask'):
        pointing_hit((0, 0), polygon, SIZE, variant="square")


def test_a_point_hits_a_mask_without_tolerance():
    mask = np.zeros((4, 6), bool)
    mask[1, 2:4] = True
    for y in range(4):
        for x in range(6):
            assert mask_hit((x, y), mask) == float(y == 1 and x in (2, 3))
    assert mask_hit(None, mask) == 0.0
    assert math.isnan(mask_hit((0, 0), ~mask & mask))
