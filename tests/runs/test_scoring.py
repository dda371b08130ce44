"""What one map scores: the metrics' own functions, slow twins in loops and float64, and arithmetic."""

import math

import numpy as np
import pytest

from saliscope.boxes import Box, best_iou, iou
from saliscope.frames import Frame
from saliscope.localization import Protocol, find_box, parse_protocol, status_of
from saliscope.metrics import (
    COMPLEXITY_METRICS,
    METRICS,
    box_coverage,
    box_region,
    energy_in_boxes,
    enrichment_in_boxes,
    hottest_point,
    inside_outside_ratio,
    mask_pointing,
    pixel_histogram,
    pointing_hit,
    rank_accuracy,
    union_iou,
)
from saliscope.metrics.wsol import wsol_boxes, wsol_grid, wsol_iou, wsol_resize_box, wsol_scoremap
from saliscope.runs.scoring import Annotated, Heat, Measures, box_alone, iou_of_sides, score_map

PROTOCOLS = tuple(map(parse_protocol, ("yang2025", "cam2016", "gradcam2017:threshold=0.5")))
MEASURES = Measures(PROTOCOLS, ("min-max", "max"), 20, ("torchray", "caffe", "square"))
SIZE = (30, 44)
BOXES = (Box(4, 6, 18, 20), Box(25.5, 3, 40, 12.25))


def heat_of(grid, frame=None):
    grid = np.asarray(grid, np.float32)
    frame = frame or Frame.squash(SIZE, (32, 32))
    return Heat(frame.map_to_source(grid), grid, status_of(grid))


def annotated(boxes=BOXES, every=None, masks=None, ignore=None, size=SIZE):
    return Annotated(
        size, tuple(boxes), tuple(boxes if every is None else every), masks or {}, ignore
    )


def values(found):
    rows = {(r["metric"], r["protocol"]): r["value"] for r in found.values}
    assert len(rows) == len(found.values)
    return rows


FRAMES = {
    "squash": Frame.squash(SIZE, (32, 32)),
    "crop": Frame.crop(SIZE, (24, 24), shorter=27),
    "letterbox": Frame.letterbox(SIZE, (32, 32)),
}


@pytest.fixture(params=range(6))
def heat(request):
    """Signed maps of several grids and frames."""
    random = np.random.default_rng(request.param)
    frame = list(FRAMES.values())[request.param % 3]
    return heat_of(random.normal(0.2, 1, (4 + request.param, 9 - request.param)), frame)


# --- boxes -----------------------------------------------------------------------------------------------------------


def test_boxes_and_their_scores(heat):
    found = score_map(heat, annotated(), MEASURES)
    scores = values(found)
    assert [row["protocol"] for row in found.boxes] == list(map(str, PROTOCOLS))
    for protocol, row in zip(PROTOCOLS, found.boxes, strict=True):
        box = find_box(heat.signed, protocol)
        assert (row["x0"], row["y0"], row["x1"], row["y1"]) == tuple(box)
        name = str(protocol)
        assert scores["iou", name] == max(iou(box, b) for b in BOXES)
        assert scores["union-iou", name] == union_iou(box, BOXES)
        assert scores["gt-known", name] == float(max(iou(box, b) for b in BOXES) >= 0.5)
        assert scores["no-box", name] == 0.0


def test_an_overlap_of_exactly_a_half_counts():
    """ILSVRC: an error is an overlap below .5."""
    found = values(box_alone(Box(0, 0, 10, 10), annotated([Box(0, 0, 10, 5)])))
    assert (found["iou", "box"], found["gt-known", "box"]) == (0.5, 1.0)
    found = values(box_alone(Box(0, 0, 10, 10), annotated([Box(0, 0, 10, 4.999)])))
    assert found["gt-known", "box"] == 0.0


def test_no_box_is_a_miss_and_no_annotation_is_undefined():
    empty = heat_of(np.zeros((4, 4)))
    found = score_map(empty, annotated(), MEASURES)
    assert [row["x0"] for row in found.boxes] == [None] * 3
    for protocol in map(str, PROTOCOLS):
        scores = [
            values(found)[name, protocol] for name in ("iou", "union-iou", "gt-known", "no-box")
        ]
        assert scores == [0, 0, 0, 1]
    assert values(found)["pointing", "torchray-15px"] == 0.0
    for row in found.curves:
        assert not row["iou"].any()
        assert not row["best"].any()
        assert not row["parts"].any()
    nothing = score_map(heat_of(np.eye(4)), annotated([]), MEASURES)
    assert nothing.curves == []
    known = {name for (name, _), value in values(nothing).items() if not math.isnan(value)}
    assert known == {"no-box", *COMPLEXITY_METRICS}
    assert all(row["x0"] is not None for row in nothing.boxes)


@pytest.mark.parametrize("status", ["zero", "constant", "nonfinite"])
def test_the_status_says_whether_there_is_a_box(status):
    heat = heat_of(np.eye(4))
    found = values(score_map(Heat(heat.signed, heat.grid, status), annotated(), MEASURES))
    assert found["no-box", "yang2025"] == 1.0
    assert found["pointing", "square-15px"] == 0.0
    assert values(score_map(heat, annotated(), MEASURES))["no-box", "yang2025"] == 0.0


# --- shares of heat --------------------------------------------------------------------------------------------------


def test_shares_are_those_of_the_metrics(heat):
    scores = values(score_map(heat, annotated(), MEASURES))
    region = box_region(BOXES, SIZE)
    assert scores["energy", "boxes"] == pytest.approx(
        energy_in_boxes(heat.signed, BOXES), rel=1e-12
    )
    assert scores["enrichment", "boxes"] == pytest.approx(
        enrichment_in_boxes(heat.signed, BOXES), rel=1e-12
    )
    assert scores["inside-outside", "boxes"] == pytest.approx(
        inside_outside_ratio(heat.signed, region), rel=1e-12
    )
    for delta in (0, 0.25, 0.5):
        assert scores["box-coverage", f"delta={delta:g}"] == box_coverage(
            heat.signed, BOXES, threshold=delta
        )


def test_shares_are_those_of_a_loop(heat):
    inside = outside = 0.0
    cells = own = 0
    values_ = heat.signed.astype(np.float64)
    low, high = np.nanmin(values_), np.nanmax(values_)
    above = {0.0: [0, 0], 0.25: [0, 0], 0.5: [0, 0]}
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            value = values_[y, x]
            if math.isnan(value):
                continue
            cells += 1
            hit = any(b.x0 <= x + 0.5 < b.x1 and b.y0 <= y + 0.5 < b.y1 for b in BOXES)
            own += hit
            if hit:
                inside += max(value, 0)
            else:
                outside += max(value, 0)
            for delta, counts in above.items():
                counts[not hit] += (value - low) / (high - low) > delta
    scores = values(score_map(heat, annotated(), MEASURES))
    share = inside / (inside + outside)
    assert scores["energy", "boxes"] == pytest.approx(share, rel=1e-9)
    assert scores["enrichment", "boxes"] == pytest.approx(share / (own / cells), rel=1e-9)
    ratio = (inside / own) / (outside / (cells - own))
    assert scores["inside-outside", "boxes"] == pytest.approx(ratio, rel=1e-9)
    for delta, (hits, misses) in above.items():
        assert scores["box-coverage", f"delta={delta:g}"] == pytest.approx(
            hits / (own + misses), abs=2e-3
        )


def test_the_numbers_of_the_protocol_page():
    """Heat [[4, 3], [2, 1]], the left column annotated: .6, over an even share 1.2, against the right column 1.5."""
    heat = Heat(
        np.array([[4, 3], [2, 1]], np.float32), np.array([[4, 3], [2, 1]], np.float32), "ok"
    )
    mask = np.array([[True, False], [True, False]])
    truth = annotated([Box(0, 0, 1, 2)], masks={"body": mask}, size=(2, 2))
    scores = values(score_map(heat, truth, MEASURES))
    assert scores["energy", "boxes"] == scores["relevance-mass", "mask:body"] == 0.6
    assert scores["enrichment", "boxes"] == scores["mask-enrichment", "mask:body"] == 1.2
    assert scores["inside-outside", "boxes"] == pytest.approx(1.5)
    assert scores["relevance-rank", "mask:body"] == 0.5
    assert scores["box-coverage", "delta=0"] == pytest.approx(2 / 3)  # 4 and 2 of 2, with 3 outside
    assert scores["box-coverage", "delta=0.5"] == pytest.approx(1 / 3)


def test_a_box_of_the_whole_image_has_no_outside():
    scores = values(score_map(heat_of(np.eye(3)), annotated([Box(0, 0, 44, 30)]), MEASURES))
    assert (scores["energy", "boxes"], scores["enrichment", "boxes"]) == (1.0, 1.0)
    assert math.isnan(scores["inside-outside", "boxes"])


def test_a_box_that_no_pixel_is_in():
    """Outside what a crop saw, or thinner than a pixel."""
    for box in (Box(0, 0, 44, 0.4), Box(-9, 0, -2, 9)):
        scores = values(score_map(heat_of(np.eye(3)), annotated([box]), MEASURES))
        assert scores["energy", "boxes"] == 0.0
        for name in ("enrichment", "inside-outside"):
            assert math.isnan(scores[name, "boxes"])
        assert math.isnan(scores["box-coverage", "delta=0"])


# --- points ----------------------------------------------------------------------------------------------------------


def test_the_pointing_game(heat):
    difficult = Box(0, 24, 6, 30)
    found = values(score_map(heat, annotated(BOXES[:1], (BOXES[0], difficult)), MEASURES))
    point = hottest_point(heat.signed)
    for variant in ("torchray", "caffe", "square"):
        hit = pointing_hit(point, (BOXES[0], difficult), SIZE, variant=variant, radius=15)
        assert found["pointing", f"{variant}-15px"] == float(hit)


@pytest.mark.parametrize("status", ["zero", "negative"])
def test_an_empty_map_points_nowhere(status):
    """What a ReLU leaves of a map without a positive value is 0 everywhere; its first pixel is no point."""
    frame = Frame.squash(SIZE, (32, 32))
    grid = np.zeros((3, 4), np.float32)
    found = values(
        score_map(
            Heat(frame.map_to_source(grid), grid, status), annotated([Box(0, 0, 9, 9)]), MEASURES
        )
    )
    for variant in ("torchray", "caffe", "square"):
        assert found["pointing", f"{variant}-15px"] == 0.0
    signed = values(
        score_map(
            heat_of(grid - np.arange(1, 13).reshape(3, 4)), annotated([Box(0, 0, 9, 9)]), MEASURES
        )
    )
    assert signed["pointing", "torchray-15px"] == 1.0  # negative, but hottest in this corner


def test_pointing_at_a_mask_is_the_metric_of_that_name(heat):
    masks = {
        "corner": np.zeros(SIZE, bool),
        "rest": np.ones(SIZE, bool),
        "hidden": np.zeros(SIZE, bool),
    }
    masks["corner"][:9, :9], masks["rest"][:9, :9] = True, False
    truth = annotated(masks=masks)
    flat = Heat(np.full(SIZE, 0.5, np.float32), np.full((3, 4), 0.5, np.float32), "constant")
    points = []
    for one in (heat, flat, heat_of(np.eye(3))):
        found = values(score_map(one, truth, MEASURES))
        for name, mask in masks.items():
            own = found["pointing-mask", f"mask:{name}"]
            np.testing.assert_equal(own, mask_pointing(one.signed, mask))
            points.append(own)
    assert points[3:5] == [0.0, 0.0]  # a constant map has no point, so that it misses both
    assert points[6:8] == [1.0, 0.0]
    assert np.isnan(points[2::3]).all()


def test_where_nothing_is_annotated_every_score_is_undefined(heat):
    found = values(score_map(heat, annotated([]), MEASURES))
    known = {metric for (metric, _), value in found.items() if not math.isnan(value)}
    assert known - COMPLEXITY_METRICS.keys() == {"no-box"}
    some = values(score_map(heat, annotated(), MEASURES))
    assert found.keys() == some.keys()


def test_difficult_things_can_be_hit_but_are_no_trial_of_their_own():
    """TorchRay: the region is of all objects, the pair is skipped where all are difficult."""
    size = (60, 90)
    frame = Frame.squash(size, (32, 32))
    grid = np.zeros((6, 9))
    grid[5, 8] = 1  # the lower right corner
    heat = heat_of(grid, frame)
    far, here = Box(0, 0, 10, 10), Box(80, 50, 90, 60)
    one = values(score_map(heat, annotated([far], [far], size=size), MEASURES))
    both = values(score_map(heat, annotated([far], [far, here], size=size), MEASURES))
    only = values(score_map(heat, annotated([], [here], size=size), MEASURES))
    assert one["pointing", "caffe-15px"] == 0.0
    assert both["pointing", "caffe-15px"] == 1.0
    assert math.isnan(only["pointing", "caffe-15px"])


def test_only_the_variants_that_are_asked_for():
    none = Measures(PROTOCOLS, ("min-max",), 20, ())
    assert not [
        m for m, _ in values(score_map(heat_of(np.eye(3)), annotated(), none)) if m == "pointing"
    ]


# --- masks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def masks():
    random = np.random.default_rng(3)
    return {"body": random.random(SIZE) < 0.3, "evidence": random.random(SIZE) < 0.02}


@pytest.mark.parametrize("ignored", [False, True])
def test_masks_are_scored_by_the_metrics(heat, masks, ignored):
    ignore = None
    if ignored:
        ignore = np.zeros(SIZE, bool)
        ignore[:, 30:] = True
    found = score_map(heat, annotated(masks=masks, ignore=ignore), MEASURES)
    scores = values(found)
    for name, mask in masks.items():
        seen = heat.signed.copy()
        if ignored:
            seen[ignore & ~mask] = np.nan  # what is foreground counts, also there
        for metric in ("relevance-mass", "mask-enrichment", "relevance-rank"):
            assert scores[metric, f"mask:{name}"] == METRICS[metric](seen, mask)
        assert scores["relevance-rank", f"mask:{name}"] == rank_accuracy(seen, mask)
        # Normalised before anything is ignored, as PxAP does.
        low, high = float(np.nanmin(heat.signed)), float(np.nanmax(heat.signed))
        scaled = ((heat.signed.astype(np.float64) - low) / (high - low)).astype(np.float32)
        inside, outside = pixel_histogram(scaled, mask, ignore=ignore)
        (row,) = [r for r in found.pixels if r["mask"] == name]
        np.testing.assert_array_equal(row["inside"], inside)
        np.testing.assert_array_equal(row["outside"], outside)
        counted = ~np.isnan(seen)
        assert inside.sum() == (mask & counted).sum()
        assert outside.sum() == (~mask & counted).sum()
        assert scores["pixel-ap", f"mask:{name}"] == pytest.approx(
            _average_precision(inside, outside), rel=1e-9
        )
    assert len(found.pixels) == 2


def _average_precision(inside, outside):
    area, true, false, before = 0.0, 0, 0, 0.0
    for level in range(len(inside) - 1, -1, -1):
        true += int(inside[level])
        false += int(outside[level])
        recall = true / int(inside.sum())
        if true + false:
            area += true / (true + false) * (recall - before)
        before = recall
    return area


# --- curves ----------------------------------------------------------------------------------------------------------


def components(mask):
    """Boxes and pixels of the 8-connected parts, by flooding."""
    left, found = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        reached, edge = set(), [min(left)]
        left.discard(edge[0])
        while edge:
            y, x = edge.pop()
            reached.add((y, x))
            for near in [(y + a, x + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]:
                if near in left:
                    left.discard(near)
                    edge.append(near)
        ys, xs = zip(*reached, strict=True)
        found.append((Box(min(xs), min(ys), max(xs) + 1, max(ys) + 1), len(reached)))
    return found


@pytest.mark.parametrize("rule", ["min-max", "max"])
def test_curves_are_those_of_every_threshold_alone(heat, rule):
    (row,) = [r for r in score_map(heat, annotated(), MEASURES).curves if r["rule"] == rule]
    signed = heat.signed.astype(np.float64)
    low = np.nanmin(signed) if rule == "min-max" else 0.0
    scaled = ((np.maximum(signed, low) - low) / (np.nanmax(signed) - low)).astype(np.float32)
    for k in range(20):
        parts = components(scaled >= np.float32(k / 20))
        box = find_box(heat.signed, Protocol("x", rule, k / 20, False, "pixels", "tight", ""))
        assert row["parts"][k] == len(parts)
        assert row["iou"][k] == np.float32(best_iou(box, BOXES))
        assert row["best"][k] == np.float32(
            max((best_iou(b, BOXES) for b, _ in parts), default=0.0)
        )
        assert max((n for _, n in parts), default=0) == max(
            (n for b, n in parts if b == box), default=0
        )
    assert (row["best"] >= row["iou"]).all()


def test_the_largest_part_and_the_best_one_are_not_the_same():
    signed = np.zeros(SIZE, np.float32)
    signed[2:12, 2:30] = 0.5
    signed[20:24, 34:40] = 1.0
    (row,) = score_map(
        Heat(signed, signed, "ok"),
        annotated([Box(34, 20, 40, 24)]),
        Measures(PROTOCOLS, ("min-max",), 4),
    ).curves
    assert row["iou"].tolist() == [np.float32(24 / 1320), 0.0, 0.0, 1.0]  # at 0 all is one part
    assert row["best"].tolist() == [np.float32(24 / 1320), 1.0, 1.0, 1.0]
    assert row["parts"].tolist() == [1, 2, 2, 1]


def test_curves_that_are_not_asked_for():
    assert (
        score_map(heat_of(np.eye(3)), annotated(), Measures(PROTOCOLS, ("min-max",), 0)).curves
        == []
    )


def test_many_parts_fit_the_column():
    row = {"parts": score_map(heat_of(np.eye(3)), annotated(), MEASURES).curves[0]["parts"]}
    assert row["parts"].max() <= 65535


def test_the_curve_of_wsol_is_the_programs():
    random = np.random.default_rng(1)
    heat = heat_of(random.random((7, 5)))
    found = score_map(heat, annotated(), Measures(PROTOCOLS[:1], ("min-max",), 10, (), wsol=True))
    (row,) = [r for r in found.curves if r["rule"] == "wsol"]
    scoremap = wsol_scoremap(heat.grid)
    corners = np.array([wsol_resize_box(b, SIZE) for b in BOXES])
    grid = wsol_grid()
    largest, every = (wsol_boxes(scoremap, grid, every=e) for e in (False, True))
    assert len(row["iou"]) == len(grid) == 1000
    for k in range(0, 1000, 37):
        assert row["iou"][k] == np.float32(wsol_iou(np.array(largest[k]), corners).max())
        assert row["best"][k] == np.float32(wsol_iou(np.array(every[k]), corners).max())
        assert row["parts"][k] == len(every[k])


# --- boxes without a map ---------------------------------------------------------------------------------------------


def test_a_box_alone():
    found = box_alone(Box(0, 0, 44, 30), annotated([Box(0, 0, 22, 30), Box(0, 0, 11, 30)]), "mine")
    assert values(found) == {
        ("iou", "mine"): 0.5,
        ("union-iou", "mine"): 0.5,
        ("gt-known", "mine"): 1.0,
        ("no-box", "mine"): 0.0,
    }
    assert found.boxes == [{"protocol": "mine", "x0": 0.0, "y0": 0.0, "x1": 44.0, "y1": 30.0}]
    nothing = values(box_alone(Box(0, 0, 4, 4), annotated([])))
    assert math.isnan(nothing["iou", "box"])
    assert nothing["no-box", "box"] == 0.0


def test_centred_boxes_by_arithmetic():
    """In an image of 100 x 200, a thing of 50 x 100 in its middle: a side of s covers s² of the image."""
    truth = annotated([Box(50, 25, 150, 75)], size=(100, 200))
    sides = np.array([0.1, 0.25, 0.5, 0.75, 1.0])
    expected = [min(s, 0.5) ** 2 / max(s, 0.5) ** 2 for s in sides]
    found = iou_of_sides(truth, sides)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    two = annotated([Box(50, 25, 150, 75), Box(0, 0, 200, 100)], size=(100, 200))
    np.testing.assert_allclose(
        iou_of_sides(two, sides),
        [max(e, s * s) for e, s in zip(expected, sides, strict=True)],
        rtol=1e-6,
    )
