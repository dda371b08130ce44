"""COCO on miniatures of its layout."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from saliscope.boxes import Box
from saliscope.data import open_data
from saliscope.data.sample import Failed, read_samples
from saliscope.errors import DataError, ImageError, OptionError

CATEGORIES = [(90, "toothbrush"), (1, "person"), (18, "dog")]
SQUARE = [2.0, 1.0, 6.0, 1.0, 6.0, 4.0, 2.0, 4.0]  # columns 2 to 5, rows 1 to 3
CORNER = [0.0, 0.0, 3.0, 0.0, 3.0, 2.0, 0.0, 2.0]  # columns 0 to 2, rows 0 to 1


def annotation(image, category, *, box=(2, 1, 4, 3), shape=None, area=12.0, crowd=0):
    return {
        "id": image * 10 + category,
        "image_id": image,
        "category_id": category,
        "bbox": list(box),
        "area": area,
        "iscrowd": crowd,
        "segmentation": [SQUARE] if shape is None else shape,
    }


def crowd(image, category, runs, size=(8, 12)):
    shape = {"counts": runs, "size": list(size)}
    return annotation(image, category, shape=shape, crowd=1, area=100.0)


def write(root, annotations, *, part="val2017", numbers=(139, 285, 632, 724, 785), sized=True):
    size = {"height": 8, "width": 12} if sized else {}
    prefix = f"COCO_{part}_" if part.endswith("2014") else ""
    images = [{"id": n, "file_name": f"{prefix}{n:012d}.jpg", **size} for n in reversed(numbers)]
    for image in images:
        (root / part).mkdir(parents=True, exist_ok=True)
        Image.new("L", (12, 8)).save(root / part / image["file_name"])
    content = {
        "info": {"year": 2017},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": n, "supercategory": "x"} for i, n in CATEGORIES],
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path):
    write(
        tmp_path,
        [
            annotation(139, 90, box=(2.25, 1.5, 3.5, 2.0)),
            annotation(285, 18, area=5.0),
            annotation(285, 1, shape=[CORNER], area=6.0),
            annotation(285, 18, shape=[[0, 6, 12, 6, 12, 8, 0, 8], CORNER], area=4.0),
            # Rows 0 and 1 of every column: a crowd of people, and one of dogs in rows 2 to 7 of the first column.
            crowd(632, 1, [0] + [2, 6] * 12),
            annotation(632, 1, shape=[CORNER], area=6.0),
            crowd(724, 18, [2, 6, 88]),
            annotation(724, 1, area=1.0),
        ],
    )
    return tmp_path


def opened(root, split="val", **options):
    words = "".join(f":{key}={value}" for key, value in options.items())
    return open_data(f"coco{words}", split, root=root)


def test_classes_count_the_categories_without_gaps(root):
    data = opened(root)
    assert data.classes == ("person", "dog", "toothbrush")
    assert list(data.ids) == [f"{n:012d}" for n in (139, 285, 632, 724, 785)]
    assert data[0].label == 2  # category 90
    assert data[0].details == {"number": 139}


def test_the_label_is_that_of_the_only_category(root):
    assert list(opened(root).labels) == [2, None, 0, None, None]


def test_the_label_may_be_that_of_the_largest_object(root):
    # 285: one person of 6 against two dogs of 5 and 4; 724: the crowd of dogs is larger, but is no object.
    assert list(opened(root, label="largest").labels) == [2, 0, 0, 0, None]


def test_boxes_are_floats_and_crowds_are_marked(root):
    data = opened(root)
    assert data[0].boxes() == (Box(2.25, 1.5, 5.75, 3.5),)
    assert data[0].regions[0].label == "toothbrush"
    assert [(r.label, r.crowd) for r in data[2].regions] == [("person", True), ("person", False)]
    assert data[2].boxes() == (Box(2, 1, 6, 4),)
    assert [r.label for r in data[1].regions] == ["dog", "person", "dog"]


def test_images_without_annotations_are_samples(root):
    sample = opened(root)[4]
    assert sample.regions == ()
    assert sample.masks() == {}
    assert sample.size == (8, 12)
    assert sample.photo().pixels.shape == (8, 12, 3)  # greyscale files are read as RGB


def test_masks_are_unions_by_category(root):
    masks = opened(root)[1].masks()
    assert sorted(masks) == ["dog", "person"]
    expected = np.zeros((8, 12), bool)
    expected[1:4, 2:6] = expected[6:8, :] = expected[0:2, 0:3] = True
    np.testing.assert_array_equal(masks["dog"], expected)
    assert masks["person"].sum() == 6
    largest = opened(root, label="largest")[1].masks()
    np.testing.assert_array_equal(largest["object"], masks["person"])


def test_crowds_are_ignored_but_for_their_objects(root):
    masks = opened(root)[2].masks()
    assert sorted(masks) == ["ignore", "object", "person"]
    ignored = np.zeros((8, 12), bool)
    ignored[0:2, 3:] = True
    np.testing.assert_array_equal(masks["ignore"], ignored)
    # A crowd of dogs is nothing to be spared where a person is looked for.
    assert "ignore" not in opened(root, label="largest")[3].masks()
    column = np.zeros((8, 12), bool)
    column[2:, 0] = True
    np.testing.assert_array_equal(opened(root)[3].masks()["ignore"], column)


def test_a_partial_copy_holds_what_is_there(root):
    (root / "val2017" / "000000000139.jpg").unlink()
    (root / "val2017").rename(root / "rest")
    (root / "images").mkdir()
    (root / "rest").rename(root / "images" / "val2017")
    data = opened(root)
    assert list(data.ids) == [f"{n:012d}" for n in (285, 632, 724, 785)]
    assert data.classes == ("person", "dog", "toothbrush")  # the categories of the file


def test_the_years_are_splits(root):
    write(root, [annotation(42, 18)], part="val2014", numbers=[42])
    data = opened(root, "val2014")
    assert list(data.ids) == ["COCO_val2014_000000000042"]
    assert (data.split, data[0].split) == ("val2014", "val2014")
    with pytest.raises(DataError, match=r"holds none of .*instances_train2014.json"):
        opened(root, "train2014")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"bbox": [1, 2, -3, 4]}, "000000000139 in .* has no proper bbox"),
        ({"bbox": [1, 2, 3]}, "000000000139 in .* has no proper bbox"),
        ({"bbox": None}, "000000000139 in .* has no proper bbox"),
        ({"category_id": 7}, "000000000139 is annotated with category 7"),
    ],
)
def test_a_damaged_annotation_is_one_samples(tmp_path, bad, message):
    write(tmp_path, [annotation(139, 1) | bad, annotation(285, 1)], numbers=(139, 285))
    data = opened(tmp_path)
    assert list(data.labels) == [None if "category_id" in bad else 0, 0]
    with pytest.raises(DataError, match=message):
        data[0]
    found = [sample for _, sample in read_samples(data)]
    assert isinstance(found[0], Failed)
    assert found[1].label == 0


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([], "000000000139.jpg in .* has no segmentation"),
        ([[1, 2, 3]], "cannot be drawn"),
        (["ab"], "cannot be drawn"),
        ({"counts": [96], "size": [12, 8]}, r"its size is \[12, 8\], not \[8, 12\]"),
        ({"counts": [95], "size": [8, 12]}, "covers 95 pixels in 1 runs"),
        ({"size": [8, 12]}, "cannot be drawn"),
    ],
)
def test_bad_masks_are_named(tmp_path, shape, message):
    write(tmp_path, [annotation(139, 1, shape=shape)], numbers=[139])
    sample = opened(tmp_path)[0]
    assert sample.boxes() == (Box(2, 1, 6, 4),)
    with pytest.raises(DataError, match=message):
        sample.masks()


def test_masks_need_the_size_of_the_photograph(root, tmp_path):
    Image.new("L", (13, 8)).save(root / "val2017" / "000000000139.jpg")
    with pytest.raises(DataError, match=r"is 12 x 8 pixels, but 000000000139.jpg is 13 x 8"):
        opened(root)[0].masks()
    (root / "val2017" / "000000000139.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"000000000139.jpg is not a picture"):
        opened(root)[0].photo()
    write(tmp_path, [annotation(9, 1)], part="train2017", numbers=[9], sized=False)
    sample = opened(tmp_path, "train")[0]
    assert sample.size is None
    with pytest.raises(DataError, match=r"does not state the size of 000000000009.jpg"):
        sample.masks()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"images": []}',
        '{"images": [3], "annotations": [], "categories": []}',
        '{"images": [], "annotations": [3], "categories": []}',
        '{"images": [{"id": "x", "file_name": "a"}], "annotations": [], "categories": []}',
    ],
)
def test_damaged_files_are_named(root, content):
    (root / "annotations" / "instances_val2017.json").write_text(content)
    with pytest.raises(DataError, match=r"instances_val2017.json is no file of instances"):
        opened(root)


def test_annotations_of_unknown_images_are_damage(tmp_path):
    write(tmp_path, [annotation(7, 1)], numbers=[139])
    with pytest.raises(DataError, match="annotates the image 7, which it does not list"):
        opened(tmp_path)


def test_missing_images_are_named(root):
    for path in (root / "val2017").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"none of the photographs of .* is in .*val2017"):
        opened(root)
    (root / "val2017").rmdir()
    with pytest.raises(DataError, match=r'none of "val2017", "images/val2017"; unpack val2017.zip'):
        opened(root)


def test_options_are_checked(root):
    with pytest.raises(OptionError, match='coco has no label "most"'):
        opened(root, label="most")


def test_it_pickles(root):
    sample = pickle.loads(pickle.dumps(opened(root)))[2]
    assert sample.masks()["ignore"].sum() == 18
