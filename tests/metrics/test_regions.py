import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saliscope.boxes import Box
from saliscope.errors import DataError, OptionError
from saliscope.metrics import (
    box_coverage,
    contrastivity,
    energy_in_boxes,
    enrichment_in_boxes,
    heat_share,
    inside_outside_ratio,
    rank_accuracy,
    relevance_rank,
)

HEAT = np.array([[4.0, 3.0], [2.0, 1.0]])
LEFT = np.array([[True, False], [True, False]])
LEFT_BOX = [Box(0, 0, 1, 2)]


def test_hand_computed():
    assert heat_share(HEAT, LEFT) == pytest.approx(0.6)
    assert energy_in_boxes(HEAT, LEFT_BOX) == pytest.approx(0.6)
    assert enrichment_in_boxes(HEAT, LEFT_BOX) == pytest.approx(1.2)
    assert rank_accuracy(HEAT, LEFT) == 0.5
    assert relevance_rank(HEAT, LEFT).ties == 0


def test_boxes_that_overlap_count_once():
    assert energy_in_boxes(HEAT, [*LEFT_BOX, Box(0, 0, 1, 1)]) == pytest.approx(0.6)
    assert energy_in_boxes(HEAT, [Box(0, 0, 2, 2)]) == 1
    assert math.isnan(energy_in_boxes(HEAT, []))
    assert math.isnan(enrichment_in_boxes(HEAT, []))
    assert math.isnan(energy_in_boxes(-HEAT, LEFT_BOX))


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(np.float64, (2, 3), elements=st.sampled_from([0.0, 1.0, 2.0])),
    hnp.arrays(bool, (2, 3)),
)
def test_ties_are_the_mean_over_all_draws(heat, mask):
    count = int(mask.sum())
    found = relevance_rank(heat, mask)
    if not count:
        assert math.isnan(found.value)
        assert math.isnan(found.ties)
        return
    values, inside = heat.ravel().tolist(), mask.ravel().tolist()
    top = sorted(values)[::-1][:count]
    draws = [
        d
        for d in itertools.combinations(range(6), count)
        if sorted((values[i] for i in d), reverse=True) == top
    ]
    mean = sum(sum(inside[i] for i in d) / count for d in draws) / len(draws)
    assert found.value == pytest.approx(mean, abs=1e-12)
    certain = set.intersection(*map(set, draws))
    assert found.ties == pytest.approx(1 - len(certain) / count)


def test_a_constant_map_ranks_like_chance():
    mask = np.zeros((10, 10), bool)
    mask[:3] = True
    found = relevance_rank(np.full((10, 10), 0.7), mask)
    assert (found.value, found.ties) == (pytest.approx(0.3), 1.0)


def test_unseen_pixels_rank_nowhere():
    heat = np.array([[9.0, 8.0, 1.0], [np.nan, 2.0, 3.0]])
    mask = np.array([[True, False, False], [True, False, False]])
    assert rank_accuracy(heat, mask) == 1  # one pixel of the mask was seen, and it is the hottest
    assert math.isnan(rank_accuracy(np.full((2, 3), np.nan), mask))


def test_inside_over_outside():
    assert inside_outside_ratio(HEAT, LEFT) == pytest.approx(3 / 2)
    assert inside_outside_ratio(np.full((2, 2), 5.0), LEFT) == 1
    signed = np.array([[4.0, -3.0, 1.0], [2.0, 1.0, np.nan]])
    region = np.array([[True, False, False], [True, False, True]])
    assert inside_outside_ratio(signed, region) == pytest.approx(3 / (2 / 3))
    for nothing in (np.zeros((2, 2), bool), np.ones((2, 2), bool)):
        assert math.isnan(inside_outside_ratio(HEAT, nothing))
    assert math.isnan(inside_outside_ratio(LEFT * 1.0, LEFT))


def coverage_twin(heat, box, delta):
    low, high = float(np.nanmin(heat)), float(np.nanmax(heat))
    internal = external = area = 0
    for (y, x), value in np.ndenumerate(heat):
        if math.isnan(value):
            continue
        inside = box.x0 <= x + 0.5 < box.x1 and box.y0 <= y + 0.5 < box.y1
        above = np.float32((float(value) - low) / (high - low)) > np.float32(delta)
        area += inside
        internal += inside and above
        external += above and not inside
    return internal / (area + external)


@pytest.mark.parametrize("delta", [0, 0.25, 0.5])
def test_coverage_by_loops(delta):
    heat = np.random.default_rng(1).random((7, 9)) - 0.5
    heat[heat < -0.2] = -0.2
    heat[0, 0] = np.nan
    box = Box(0, 0, 5, 4)
    assert box_coverage(heat, [box], threshold=delta) == coverage_twin(heat, box, delta)


def test_coverage_by_hand():
    heat = np.zeros((4, 5))
    heat[0, :3] = 1
    assert box_coverage(heat, [Box(0, 0, 2, 2)]) == 2 / (4 + 1)
    assert box_coverage(np.zeros((4, 5)), [Box(0, 0, 2, 2)]) == 0
    assert math.isnan(box_coverage(heat, []))
    with pytest.raises(OptionError, match=r"in \[0, 1\), e.g. 0.25; got 1"):
        box_coverage(heat, [Box(0, 0, 2, 2)], threshold=1)


def test_contrastivity():
    one = np.array([[1, 1, 0, 0]], bool)
    other = np.array([[0, 1, 1, 0]], bool)
    assert contrastivity(one, other) == 2 / 3
    assert contrastivity(one, one) == 0
    assert contrastivity(one, ~one) == 1
    assert math.isnan(contrastivity(one & ~one, one & ~one))
    with pytest.raises(DataError, match=r"masks are \(1, 4\) and \(1, 3\)"):
        contrastivity(one, other[:, :3])


def test_sizes_must_agree():
    with pytest.raises(DataError, match=r"heatmap is \(3, 3\) and the region \(2, 2\)"):
        relevance_rank(np.eye(3), LEFT)
    with pytest.raises(DataError, match=r"\(H, W\); got \(2, 2, 2\)"):
        energy_in_boxes(np.zeros((2, 2, 2)), LEFT_BOX)
