"""ILSVRC 2012 on miniatures of the official layout."""

import pickle

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from saliscope.boxes import Box
from saliscope.data import open_data, read_samples
from saliscope.data.catalog import data_kind
from saliscope.data.sample import Failed
from saliscope.errors import DataError, OptionError

# ILSVRC2012_ID: 1 is the second WNID in order, 2 the fourth, 3 the first, 4 the third; 5 is a group of classes.
SYNSETS = [
    (1, "n02012849", "crane", 0),
    (2, "n03126707", "crane", 0),
    (3, "n01440764", "tench, Tinca tinca", 0),
    (4, "n02105855", "Shetland sheepdog, Shetland sheep dog, Shetland", 0),
    (5, "n00001740", "entity", 3),
]
NAMES = ("tench", "crane (n02012849)", "Shetland sheepdog", "crane (n03126707)")
TRUTH = [2, 3, 1, 4]  # of validation images 1 to 4


def write_meta(path):
    kinds = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    table = np.zeros((len(SYNSETS), 1), dtype=[*kinds, ("num_children", object)])
    for row, entry in enumerate(SYNSETS):
        table[row, 0] = entry
    savemat(path, {"synsets": table})


def write_xml(path, boxes, size=(375, 500)):
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = "".join(
        f"<object><name>{wnid}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for wnid, (a, b, c, d) in boxes
    )
    path.write_text(
        f"<annotation><size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>{objects}</annotation>"
    )


def write_image(path, kind="JPEG", mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (10, 8)).save(path, kind)


def val_name(number):
    return f"ILSVRC2012_val_{number:08d}"


@pytest.fixture
def root(tmp_path):
    kit = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    write_meta(kit / "meta.mat")
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{i}\n" for i in TRUTH))
    for number in (1, 2, 3, 4):
        write_image(tmp_path / "val" / f"{val_name(number)}.JPEG")
    write_xml(tmp_path / "val" / f"{val_name(1)}.xml", [("n03126707", (111, 108, 441, 193))])
    boxes = [("n01440764", (45, 49, 499, 162)), ("n01440764", (2, 69, 437, 207))]
    write_xml(tmp_path / "val" / f"{val_name(2)}.xml", boxes)
    write_xml(tmp_path / "val" / f"{val_name(4)}.xml", [("n02105855", (0, 0, 499, 374))])
    return tmp_path


def opened(root, split="val", **options):
    words = "".join(f":{key}={value}" for key, value in options.items())
    return open_data(f"ilsvrc{words}", split, root=root)


def test_the_kits_numbers_become_sorted_wnids(root):
    data = opened(root)
    assert data.classes == NAMES
    assert list(data.ids) == [val_name(n) for n in (1, 2, 3, 4)]
    # Read as labels, the kit's numbers would be 1, 2, 0, 3.
    assert list(data.labels) == [3, 0, 1, 2]
    assert data[1].details == {"wnid": "n01440764", "number": 2}


@pytest.mark.parametrize(
    ("corners", "box"),
    [
        ("half-open", Box(111, 108, 441, 193)),
        ("inclusive", Box(111, 108, 442, 194)),
        ("voc", Box(110, 107, 441, 193)),
    ],
)
def test_the_first_box_and_its_readings(root, corners, box):
    sample = opened(root, corners=corners)[0]
    assert sample.boxes() == (box,)
    assert sample.regions[0].label == "crane (n03126707)"
    assert sample.size == (375, 500)


def test_several_objects_are_several_regions(root):
    assert opened(root)[1].boxes() == (Box(45, 49, 499, 162), Box(2, 69, 437, 207))


def test_a_validation_image_without_boxes_is_an_error_of_its_own(root):
    data = opened(root)
    found = dict(read_samples(data))
    assert isinstance(found[2], Failed)
    assert "val_00000003 has no boxes" in found[2].message
    assert found[3].boxes() == (Box(0, 0, 499, 374),)
    with pytest.raises(DataError, match=r"00000003 has no boxes.*bbox_val_v3.*boxes=False"):
        data[2]


def test_boxes_can_be_done_without(root):
    sample = opened(root, boxes=False)[2]
    assert sample.regions == ()
    assert sample.label == 1


@pytest.mark.parametrize("place", ["bbox/val", "bbox_val/val", "Annotations/CLS-LOC/val"])
def test_boxes_may_lie_in_a_folder_of_their_own(root, place):
    write_xml(root / place / f"{val_name(3)}.xml", [("n02012849", (1, 2, 3, 4))])
    assert opened(root)[2].boxes() == (Box(1, 2, 3, 4),)


def test_sorted_validation_images_are_the_same_data(root):
    flat = opened(root)
    for number, wnid in enumerate(("n03126707", "n01440764", "n02012849", "n02105855"), 1):
        (root / "val" / wnid).mkdir()
        file = f"{val_name(number)}.JPEG"
        (root / "val" / file).rename(root / "val" / wnid / file)
    data = opened(root)
    assert (data.ids, data.labels) == (flat.ids, flat.labels)
    assert data[0].boxes() == flat[0].boxes()
    assert data[0].image.parent.name == "n03126707"
    assert data[0].photo().size == (8, 10)


def test_images_sorted_by_the_kits_numbers_are_refused(root):
    file = f"{val_name(1)}.JPEG"
    (root / "val" / "n01440764").mkdir()
    (root / "val" / file).rename(root / "val" / "n01440764" / file)
    with pytest.raises(DataError, match=r"lies in the folder n01440764, but .* says n03126707"):
        opened(root)


def test_folders_alone_give_labels_without_names(tmp_path):
    write_image(tmp_path / "val" / "n02012849" / f"{val_name(7)}.JPEG")
    write_image(tmp_path / "train" / "n01440764" / "n01440764_1.JPEG")
    data = opened(tmp_path, classes="present", boxes=False)
    assert data.classes == ("n01440764", "n02012849")
    assert list(data.labels) == [1]
    with pytest.raises(DataError, match=r"2 of the 1,000 classes .* only meta.mat names"):
        opened(tmp_path)


def test_flat_images_without_the_kit_have_no_class(tmp_path):
    write_image(tmp_path / "val" / f"{val_name(1)}.JPEG")
    with pytest.raises(DataError, match="the class of ILSVRC2012_val_00000001 is unknown"):
        opened(tmp_path)


def test_partial_copies_keep_the_labels_of_trained_networks(root):
    for number in (1, 2, 3):
        (root / "val" / f"{val_name(number)}.JPEG").unlink()
    assert list(opened(root).labels) == [2]
    assert list(opened(root, classes="present").labels) == [0]
    assert opened(root, classes="present").classes == ("Shetland sheepdog",)


def test_train_shares_its_labels_with_val(root):
    write_image(root / "train" / "n02105855" / "n02105855_2933.JPEG", "PNG", "RGBA")
    write_image(root / "train" / "n02105855" / "n02105855_30.JPEG", mode="CMYK")
    write_image(root / "train" / "n01440764" / "n01440764_10026.JPEG")
    write_xml(
        root / "Annotation" / "n01440764" / "n01440764_10026.xml",
        [("n01440764", (13, 22, 493, 366))],
    )
    data = opened(root, "train")
    assert list(data.ids) == [
        "n01440764/n01440764_10026",
        "n02105855/n02105855_2933",
        "n02105855/n02105855_30",
    ]
    assert list(data.labels) == [0, 2, 2]
    assert data[0].boxes() == (Box(13, 22, 493, 366),)
    assert data[0].regions[0].label == "tench"
    assert data[1].regions == ()  # only some training images have boxes
    assert data[1].photo().size == data[2].photo().size == (8, 10)
    assert data[0].details == {"wnid": "n01440764"}
    # Counting present classes, both splits count.
    assert opened(root, "train", classes="present").classes == NAMES


def test_the_blacklist_marks_or_drops(root):
    (root / "ILSVRC2014_clsloc_validation_blacklist.txt").write_text("2\n4\n")
    assert [sample.details["blacklisted"] for sample in opened(root, boxes=False)] == [
        False,
        True,
        False,
        True,
    ]
    assert list(opened(root, blacklist="drop").ids) == [val_name(1), val_name(3)]
    assert list(opened(root, blacklist="drop").labels) == [3, 1]


def test_without_the_list_nothing_can_be_dropped(root):
    with pytest.raises(DataError, match='blacklist="drop" needs ILSVRC2014_clsloc'):
        opened(root, blacklist="drop")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("ILSVRC2012_validation_ground_truth.txt", "2\n3\n", "val_00000003 is beyond the 2 lines"),
        ("ILSVRC2012_validation_ground_truth.txt", "2\n5\n1\n4\n", "5, which is no ILSVRC2012_ID"),
        ("ILSVRC2012_validation_ground_truth.txt", "two\n", "which is no ILSVRC2012_ID"),
        ("meta.mat", "nothing", "meta.mat is no list of synsets"),
        ("ILSVRC2015_clsloc_validation_blacklist.txt", "two\n", "numbers of validation images"),
    ],
)
def test_damaged_lists_are_named(root, file, text, message):
    (root / "ILSVRC2012_devkit_t12" / "data" / file).write_text(text)
    with pytest.raises(DataError, match=message):
        opened(root)


def test_strange_classes_are_refused(root):
    write_image(root / "train" / "n09999999" / "n09999999_1.JPEG")
    with pytest.raises(DataError, match="images of n09999999, which is none of the 4 classes"):
        opened(root, "train")


def test_missing_folders_are_named(root, tmp_path):
    with pytest.raises(DataError, match=r'none of "train".*unpack ILSVRC2012_img_train.tar'):
        opened(root, "train")
    (root / "train").mkdir()
    with pytest.raises(DataError, match="train holds no images of the split train"):
        opened(root, "train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blacklist": "skip"}, 'no blacklist "skip"'),
        ({"classes": "some"}, 'no classes "some"'),
        ({"corners": "outer"}, 'no corners "outer"'),
        ({"boxes": 1}, "boxes is True or False"),
    ],
)
def test_options_are_checked(root, options, message):
    with pytest.raises(OptionError, match=message):
        opened(root, **options)


def test_it_pickles(root):
    data = pickle.loads(pickle.dumps(opened(root)))
    assert data[0].boxes() == (Box(111, 108, 441, 193),)


def test_how_to_get_it_is_told(tmp_path):
    with pytest.raises(DataError, match=r"registered users only.*ILSVRC2012_img_val.tar"):
        open_data("ilsvrc", "val", root=tmp_path / "none")
    kind = data_kind("ilsvrc")
    assert kind.counts == {"train": 1_281_167, "val": 50_000}
    assert kind.num_classes == 1_000
