import math

import numpy as np
import pytest

from saliscope.boxes import Box, best_iou
from saliscope.errors import OptionError
from saliscope.localization import even_grid, find_box, normalise
from saliscope.metrics import BoxAccuracy, best_threshold
from saliscope.metrics.wsol import wsol_grid

GRID = [0.1, 0.3, 0.5, 0.7]


def blob(height=60, width=80):
    heat = np.zeros((height, width), np.float32)
    heat[20:26, 30:40] = 1
    return heat


def twin(curves, deltas, thresholds):
    """Loops: for each delta the best share over thresholds shared by all images."""
    best = []
    for delta in deltas:
        shares = [
            sum(curve[k] >= delta for curve in curves) / len(curves) for k in range(len(thresholds))
        ]
        at = shares.index(max(shares))
        best.append((shares[at], thresholds[at]))
    return best


def test_a_perfect_blob():
    truth = [Box(30, 20, 40, 26)]
    assert BoxAccuracy().update(blob(), truth).compute().value == 1
    assert BoxAccuracy(2, deltas=[1.0]).update(blob(), truth).compute().value == 1
    raw = BoxAccuracy(1, "wsol", deltas=[0.78]).update(blob(224, 224), truth).compute()
    assert raw.value == 1  # (30, 20, 40, 26) with corners inside: 77 of 77


def test_the_wsol_blob_is_one_pixel_too_wide():
    inclusive = [Box(30, 20, 39, 25)]
    for delta, value in ((60 / 77, 1.0), (60 / 77 + 1e-9, 0.0)):
        score = BoxAccuracy(1, "wsol", deltas=[delta])
        assert score.update(blob(224, 224), inclusive).compute().value == value


def test_one_threshold_is_shared_by_all_images():
    one, other = [0.0, 0.9, 0.2, 0.0], [0.9, 0.2, 0.6, 0.9]
    score = BoxAccuracy(thresholds=GRID).update_curve(np.array(one)).update_curve(np.array(other))
    found = score.compute()
    assert found.value == 0.5  # each image has a threshold that suits it, but none suits both
    assert found.best[0].threshold == 0.1  # the lowest of equals
    assert (found.n, found.undefined) == (2, 0)
    assert score.curves()[0.5].tolist() == [0.5, 0.5, 0.5, 0.5]


def test_the_second_version_chooses_for_each_delta():
    curves = [[0.3, 0.8, 0.1, 0.0], [0.35, 0.75, 0.2, 0.0], [0.4, 0.0, 0.55, 0.6]]
    score = BoxAccuracy(2, thresholds=GRID)
    for curve in curves:
        score.update_curve(np.array(curve), np.array([4, 3, 2, 1]))
    found = score.compute()
    assert [(b.accuracy, b.threshold) for b in found.best] == twin(curves, [0.3, 0.5, 0.7], GRID)
    assert [(b.delta, b.accuracy, b.threshold, b.candidates) for b in found.best] == [
        (0.3, 1.0, 0.1, 4.0),
        (0.5, 2 / 3, 0.3, 3.0),
        (0.7, 2 / 3, 0.3, 3.0),
    ]
    assert found.value == pytest.approx(7 / 9)


def test_reaching_is_enough():
    score = BoxAccuracy(thresholds=[0.5]).update_curve(np.array([0.5]))
    assert score.compute().value == 1


def test_images_are_swept():
    random = np.random.default_rng(0)
    heats = [random.random((12, 15)).astype(np.float32) for _ in range(4)]
    truths = [[Box(1, 2, 9, 11)], [Box(0, 0, 15, 12), Box(3, 3, 5, 5)], [Box(5, 5, 6, 9)], []]
    grid = [0.0, 0.25, 0.5]
    score = BoxAccuracy(thresholds=grid, deltas=[0.2], rule="max")
    curves = []
    for heat, truth in zip(heats, truths, strict=True):
        score.update(heat, truth)
        # Strictly above the next lower number is at or above.
        below = [float(np.nextafter(np.float32(t), np.float32(-1))) for t in grid[1:]]
        boxes = [find_box(heat, f"cam2016:threshold={t!r}") for t in below]
        curves.append([best_iou(box, truth) for box in [Box(0, 0, 15, 12), *boxes]])
    found = score.compute()
    assert (found.n, found.undefined) == (3, 1)
    assert [(b.accuracy, b.threshold) for b in found.best] == twin(curves[:3], [0.2], grid)
    assert found.best[0].candidates == 1


def test_the_best_of_all_parts_counts_in_the_second_version():
    heat = np.zeros((40, 40), np.float32)
    heat[2:20, 2:20] = 0.6
    heat[30:34, 30:34] = 1.0
    truth = [Box(30, 30, 34, 34)]
    grid = [0.1, 0.5]
    assert BoxAccuracy(1, thresholds=grid).update(heat, truth).compute().value == 0
    found = BoxAccuracy(2, thresholds=grid).update(heat, truth).compute()
    assert found.value == 1
    assert found.best[0].candidates == 2


def test_a_map_without_a_box_counts_as_a_miss():
    found = BoxAccuracy().update(np.zeros((9, 9)), [Box(0, 0, 9, 9)]).compute()
    assert (found.value, found.n) == (0.0, 1)


def test_without_images_it_is_undefined():
    for score in (BoxAccuracy(), BoxAccuracy(2, "wsol").update(blob(), [])):
        found = score.compute()
        assert math.isnan(found.value)
        assert math.isnan(found.best[0].threshold)
        assert found.n == 0
    assert found.undefined == 1
    assert np.isnan(score.curves()[0.3]).all()


def test_wsol_maps_boxes_from_their_image():
    grid = np.zeros((4, 4), np.float32)
    grid[1:3, 1:3] = 1
    truth = [Box(100, 50, 300, 150)]  # the middle half of an image of 400 x 200
    found = BoxAccuracy(2, "wsol").update(grid, truth, size=(200, 400)).compute()
    assert found.value == 1
    assert BoxAccuracy(2, "wsol").update(grid, truth, size=(400, 800)).compute().value < 1
    assert len(BoxAccuracy(1, "wsol").thresholds) == len(wsol_grid())
    assert BoxAccuracy(1).thresholds.tolist() == even_grid().tolist()


def test_the_functional_form():
    curves = np.array([[0.6, 0.4], [0.2, 0.5], [np.nan, np.nan], [0.5, 0.5]])
    found = best_threshold(curves, [0.1, 0.2])
    assert (found.delta, found.accuracy, found.threshold) == (0.5, 2 / 3, 0.1)
    score = BoxAccuracy(thresholds=[0.1, 0.2])
    for curve in curves:
        score.update_curve(curve)
    assert score.compute().best[0].accuracy == found.accuracy
    assert math.isnan(best_threshold(curves[2:3], [0.1, 0.2]).accuracy)


def test_facts():
    assert (BoxAccuracy.direction, BoxAccuracy.bounds) == ("higher", (0.0, 1.0))
    assert BoxAccuracy(2, "wsol").protocol == "wsol"


def test_what_cannot_be():
    with pytest.raises(OptionError, match="versions 1 and 2; got 3"):
        BoxAccuracy(3)
    with pytest.raises(OptionError, match='box protocol "wsl" is unknown; nearest: "wsol"'):
        BoxAccuracy(1, "wsl")
    with pytest.raises(OptionError, match=r"each of the 4 thresholds; got \(3,\)"):
        BoxAccuracy(thresholds=GRID).update_curve(np.zeros(3))
    with pytest.raises(OptionError, match=r"with 4 thresholds; got \(2, 3\)"):
        best_threshold(np.zeros((2, 3)), GRID)


def test_scaling_the_heat_changes_nothing():
    heat = np.random.default_rng(3).random((20, 30)).astype(np.float32)
    truth = [Box(4, 4, 18, 15)]
    one, other = (BoxAccuracy().update(h, truth).curves()[0.5] for h in (heat, normalise(heat)))
    np.testing.assert_array_equal(one, other)
