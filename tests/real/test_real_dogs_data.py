"""The real Stanford Dogs, a copy of 26 breeds, against the index that came with it."""

import csv
import hashlib
import pickle
from pathlib import Path

import pytest

from saliscope.boxes import Box
from saliscope.data import open_data

DOGS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "stanford_dogs"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DOGS.is_dir(), reason="needs ../shared/data/stanford_dogs"),
]


def index(*splits):
    with (DOGS / "index.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {
        row["file"].removesuffix(".jpg"): row
        for row in rows
        if not splits or row["split"] in splits
    }


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_sample_agrees_with_the_index(split):
    rows = index(split)
    data = open_data(
        "stanford_dogs:classes=all", {"train": "trainval"}.get(split, split), root=DOGS
    )
    assert len(data.classes) == 120
    assert data.ids == list(rows)
    for sample, label in zip(data, data.labels, strict=True):
        row = rows[sample.id]
        assert sample.label == label == int(row["label"])
        assert data.classes[sample.label] == row["breed"]
        assert sample.size == (int(row["height"]), int(row["width"]))
        boxes = tuple(Box(*map(float, box.split(","))) for box in row["boxes_xyxy"].split(";"))
        assert sample.boxes() == boxes
        assert {region.label for region in sample.regions} == {row["breed"]}
        assert sample.image == DOGS / "Images" / row["file"]


def test_the_breeds_that_are_here_and_their_shares():
    data = {s: open_data("stanford_dogs", s, root=DOGS) for s in ("train", "val", "test", "all")}
    breeds = {row["label"]: row["breed"] for row in index().values()}
    in_order = tuple(breeds[label] for label in sorted(breeds, key=int))
    assert all(part.classes == in_order for part in data.values())
    assert {split: len(part) for split, part in data.items()} == {
        "train": 26 * 22,
        "val": 26 * 2,
        "test": 26 * 24,
        "all": 26 * 48,
    }
    assert sorted(data["val"].labels) == sorted([*range(26), *range(26)])
    assert data["all"].ids == list(index())


def test_the_validation_split_is_the_same_on_every_machine():
    ids = open_data("stanford_dogs", "val", root=DOGS).ids
    assert hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16] == "22b55d570a085ef3"


def test_the_labels_in_the_lists_count_the_breeds_in_our_order():
    from scipy.io import loadmat

    data = open_data("stanford_dogs:classes=all", "test", root=DOGS)
    content = loadmat(DOGS / "lists/test_list.mat")
    official = {
        str(cell[0]).removesuffix(".jpg"): int(label) - 1
        for cell, label in zip(content["file_list"][:, 0], content["labels"][:, 0], strict=True)
    }
    assert len(official) == 8580
    assert [official[key] for key in data.ids] == list(data.labels)


def test_some_photographs_are_as_large_as_their_annotation_says():
    data = pickle.loads(pickle.dumps(open_data("stanford_dogs", "test", root=DOGS)))
    for i in range(0, len(data), 26):
        sample = data[i]
        assert sample.photo().size == sample.size
        assert all(box == box.clip(sample.size) for box in sample.boxes())
        assert all(box.area > 0 for box in sample.boxes())


def test_the_same_photographs_as_class_folders_with_xml():
    dogs = open_data("stanford_dogs", "all", root=DOGS)
    folders = open_data(f"folder:{DOGS / 'Images'}:boxes={DOGS / 'Annotation'}", "all")
    assert [key.removesuffix(".jpg") for key in folders.ids] == dogs.ids
    assert list(folders.labels) == list(dogs.labels)
    assert folders.classes[0] == "n02085620-Chihuahua"
    for one, other in zip(dogs, folders, strict=True):
        assert one.boxes() == other.boxes() != ()
        assert one.size == other.size
        assert {region.label for region in other.regions} == {dogs.classes[one.label]}
