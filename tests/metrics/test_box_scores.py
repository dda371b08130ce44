import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saliscope.boxes import Box, best_iou
from saliscope.errors import OptionError
from saliscope.metrics import METRICS, Mean, Score, box_region, gt_known, lacks_box, union_iou

boxes = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 8), st.integers(1, 8)).map(
    lambda b: Box.from_xywh(*b)
)


def pixels(*given_):
    return {
        (x, y)
        for b in given_
        for x in range(int(b.x0), int(b.x1))
        for y in range(int(b.y0), int(b.y1))
    }


@settings(max_examples=200, deadline=None)
@given(boxes, st.lists(boxes, min_size=1, max_size=4))
def test_union_by_counting_pixels(box, truth):
    own, all_ = pixels(box), pixels(*truth)
    assert union_iou(box, truth) == pytest.approx(len(own & all_) / len(own | all_), abs=1e-12)
    region = box_region(truth, (24, 24))
    assert {(int(x), int(y)) for y, x in zip(*np.nonzero(region), strict=True)} == all_


def test_two_dogs():
    left, right = Box(0, 0, 10, 10), Box(12, 0, 22, 10)
    around = Box(0, 0, 22, 10)
    assert best_iou(around, [left, right]) == 100 / 220
    assert union_iou(around, [left, right]) == 200 / 220
    assert union_iou(Box(0.5, 0, 1, 1), [Box(0, 0, 1, 1)]) == 0.5
    assert union_iou(Box(3, 3, 3, 3), [Box(5, 5, 5, 5)]) == 0


def test_no_box_and_no_truth():
    assert union_iou(None, [Box(0, 0, 1, 1)]) == 0
    assert math.isnan(union_iou(None, []))
    assert gt_known(None, [Box(0, 0, 1, 1)]) == 0
    assert math.isnan(gt_known(Box(0, 0, 1, 1), []))
    assert (lacks_box(None), lacks_box(Box(0, 0, 1, 1))) == (1, 0)


def test_half_is_enough_for_gt_known():
    truth = [Box(0, 0, 10, 10), Box(50, 50, 60, 60)]
    assert gt_known(Box(0, 0, 10, 5), truth) == 1
    assert gt_known(Box(0, 0, 10, 4.99), truth) == 0
    assert gt_known(Box(50, 50, 60, 57), truth, threshold=0.7) == 1
    with pytest.raises(OptionError, match=r"lies in \(0, 1\], e.g. 0.5; got 50"):
        gt_known(None, truth, threshold=50)


def test_fractional_boxes_hold_the_pixels_whose_centres_they_hold():
    region = box_region([Box(0.5, 0.6, 2.5, 2.4)], (4, 4))
    assert region.astype(int).tolist() == [[0] * 4, [1, 1, 0, 0], [0] * 4, [0] * 4]
    assert box_region([Box(-9, -9, 1, 99)], (3, 3)).tolist() == [[True, False, False]] * 3
    assert not box_region([Box(-9, -9, -5, -5), Box(7, 7, 9, 9)], (3, 3)).any()


def test_the_mean_leaves_out_what_is_undefined():
    truth = [Box(0, 0, 10, 10)]
    mean = Mean(METRICS["iou"]).update(Box(0, 0, 10, 5), truth).update(None, truth)
    assert mean.update(Box(0, 0, 1, 1), []).compute() == Score(0.25, 2, 1)
    assert (mean.direction, mean.bounds) == ("higher", (0.0, 1.0))
    assert mean.protocol == METRICS["iou"].protocol
    empty = Mean(METRICS["no-box"]).compute()
    assert math.isnan(empty.value)
    assert empty.n == 0
    share = Mean(METRICS["no-box"]).update(None).update(None).update(truth[0]).compute()
    assert share == Score(2 / 3, 3)


def test_the_order_of_images_does_not_matter():
    random = np.random.default_rng(0)
    values = random.random(1000) * 10.0 ** random.integers(-9, 9, 1000)
    metric = replace(METRICS["gt-known"], name="same", function=float)
    found = set()
    for order in (values, values[::-1], np.sort(values)):
        mean = Mean(metric)
        for value in order:
            mean.update(value)
        found.add(mean.compute().value)
    assert len(found) == 1


def test_every_metric_says_what_it_is():
    errors = {"no-box", "top-1", "top-5", "class-error-1", "class-error-5"}
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.direction == ("lower" if name in errors else "higher")
        assert metric.bounds[0] == 0
        assert metric.protocol
        assert metric.function.__doc__
