import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saliscope.boxes import Box
from saliscope.errors import OptionError
from saliscope.frames import Frame

sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))


@st.composite
def frames(draw, source=sizes, size=sizes):
    kind = draw(st.sampled_from(["squash", "crop", "letterbox"]))
    whole, put = draw(source), draw(size)
    if kind == "crop":
        return Frame.crop(whole, put, shorter=draw(st.integers(1, 80)))
    return getattr(Frame, kind)(whole, put)


def upsampled_twin(frame, grid):
    """Bilinear, align_corners=False: pixel by pixel, in float64."""
    height, width = frame.source
    rows, columns = grid.shape
    out = np.full((height, width), np.nan)
    r = frame.region
    for i in range(height):
        for j in range(width):
            y, x = i + 0.5, j + 0.5
            if not (r.y0 - 1e-6 <= y <= r.y1 + 1e-6 and r.x0 - 1e-6 <= x <= r.x1 + 1e-6):
                continue
            v = min(max((y - r.y0) / r.height * rows - 0.5, 0), rows - 1)
            u = min(max((x - r.x0) / r.width * columns - 0.5, 0), columns - 1)
            v0, u0 = math.floor(v), math.floor(u)
            v1, u1 = min(v0 + 1, rows - 1), min(u0 + 1, columns - 1)
            a, b = v - v0, u - u0
            top = (1 - b) * grid[v0, u0] + b * grid[v0, u1]
            bottom = (1 - b) * grid[v1, u0] + b * grid[v1, u1]
            out[i, j] = (1 - a) * top + a * bottom
    return out


@settings(deadline=None, max_examples=60)
@given(
    frames(source=st.tuples(st.integers(1, 24), st.integers(1, 24))),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.integers(0, 2**31),
)
def test_map_to_source_equals_its_twin(frame, shape, seed):
    grid = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    before = grid.copy()
    np.testing.assert_allclose(frame.map_to_source(grid), upsampled_twin(frame, grid), atol=1e-5)
    np.testing.assert_array_equal(grid, before)


@pytest.mark.parametrize("source", [(33, 47), (224, 224), (300, 500), (5, 9)])
def test_squash_upsamples_as_torch_does(source):
    torch = pytest.importorskip("torch")
    grid = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(grid)[None, None], size=source, mode="bilinear", align_corners=False
    )
    mine = Frame.squash(source, (224, 224)).map_to_source(grid)
    assert mine.dtype == np.float32
    np.testing.assert_allclose(mine, expected[0, 0].numpy(), atol=1e-5)


@given(frames(), st.lists(st.tuples(st.floats(-500, 500), st.floats(-500, 500)), max_size=5))
def test_points_come_back(frame, points):
    there = np.array(points, float).reshape(-1, 2)
    back = frame.points_to_source(frame.points_to_input(there))
    np.testing.assert_allclose(back, there, atol=1e-6)


@given(frames())
def test_the_input_is_the_region(frame):
    h, w = frame.size
    back = frame.box_to_source(Box(0, 0, w, h))
    np.testing.assert_allclose(list(back), list(frame.region), atol=1e-9)
    np.testing.assert_allclose(list(frame.box_to_input(frame.region)), [0, 0, w, h], atol=1e-9)


@given(frames())
def test_an_affine_ramp_stays_where_it_was(frame):
    """A map whose cells hold their own source position gives each pixel its position, away from the clamped border."""
    rows, columns = 5, 6
    r = frame.region
    centres = r.x0 + (np.arange(columns) + 0.5) * r.width / columns
    up = frame.map_to_source(np.tile(centres.astype(np.float32), (rows, 1)))
    x = np.arange(frame.source[1]) + 0.5
    inner = (x >= centres[0]) & (x <= centres[-1])
    seen = ~np.isnan(up)
    expected = np.broadcast_to(x, up.shape)
    np.testing.assert_allclose(
        up[:, inner][seen[:, inner]], expected[:, inner][seen[:, inner]], atol=1e-3
    )


@given(frames())
def test_unseen_pixels_are_those_whose_centre_lies_outside(frame):
    up = frame.map_to_source(np.ones((3, 3), np.float32))
    seen = frame.seen
    for axis, (low, high) in enumerate([(seen.y0, seen.y1), (seen.x0, seen.x1)]):
        centre = np.arange(frame.source[axis]) + 0.5
        inside = (centre > low + 1e-6) & (centre < high - 1e-6)
        outside = (centre < low - 1e-6) | (centre > high + 1e-6)
        lines = np.isnan(up).all(axis=1 - axis)
        whole = ~np.isnan(up).all()
        assert not (lines & inside).any() or not whole
        assert lines[outside].all()
    np.testing.assert_allclose(up[~np.isnan(up)], 1, atol=1e-6)


@settings(deadline=None)
@given(frames(), st.integers(0, 99))
def test_flipping_the_map_flips_a_squashed_heatmap(frame, seed):
    grid = np.random.default_rng(seed).normal(size=(4, 5)).astype(np.float32)
    squash = Frame.squash(frame.source, frame.size)
    np.testing.assert_allclose(
        squash.map_to_source(grid[:, ::-1]), squash.map_to_source(grid)[:, ::-1], atol=1e-5
    )
    np.testing.assert_allclose(
        squash.map_to_source(grid[::-1]), squash.map_to_source(grid)[::-1], atol=1e-5
    )


def test_squash_of_a_known_size():
    frame = Frame.squash((300, 600), (224, 224))
    assert frame.region == Box(0, 0, 600, 300)
    assert frame.scale == (600 / 224, 300 / 224)
    assert frame.box_to_source(Box(0, 0, 112, 112)) == Box(0, 0, 300, 150)
    assert frame.seen == frame.region


def test_crop_of_a_known_size():
    """375 x 500, shorter side to 256: 256 x 341; the cut begins at row 16, column 58 (58.5 rounds to even)."""
    frame = Frame.crop((375, 500), (224, 224), shorter=256)
    down, right = 375 / 256, 500 / 341
    expected = [58 * right, 16 * down, (58 + 224) * right, (16 + 224) * down]
    np.testing.assert_allclose(list(frame.region), expected, rtol=1e-12)
    up = frame.map_to_source(np.ones((7, 7)))
    assert np.isnan(up[0]).all()
    assert np.isnan(up[:, 84]).all()
    assert not np.isnan(up[24:351, 86:413]).any()


@pytest.mark.parametrize("source", [(375, 500), (500, 375), (224, 224), (97, 100), (333, 500)])
def test_crop_cuts_where_torchvision_cuts(source):
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    torch = pytest.importorskip("torch")
    height, width = source
    where = torch.stack(
        torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    )
    small = functional.center_crop(
        functional.resize(
            where, [256], antialias=False, interpolation=functional.InterpolationMode.BILINEAR
        ),
        [224, 224],
    )
    frame = Frame.crop(source, (224, 224), shorter=256)
    inner = (np.arange(224) + 0.5)[20:-20]
    points = frame.points_to_source(np.stack([inner, inner], axis=1))
    np.testing.assert_allclose(points[:, 1], small[0, 20:-20, 112].numpy(), atol=1e-3)
    np.testing.assert_allclose(points[:, 0], small[1, 112, 20:-20].numpy(), atol=1e-3)


def test_crop_of_an_image_smaller_than_the_cut_is_padded():
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    torch = pytest.importorskip("torch")
    for source in [(10, 20), (20, 10), (11, 15), (13, 13)]:
        frame = Frame.crop(source, (16, 16), shorter=min(source))
        image = torch.arange(1, source[0] * source[1] + 1).reshape(1, *source)
        cut = functional.center_crop(image, [16, 16])[0].numpy()
        column, row = np.argwhere(cut == cut[cut > 0].min())[0][::-1]
        value = int(cut[row, column]) - 1
        x, y = frame.points_to_source(np.array([[column + 0.5, row + 0.5]]))[0]
        assert (math.floor(y), math.floor(x)) == divmod(value, source[1])


@given(sizes, sizes)
def test_letterbox_shows_everything_once(source, size):
    frame = Frame.letterbox(source, size)
    inner = frame.box_to_input(Box(0, 0, source[1], source[0]))
    assert inner.x0 >= -1e-9
    assert inner.y0 >= -1e-9
    assert inner.x1 <= size[1] + 1e-9
    assert inner.y1 <= size[0] + 1e-9
    assert min(size[1] - inner.width, size[0] - inner.height) <= 0.5 + 1e-9
    assert not np.isnan(frame.map_to_source(np.ones((2, 2)))).any()
    assert frame.seen == Box(0, 0, source[1], source[0])


@given(sizes, sizes, st.integers(1, 80))
def test_flipping_the_image_flips_a_crop_to_within_the_rounded_pixel(source, size, shorter):
    """The offset is a whole number, so an odd margin puts the cut half an input pixel off the centre."""
    frame = Frame.crop(source, size, shorter=shorter)
    for low, high, full, step in [
        (frame.region.x0, frame.region.x1, source[1], frame.scale[0]),
        (frame.region.y0, frame.region.y1, source[0], frame.scale[1]),
    ]:
        assert abs((low + high) / 2 - full / 2) <= 0.5 * step + 1e-9


def test_a_crop_of_the_whole_image_is_the_squash():
    crop = Frame.crop((40, 40), (20, 20), shorter=20)
    assert crop == Frame.squash((40, 40), (20, 20))


@pytest.mark.parametrize(
    ("source", "region", "size"),
    [
        ((0, 5), Box(0, 0, 1, 1), (2, 2)),
        ((5, 5), Box(0, 0, 1, 1), (2, 0)),
        ((5, 5), Box(1, 1, 1, 4), (2, 2)),
    ],
)
def test_frames_without_an_area_are_refused(source, region, size):
    with pytest.raises(OptionError, match="a frame needs sizes of at least 1 pixel"):
        Frame(source, region, size)


def test_one_cell_fills_the_image():
    np.testing.assert_array_equal(
        Frame.squash((4, 3), (8, 8)).map_to_source(np.array([[2.5]])), np.full((4, 3), 2.5)
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_nonfinite_cell_spreads_without_a_warning(value):
    grid = np.ones((3, 3), np.float32)
    grid[1, 1] = value
    up = Frame.squash((9, 9), (9, 9)).map_to_source(grid)
    assert not np.isfinite(up[4, 4])


def test_huge_values_do_not_overflow_on_the_way_up():
    grid = np.array([[3e38, -3e38], [3e38, 3e38]], np.float32)
    up = Frame.squash((9, 9), (9, 9)).map_to_source(grid)
    assert np.isfinite(up).all()
    assert up.max() == pytest.approx(3e38)
