import itertools

import cv2
import numpy as np
import pytest

from saliscope.frames import Frame
from saliscope.localization import normalise
from saliscope.localization.basins import Relief, find_hills


def upsampled(cells, size, seed):
    grid = np.random.default_rng(seed).random((cells, cells)).astype(np.float32)
    return normalise(Frame.squash(size, (224, 224)).map_to_source(grid))


def inside(relief, shape):
    """The places of the pixels of a heatmap, (H, W)."""
    height, width = shape
    places = np.arange(len(relief.values) - 1).reshape(height + 2, width + 1)
    return places[1:-1, 1:]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int32])
def test_a_relief_holds_the_heatmap_between_margins(order, kind):
    heat = np.arange(12).reshape(3, 4).astype(kind, order=order)
    relief = Relief.of(heat)
    assert relief.values.dtype == (np.float32 if kind in (np.float16, np.float32) else np.float64)
    places = inside(relief, heat.shape)
    np.testing.assert_array_equal(relief.values[places], heat)
    assert np.isneginf(np.delete(relief.values, places.ravel())).all()
    x, y = relief.points(places.ravel())
    np.testing.assert_array_equal(np.stack([y, x]), np.indices(heat.shape).reshape(2, -1))


def test_the_unseen_lies_below_everything():
    relief = Relief.of(np.array([[np.nan, 1.0], [-2.0, np.nan]]))
    assert relief.values[inside(relief, (2, 2))].tolist() == [[-np.inf, 1.0], [-2.0, -np.inf]]


def test_hills_stay_whole_at_every_height():
    heat = upsampled(6, (30, 40), 5)
    relief = Relief.of(heat)
    hills = find_hills(relief, np.isfinite(relief.values).astype(np.intp))
    label = (hills.cells >> hills.bits)[inside(relief, heat.shape)]
    assert 2 <= label.max() + 1 == len(hills.summits) <= 36
    for hill, height in itertools.product(range(label.max() + 1), np.linspace(0, 1, 11)):
        mask = ((label == hill) & (heat >= height)).astype(np.uint8)
        assert cv2.connectedComponents(mask, connectivity=8)[0] <= 2
        assert relief.values[hills.summits[hill]] == heat[label == hill].max()


def test_hills_meet_at_their_saddles_only():
    heat = np.array([[5, 1, 4], [1, 3, 1], [2, 1, 1]], np.float32)
    relief = Relief.of(heat)
    hills = find_hills(relief, np.isfinite(relief.values).astype(np.intp))
    x, y = relief.points(hills.summits)
    assert sorted(zip(x.tolist(), y.tolist(), strict=True)) == [(0, 0), (2, 0)]
    one, other, place = hills.meets
    assert {one.item(), other.item()} == {0, 1}
    assert [v.item() for v in relief.points(place)] == [1, 1]
