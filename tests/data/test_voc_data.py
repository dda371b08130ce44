"""Miniatures of VOC 2007 and 2012 with the traps of the real ones."""

import pickle

import numpy as np
import pytest
from PIL import Image

from saliscope.boxes import Box
from saliscope.data import data_kind, fingerprint, open_data, read_samples
from saliscope.data.sample import Failed, Region
from saliscope.data.voc import CLASSES
from saliscope.errors import DataError, OptionError

DOG, PERSON, CHAIR = (CLASSES.index(name) for name in ("dog", "person", "chair"))


def edges(box):
    names = ("xmin", "ymin", "xmax", "ymax")
    return (
        "<bndbox>"
        + "".join(f"<{n}>{v}</{n}>" for n, v in zip(names, box, strict=True))
        + "</bndbox>"
    )


def thing(name, box, difficult="<difficult>0</difficult>", parts=""):
    return f"<object><name>{name}</name>{difficult}{parts}{edges(box)}</object>"


def part(name, box):
    return f"<part><name>{name}</name>{edges(box)}</part>"


HARD = "<difficult>1</difficult>"
DOGS = thing("dog", (1, 1, 60, 40)) + thing("dog", (3, 4, 10, 20), HARD)
MIXED = thing("person", (5, 5, 20, 30)) + thing("chair", (2, 2, 50, 39))


def put(folder, key, objects, photo=True):
    """One photograph of 60 x 40 with its annotation."""
    for name in ("Annotations", "JPEGImages"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / f"Annotations/{key}.xml").write_text(
        f"<annotation><size><width>60</width><height>40</height></size>{objects}</annotation>"
    )
    if photo:
        Image.new("RGB", (60, 40)).save(folder / f"JPEGImages/{key}.jpg")


def put_list(folder, split, *keys):
    path = folder / f"ImageSets/Main/{split}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key}\n" for key in keys))


def put_class_lists(folder, split, **things):
    """The 20 official lists; `things` gives the value of each photograph that is not -1, by class."""
    keys = (folder / f"ImageSets/Main/{split}.txt").read_text().split()
    for name in CLASSES:
        values = things.get(name, {})
        rows = [f"{key} {values.get(key, -1):2d}\n" for key in keys]
        (folder / f"ImageSets/Main/{name}_{split}.txt").write_text("".join(rows))


@pytest.fixture
def old(tmp_path):
    folder = tmp_path / "VOCdevkit/VOC2007"
    put(folder, "000012", DOGS)
    put(folder, "000005", MIXED)
    put(folder, "000007", thing("dog", (2, 2, 9, 9)))
    put(folder, "000020", "")
    put_list(folder, "train", "000012", "000005")
    put_list(folder, "val", "000020")
    put_list(folder, "trainval", "000020", "000012", "000005")
    put_list(folder, "test", "000007")
    return folder


@pytest.fixture
def new(tmp_path):
    folder = tmp_path / "VOCdevkit/VOC2012"
    put(folder, "2008_000003", thing("person", (4, 5, 6, 7), difficult=""))
    put_list(folder, "trainval", "2008_000003")
    put_list(folder, "train", "2008_000003")
    return folder


def opened(root, split="trainval", options=""):
    return open_data(f"voc{options}", split, root=root)


# --- what is listed --------------------------------------------------------------------------------------------------


def test_the_official_splits_sorted(old, tmp_path):
    found = {s: opened(tmp_path, s).ids for s in ("train", "val", "trainval", "test")}
    assert found == {
        "train": ["000005", "000012"],
        "val": ["000020"],
        "trainval": ["000005", "000012", "000020"],
        "test": ["000007"],
    }
    data = opened(tmp_path)
    assert data.classes == CLASSES == tuple(sorted(CLASSES))
    assert len(data.classes) == 20
    assert (data.name, data.split) == ("voc", "trainval")


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2007"])
def test_any_of_three_folders_is_the_root(old, tmp_path, below):
    assert opened(tmp_path / below).ids == ["000005", "000012", "000020"]


def test_a_renamed_folder_is_taken_as_it_is(old, tmp_path):
    old.rename(tmp_path / "mine")
    assert opened(tmp_path / "mine", options=":year=2012").ids == ["000005", "000012", "000020"]


def test_2012_and_the_union(old, new, tmp_path):
    assert opened(tmp_path, options=":year=2012").ids == ["2008_000003"]
    both = opened(tmp_path, options=":year=2007+2012")
    assert both.ids == ["000005", "000012", "000020", "2008_000003"]
    assert list(both.labels) == [None, DOG, None, PERSON]
    assert [sample.details["year"] for sample in both] == [2007, 2007, 2007, 2012]
    assert both[3].image == new / "JPEGImages/2008_000003.jpg"
    assert opened(tmp_path, "test", ":year=2007+2012").ids == ["000007"]


def test_photographs_that_are_not_here_are_no_samples(old, tmp_path):
    (old / "JPEGImages/000005.jpg").unlink()
    (old / "JPEGImages/._000005.jpg").write_bytes(b"x")
    data = opened(tmp_path)
    assert data.ids == ["000012", "000020"]
    assert list(data.labels) == [DOG, None]


def test_a_list_with_a_second_column_and_blank_lines(old, tmp_path):
    put_list(old, "trainval", "000012  1", "", "000005 -1", "000012  1")
    assert opened(tmp_path).ids == ["000005", "000012"]


# --- labels ----------------------------------------------------------------------------------------------------------


def test_a_label_where_all_things_are_of_one_class(old, tmp_path):
    data = opened(tmp_path)
    assert list(data.labels) == [None, DOG, None]
    assert [sample.label for sample in data] == [None, DOG, None]


def test_parts_are_no_things_and_difficult_ones_are(old, tmp_path):
    put(old, "000005", thing("person", (1, 1, 20, 20), parts=part("head", (2, 2, 5, 5))))
    put(old, "000012", DOGS + thing("chair", (1, 1, 4, 4), HARD))
    assert list(opened(tmp_path).labels) == [PERSON, None, None]


def test_the_largest_box_gives_the_label(old, tmp_path):
    put(
        old,
        "000012",
        thing("dog", (1, 1, 9, 9), parts=part("head", (1, 1, 60, 40)))
        + thing("person", (1, 1, 11, 11)),
    )
    assert list(opened(tmp_path, options=":label=largest").labels) == [CHAIR, PERSON, None]


def test_the_lists_of_the_classes_spare_reading_the_annotations(old, tmp_path):
    """0 stands for a class of which all are difficult: it is there."""
    put_class_lists(
        old, "trainval", dog={"000012": 1, "000020": 1}, person={"000020": 0}, cow={"000005": 0}
    )
    for path in (old / "Annotations").iterdir():
        path.unlink()
    assert list(opened(tmp_path).labels) == [CLASSES.index("cow"), DOG, None]


def test_lists_of_the_classes_that_leave_photographs_out_are_not_used(old, tmp_path):
    put_class_lists(old, "trainval", cow={"000012": 1})
    (old / "ImageSets/Main/cat_trainval.txt").write_text("000012 -1\n")
    assert list(opened(tmp_path).labels) == [None, DOG, None]
    (old / "ImageSets/Main/cat_trainval.txt").unlink()
    assert list(opened(tmp_path).labels) == [None, DOG, None]


def test_a_class_that_is_none_of_the_twenty_gives_no_label(old, tmp_path):
    put(old, "000012", thing("zebra", (1, 1, 9, 9)))
    for options in ("", ":label=largest"):
        data = opened(tmp_path, options=options)
        assert data.labels[1] is None
    assert data[1].regions[0].label == "zebra"


# --- samples ---------------------------------------------------------------------------------------------------------


def test_one_sample(old, tmp_path):
    sample = opened(tmp_path)[1]
    assert (sample.id, sample.label, sample.split, sample.size) == (
        "000012",
        DOG,
        "trainval",
        (40, 60),
    )
    assert sample.image == old / "JPEGImages/000012.jpg"
    assert sample.regions == (
        Region(Box(0, 0, 60, 40), "dog"),
        Region(Box(2, 3, 10, 20), "dog", difficult=True),
    )
    assert sample.boxes(difficult=False) == (Box(0, 0, 60, 40),)
    assert sample.photo().size == sample.size
    assert sample.masks() == {}


def test_parts_with_fractions(new, tmp_path):
    """As in 2012: parts stand before the box of their whole, some with fractions."""
    parts = part("head", (10.5, 11.25, 20, 21)) + part("foot", (30, 31, 33, 35))
    put(new, "2008_000003", thing("person", (5, 6, "40.7000008", 38), difficult="", parts=parts))
    sample = opened(tmp_path, options=":year=2012")[0]
    assert sample.regions == (
        Region(Box(4, 5, 40.7000008, 38), "person"),
        Region(Box(9.5, 10.25, 20, 21), "person", part="head"),
        Region(Box(29, 30, 33, 35), "person", part="foot"),
    )
    assert sample.boxes() == (Box(4, 5, 40.7000008, 38),)
    assert sample.boxes(part="head") == (Box(9.5, 10.25, 20, 21),)


def test_damaged_and_missing_annotations_are_reported_by_id(old, tmp_path):
    (old / "Annotations/000005.xml").write_text("<annotation><object>")
    (old / "Annotations/000020.xml").unlink()
    data = opened(tmp_path)
    assert list(data.labels) == [None, DOG, None]
    found = [sample for _, sample in read_samples(data)]
    assert [sample.id for sample in found if isinstance(sample, Failed)] == ["000005", "000020"]
    assert "000005.xml is not well-formed" in found[0].message
    assert "000020.xml cannot be read" in found[2].message


def test_a_pickled_data_set_reads_the_same(old, tmp_path):
    put_mask(old, {(0, 0): 12})
    data = opened(tmp_path)
    again = pickle.loads(pickle.dumps(data))
    assert fingerprint(again) == fingerprint(data)
    assert again[1].regions == data[1].regions
    assert pickle.loads(pickle.dumps(data[1])).masks()["dog"].sum() == 1


# --- masks -----------------------------------------------------------------------------------------------------------


def put_mask(folder, values, size=(40, 60), mode="P"):
    """A mask whose palette turns indices into other grey levels, as the real ones do."""
    indices = np.zeros(size, np.uint8)
    for (row, column), value in values.items():
        indices[row, column] = value
    image = Image.fromarray(indices)
    if mode == "P":
        image.putpalette([(37 * i + 11) % 256 for i in range(768)])
    path = folder / "SegmentationClass/000012.png"
    path.parent.mkdir(exist_ok=True)
    image.save(path)


def test_masks_by_class(old, tmp_path):
    put_mask(old, {(3, 4): 12, (3, 5): 12, (39, 59): 15, (0, 1): 255})
    masks = opened(tmp_path)[1].masks()
    assert sorted(masks) == ["dog", "ignore", "person"]
    where = {name: np.argwhere(mask).tolist() for name, mask in masks.items()}
    assert where == {"dog": [[3, 4], [3, 5]], "ignore": [[0, 1]], "person": [[39, 59]]}
    assert all(mask.dtype == np.bool_ and mask.shape == (40, 60) for mask in masks.values())


def test_the_first_and_the_last_class(old, tmp_path):
    put_mask(old, {(0, 0): 1, (1, 1): 20}, mode="L")
    assert sorted(opened(tmp_path)[1].masks()) == ["aeroplane", "tvmonitor"]


def test_masks_that_cannot_be(old, tmp_path):
    sample = opened(tmp_path)[1]
    assert sample.masks() == {}
    put_mask(old, {(0, 0): 21})
    with pytest.raises(DataError, match=r"000012\.png has the value 21, but 0 to 20 and 255"):
        opened(tmp_path)[1].masks()
    put_mask(old, {}, size=(60, 40))
    with pytest.raises(DataError, match=r"000012\.png is 40 x 60 pixels"):
        opened(tmp_path)[1].masks()


# --- what may be wrong -----------------------------------------------------------------------------------------------


def test_a_missing_year_names_its_archive(old, tmp_path):
    with pytest.raises(DataError, match=r"VOC2012; unpack VOCtrainval_11-May-2012\.tar"):
        opened(tmp_path, options=":year=2012")
    with pytest.raises(DataError, match=r"VOC2007 holds VOC2007, not VOC2012; give its year"):
        opened(old, options=":year=2012")


def test_a_missing_list_names_its_archive(old, tmp_path):
    (old / "ImageSets/Main/test.txt").unlink()
    with pytest.raises(DataError, match=r"test\.txt cannot be read .*; unpack VOCtest_06-Nov"):
        opened(tmp_path, "test")
    (old / "ImageSets/Main/val.txt").unlink()
    with pytest.raises(DataError, match=r"val\.txt cannot be read .*; unpack VOCtrainval_06-Nov"):
        opened(tmp_path, "val")


def test_no_photographs(old, tmp_path):
    (old / "JPEGImages/000007.jpg").unlink()
    with pytest.raises(DataError, match=r'none of the 1 photographs of the split "test" is in'):
        opened(tmp_path, "test")
    (old / "JPEGImages").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"there is no folder .*JPEGImages; unpack VOCtest"):
        opened(tmp_path, "test")


def test_the_test_of_2012_is_not_public(new, tmp_path):
    with pytest.raises(DataError, match=r"test photographs of VOC 2012 is not published"):
        opened(tmp_path, "test", ":year=2012")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (":year=2011", r'voc has no year "2011"; nearest: "2012"'),
        (":label=first", r'voc has no label "first"'),
        (":colour=red", r'no option "colour"'),
    ],
)
def test_options_that_cannot_be(old, tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        opened(tmp_path, options=options)


def test_what_is_published():
    kind = data_kind("voc")
    assert kind.counts["train"] + kind.counts["val"] == kind.counts["trainval"] == 5011
    assert kind.counts["test"] == 4952
    assert all(len(archive.checksum) == len("md5:") + 32 for archive in kind.archives)
    assert [archive.file for archive in kind.archives] == [
        "VOCtrainval_06-Nov-2007.tar",
        "VOCtest_06-Nov-2007.tar",
        "VOCtrainval_11-May-2012.tar",
    ]
