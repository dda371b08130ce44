"""CUB-200-2011 on a miniature of its layout."""

import pickle

import numpy as np
import pytest
from PIL import Image

from saliscope.boxes import Box
from saliscope.data import open_data
from saliscope.errors import DataError, OptionError

ALBATROSS, ANI, TERN = "001.Black_footed_Albatross", "004.Groove_billed_Ani", "140.Arctic_Tern"
# number, file, class, training, box
ROWS = [
    (1, f"{ALBATROSS}/Black_Footed_Albatross_0046_18.jpg", 1, 0, "60.0 27.0 325.0 304.0"),
    (2, f"{ALBATROSS}/Black_Footed_Albatross_0009_34.jpg", 1, 1, "139.5 30.0 153.25 264.0"),
    (3, f"{ALBATROSS}/Black_Footed_Albatross_0010_35.jpg", 1, 1, "1.0 2.0 3.0 4.0"),
    (4, f"{ANI}/Groove_Billed_Ani_0068_1538.jpg", 4, 1, "0.0 0.0 4.0 4.0"),
    (5, f"{TERN}/Arctic_Tern_0001_1.jpg", 140, 1, "5.0 5.0 5.0 5.0"),
    (6, f"{TERN}/Arctic_Tern_0002_2.jpg", 140, 0, "6.0 6.0 1.0 1.0"),
]
FIRST = f"{ALBATROSS}/Black_Footed_Albatross_0046_18"


def write_lists(base):
    tables = {
        "images": (1,),
        "image_class_labels": (2,),
        "train_test_split": (3,),
        "bounding_boxes": (4,),
    }
    for table, columns in tables.items():
        lines = (f"{row[0]} {' '.join(str(row[c]) for c in columns)}\n" for row in ROWS)
        (base / f"{table}.txt").write_text("".join(lines))


@pytest.fixture
def root(tmp_path):
    base = tmp_path / "CUB_200_2011"
    for _, file, *_ in ROWS:
        path = base / "images" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 8)).save(path)
    write_lists(base)
    return tmp_path


def opened(root, split="test", **options):
    words = "".join(f":{key}={value}" for key, value in options.items())
    return open_data(f"cub{words}", split, root=root)


def test_boxes_are_corner_and_size(root):
    sample = opened(root)[0]
    assert sample.id == FIRST
    assert sample.boxes() == (Box(60, 27, 385, 331),)
    assert sample.regions[0].label == "Black_footed_Albatross"
    assert opened(root, "trainval")[0].boxes() == (Box(139.5, 30, 292.75, 294),)


def test_labels_count_the_birds_of_both_splits_from_zero(root):
    test, train = opened(root), opened(root, "trainval")
    assert test.classes == train.classes
    assert test.classes == ("Black_footed_Albatross", "Groove_billed_Ani", "Arctic_Tern")
    assert list(test.labels) == [0, 2]
    assert list(train.labels) == [0, 0, 1, 2]
    assert test[1].label == 2


def test_one_means_train(root):
    assert list(opened(root).ids) == [FIRST, f"{TERN}/Arctic_Tern_0002_2"]
    assert len(opened(root, "trainval")) == 4


def test_validation_is_taken_from_train(root):
    train, val = (opened(root, part, validation=0.5) for part in ("train", "val"))
    assert set(train.ids) | set(val.ids) == set(opened(root, "trainval").ids)
    # Half of the two albatrosses; the birds with one photograph stay in train.
    assert len(val) == 1
    assert val.labels == [0]
    assert not set(train.ids) & set(val.ids)


def test_a_partial_copy_counts_what_is_there(root):
    (root / "CUB_200_2011" / "images" / f"{ANI}/Groove_Billed_Ani_0068_1538.jpg").unlink()
    data = opened(root)
    assert data.classes == ("Black_footed_Albatross", "Arctic_Tern")
    assert list(data.labels) == [0, 1]
    assert opened(root, classes="all").classes[1] == "Groove_billed_Ani"
    assert list(opened(root, classes="all").labels) == [0, 2]


def test_the_folder_itself_may_be_the_root(root):
    assert opened(root / "CUB_200_2011").ids == opened(root).ids


def test_visible_parts_are_details(root):
    parts = root / "CUB_200_2011" / "parts"
    parts.mkdir()
    (parts / "parts.txt").write_text("1 back\n7 left eye\n")
    (parts / "part_locs.txt").write_text("1 1 0.0 0.0 0\n1 7 312.5 182.0 1\n2 1 9.0 8.0 1\n")
    assert opened(root)[0].details == {"number": 1, "parts": {"left eye": (312.5, 182.0)}}
    assert opened(root)[1].details["parts"] == {}
    (parts / "part_locs.txt").write_text("1 9 0.0 0.0 1\n")
    with pytest.raises(
        DataError, match=r'"1 9 0.0 0.0 1" in .*part_locs.txt is no place of a part'
    ):
        opened(root)


@pytest.mark.parametrize("place", ["segmentations", "CUB_200_2011/segmentations"])
@pytest.mark.parametrize("mode", ["L", "LA"])
def test_the_majority_of_annotators_makes_the_mask(root, place, mode):
    levels = np.zeros((8, 12), np.uint8)
    levels[2, 3:7] = [51, 127, 128, 255]
    path = root / place / f"{FIRST}.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(levels).convert(mode).save(path)
    masks = opened(root)[0].masks()
    assert list(masks) == ["object"]
    assert masks["object"].dtype == bool
    assert np.argwhere(masks["object"]).tolist() == [[2, 5], [2, 6]]


def test_without_masks_there_are_none(root):
    assert opened(root)[0].masks() == {}


def test_bad_masks_are_named(root):
    path = root / "segmentations" / f"{FIRST}.png"
    path.parent.mkdir(parents=True)
    Image.new("L", (12, 9)).save(path)
    with pytest.raises(DataError, match=r"is 12 x 9 pixels, but .*18.jpg is 12 x 8"):
        opened(root)[0].masks()
    noise = np.random.default_rng(0).integers(0, 256, (8, 12), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(DataError, match=r"18.png is damaged"):
        opened(root)[0].masks()
    with pytest.raises(DataError, match=r"no mask file .*Arctic_Tern_0002_2.png"):
        opened(root)[1].masks()


@pytest.mark.parametrize("box", ["1 60.0 27.0 -5.0 304.0", "1 a b c d", "7 1 1 1 1"])
def test_a_damaged_box_names_its_sample(root, box):
    (root / "CUB_200_2011" / "bounding_boxes.txt").write_text(f"{box}\n")
    with pytest.raises(DataError, match=r"0046_18 \(number 1\) has no proper box"):
        opened(root)[0]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("images.txt", "1\n", 'line 1 of .*images.txt is "1", but needs 2 values'),
        ("image_class_labels.txt", "1 x\n", "do not fit together"),
        ("train_test_split.txt", "1 2\n", "do not fit together"),
        ("image_class_labels.txt", "2 1\n", r"do not fit together \(KeyError: '1'\)"),
    ],
)
def test_damaged_lists_are_named(root, file, text, message):
    (root / "CUB_200_2011" / file).write_text(text)
    with pytest.raises(DataError, match=message):
        opened(root)


def test_missing_files_are_named(root, tmp_path):
    with pytest.raises(DataError, match=r'none of "images.txt".*unpack CUB_200_2011.tgz'):
        opened(root / "CUB_200_2011" / "images")
    (root / "CUB_200_2011" / "train_test_split.txt").unlink()
    with pytest.raises(DataError, match=r"train_test_split.txt cannot be read"):
        opened(root)


def test_an_empty_split_is_an_error(root):
    for row in (0, 5):
        (root / "CUB_200_2011" / "images" / ROWS[row][1]).unlink()
    with pytest.raises(DataError, match='no photograph of the split "test"'):
        opened(root)


def test_options_are_checked(root):
    with pytest.raises(OptionError, match='cub has no classes "some"'):
        opened(root, classes="some")
    with pytest.raises(OptionError, match='cub has no split "all"'):
        opened(root, "all")


def test_it_pickles(root):
    path = root / "segmentations" / f"{FIRST}.png"
    path.parent.mkdir(parents=True)
    Image.new("L", (12, 8), 255).save(path)
    sample = pickle.loads(pickle.dumps(opened(root)))[0]
    assert sample.masks()["object"].all()
    assert sample.photo().size == (8, 12)
