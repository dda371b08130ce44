import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saliscope.boxes import Box, best_iou
from saliscope.errors import OptionError
from saliscope.frames import Frame
from saliscope.localization import even_grid, find_box, normalise, sweep_boxes

TRUTH = [Box(1, 1, 4.5, 3), Box(0, 2, 3, 9)]
sides = st.tuples(st.integers(1, 8), st.integers(1, 8))
few_values = hnp.arrays(np.float32, sides, elements=st.sampled_from([0, 0.2, 0.4, 0.5, 1, np.nan]))
many_values = hnp.arrays(np.float32, sides, elements=st.floats(-1, 1, width=32))


def flooded(mask):
    """The 8-connected parts by flood fill: lists of (y, x), in reading order of their first pixel."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    parts = []
    for start in sorted(left):
        if start not in left:
            continue
        part, edge = [], [start]
        left.discard(start)
        while edge:
            y, x = edge.pop()
            part.append((y, x))
            for dy, dx in itertools.product((-1, 0, 1), repeat=2):
                if (y + dy, x + dx) in left:
                    left.discard((y + dy, x + dx))
                    edge.append((y + dy, x + dx))
        parts.append(part)
    return parts


def bounds_of(part):
    ys, xs = [y for y, _ in part], [x for _, x in part]
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


def twin(heat, threshold, strict, truth):
    """One threshold by flood fill: bounds, pixels, number of parts, IoU of the largest and of the best."""
    seen = [float(v) for v in heat.ravel() if not math.isnan(v)]
    flat = not seen or min(seen) == max(seen)
    parts = [] if flat else flooded(heat > threshold if strict else heat >= threshold)
    if not parts:
        return [0, 0, 0, 0], 0, 0, 0.0, 0.0
    largest = max(parts, key=lambda part: (len(part), max(float(heat[p]) for p in part)))
    overlaps = [best_iou(Box(*bounds_of(part)), truth) for part in parts]
    own = best_iou(Box(*bounds_of(largest)), truth)
    return bounds_of(largest), len(largest), len(parts), own, max(overlaps)


def same_as_twin(heat, thresholds, strict):
    found = sweep_boxes(heat, thresholds, truth=TRUTH, strict=strict)
    for i, threshold in enumerate(np.asarray(found.thresholds, heat.dtype)):
        bounds, pixels, components, own, best = twin(heat, threshold, strict, TRUTH)
        assert found.bounds[i].tolist() == bounds
        assert found.pixels[i] == pixels
        assert found.components[i] == components
        assert found.iou[i] == own
        assert found.best_iou[i] == best
    return found


@settings(max_examples=250, deadline=None)
@given(few_values, st.booleans(), st.sampled_from([None, even_grid(5), [0.1, 0.45, 0.9]]))
def test_ties_plateaus_and_unseen_pixels(heat, strict, thresholds):
    same_as_twin(heat, thresholds, strict)


@settings(max_examples=150, deadline=None)
@given(many_values, st.booleans(), st.sampled_from([None, even_grid(40), np.linspace(-1, 1, 21)]))
def test_values_of_all_kinds(heat, strict, thresholds):
    spread = float(heat.max()) - float(heat.min())
    if spread == 0 or spread > 1e-4:  # in between is_constant decides
        same_as_twin(heat, thresholds, strict)


@settings(max_examples=50, deadline=None)
@given(many_values, st.floats(0, 0.99))
def test_it_finds_the_box_of_the_protocol(heat, threshold):
    scaled = normalise(heat, "max")
    found = sweep_boxes(scaled, [threshold], strict=True)
    assert found.box(0) == find_box(heat, f"cam2016:threshold={threshold!r}")


@settings(max_examples=50, deadline=None)
@given(many_values, st.integers(2, 30))
def test_flipping_the_image_flips_the_boxes(heat, count):
    heat = normalise(heat)
    one, other = (sweep_boxes(h, even_grid(count)) for h in (heat, heat[:, ::-1]))
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_array_equal(one.components, other.components)


def upsampled(cells, size, seed):
    grid = np.random.default_rng(seed).random((cells, cells)).astype(np.float32)
    return normalise(Frame.squash(size, (224, 224)).map_to_source(grid))


def larger_maps():
    random = np.random.default_rng(1)
    noise = random.random((60, 45), dtype=np.float32)
    rounded = np.round(upsampled(9, (50, 70), 2), 1)
    crop = Frame.crop((60, 90), (32, 32), shorter=40).map_to_source(random.random((6, 6)))
    relu = np.maximum(upsampled(7, (64, 48), 3) - 0.5, 0) * 2
    return {
        "upsampled": upsampled(5, (80, 100), 0),
        "upsampled finely": upsampled(28, (90, 64), 1),
        "noise": noise,
        "rounded": rounded,
        "crop": normalise(crop),
        "relu": relu,
        "one row": noise[:1],
        "one column": noise[:, :1],
        "two values": (noise > 0.6).astype(np.float32),
        "stripes": np.tile(np.float32([0, 1, 0.5]), (30, 10)),
    }


@pytest.mark.parametrize(("name", "heat"), larger_maps().items())
@pytest.mark.parametrize("strict", [False, True])
def test_larger_maps_against_opencv(name, heat, strict):
    truth = [Box(3, 2, 40, 31.5), Box(10, 10, 20, 20)]
    found = sweep_boxes(heat, even_grid(100), truth=truth, strict=strict)
    for i, threshold in enumerate(even_grid(100).astype(np.float32)):
        mask = (heat > threshold if strict else heat >= threshold).view(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        assert found.components[i] == count - 1
        parts = stats[1:]
        assert found.pixels[i] == (parts[:, cv2.CC_STAT_AREA].max() if count > 1 else 0)
        boxes = [Box.from_xywh(*part[:4]) for part in parts]
        assert found.best_iou[i] == max((best_iou(box, truth) for box in boxes), default=0.0)
        if count > 1:
            largest = {b for b, n in zip(boxes, parts[:, 4], strict=True) if n == found.pixels[i]}
            assert found.box(i) in largest
            assert found.iou[i] == best_iou(found.box(i), truth)


@pytest.mark.parametrize(
    "heat",
    [
        np.zeros((4, 5)),
        np.full((4, 5), 0.7, np.float32),
        np.full((4, 5), np.nan),
        np.where(np.eye(4) > 0, np.inf, 0.0),
        np.ones((1, 1)),
    ],
)
def test_maps_that_have_no_box(heat):
    for thresholds, count in ((even_grid(3), 3), (None, None)):
        found = sweep_boxes(heat, thresholds, truth=[Box(0, 0, 2, 2)])
        assert count is None or len(found.pixels) == count
        assert not found.pixels.any()
        assert not found.components.any()
        assert not found.bounds.any()
        assert not found.iou.any()
        assert not found.best_iou.any()
        assert all(found.box(i) is None for i in range(len(found.pixels)))


def test_without_truth_the_overlap_is_undefined():
    heat = np.zeros((4, 5))
    heat[1, 1] = 1
    for shown in (heat, np.zeros((4, 5))):
        found = sweep_boxes(shown, [0.5])
        assert np.isnan(found.iou).all()
        assert np.isnan(found.best_iou).all()


def test_every_value_is_a_threshold():
    heat = np.array([[0.5, 0.0, 2.0], [0.5, -1.0, np.nan]])
    found = sweep_boxes(heat)
    assert found.thresholds.tolist() == [-1.0, 0.0, 0.5, 2.0]
    assert found.pixels.tolist() == [5, 4, 2, 1]
    assert found.components.tolist() == [1, 1, 2, 1]
    assert [tuple(found.box(i)) for i in range(4)] == [
        (0, 0, 3, 2),
        (0, 0, 3, 2),
        (0, 0, 1, 2),
        (2, 0, 3, 1),
    ]


def test_the_largest_is_not_always_the_one_with_the_peak():
    heat = np.zeros((10, 10), np.float32)
    heat[1, 1] = 1.0
    heat[5:9, 5:9] = 0.6
    found = sweep_boxes(heat, [0.0, 0.3, 0.8], truth=[Box(1, 1, 2, 2)])
    assert [tuple(found.box(i)) for i in range(3)] == [(0, 0, 10, 10), (5, 5, 9, 9), (1, 1, 2, 2)]
    assert found.iou.tolist() == [0.01, 0.0, 1.0]
    assert found.best_iou.tolist() == [0.01, 1.0, 1.0]


def test_threads_do_not_disturb_each_other():
    heats = [upsampled(cells, (60, 50), cells) for cells in range(3, 15)]
    alone = [sweep_boxes(heat, even_grid(200), truth=TRUTH) for heat in heats]
    with ThreadPoolExecutor(4) as pool:
        together = list(
            pool.map(lambda heat: sweep_boxes(heat, even_grid(200), truth=TRUTH), heats)
        )
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.bounds, other.bounds)
        np.testing.assert_array_equal(one.best_iou, other.best_iou)


@pytest.mark.parametrize("name", ["upsampled finely", "noise", "rounded"])
def test_searching_instead_of_tables_changes_nothing(monkeypatch, name):
    heat = larger_maps()[name]
    tables = sweep_boxes(heat, even_grid(100), truth=TRUTH)
    monkeypatch.setattr("saliscope.localization.tree._MOSTLY_EMPTY", 0)
    monkeypatch.setattr("saliscope.localization.parts._MOSTLY_EMPTY", 0)
    searched = sweep_boxes(heat, even_grid(100), truth=TRUTH)
    for field in ("bounds", "pixels", "components", "iou", "best_iou"):
        np.testing.assert_array_equal(getattr(searched, field), getattr(tables, field))


def test_the_heatmap_is_left_as_it_was():
    heat = np.random.default_rng(0).random((6, 7)).astype(np.float32)
    heat[2, 3] = np.nan
    before = heat.copy()
    heat.setflags(write=False)
    sweep_boxes(heat, even_grid(9))
    np.testing.assert_array_equal(heat, before)


def test_one_map_at_a_time():
    with pytest.raises(OptionError, match=r"\(H, W\); got \(2, 3, 3\)"):
        sweep_boxes(np.zeros((2, 3, 3)), [0.5])


def test_thresholds_of_a_sweep_ascend():
    for heat in (np.eye(3), np.zeros((3, 3))):
        for thresholds in ([0.5, 0.2], []):
            with pytest.raises(OptionError, match="ascending order"):
                sweep_boxes(heat, thresholds)


def test_half_precision_is_compared_as_float32():
    heat = np.array([[0.1, 0.0]], np.float16)
    assert sweep_boxes(heat, [float(heat[0, 0])]).pixels.tolist() == [1]
    assert sweep_boxes(heat, [0.1]).pixels.tolist() == [
        int(np.float32(heat[0, 0]) >= np.float32(0.1))
    ]
