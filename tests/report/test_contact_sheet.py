"""Contact sheets, looked at pixel by pixel where it matters."""

import dataclasses

import numpy as np
import pytest

from saliscope.boxes import Box
from saliscope.data import Failed, Region, Sample
from saliscope.errors import DataError, OptionError
from saliscope.pictures import TRUTH_COLOUR, box_colours
from saliscope.report import contact_sheet as module
from saliscope.report.contact_sheet import contact_sheet

GREY, BLUE, SIDE, TILE, ALERT = (120, 120, 120), (30, 110, 255), (150, 150, 155), (240, 240, 242), (150, 60, 0)  # fmt: skip
MARGIN, GAP = 16, 10


def sample(size=(100, 100), *regions, name="a/1", label=0, masks=None, colour=GREY):
    image = np.full((*size, 3), colour, np.uint8)
    reader = None if masks is None else (lambda: masks)
    return Sample(name, image, label, "test", tuple(regions), size, {}, reader)


def tile(sheet, column=0, row=0, size=100, head=MARGIN):
    """The square of one sample."""
    top = head + row * (size + 48)
    left = MARGIN + column * (size + GAP)
    return sheet[top : top + size, left : left + size]


def mask(y0, y1, x0, x1, size=(100, 100)):
    made = np.zeros(size, bool)
    made[y0:y1, x0:x1] = True
    return made


def at(picture, x, y):
    return tuple(picture[y, x].tolist())


@pytest.fixture
def words(monkeypatch):
    """Everything that is written, in order."""
    from PIL import ImageDraw

    said, own = [], ImageDraw.ImageDraw.text

    def text(self, place, words, *more, **rest):
        said.append(words)
        return own(self, place, words, *more, **rest)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return said


# --- the sheet -------------------------------------------------------------------------------------------------------


def test_samples_stand_in_rows():
    colours = [(10 * n, 0, 0) for n in range(5)]
    sheet = contact_sheet([sample(colour=c) for c in colours], columns=2, size=100)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == 2 * MARGIN + 2 * 100 + GAP
    for n, colour in enumerate(colours):
        assert at(tile(sheet, n % 2, n // 2), 50, 50) == colour
    assert at(tile(sheet, 1, 2), 50, 50) == (255, 255, 255)


@pytest.mark.parametrize(
    ("count", "columns", "across"),
    [(1, None, 1), (2, None, 2), (12, None, 4), (24, None, 6), (3, 8, 3), (3, 1, 1)],
)
def test_columns(count, columns, across):
    sheet = contact_sheet([sample()] * count, columns=columns, size=64)
    assert sheet.shape[1] == 2 * MARGIN + across * 64 + (across - 1) * GAP


def test_a_title_stands_above(words):
    plain = contact_sheet([sample()], size=100)
    titled = contact_sheet([sample()], size=100, title="beasts")
    assert titled.shape[0] == plain.shape[0] + 28
    assert "beasts" in words
    assert at(tile(titled, head=MARGIN + 28), 50, 50) == GREY


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"size": 63}, "got size=63, columns=None"),
        ({"columns": 0}, "columns=0"),
    ],
)
def test_impossible_sheets(more, words):
    with pytest.raises(OptionError, match=words):
        contact_sheet([sample()], **more)


def test_a_sheet_of_nothing():
    with pytest.raises(OptionError, match="a contact sheet needs samples; none were given"):
        contact_sheet([])


# --- photographs -----------------------------------------------------------------------------------------------------


def test_a_photograph_fits_its_square_and_stays_in_the_middle():
    picture = tile(contact_sheet([sample((100, 200))], size=100))
    assert at(picture, 50, 24) == TILE
    assert at(picture, 50, 25) == GREY
    assert at(picture, 50, 74) == GREY
    assert at(picture, 50, 75) == TILE
    assert at(picture, 0, 50) == at(picture, 99, 50) == GREY


def test_few_pixels_stay_squares():
    checks = np.zeros((3, 3, 3), np.uint8)
    checks[1, 1] = 255
    picture = tile(contact_sheet([dataclasses.replace(sample(), image=checks)], size=100))
    white = (picture == 255).all(axis=2)
    assert white.sum() == 33 * 33
    assert white[33:66, 33:66].all()


def test_a_photograph_a_little_too_small_is_enlarged_to_the_square():
    picture = tile(contact_sheet([sample((60, 30))], size=100))
    assert at(picture, 25, 0) == at(picture, 74, 99) == GREY
    assert at(picture, 24, 50) == at(picture, 75, 50) == TILE


# --- boxes -----------------------------------------------------------------------------------------------------------


def test_boxes_lie_where_they_are_annotated():
    photo = sample((200, 400), Region(Box(40, 80, 240, 180), "dog"))
    picture = tile(contact_sheet([photo], size=100))
    red = (picture == TRUTH_COLOUR).all(axis=2)
    rows, columns = np.nonzero(red)
    # A quarter of the size, and 25 rows lower, since the photograph is half as high as its square.
    assert (columns.min(), columns.max()) == (10, 59)
    assert (rows.min(), rows.max()) == (45, 69)


@pytest.mark.parametrize(
    ("more", "colour", "key"),
    [
        ({}, TRUTH_COLOUR, "box"),
        ({"part": "head"}, BLUE, "box of a part"),
        ({"difficult": True}, SIDE, "difficult"),
        ({"crowd": True}, SIDE, "crowd"),
        ({"crowd": True, "difficult": True, "part": "head"}, SIDE, "crowd"),
    ],
)
def test_what_the_colours_of_boxes_mean(words, more, colour, key):
    sheet = contact_sheet(
        [sample((100, 100), Region(Box(20, 20, 80, 80), "dog", **more))], size=100
    )
    assert at(tile(sheet), 20, 50) == colour
    assert words[2:] == [key]
    assert (sheet[-29:-18, MARGIN : MARGIN + 11] == colour).all()  # its square in the key


def test_the_whole_lies_above_its_parts():
    same = Box(20, 20, 80, 80)
    regions = [Region(same, "dog"), Region(same, "dog", part="head"), Region(same, "dog", crowd=True)]  # fmt: skip
    assert at(tile(contact_sheet([sample((100, 100), *regions)], size=100)), 20, 50) == TRUTH_COLOUR


# --- masks -----------------------------------------------------------------------------------------------------------

ORANGE = box_colours(["x"])[0]


def test_a_mask_is_translucent_with_an_outline(words):
    sheet = contact_sheet([sample(masks={"object": mask(20, 60, 30, 80)})], size=100)
    picture = tile(sheet)
    mixed = tuple(round(0.6 * 120 + 0.4 * c) for c in ORANGE)
    assert at(picture, 31, 21) == at(picture, 50, 40) == at(picture, 78, 58) == mixed
    assert at(picture, 30, 40) == at(picture, 79, 40) == at(picture, 50, 20) == at(picture, 50, 59) == ORANGE  # fmt: skip
    assert at(picture, 29, 40) == at(picture, 80, 40) == at(picture, 50, 60) == GREY
    assert words[2:] == ["mask: object"]


def test_a_mask_shrinks_with_its_photograph():
    photo = sample((200, 400), masks={"object": mask(80, 180, 40, 240, (200, 400))})
    picture = tile(contact_sheet([photo], size=100))
    rows, columns = np.nonzero((picture != GREY).any(axis=2) & (picture != TILE).any(axis=2))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (10, 59, 45, 69)


def test_a_mask_of_one_pixel_does_not_vanish():
    photo = sample((1000, 1000), masks={"object": mask(500, 501, 500, 501, (1000, 1000))})
    picture = tile(contact_sheet([photo], size=100))
    assert (picture != GREY).any(axis=2).sum() == 1


def test_an_empty_mask_is_nothing():
    picture = tile(contact_sheet([sample(masks={"object": mask(0, 0, 0, 0)})], size=100))
    assert (picture == GREY).all()


def test_a_small_mask_lies_above_a_large_one():
    masks = {"head": mask(40, 50, 40, 50), "body": mask(10, 90, 10, 90)}
    picture = tile(contact_sheet([sample(masks=masks)], size=100))
    colours = box_colours(["a", "b"])  # the first drawn has the first colour
    assert at(picture, 40, 45) == colours[1]
    assert at(picture, 10, 45) == colours[0]


def test_a_name_has_one_colour_on_the_whole_sheet():
    both = {"a": mask(0, 90, 0, 90), "b": mask(10, 20, 10, 20)}
    other = {"b": mask(10, 20, 10, 20)}
    sheet = contact_sheet([sample(masks=both), sample(masks=other)], size=100)
    assert at(tile(sheet, 0), 10, 15) == at(tile(sheet, 1), 10, 15) == box_colours(["a", "b"])[1]


def test_what_is_ignored_is_grey(words):
    picture = tile(contact_sheet([sample(masks={"ignore": mask(20, 60, 30, 80)})], size=100))
    assert at(picture, 30, 40) == SIDE
    assert words[2:] == ["mask: ignore"]


def test_masks_are_chosen_by_name(words):
    masks = {name: mask(10, 20, 10, 20) for name in ("a", "b", "c")}
    contact_sheet([sample(masks=masks)], masks=["b", "z"])
    contact_sheet([sample(masks=masks)], masks=[])
    assert [word for word in words if word.startswith("mask")] == ["mask: b"]


def test_of_many_masks_only_those_that_tell_are_drawn(words):
    """A generated animal has twenty, one on the other: all of them would hide it."""
    names = ("head", "legs", "body", "evidence", "twin", "tag")
    contact_sheet([sample(masks={name: mask(10, 20, 10, 20) for name in names})])
    assert [word for word in words if word.startswith("mask")] == [
        "mask: body",
        "mask: evidence",
        "mask: tag",
    ]


def test_the_key_names_boxes_first_and_breaks_its_line(words):
    names = [f"a mask with a long name {n}" for n in range(4)]
    photo = sample((100, 100), Region(Box(1, 1, 9, 9), "x"), masks={n: mask(5, 9, 5, 9) for n in names})  # fmt: skip
    one = contact_sheet([sample((100, 100), Region(Box(1, 1, 9, 9), "x"))], size=200)
    all_ = contact_sheet([photo], size=200)
    assert words[5:] == ["box", *(f"mask: {name}" for name in names)]
    assert all_.shape[0] == one.shape[0] + 4 * 20


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "regions", "line"),
    [
        (1, (), "dog · test"),
        (7, (), "class 7 · test"),
        (None, (), "no class · test"),
        (None, ("cat", "owl", "cat"), "2 × cat, owl · test"),
        (0, ("owl",), "cat · test"),
    ],
)
def test_class_and_split(words, label, regions, line):
    boxes = [Region(Box(0, 0, 5, 5), name) for name in regions]
    boxes += [Region(Box(0, 0, 2, 2), "nose", part="nose")] if regions else []
    contact_sheet([sample((50, 50), *boxes, label=label)], classes=("cat", "dog"))
    assert words[:2] == ["a/1", line]


def test_a_long_id_keeps_its_end(words):
    ids = ["n02085620-Chihuahua/n02085620_10074", "x" * 80 + "end", "short"]
    contact_sheet([sample(name=name) for name in ids], size=150, columns=1)
    first, second, third = words[0], words[2], words[4]
    assert first == "…/n02085620_10074"
    assert second.startswith("…x")
    assert second.endswith("xend")
    assert 10 < len(second) < 30
    assert third == "short"


def test_letters_of_another_script_do_not_end_a_sheet():
    sheet = contact_sheet([sample(name="개/\n1", label=0)], classes=("시베리안 허스키",), size=100)
    assert at(tile(sheet), 50, 50) == GREY


# --- damage ----------------------------------------------------------------------------------------------------------


def torn():
    raise DataError("mask.png is damaged")


@pytest.mark.parametrize(
    ("broken", "message", "line"),
    [
        (Failed("a/1", "1.xml is no XML"), "1.xml is no XML", "damaged annotation"),
        (dataclasses.replace(sample(), image=b"torn"), "is not a picture", "cat · test"),
        (dataclasses.replace(sample(), mask_reader=torn), "mask.png is damaged", "cat · test"),
    ],
    ids=["annotation", "image", "mask"],
)
def test_what_cannot_be_read_is_a_tile_that_says_so(words, broken, message, line):
    failed = []
    given = [sample(), broken, sample()]
    sheet = contact_sheet(given, classes=("cat",), size=160, columns=3, on_failed=failed.append)
    picture = tile(sheet, 1, size=160)
    assert at(picture, 0, 0) == at(picture, 159, 159) == ALERT
    assert at(tile(sheet, 2, size=160), 80, 80) == GREY
    assert [one.id for one in failed] == ["a/1"]
    assert message in failed[0].message
    assert "cannot be read" in words
    assert line in words
    said = "".join(words).replace(" ", "")
    assert message.replace(" ", "") in said


def test_long_messages_are_broken_and_stay_in_their_square():
    long = "/a/very/long/path/" + "x" * 300 + " is damaged " + "and so on " * 50
    sheet = contact_sheet([Failed("1", long)], size=128)
    assert (tile(sheet, size=128)[3:-3, -8:-3] == TILE).all()
    lines = module._wrapped(long, 108)
    assert "".join(lines).replace(" ", "") == long.replace(" ", "")


def test_a_sheet_without_on_failed():
    contact_sheet([Failed("1", "torn")], size=64)
