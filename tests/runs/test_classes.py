"""Which output of a network each class of some data is."""

import pytest

from saliscope.boxes import Box
from saliscope.data import Listing, Region, Sample
from saliscope.errors import OptionError
from saliscope.models import Model
from saliscope.runs.classes import ClassMap, match_classes


def data(classes, labels=None):
    labels = list(range(len(classes))) if labels is None else labels
    return Listing(
        "toys", "test", tuple(classes), [f"{i}" for i in range(len(labels))], labels, lambda i: None
    )


def model(nets, labels=None, classes=5):
    return Model(nets.gap(classes=classes), 32, labels=labels, name="net")


def sample(label=None, *regions):
    return Sample("a", b"", label, "test", tuple(Region(Box(0, 0, 1, 1), *r) for r in regions))


def test_without_names_the_position_counts(nets):
    found = match_classes(data("abcde"), model(nets))
    assert found.outputs == (0, 1, 2, 3, 4)
    assert found.of_sample(sample(3)) == (3,)


def test_names_count_before_positions(nets):
    labels = ["tench, Tinca tinca", "Great_White-Shark", "red fox", "RED PANDA", "owl"]
    found = match_classes(
        data(["owl", "red panda", "great white shark", "Tinca Tinca", "Red_Fox"]),
        model(nets, labels),
    )
    assert found.outputs == (4, 3, 1, 0, 2)
    assert [found.of_sample(sample(i)) for i in range(5)] == [(4,), (3,), (1,), (0,), (2,)]
    assert found.name_of(1) == "great white shark"
    assert (found.name_of(0), found.name_of(None)) == ("Tinca Tinca", None)


def test_the_first_output_of_a_name_is_taken(nets):
    """ImageNet has two cranes and two maillots."""
    found = match_classes(data(["crane"]), model(nets, ["crane", "a", "crane", "b", "c"]))
    assert found.outputs == (0,)


def test_classes_that_do_not_occur_may_be_unknown(nets):
    labels = ["a", "b", "c", "d", "e"]
    found = match_classes(data(["b", "zebra", "d"], [0, 2, None, 2]), model(nets, labels))
    assert found.outputs == (1, None, 3)
    assert found.of_sample(sample(1)) == ()
    assert found.name_of(2) is None


def test_classes_that_occur_must_be_known(nets):
    labels = ["alpha", "beta", "gamma", "delta", "zebras"]
    message = 'net, e.g. "zebra" \\(nearest: "zebras"\\); give the class names of the network in order with --labels FILE'
    with pytest.raises(OptionError, match=f"1 of the 2 classes of toys are no labels of {message}"):
        match_classes(data(["beta", "zebra", "delta"], [0, 1]), model(nets, labels))


def test_as_many_outputs_as_classes(nets):
    with pytest.raises(
        OptionError,
        match="net has 5 outputs without names and toys has 3 classes; name the outputs",
    ):
        match_classes(data("abc"), model(nets))


def test_no_classes(nets):
    with pytest.raises(OptionError, match="toys has no classes, so no class can be explained"):
        match_classes(data([], [None]), model(nets))


def test_an_image_of_several_classes_has_those_of_its_regions():
    found = ClassMap(["dog", "potted plant", "person"], [7, 3, None])
    several = sample(
        None, ("Potted_Plant",), ("dog", "head"), ("dog",), ("person",), ("cow",), ("potted plant",)
    )
    assert found.of_sample(several) == (3, 7)


def test_crowds_are_no_class_and_difficult_things_are():
    found = ClassMap(["dog", "cat", "person"], [0, 1, 2])
    things = (
        Region(Box(0, 0, 1, 1), "dog", crowd=True),
        Region(Box(0, 0, 1, 1), "cat", difficult=True),
    )
    assert found.of_sample(Sample("a", b"", None, "test", things)) == (1,)
