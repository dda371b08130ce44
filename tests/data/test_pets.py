"""Oxford-IIIT Pet on a miniature of its layout."""

import pickle

import numpy as np
import pytest
from PIL import Image

from saliscope.boxes import Box
from saliscope.data import open_data
from saliscope.errors import DataError, OptionError

TRAINVAL = [
    ("Abyssinian_100", 1, 1, 1),
    ("Abyssinian_101", 1, 1, 1),
    ("yorkshire_terrier_3", 37, 2, 25),
]
TEST = [("american_bulldog_5", 2, 2, 1), ("Abyssinian_2", 1, 1, 1)]


def trimap():
    levels = np.full((8, 12), 2, np.uint8)
    levels[2:6, 3:9] = 3  # the border
    levels[3:5, 4:8] = 1
    return levels


def write_trimap(root, key, levels, mode="L"):
    image = Image.fromarray(levels)
    if mode == "P":
        image.putpalette([value for i in range(256) for value in (255 - i, 0, 0)])
    image.save(root / "annotations" / "trimaps" / f"{key}.png")


@pytest.fixture
def root(tmp_path):
    for folder in ("images", "annotations/trimaps", "annotations/xmls"):
        (tmp_path / folder).mkdir(parents=True)
    for part, rows in (("trainval", TRAINVAL), ("test", TEST)):
        lines = (" ".join(map(str, row)) + "\n" for row in rows)
        (tmp_path / "annotations" / f"{part}.txt").write_text("".join(lines))
    for key, *_ in TRAINVAL + TEST:
        Image.new("RGB", (12, 8)).save(tmp_path / "images" / f"{key}.jpg")
        write_trimap(tmp_path, key, trimap())
    (tmp_path / "images" / "Abyssinian_100.mat").write_bytes(b"stray")
    (tmp_path / "annotations" / "xmls" / "Abyssinian_100.xml").write_text(
        "<annotation><size><width>12</width><height>8</height></size><object><name>cat</name><bndbox>"
        "<xmin>5</xmin><ymin>3</ymin><xmax>8</xmax><ymax>4</ymax></bndbox></object></annotation>"
    )
    return tmp_path


def opened(root, split="trainval", **options):
    words = "".join(f":{key}={value}" for key, value in options.items())
    return open_data(f"pets{words}", split, root=root)


def test_the_border_belongs_to_the_body_unless_it_is_left_out(root):
    assert opened(root)[0].boxes() == (Box(3, 2, 9, 6),)
    assert opened(root, border=False)[0].boxes() == (Box(4, 3, 8, 5),)


@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_are_what_the_trimap_says(root, mode):
    write_trimap(root, "Abyssinian_100", trimap(), mode)
    levels = trimap()
    masks = opened(root)[0].masks()
    assert sorted(masks) == ["border", "object"]
    np.testing.assert_array_equal(masks["object"], levels != 2)
    np.testing.assert_array_equal(masks["border"], levels == 3)
    inner = opened(root, border=False)[0].masks()
    assert sorted(inner) == ["border", "ignore", "object"]
    np.testing.assert_array_equal(inner["object"], levels == 1)
    np.testing.assert_array_equal(inner["ignore"], levels == 3)


def test_the_xml_boxes_the_head_not_the_body(root):
    sample = opened(root)[0]
    assert sample.boxes(part="head") == (Box(4, 2, 8, 4),)  # VOC counts from 1, the last included
    assert opened(root, corners="half-open")[0].boxes(part="head") == (Box(5, 3, 8, 4),)
    assert [region.label for region in sample.regions] == ["Abyssinian", "Abyssinian"]
    assert len(sample.truth.boxes) == 1
    assert opened(root)[1].boxes(part="head") == ()  # half of the photographs have none


def test_breeds_and_species(root):
    data, test = opened(root), opened(root, "test")
    assert data.classes == test.classes == ("Abyssinian", "american_bulldog", "yorkshire_terrier")
    assert list(data.ids) == ["Abyssinian_100", "Abyssinian_101", "yorkshire_terrier_3"]
    assert list(data.labels) == [0, 0, 2]
    assert list(test.ids) == ["Abyssinian_2", "american_bulldog_5"]
    assert [sample.details["species"] for sample in test] == ["cat", "dog"]
    assert test[0].size == (8, 12)


def test_validation_is_taken_from_the_official_list(root):
    train, val = (opened(root, part, validation=0.5) for part in ("train", "val"))
    assert sorted([*train.ids, *val.ids]) == [key for key, *_ in TRAINVAL]
    assert val.labels == [0]


def test_a_partial_copy_counts_what_is_there(root):
    (root / "images" / "american_bulldog_5.jpg").unlink()
    assert opened(root).classes == ("Abyssinian", "yorkshire_terrier")
    assert list(opened(root).labels) == [0, 0, 1]
    assert list(opened(root, classes="all").labels) == [0, 0, 2]


def test_pictures_of_other_formats_behind_jpg_are_read(root):
    Image.new("P", (12, 8)).save(root / "images" / "Abyssinian_100.jpg", "GIF")
    assert opened(root)[0].photo().pixels.shape == (8, 12, 3)


def test_the_lists_may_have_comments_and_a_folder_above(root, tmp_path_factory):
    text = (root / "annotations" / "test.txt").read_text()
    header = (
        "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\n#SPECIES: 1:Cat 2:Dog\n#\n#\n#\n"
    )
    (root / "annotations" / "test.txt").write_text(header + text)
    above = tmp_path_factory.mktemp("above")
    root.rename(above / "oxford-iiit-pet")
    assert list(opened(above, "test").ids) == ["Abyssinian_2", "american_bulldog_5"]


def test_bad_trimaps_name_their_file(root):
    write_trimap(root, "Abyssinian_100", np.full((8, 12), 2, np.uint8))
    with pytest.raises(DataError, match=r"trimap .* of Abyssinian_100 marks no animal"):
        opened(root)[0]
    write_trimap(root, "Abyssinian_100", np.full((8, 12), 255, np.uint8))
    with pytest.raises(DataError, match=r"Abyssinian_100.png is no trimap: .* from 255 to 255"):
        opened(root)[0]
    write_trimap(root, "Abyssinian_100", np.ones((9, 12), np.uint8))
    with pytest.raises(DataError, match=r"is 12 x 9 pixels, but Abyssinian_100.jpg is 12 x 8"):
        opened(root)[0]
    (root / "annotations" / "trimaps" / "Abyssinian_101.png").unlink()
    with pytest.raises(DataError, match=r"no mask file .*Abyssinian_101.png"):
        opened(root)[1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Abyssinian_100 1 1\n", "but needs 4 values"),
        ("Abyssinian_100 1 3 1\n", "no list of name, class, species"),
        ("Abyssinian_100 x 1 1\n", "no list of name, class, species"),
    ],
)
def test_damaged_lists_are_named(root, line, message):
    (root / "annotations" / "trainval.txt").write_text(line)
    with pytest.raises(DataError, match=message):
        opened(root)


def test_missing_folders_are_named(root):
    with pytest.raises(DataError, match=r'none of "annotations".*annotations.tar.gz'):
        opened(root / "images")
    for path in (root / "images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match='no photograph of the split "trainval"'):
        opened(root)
    (root / "images").rmdir()
    with pytest.raises(DataError, match=r'none of "images".*images.tar.gz'):
        opened(root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"border": "maybe"}, "border is True or False"),
        ({"classes": "some"}, 'no classes "some"'),
        ({"corners": "outer"}, 'no corners "outer"'),
    ],
)
def test_options_are_checked(root, options, message):
    with pytest.raises(OptionError, match=message):
        opened(root, **options)


def test_it_pickles(root):
    sample = pickle.loads(pickle.dumps(opened(root)))[0]
    assert sample.boxes() == (Box(3, 2, 9, 6),)
    assert sample.masks()["object"].sum() == 24
