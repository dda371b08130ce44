import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saliscope.boxes import Box, iou
from saliscope.errors import OptionError
from saliscope.localization import (
    PROTOCOLS,
    Protocol,
    find_box,
    find_region,
    normalise,
    parse_protocol,
)

NAMES = list(PROTOCOLS)
TIGHT = [name for name in NAMES if PROTOCOLS[name].shape == "tight"]
heats = hnp.arrays(
    np.int64, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(-40, 100)
)


def blob(rows, columns, shape=(40, 50), value=1.0):
    heat = np.zeros(shape, np.float32)
    heat[rows, columns] = value
    return heat


# --- names -----------------------------------------------------------------------------------------------------------


def test_the_published_numbers():
    facts = {
        name: (p.rule, p.threshold, p.strict, p.largest_by, p.shape)
        for name, p in PROTOCOLS.items()
    }
    assert facts == {
        "yang2025": ("min-max", 0.05, False, "area", "rotated"),
        "yang2025-tight": ("min-max", 0.05, False, "area", "tight"),
        "cam2016": ("max", 0.2, True, "pixels", "tight"),
        "cam2016-rotated": ("max", 0.2, True, "pixels", "rotated"),
        "gradcam2017": ("max", 0.15, True, "pixels", "tight"),
        "gradcam2017-rotated": ("max", 0.15, True, "pixels", "rotated"),
    }


@pytest.mark.parametrize("name", NAMES)
@given(threshold=st.floats(0, 1, exclude_max=True))
def test_every_threshold_parses_and_prints_back(name, threshold):
    protocol = parse_protocol(f"{name}:threshold={threshold!r}")
    assert (protocol.name, protocol.threshold) == (name, threshold)
    assert parse_protocol(str(protocol)) == protocol
    assert parse_protocol(protocol) is protocol


def test_the_own_threshold_is_not_printed():
    assert str(parse_protocol("yang2025:threshold=0.05")) == "yang2025"
    assert str(parse_protocol(" yang2025:threshold=0.1 ")) == "yang2025:threshold=0.1"
    assert [str(PROTOCOLS[name]) for name in NAMES] == NAMES


@pytest.mark.parametrize(
    ("given_text", "said"),
    [
        ("yang2024", r'box protocol "yang2024" is unknown; nearest: "yang2025"'),
        ("", 'box protocol "" is unknown; nearest: "yang2025"'),
        ("yang2025:treshold=0.1", 'has no option "treshold"; nearest: "threshold"'),
        ("yang2025:threshold=x", 'threshold "x" is no number; write yang2025:threshold=0.1'),
        ("yang2025:threshold", 'threshold "" is no number'),
        ("yang2025:threshold=1", r"threshold 1\.0 of protocol yang2025 is outside \[0, 1\)"),
        ("cam2016:threshold=-0.1", r"threshold -0\.1 of protocol cam2016 is outside"),
        ("cam2016:threshold=nan", "threshold nan of protocol cam2016 is outside"),
        ("cam2016:threshold=20", r"is outside \[0, 1\); it is a share"),
    ],
)
def test_what_is_no_protocol_is_refused(given_text, said):
    with pytest.raises(OptionError, match=said):
        parse_protocol(given_text)


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError, match="does not support item assignment"):
        PROTOCOLS["mine"] = PROTOCOLS["cam2016"]


# --- boxes with known answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_blob_of_10_by_6_gets_exactly_its_pixels(name):
    heat = blob(np.s_[3:9], np.s_[2:12])
    assert find_box(heat, name) == Box(2, 3, 12, 9)
    assert iou(find_box(heat, name), Box(2, 3, 12, 9)) == 1.0
    assert heat.sum() == 60  # the input is not changed


@pytest.mark.parametrize("name", NAMES)
def test_one_pixel_gets_one_pixel(name):
    for y, x in [(0, 0), (39, 49), (20, 7)]:
        assert find_box(blob(y, x), name) == Box(x, y, x + 1, y + 1)


def triangle():
    """Every pixel inside the triangle (10, 10), (50, 20), (20, 50), borders included."""
    y, x = np.mgrid[:60, :60]
    corners = [(10, 10), (50, 20), (20, 50)]
    inside = np.ones((60, 60), bool)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        inside &= (bx - ax) * (y - ay) - (by - ay) * (x - ax) >= 0
    return inside.astype(np.float32)


@pytest.mark.parametrize("family", ["yang2025", "cam2016", "gradcam2017"])
def test_the_triangle(family):
    tight = "yang2025-tight" if family == "yang2025" else family
    rotated = "yang2025" if family == "yang2025" else f"{family}-rotated"
    heat = triangle()
    assert find_box(heat, tight) == Box(10, 10, 51, 51)
    box = find_box(heat, rotated)
    np.testing.assert_allclose(list(box), [0, 0, 51, 51], atol=1e-9)
    region = find_region(heat, rotated)
    np.testing.assert_allclose(region.corners.min(0), [-5, -5], atol=1e-9)
    np.testing.assert_allclose(region.corners.max(0), [50, 50], atol=1e-9)
    assert iou(Box(10, 10, 51, 51), Box(-5, -5, 51, 51)) == pytest.approx(41**2 / 56**2)


def test_fractional_bounds_are_kept():
    heat = np.zeros((30, 30), np.float32)
    for step in range(12):
        heat[5 + step, 4 + 2 * step : 8 + 2 * step] = 1
    box = find_box(heat, "yang2025")
    assert any(not float(v).is_integer() for v in box)
    assert find_box(heat, "yang2025-tight") == Box(4, 5, 30, 17)


def test_thresholds_are_strict_or_not_as_defined():
    heat = np.zeros((10, 30), np.float32)
    heat[4, 10] = 100
    heat[4, 11], heat[4, 12], heat[4, 13] = 20, 15, 5
    assert find_box(heat, "cam2016") == Box(10, 4, 11, 5)  # 20 % is not above 20 %
    assert find_box(heat, "cam2016:threshold=0.199") == Box(10, 4, 12, 5)
    assert find_box(heat, "gradcam2017") == Box(10, 4, 12, 5)  # 15 % is not above 15 %
    assert find_box(heat, "yang2025-tight") == Box(10, 4, 14, 5)  # 5 % is at or above 5 %
    assert find_box(heat, "yang2025:threshold=0.0501") == Box(10, 4, 13, 5)
    assert find_box(heat, "yang2025:threshold=0") == Box(0, 0, 30, 10)


def test_negative_values_count_for_min_max_and_not_for_max():
    heat = np.full((20, 20), -10.0, np.float32)
    heat[5:15, 5:15] = -1.0
    heat[8:12, 8:12] = 10.0
    assert find_box(heat, "yang2025") == Box(5, 5, 15, 15)
    assert find_box(heat, "cam2016") == Box(8, 8, 12, 12)
    assert find_box(heat, "gradcam2017-rotated") == Box(8, 8, 12, 12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "heat",
    [
        np.zeros((9, 9), np.float32),
        np.full((9, 9), 3.0),
        np.full((9, 9), -3.0),
        np.full((9, 9), np.nan),
        np.full((9, 9), 0.1, np.float32) * (1 + 1e-7 * np.arange(9, dtype=np.float32)),
        np.where(np.eye(9), np.inf, 0.0),
        np.where(np.eye(9), -np.inf, 1.0),
        np.where(np.eye(9), np.nan, 0.0),
        np.zeros((0, 4), np.float32),
    ],
)
def test_maps_without_a_place_have_no_box(name, heat):
    assert find_box(heat, name) is None
    assert find_region(heat, name) is None


def test_nothing_positive_has_no_box_by_max_but_one_by_min_max():
    heat = blob(np.s_[3:9], np.s_[2:12]) - 5
    assert find_box(heat, "cam2016") is None
    assert find_box(heat, "gradcam2017") is None
    assert find_box(heat, "yang2025") == Box(2, 3, 12, 9)


@pytest.mark.parametrize("name", NAMES)
def test_unseen_pixels_are_no_foreground_and_do_not_count(name):
    heat = blob(np.s_[10:20], np.s_[10:30], value=2.0)
    heat[:, 25:] = np.nan
    assert find_box(heat, name) == Box(10, 10, 25, 20)
    shifted = heat + (5.0 if PROTOCOLS[name].rule == "min-max" else 0.0)
    assert find_box(shifted, name) == Box(10, 10, 25, 20)


def test_a_heatmap_is_two_dimensional():
    with pytest.raises(OptionError, match=r"a heatmap has shape \(H, W\); got \(2, 5, 5\)"):
        find_box(np.zeros((2, 5, 5), np.float32))
    with pytest.raises(OptionError, match='box protocol "x" is unknown'):
        find_box(np.zeros((5, 5), np.float32), "x")


def test_a_protocol_of_ones_own():
    mine = Protocol("mine", "none", 0.5, False, "pixels", "tight", "test")
    assert find_box(blob(np.s_[3:9], np.s_[2:12]), mine) == Box(2, 3, 12, 9)
    assert str(mine) == "mine:threshold=0.5"


def test_the_region_holds_the_pixels_of_the_box():
    heat = blob(np.s_[3:9], np.s_[2:12]) + blob(20, 20)
    region = find_region(heat, "cam2016")
    np.testing.assert_array_equal(region.mask, blob(np.s_[3:9], np.s_[2:12]) > 0)
    assert region.box == Box(2, 3, 12, 9)
    assert region.corners.min(0).tolist() == [2, 3]
    assert region.corners.max(0).tolist() == [11, 8]


# --- properties ------------------------------------------------------------------------------------------------------


def tight_twin(heat, protocol):
    """Normalise, threshold, bound the part: loops over the region that was found, and no larger one was missed."""
    region = find_region(heat, protocol)
    if region is None:
        return None
    ys, xs = np.nonzero(region.mask)
    return Box(xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


@settings(deadline=None, max_examples=100)
@given(heats, st.sampled_from(NAMES))
def test_the_region_is_connected_foreground_and_the_box_bounds_it(heat, name):
    protocol = parse_protocol(name)
    box, region = find_box(heat, name), find_region(heat, name)
    assert (box is None) == (region is None)
    if region is None:
        return
    scaled = normalise(heat, protocol.rule)
    above = (
        scaled > np.float32(protocol.threshold)
        if protocol.strict
        else scaled >= np.float32(protocol.threshold)
    )
    assert not (region.mask & ~above).any()
    assert region.box == box
    around = tight_twin(heat, name)
    if protocol.shape == "tight":
        assert box == around
    else:
        assert box.x0 <= around.x0 + 1e-9
        assert box.y0 <= around.y0 + 1e-9
        assert box.x1 >= around.x1 - 1e-9
        assert box.y1 >= around.y1 - 1e-9
    assert box.clip(heat.shape) == box


@settings(deadline=None, max_examples=100)
@given(heats, st.sampled_from(NAMES), st.integers(1, 5000), st.sampled_from([1, 2.0**-90, 2.0**60]))
def test_positive_scaling_never_moves_the_box(heat, name, factor, power):
    scaled = ((heat * factor).astype(np.float32) * np.float32(power)).astype(np.float32)
    assert find_box(scaled, name) == find_box(heat.astype(np.float32), name)


@settings(deadline=None, max_examples=100)
@given(heats, st.sampled_from(["yang2025", "yang2025-tight"]), st.integers(-5000, 5000))
def test_an_added_constant_never_moves_a_min_max_box(heat, name, added):
    assert find_box((heat + added).astype(np.float32), name) == find_box(
        heat.astype(np.float32), name
    )


@settings(deadline=None, max_examples=150)
@given(
    hnp.arrays(np.int64, (7, 9), elements=st.integers(-40, 1000), unique=True),
    st.sampled_from(TIGHT),
)
def test_flipping_flips_a_tight_box(heat, name):
    """Unique values: ties end at the peak, which flips along; only reading order would not."""
    heat = heat.astype(np.float32)
    box = find_box(heat, name)
    across, down = find_box(heat[:, ::-1], name), find_box(heat[::-1], name)
    assert across == Box(9 - box.x1, box.y0, 9 - box.x0, box.y1)
    assert down == Box(box.x0, 7 - box.y1, box.x1, 7 - box.y0)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TIGHT])
@pytest.mark.parametrize("seed", range(8))
def test_flipping_flips_a_rotated_box(name, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:60, :80]
    angle, a, b = rng.uniform(0.1, 1.4), rng.uniform(8, 16), rng.uniform(3, 7)
    u = (x - 37.3) * math.cos(angle) + (y - 28.9) * math.sin(angle)
    v = (y - 28.9) * math.cos(angle) - (x - 37.3) * math.sin(angle)
    heat = np.exp(-((u / a) ** 2) - (v / b) ** 2).astype(np.float32)
    box = find_box(heat, name)
    flipped = find_box(heat[:, ::-1], name)
    np.testing.assert_allclose(list(flipped), [80 - box.x1, box.y0, 80 - box.x0, box.y1], atol=1e-9)


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_a_box_never_reaches_what_was_not_seen(name):
    heat = np.full((40, 60), np.nan, np.float32)
    y, x = np.mgrid[0:20, 0:30]
    heat[10:30, 20:50] = np.exp(
        -(((x - y) / 4.0) ** 2)
    )  # a diagonal band: its rotated rectangle sticks out
    box = find_box(heat, name)
    assert box.x0 >= 20
    assert box.y0 >= 10
    assert box.x1 <= 50
    assert box.y1 <= 30
