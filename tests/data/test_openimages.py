"""OpenImages30k on a miniature of the layout that wsolevaluation gives it."""

import pickle

import numpy as np
import pytest
from PIL import Image

from saliscope.boxes import Box
from saliscope.data import open_data
from saliscope.errors import DataError, OptionError

FIRST, SECOND, THIRD = "val/01226z/32fd.jpg", "val/0138tl/d6fc.jpg", "val/0138tl/a013.jpg"
ROWS = {
    "val": [(FIRST, 0), (SECOND, 1), (THIRD, 1)],
    "test": [("test/0138tl/0001.jpg", 1)],
    "train": [("train/01226z/0002.jpg", 0), ("train/01gkx_/0003.jpg", 2)],
}


def write_mask(path, box, size=(8, 12), value=255):
    mask = np.zeros(size, np.uint8)
    x0, y0, x1, y1 = box
    mask[y0:y1, x0:x1] = value
    Image.fromarray(mask).save(path)


@pytest.fixture
def root(tmp_path):
    for split, rows in ROWS.items():
        lists = tmp_path / "metadata" / "OpenImages" / split
        lists.mkdir(parents=True)
        (lists / "image_ids.txt").write_text("".join(f"{path}\n" for path, _ in rows))
        (lists / "class_labels.txt").write_text("".join(f"{path},{n}\n" for path, n in rows))
        for path, _ in rows:
            file = tmp_path / "OpenImages" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12, 8)).save(file)
    (tmp_path / "metadata" / "OpenImages" / "val" / "localization.txt").write_text(
        f"{FIRST},val/01226z/32fd_a.png,val/01226z/32fd_ignore.png\n"
        f"{FIRST},val/01226z/32fd_b.png,\n"
        f"{SECOND},val/0138tl/d6fc_a.png,\n"
    )
    (tmp_path / "metadata" / "OpenImages" / "test" / "localization.txt").write_text(
        "test/0138tl/0001.jpg,test/0138tl/0001_a.png,test/0138tl/0001_ignore.png\n"
    )
    folder = tmp_path / "OpenImages" / "val"
    write_mask(folder / "01226z" / "32fd_a.png", (1, 2, 4, 5))
    write_mask(folder / "01226z" / "32fd_b.png", (3, 4, 9, 7), value=1)
    write_mask(folder / "01226z" / "32fd_ignore.png", (0, 4, 12, 8))
    write_mask(folder / "0138tl" / "d6fc_a.png", (2, 1, 4, 3), size=(4, 6))
    return tmp_path


def opened(root, split="val", **options):
    words = "".join(f":{key}={value}" for key, value in options.items())
    return open_data(f"openimages-wsol{words}", split, root=root)


def test_each_instance_is_a_region(root):
    sample = opened(root)[0]
    assert sample.id == "val/01226z/32fd"
    assert sample.boxes() == (Box(1, 2, 4, 5), Box(3, 4, 9, 7))
    assert [region.label for region in sample.regions] == ["01226z", "01226z"]
    assert (sample.label, sample.size, sample.split) == (0, (8, 12), "val")


def test_masks_are_the_union_and_what_else_must_not_count(root):
    masks = opened(root)[0].masks()
    union = np.zeros((8, 12), bool)
    union[2:5, 1:4] = union[4:7, 3:9] = True
    np.testing.assert_array_equal(masks["object"], union)
    spared = np.zeros((8, 12), bool)
    spared[4:8] = True
    np.testing.assert_array_equal(masks["ignore"], spared & ~union)
    assert masks["ignore"].any()


def test_without_an_ignore_file_nothing_is_ignored(root):
    assert list(opened(root)[2].masks()) == ["object"]


def test_masks_of_half_the_resolution_are_brought_to_size(root):
    sample = opened(root)[2]
    assert sample.id == "val/0138tl/d6fc"
    assert sample.boxes() == (Box(4, 2, 8, 6),)
    assert sample.masks()["object"].sum() == 16
    path = root / "OpenImages" / "val" / "0138tl" / "d6fc_a.png"
    write_mask(path, (0, 0, 2, 2), size=(8, 4))
    with pytest.raises(DataError, match=r"d6fc_a.png is 4 x 8 pixels, its photograph 12 x 8"):
        opened(root)[2]


def test_classes_of_all_splits_count(root):
    assert opened(root).classes == ("01226z", "0138tl", "01gkx_")
    assert list(opened(root).labels) == [0, 1, 1]
    assert list(opened(root, "test").labels) == [1]
    for path in (root / "OpenImages").glob("*/01226z/0*.jpg"):
        path.unlink()
    (root / "OpenImages" / FIRST).unlink()
    assert opened(root).classes == ("0138tl", "01gkx_")
    assert list(opened(root).labels) == [0, 0]
    assert list(opened(root, classes="all").labels) == [1, 1]


def test_names_come_from_open_images_where_they_are_there(root):
    (root / "metadata" / "class-descriptions-boxable.csv").write_text(
        '/m/01226z,Football\n/m/0138tl,"Toy, small"\n'
    )
    assert opened(root).classes == ("Football", "Toy, small", "01gkx_")


def test_classes_without_a_folder_of_their_own_are_numbers(root):
    (root / "metadata" / "OpenImages" / "test" / "class_labels.txt").write_text(
        "test/0138tl/0001.jpg,0\n"
    )
    assert opened(root).classes == ("0", "0138tl", "01gkx_")


def test_train_has_labels_only(root):
    data = opened(root, "train")
    assert [sample.label for sample in data] == [0, 2]
    assert data[0].regions == ()
    assert data[0].masks() == {}


def test_what_is_damaged_names_its_sample(root):
    folder = root / "OpenImages" / "val"
    with pytest.raises(DataError, match=r"val/0138tl/a013 has no masks in .*localization.txt"):
        opened(root)[1]
    write_mask(folder / "0138tl" / "d6fc_a.png", (0, 0, 0, 0))
    with pytest.raises(DataError, match="the masks of val/0138tl/d6fc mark nothing"):
        opened(root)[2]
    (folder / "01226z" / "32fd_b.png").unlink()
    with pytest.raises(DataError, match=r"no mask file .*32fd_b.png"):
        opened(root)[0]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("class_labels.txt", f"{FIRST},0\n", "gives no label for an image of image_ids.txt"),
        ("class_labels.txt", f"{FIRST},x\n", "gives no label"),
        ("class_labels.txt", f"{FIRST}\n", "needs 2 values"),
        ("localization.txt", f"{FIRST},a.png\n", "needs 3 values"),
    ],
)
def test_damaged_lists_are_named(root, file, text, message):
    (root / "metadata" / "OpenImages" / "val" / file).write_text(text)
    with pytest.raises(DataError, match=message):
        opened(root)


def test_missing_files_are_named(root):
    (root / "metadata" / "OpenImages" / "test" / "localization.txt").unlink()
    with pytest.raises(DataError, match=r"localization.txt cannot be read"):
        opened(root, "test")
    (root / "OpenImages" / "test" / "0138tl" / "0001.jpg").unlink()
    with pytest.raises(DataError, match='no photograph of the split "test"'):
        opened(root, "test")
    (root / "OpenImages").rename(root / "pictures")
    with pytest.raises(DataError, match=r'none of "OpenImages/val".*OpenImages_images.zip'):
        opened(root)
    (root / "metadata").rename(root / "lists")
    with pytest.raises(DataError, match=r'none of "metadata/OpenImages/val".*wsolevaluation'):
        opened(root)


def test_options_are_checked(root):
    with pytest.raises(OptionError, match='openimages-wsol has no classes "some"'):
        opened(root, classes="some")


def test_it_pickles(root):
    sample = pickle.loads(pickle.dumps(opened(root)))[0]
    assert sample.masks()["object"].sum() == 26


def test_how_to_get_it_is_told(tmp_path):
    with pytest.raises(DataError, match=r"personal drives.*OpenImages_annotations.zip"):
        open_data("openimages-wsol", root=tmp_path / "none")
