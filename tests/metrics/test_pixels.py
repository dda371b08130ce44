import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saliscope.errors import DataError, OptionError
from saliscope.metrics import PixelAP, pixel_average_precision
from saliscope.metrics.wsol import wsol_mask, wsol_scoremap

MASK = np.zeros((10, 10), bool)
MASK[:2] = True


def rows(*values):
    heat = np.zeros((10, 10))
    for row, value in enumerate(values):
        heat[row] = value
    return heat


def twin(values, inside):
    """Bin by bin from the top, in loops."""
    edges = [*np.arange(0, 1, 0.001).tolist(), 1.0, 2.0, 3.0]
    total = sum(inside)
    area = called = hits = 0
    recall = 0.0
    for low, high in zip(edges[-2::-1], edges[:0:-1], strict=True):
        chosen = [i for v, i in zip(values, inside, strict=True) if low <= v < high]
        called, hits = called + len(chosen), hits + sum(chosen)
        if called:
            area += hits / called * (hits / total - recall)
            recall = hits / total
    return area


@pytest.mark.parametrize(
    ("heat", "percent"),
    [
        (MASK.astype(float), 100),
        (np.full((10, 10), 0.3), 20),
        (np.zeros((10, 10)), 20),
        (np.ones((10, 10)), 20),
        (1.0 - MASK, 20),
        (rows(1, 0.5, 0.5), 83.333),
    ],
)
@pytest.mark.parametrize("rule", ["min-max", "none"])
def test_hand_computed(heat, percent, rule):
    found = PixelAP(rule=rule).update(heat, MASK).compute()
    assert 100 * found.value == pytest.approx(percent, abs=5e-4)
    assert (found.n, found.undefined) == (1, 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1, 3, 10, 1000, 10**6]))
def test_against_loops_over_two_images(seed, steps):
    random = np.random.default_rng(seed)
    score = PixelAP(rule="none")
    values, inside = [], []
    for _ in range(2):
        heat = random.integers(0, steps + 1, (4, 6)) / steps
        mask = random.random((4, 6)) < 0.4
        mask[0, 0] = True
        score.update(heat, mask)
        values += heat.astype(np.float32).ravel().tolist()  # heatmaps are float32
        inside += mask.ravel().tolist()
    assert score.compute().value == pytest.approx(twin(values, inside), abs=1e-12)


def test_pixels_are_pooled_over_the_set():
    small = np.zeros((10, 10), bool)
    small[0, 0] = True
    both = PixelAP().update(MASK.astype(float), MASK).update(1.0 - small, small).compute()
    assert both.n == 2
    # hottest: 20 hits of 20 + 99; then all 200 pixels with 21 hits
    assert both.value == pytest.approx(20 / 119 * 20 / 21 + 21 / 200 / 21)


def test_ignored_and_unseen_pixels_count_for_neither():
    heat = rows(1, 1, 1, 0)
    ignore = np.zeros((10, 10), bool)
    ignore[1:3] = True  # the first of them is foreground, which stays
    assert pixel_average_precision(heat, MASK) == pytest.approx(2 / 3)
    assert pixel_average_precision(heat, MASK, ignore=ignore) == 1
    heat[2] = np.nan
    assert pixel_average_precision(heat, MASK) == 1


def test_without_foreground_it_is_undefined():
    found = PixelAP().update(np.eye(4), np.zeros((4, 4), bool)).compute()
    assert math.isnan(found.value)
    assert (found.n, found.undefined) == (0, 1)
    assert math.isnan(PixelAP().compute().value)
    unseen = PixelAP().update(np.full((10, 10), np.nan), MASK).update(MASK * 1.0, MASK).compute()
    assert (unseen.value, unseen.n, unseen.undefined) == (1.0, 1, 1)


def test_wsol_compares_in_its_frame():
    grid = np.random.default_rng(0).random((5, 5))
    ignore = np.zeros((10, 10), bool)
    ignore[5:] = True
    found = PixelAP("wsol").update(grid, MASK, ignore=ignore).compute().value
    own = PixelAP(rule="none").update(
        wsol_scoremap(grid), wsol_mask(MASK), ignore=wsol_mask(ignore)
    )
    assert found == own.compute().value
    kept = ~wsol_mask(ignore)
    values = wsol_scoremap(grid).astype(np.float64)[kept].tolist()
    edges = np.append(np.arange(0, 1, 0.001), [1.0, 2.0, 3.0])
    true = np.histogram(np.array(values)[wsol_mask(MASK)[kept]], edges)[0][::-1].cumsum()
    every = np.histogram(values, edges)[0][::-1].cumsum()
    precision = np.divide(true, every, out=np.zeros(len(true)), where=every > 0)
    assert found == (precision[1:] * np.diff(true / true[-1])).sum()


def test_what_cannot_be():
    with pytest.raises(OptionError, match='pixel protocol "wsl" is unknown; nearest: "wsol"'):
        PixelAP("wsl")
    with pytest.raises(DataError, match=r"heatmap is \(3, 3\) and a mask \(10, 10\)"):
        PixelAP().update(np.eye(3), MASK)
    with pytest.raises(DataError, match=r"heatmap is \(10, 10\) and a mask \(3, 3\)"):
        PixelAP().update(rows(1), MASK, ignore=np.zeros((3, 3), bool))
    with pytest.raises(DataError, match=r"heat lies in \[0, 1\] here; got 0.0 to 5.0"):
        PixelAP(rule="none").update(rows(5), MASK)
