"""The numbers that the page's scripts compute are those of Python, bit by bit."""

import numpy as np
import pytest

from saliscope.boxes import Box, best_iou
from saliscope.frames import Frame
from saliscope.localization import Protocol, find_box, find_region, normalise
from saliscope.pictures import blend, colour_table
from saliscope.report.scripts import linked

pytestmark = pytest.mark.browser

CASES = {
    "plain": ((7, 7), (40, 60), (0, 0, 60, 40)),
    "signed and fine": ((28, 28), (31, 53), (0, 0, 53, 31)),
    "cropped": ((7, 7), (60, 40), (0.25, 10.4, 39.75, 49.9)),
    "letterboxed": ((14, 14), (30, 60), (0, -15, 60, 45)),
    "one cell across": ((5, 1), (20, 20), (0, 0, 20, 20)),
    "finer than the picture": ((96, 80), (30, 50), (0, 0, 50, 30)),
}


@pytest.fixture(scope="module")
def page(browser):
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.evaluate("() => {" + linked("heat", "parts", "paint") + "globalThis.m = modules; }")
    yield page
    context.close()


@pytest.fixture(params=CASES)
def case(request):
    """A map, the picture's size and the region that the map covers."""
    grid, size, region = CASES[request.param]
    values = np.random.default_rng(len(request.param)).normal(size=grid).astype(np.float32)
    return values, size, Box(*region)


def heats(page, grid, size, region, rule="min-max"):
    """The signed and the normalised heat as the script computes them."""
    found = page.evaluate(
        """([values, height, width, H, W, region, rule]) => {
            const heat = m.heat.mapToPicture({values: Float32Array.from(values), height, width}, H, W, region);
            return [heat, m.heat.normalise(heat, rule)].map((v) => Array.from(v, (x) => Number.isNaN(x) ? null : x));
        }""",
        [grid.ravel().tolist(), *grid.shape, *size, list(region), rule],
    )
    return [np.array(v, np.float32).reshape(size) for v in found]


def python_heat(grid, size, region):
    return Frame(size, region, (224, 224)).map_to_source(grid)


@pytest.mark.parametrize("rule", ["min-max", "max"])
def test_heat_of_every_pixel(page, case, rule):
    heat, scaled = heats(page, *case, rule)
    expected = python_heat(*case)
    np.testing.assert_array_equal(heat, expected)
    np.testing.assert_array_equal(scaled, normalise(expected, rule))


@pytest.mark.parametrize("values", [[[2.0, 2.0], [2.0, 2.0]], [[0.0]], [[-3.0, -1.0]]])
@pytest.mark.parametrize("rule", ["min-max", "max"])
def test_maps_that_say_nothing(page, values, rule):
    grid, size, region = np.array(values, np.float32), (6, 9), Box(0, 0, 9, 6)
    _, scaled = heats(page, grid, size, region, rule)
    np.testing.assert_array_equal(scaled, normalise(python_heat(grid, size, region), rule))


def part_of(page, heat, scaled, threshold):
    return page.evaluate(
        """([heat, scaled, width, threshold]) => {
            const [raw, unit] = [heat, scaled].map((v) => Float32Array.from(v, (x) => x === null ? NaN : x));
            const part = m.parts.largestPart(unit, raw, width, threshold);
            return part && { ...part, inside: Array.from(part.inside), passed: Array.from(part.passed) };
        }""",
        [as_list(heat), as_list(scaled), heat.shape[1], threshold],
    )


def as_list(values):
    return [None if np.isnan(v) else float(v) for v in values.ravel()]


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.8, 0.97])
@pytest.mark.parametrize("rule", ["min-max", "max"])
def test_largest_part_and_its_box(page, case, rule, threshold):
    heat = python_heat(*case)
    found = part_of(page, heat, normalise(heat, rule), threshold)
    protocol = Protocol("tight", rule, threshold, False, "pixels", "tight", "this test")
    region = find_region(heat, protocol)
    assert found["box"] == list(find_box(heat, protocol))
    np.testing.assert_array_equal(np.reshape(found["inside"], heat.shape), region.mask)
    assert found["pixels"] == region.mask.sum()


def test_ties_go_to_the_hottest_then_to_reading_order(page):
    heat = np.zeros((5, 9), np.float32)
    heat[1, 1:3], heat[3, 6:8], heat[4, 0:2] = 0.9, (0.9, 1.0), (0.9, 0.8)
    assert part_of(page, heat, heat, 0.5)["box"] == [6, 3, 8, 4]
    heat[3, 7] = 0.9
    assert part_of(page, heat, heat, 0.5)["box"] == [1, 1, 3, 2]
    assert part_of(page, heat, heat, 0.5)["parts"] == 3


def test_corners_touch(page):
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = heat[1, 1] = heat[2, 0] = 1.0
    assert part_of(page, heat, heat, 0.5)["box"] == [0, 0, 2, 3]


@pytest.mark.parametrize("values", [np.ones((4, 4)), np.full((4, 4), np.nan)])
def test_no_part(page, values):
    heat = values.astype(np.float32)
    assert part_of(page, heat, heat, 0.5) is None
    assert find_box(heat) is None


def test_iou_with_the_best_of_several(page):
    truth = [Box(0, 0, 10, 10), Box(4, 4, 12, 12.5)]
    for box in (Box(2, 3, 9, 11), Box(20, 20, 30, 30)):
        found = page.evaluate(
            "([b, t]) => m.parts.bestIou(b, t)", [list(box), list(map(list, truth))]
        )
        assert found == best_iou(box, truth)
    assert page.evaluate("() => m.parts.bestIou(null, [[0, 0, 1, 1]])") == 0
    assert page.evaluate("() => Number.isNaN(m.parts.bestIou([0, 0, 1, 1], []))")


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 0.77, 1.0])
def test_colours_of_pixels(page, case, alpha):
    grid, size, region = case
    photo = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    scaled = normalise(python_heat(grid, size, region))
    rgba = np.dstack([photo, np.full(size, 255, np.uint8)])
    found = page.evaluate(
        """([photo, scaled, width, alpha, table]) => {
            const heat = Float32Array.from(scaled, (x) => x === null ? NaN : x);
            return Array.from(m.paint.blend(Uint8ClampedArray.from(photo), heat, width, alpha, Uint8Array.from(table)));
        }""",
        [rgba.ravel().tolist(), as_list(scaled), size[1], alpha, colour_table().ravel().tolist()],
    )
    pixels = np.array(found, np.uint8).reshape(*size, 4)
    np.testing.assert_array_equal(pixels[..., :3], blend(photo, scaled, alpha=alpha))
    assert (pixels[..., 3] == 255).all()
