"""A miniature of the Stanford Dogs archives: three breeds, the traps of the real one, and everything that may be missing."""

import io
import pickle
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from saliscope.boxes import Box
from saliscope.data import data_kind, fingerprint, held_out, open_data, read_samples
from saliscope.data.sample import Failed
from saliscope.errors import DataError, OptionError

TERRIER, SPANIEL, RETRIEVER = (
    "n02087046-toy_terrier",
    "n02085782-Japanese_spaniel",
    "n02099267-flat-coated_retriever",
)
TRAIN = [f"{b}/{b[:9]}_{i}" for b in (TERRIER, SPANIEL, RETRIEVER) for i in (30, 4, 200, 7)]
TEST = [f"{b}/{b[:9]}_{i}" for b in (RETRIEVER, TERRIER, SPANIEL) for i in (1, 12)]


def cells(texts):
    """A MATLAB cell array: N x 1, each cell an array of one string."""
    column = np.empty((len(texts), 1), object)
    column[:, 0] = texts
    return column


def write_list(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    order = sorted({i.split("/")[0] for i in ids})
    savemat(
        path,
        {
            "file_list": cells([f"{i}.jpg" for i in ids]),
            "annotation_list": cells(ids),
            "labels": np.array([[order.index(i.split("/")[0]) + 1] for i in ids], np.uint8),
        },
    )


def xml(*boxes, name="dog", size=(40, 60)):
    objects = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
        f"<ymax>{d}</ymax></bndbox></object>"
        for a, b, c, d in boxes
    )
    return (
        f"<annotation><size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>"
        f"{objects}</annotation>"
    )


def put(root, key, text=None, picture=True):
    annotation = root / "Annotation" / key
    annotation.parent.mkdir(parents=True, exist_ok=True)
    annotation.write_text(xml((5, 6, 30, 35)) if text is None else text)
    photo = root / "Images" / f"{key}.jpg"
    photo.parent.mkdir(parents=True, exist_ok=True)
    if picture:
        Image.new("RGB", (60, 40)).save(photo)


@pytest.fixture
def root(tmp_path):
    for key in TRAIN + TEST:
        put(tmp_path, key)
    write_list(tmp_path / "lists/train_list.mat", TRAIN)
    write_list(tmp_path / "lists/test_list.mat", TEST)
    write_list(tmp_path / "lists/file_list.mat", TRAIN + TEST)
    return tmp_path


def opened(root, split="test", options=""):
    return open_data(f"stanford_dogs{options}", split, root=root)


# --- what is listed --------------------------------------------------------------------------------------------------


def test_classes_in_wnid_order_and_sorted_ids(root):
    data = opened(root)
    assert data.classes == ("Japanese_spaniel", "toy_terrier", "flat-coated_retriever")
    assert data.ids == sorted(TEST)
    assert list(data.labels) == [0, 0, 1, 1, 2, 2]
    assert (data.name, data.split, len(data)) == ("stanford_dogs", "test", 6)


def test_train_is_divided_by_class(root):
    parts = {split: opened(root, split) for split in ("train", "val", "trainval", "all")}
    assert set(parts["trainval"].ids) == set(TRAIN)
    assert set(parts["all"].ids) == set(TRAIN + TEST)
    assert sorted(parts["val"].labels) == [0, 1, 2]
    assert set(parts["train"].ids) | set(parts["val"].ids) == set(TRAIN)
    assert not set(parts["train"].ids) & set(parts["val"].ids)
    assert parts["train"].ids == sorted(parts["train"].ids)


def test_validation_and_seed_are_options(root):
    half = opened(root, "val", ":validation=0.5:seed=3")
    assert sorted(half.labels) == [0, 0, 1, 1, 2, 2]
    ids, labels = opened(root, "trainval").ids, opened(root, "trainval").labels
    assert set(half.ids) == held_out(ids, labels, share=0.5, seed=3)
    assert set(half.ids) != held_out(ids, labels, share=0.5, seed=0)
    assert len(opened(root, "train", ":validation=0")) == 12


@pytest.mark.parametrize("place", [".", "lists"])
def test_lists_beside_the_images_or_in_their_folder(root, place):
    for file in (root / "lists").iterdir():
        file.rename(root / place / file.name)
    assert opened(root).ids == sorted(TEST)


def test_the_layout_of_a_widespread_copy(root):
    (root / "images").mkdir()
    (root / "Images").rename(root / "images/Images")
    (root / "annotations").mkdir()
    (root / "Annotation").rename(root / "annotations/Annotation")
    sample = opened(root)[0]
    assert sample.photo().size == (40, 60)
    assert sample.boxes() == (Box(5, 6, 30, 35),)


# --- partial copies --------------------------------------------------------------------------------------------------


@pytest.fixture
def partial(root):
    """Only the photographs of two breeds; of one of them only two."""
    for key in TRAIN + TEST:
        if key.startswith(SPANIEL) or (key.startswith(RETRIEVER) and not key.endswith("_1")):
            (root / "Images" / f"{key}.jpg").unlink()
    (root / "Images" / SPANIEL).rmdir()
    return root


def test_photographs_that_are_not_here_are_no_samples(partial):
    data = opened(partial)
    assert data.ids == [
        f"{TERRIER}/n02087046_1",
        f"{TERRIER}/n02087046_12",
        f"{RETRIEVER}/n02099267_1",
    ]
    assert data.classes == ("toy_terrier", "flat-coated_retriever")
    assert list(data.labels) == [0, 0, 1]


def test_a_breed_counts_in_every_split_when_it_is_here_at_all(partial):
    train = opened(partial, "trainval")
    assert train.classes == ("toy_terrier", "flat-coated_retriever")
    assert set(train.labels) == {0}


def test_classes_all_takes_the_labels_of_the_lists(partial):
    data = opened(partial, options=":classes=all")
    assert data.classes == ("Japanese_spaniel", "toy_terrier", "flat-coated_retriever")
    assert list(data.labels) == [1, 1, 2]
    assert data[2].label == 2
    assert data[2].regions[0].label == "flat-coated_retriever"


def test_all_needs_no_lists(root):
    for file in (root / "lists").iterdir():
        file.unlink()
    assert opened(root, "all").ids == sorted(TRAIN + TEST)


def test_other_files_and_folders_do_not_count(root):
    (root / "Images" / ".DS_Store").write_bytes(b"x")
    (root / "Images" / "n02085620-Chihuahua").write_bytes(b"a file called like a breed")
    (root / "Images" / "thumbnails").mkdir()
    (root / "Images" / "thumbnails" / "a.jpg").write_bytes(b"x")
    (root / "Images" / TERRIER / "._n02087046_1.jpg").write_bytes(b"x")
    (root / "Images" / TERRIER / "notes.txt").write_bytes(b"x")
    (root / "Images" / TERRIER / "jpg").write_bytes(b"x")
    data = opened(root, "all")
    assert data.ids == sorted(TRAIN + TEST)
    assert len(data.classes) == 3


# --- samples ---------------------------------------------------------------------------------------------------------


def test_one_sample(root):
    key = f"{RETRIEVER}/n02099267_12"
    put(root, key, xml((0, 3, 59, 38), (7, 1, 20, 9), name="flat_coated_Retriever"))
    data = opened(root)
    sample = data[data.ids.index(key)]
    assert sample.id == key
    assert sample.image == root / "Images" / f"{key}.jpg"
    assert (sample.label, sample.split, sample.size) == (2, "test", (40, 60))
    assert sample.boxes() == (Box(0, 3, 59, 38), Box(7, 1, 20, 9))
    assert [region.label for region in sample.regions] == ["flat-coated_retriever"] * 2
    assert sample.details == {"wnid": "n02099267", "source": "n02099267_12"}
    assert sample.photo().size == (40, 60)
    assert sample.masks() == {}


def test_corners_that_include_the_last_pixel(root):
    assert opened(root, options=":corners=inclusive")[0].boxes() == (Box(5, 6, 31, 36),)


def test_a_png_named_jpg(root):
    key = sorted(TEST)[0]
    stream = io.BytesIO()
    Image.new("RGBA", (23, 19), (200, 10, 10, 255)).save(stream, "PNG")
    (root / "Images" / f"{key}.jpg").write_bytes(stream.getvalue())
    photo = opened(root)[0].photo()
    assert photo.size == (19, 23)
    assert photo.pixels[0, 0].tolist() == [200, 10, 10]


def test_a_picture_without_an_object_has_no_regions(root):
    put(root, sorted(TEST)[0], xml())
    assert opened(root)[0].regions == ()


def test_damaged_and_missing_annotations_are_reported_by_id(root):
    broken, missing = sorted(TEST)[1], sorted(TEST)[3]
    put(root, broken, "<annotation>")
    (root / "Annotation" / missing).unlink()
    found = [sample for _, sample in read_samples(opened(root))]
    failed = [sample for sample in found if isinstance(sample, Failed)]
    assert [sample.id for sample in failed] == [broken, missing]
    assert broken in failed[0].message
    assert "not well-formed" in failed[0].message
    assert missing in failed[1].message
    assert "cannot be read" in failed[1].message
    assert len(found) == 6


def test_a_pickled_data_set_reads_the_same(root):
    data = opened(root)
    again = pickle.loads(pickle.dumps(data))
    assert fingerprint(again) == fingerprint(data)
    assert again[-1].regions == data[-1].regions


# --- what may be wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "archive"), [("Images", r"images\.tar"), ("Annotation", r"annotation\.tar")]
)
def test_a_missing_folder_names_its_archive(root, folder, archive):
    (root / folder).rename(root / "elsewhere")
    with pytest.raises(DataError, match=rf"{folder} with folders like .* unpack {archive}"):
        opened(root)


def test_folders_without_photographs(root):
    for photo in (root / "Images").rglob("*.jpg"):
        photo.unlink()
    with pytest.raises(DataError, match=r"hold no photographs; unpack images\.tar again"):
        opened(root, "all")


@pytest.mark.parametrize(("split", "part"), [("test", "test"), ("val", "train")])
def test_a_missing_list_says_where_it_belongs(root, split, part):
    (root / f"lists/{part}_list.mat").unlink()
    with pytest.raises(
        DataError,
        match=rf'{part}_list\.mat is neither in .*lists nor in .* unpack lists\.tar.*"all"',
    ):
        opened(root, split)
    with pytest.raises(DataError, match=rf"{part}_list\.mat is neither"):
        opened(root, "all", ":classes=all")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no matlab file at all, but long enough to have a header of 128 bytes" * 3,
        zlib.compress(b"x" * 500),
    ],
)
def test_a_damaged_list(root, content):
    (root / "lists/test_list.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"test_list\.mat is no list of photographs"):
        opened(root)


def test_a_list_cut_short_or_of_other_content(root):
    whole = (root / "lists/test_list.mat").read_bytes()
    (root / "lists/test_list.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"is no list of photographs"):
        opened(root)
    savemat(root / "lists/test_list.mat", {"labels": np.ones((3, 1))})
    with pytest.raises(DataError, match=r"is no list of photographs \(KeyError"):
        opened(root)


def test_a_split_without_photographs(root):
    for key in TEST:
        (root / "Images" / f"{key}.jpg").unlink()
    with pytest.raises(DataError, match=r'no photograph of the split "test" .* only 12 others'):
        opened(root)


def test_a_breed_that_the_lists_do_not_know(root):
    put(root, "n02115641-dingo_x/n02115641_3")
    with pytest.raises(DataError, match=r'know no breed "n02115641-dingo_x"'):
        opened(root, "all", ":classes=all")
    assert opened(root, "all").classes[-1] == "dingo_x"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (":classes=every", r'no classes "every"; known: "present", "all"'),
        (":corners=voc", r'no corners "voc"; known: "half-open", "inclusive"'),
        (":validation=1.5", "validation share"),
        (":colour=red", r'no option "colour"'),
    ],
)
def test_options_that_cannot_be(root, options, message):
    with pytest.raises(OptionError, match=message):
        opened(root, "train", options)


def test_what_is_published():
    kind = data_kind("stanford_dogs")
    assert [archive.file for archive in kind.archives] == [
        "images.tar",
        "annotation.tar",
        "lists.tar",
    ]
    assert sum(archive.size for archive in kind.archives) == 793579520 + 21852160 + 481280
    assert all(len(a.checksum) == len("sha256:") + 64 for a in kind.archives)
    assert kind.counts["trainval"] + kind.counts["test"] == kind.counts["all"] == 20580
    assert kind.num_classes == 120
