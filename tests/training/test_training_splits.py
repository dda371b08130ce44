"""Three splits from one name, with classes that mean the same in all."""

import sys
from types import ModuleType

import pytest

from saliscope.data import catalog
from saliscope.data.catalog import DataKind
from saliscope.errors import DataError, OptionError
from saliscope.training.splits import Part, open_splits


@pytest.fixture
def kind(toy, monkeypatch):
    """Make a kind of data set: `kind(splits, validation=True)`; gives the list of how it was opened."""

    def make(splits=("train", "val", "test"), *, validation=True, missing=()):
        opened = []

        def noted(name, split, more):
            opened.append((name, split, more))
            if split in missing:
                raise DataError(f"no list of {split}")
            return toy.data(split, 12 if split == "train" else 6)

        def with_share(*, name, split, validation=0.1, seed=0):
            return noted(name, split, validation)

        def without(*, name, split):
            return noted(name, split, None)

        module = ModuleType("saliscope_toy_kind")
        opener = with_share if validation else without
        module.KIND = DataKind("toykind", "Toy", opener, splits, needs="")
        monkeypatch.setitem(sys.modules, "saliscope_toy_kind", module)
        monkeypatch.setitem(catalog._HOMES, "toykind", "saliscope_toy_kind")
        return opened

    return make


def test_the_recipes_share_reaches_a_kind_that_divides_train_itself(toy, kind):
    opened = kind()
    found = open_splits("toykind", toy.recipe(validation=0.2))
    assert opened == [("toykind:validation=0.2", split, 0.2) for split in ("train", "val", "test")]  # fmt: skip
    assert (len(found.train), len(found.val), len(found.test)) == (12, 6, 6)
    assert found.notes == ()


def test_a_share_in_the_name_goes_first(toy, kind):
    opened = kind()
    open_splits("toykind:validation=0.3", toy.recipe(validation=0.2))
    assert {more for _, _, more in opened} == {0.3}


def test_without_a_share_nothing_is_held_out(toy, kind):
    opened = kind()
    found = open_splits("toykind", toy.recipe(validation=0.0, keep="last"))
    assert found.val is None
    assert [split for _, split, _ in opened] == ["train", "test"]


def test_a_validation_split_of_its_own_is_used_whatever_the_share(toy, kind):
    opened = kind(validation=False)
    found = open_splits("toykind", toy.recipe(validation=0.0))
    assert len(found.val) == 6
    assert opened[0] == ("toykind", "train", None)


def test_a_share_is_held_out_where_there_is_no_other(toy, kind):
    kind(("train",), validation=False)
    found = open_splits("toykind", toy.recipe(validation=0.25))
    assert (len(found.train), len(found.val)) == (9, 3)
    assert found.test is None
    assert sorted(found.val.labels) == [0, 1, 2]
    assert set(found.train.ids).isdisjoint(found.val.ids)
    assert found.val[0].id == found.val.ids[0]
    assert found.val[0].split == "val"
    again = open_splits("toykind", toy.recipe(validation=0.25, seed=9))
    assert (
        again.val.ids == found.val.ids
    )  # trainings of several seeds are compared on the same images


def test_a_missing_test_split_is_said(toy, kind):
    kind(missing=("test",))
    found = open_splits("toykind", toy.recipe())
    assert found.test is None
    assert found.notes == ("there is no test split here: no list of test",)


def test_a_missing_train_split_is_an_error(toy, kind):
    kind(missing=("train",))
    with pytest.raises(DataError, match="no list of train"):
        open_splits("toykind", toy.recipe())
    kind(("val", "test"))
    with pytest.raises(OptionError, match='toykind has no train split; known: "val", "test"'):
        open_splits("toykind", toy.recipe())


def test_a_part_is_a_data_set_with_labels_of_its_own(toy):
    part = Part(toy.data(), "val", [4, 2], ("c", "b"), {1: 1, 2: 0})
    assert (part.ids, part.labels, len(part)) == (["train/4", "train/2"], [1, 0], 2)
    assert (part[1].id, part[1].label, part[1].split) == ("train/2", 0, "val")
    assert part.name == "toy"
    with pytest.raises(IndexError):
        part[2]


def test_fingerprints_are_those_of_the_splits(toy):
    first = open_splits(toy.splits(), toy.recipe()).fingerprints()
    assert set(first) == {"train", "val", "test"}
    assert open_splits(toy.splits(), toy.recipe()).fingerprints() == first
    assert open_splits(toy.splits(count=21), toy.recipe()).fingerprints()["train"] != first["train"]


def test_critters_open_by_name(toy):
    found = open_splits("critters:count=48", toy.recipe())
    assert (len(found.train), len(found.val), len(found.test)) == (48, 48, 48)
    assert found.train[0].photo().size == (160, 160)
    assert found.classes == found.test.classes
