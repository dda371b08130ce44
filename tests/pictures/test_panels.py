import numpy as np
import pytest

from saliscope.boxes import Box
from saliscope.errors import OptionError
from saliscope.pictures import TRUTH_COLOUR, blend, colourise
from saliscope.pictures.fonts import font
from saliscope.pictures.panels import (
    PanelRow,
    cell_size,
    ellipsised,
    panel,
    shrink_heat,
    shrink_photo,
    stamp,
)

PHOTO = np.full((240, 320, 3), 90, np.uint8)


def find(sheet, picture):
    """The top left corner where `picture` stands in `sheet`."""
    height, width = picture.shape[:2]
    for y in range(sheet.shape[0] - height + 1):
        for x in range(sheet.shape[1] - width + 1):
            if np.array_equal(sheet[y, x : x + 8], picture[0, :8]) and np.array_equal(
                sheet[y : y + height, x : x + width], picture
            ):
                return y, x
    return None


def test_a_row_shows_photograph_heatmap_and_blend_unaltered():
    heat = np.random.default_rng(0).random((240, 320))
    sheet = panel(PHOTO, [PanelRow("cam@layer4", heat, note="dog (#1)")])
    places = [find(sheet, p) for p in (PHOTO, colourise(heat), blend(PHOTO, heat))]
    assert len({y for y, _ in places}) == 1
    assert np.diff([x for _, x in places]).tolist() == [328, 328]


def test_boxes_stand_at_their_place_on_photograph_and_blend():
    heat = np.zeros((240, 320))
    colour = (30, 110, 255)
    row = PanelRow("cam", heat, box=Box(100, 60, 200, 120), colour=colour)
    sheet = panel(PHOTO, [row], truth=[Box(40, 80, 280, 200)])
    top, left = find(sheet, colourise(heat))
    photo, mixed = (sheet[top : top + 240, left + d : left + d + 320] for d in (-328, 328))
    for picture in (photo, mixed):
        ys, xs = np.nonzero((picture == TRUTH_COLOUR).all(axis=2))
        assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (40, 80, 280, 200)
    ys, xs = np.nonzero((mixed == colour).all(axis=2))
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (100, 60, 200, 120)
    assert not (photo == colour).all(axis=2).any()


def test_boxes_shrink_with_a_large_photograph():
    large = np.full((960, 1280, 3), 90, np.uint8)
    sheet = panel(large, [], truth=[Box(160, 320, 1120, 800)])
    ys, xs = np.nonzero((sheet[:-40] == TRUTH_COLOUR).all(axis=2))
    assert (xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()) == (240, 120)


def test_status_is_written_on_both_pictures_unless_ok():
    heat = np.zeros((240, 320))
    quiet = panel(PHOTO, [PanelRow("cam", heat)])
    loud = panel(PHOTO, [PanelRow("cam", heat, status="zero")])
    chip = (loud == (255, 214, 90)).all(axis=2)
    assert not (quiet == (255, 214, 90)).all(axis=2).any()
    assert chip[:, 342:662].any()
    assert chip[:, 670:].any()
    assert not chip[:, :342].any()


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (20, 20), (2000, 3000)])
def test_stamp_changes_a_corner_of_any_size_and_nothing_when_ok(size):
    picture = np.zeros((*size, 3), np.uint8)
    assert stamp(picture, "ok") is picture
    stamped = stamp(picture, "nonfinite")
    assert stamped.shape == picture.shape
    assert stamped.any()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((375, 500), (240, 320)),
        ((500, 333), (480, 320)),
        ((1000, 100), (480, 48)),
        ((1, 1), (120, 120)),
        ((30, 60), (60, 120)),
        ((150, 200), (150, 200)),
        ((10, 5000), (1, 320)),
    ],
)
def test_pictures_are_shrunk_and_only_tiny_ones_enlarged(size, expected):
    assert cell_size(size, 320) == expected


def test_shrinking_averages_and_enlarging_keeps_squares():
    board = np.zeros((40, 40, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 200
    assert abs(int(shrink_photo(board, (10, 10))[5, 5, 0]) - 100) <= 3
    assert set(np.unique(shrink_photo(board[:2, :2], (50, 50)))) == {0, 200}


def test_shrunk_heat_is_the_heat_at_pixel_centres():
    heat = np.arange(60, dtype=float).reshape(6, 10)
    assert shrink_heat(heat, (3, 5)).tolist() == heat[1::2, 1::2].tolist()
    assert shrink_heat(heat, (6, 10)).tolist() == heat.tolist()


def test_captions_end_in_an_ellipsis_where_they_do_not_fit():
    assert ellipsised("short", 15, 300) == "short"
    cut = ellipsised("a very long label " * 20, 15, 200)
    assert cut.endswith("…")
    assert font(15).getlength(cut) <= 200
    assert font(15).getlength(cut[:-1] + " label…") > 200


def test_long_and_foreign_captions_change_no_layout():
    heat = np.zeros((240, 320))
    plain = panel(PHOTO, [PanelRow("cam", heat, note="x")], title="t")
    wild = panel(PHOTO, [PanelRow("웰시 코기 " * 50, heat, note="犬\n\x00" * 90)], title="é" * 500)
    assert wild.shape == plain.shape
    assert find(wild, colourise(heat)) == find(plain, colourise(heat))
    assert (wild[:, -8:] == 255).all()


def test_panel_needs_room():
    with pytest.raises(OptionError, match="at least 16 pixels wide; got width=3"):
        panel(PHOTO, [], width=3)
