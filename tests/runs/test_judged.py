"""Which of the annotated things judge the maps of an image: those of its class, where anything bears its name."""

import math

import pytest

from saliscope import runs
from saliscope.boxes import Box
from saliscope.data import Listing, Region, Sample, open_data
from saliscope.images import Photo
from saliscope.runs.measuring import FULL_BOX, annotated_for


def iou_of(run, name, target):
    (row,) = run.scores.filter(id=name, target=target, spec=FULL_BOX, metric="iou").to_dicts()
    return row["value"]


@pytest.fixture
def judged(settings, world, tmp_path):
    """The whole image as a box against these regions, for an image of one class: `judged(*regions)`, by target; and its row."""

    def judge(*regions, label=0):
        sample = Sample("a", Photo(world.picture(1)), label, "all", regions, (40, 60))
        data = {"all": Listing("a", "all", world.CLASSES, ["a"], [label], lambda i: sample)}
        own = settings(methods=["cam"], target="both", thresholds=5, protocols=["cam2016"])
        runs.evaluate(own, tmp_path / "judged", data=data, overwrite=True)
        run = runs.open_run(tmp_path / "judged")
        rows = run.scores.filter(spec=FULL_BOX, metric="union-iou")
        (image,) = run.images.to_dicts()
        return dict(rows.select("target", "value").rows()), image

    return judge


DOG, OTHER = Region(Box(0, 0, 30, 20), "dog"), Region(Box(30, 20, 60, 40), "person")


def test_an_image_of_one_class_is_judged_by_the_things_of_that_class(judged):
    """600 of 2,400 pixels are the dog, 600 the person; the prediction may be any class."""
    found, image = judged(DOG, OTHER)
    assert set(found.values()) == {0.25}
    assert (image["instances"], image["share"], image["boxes"]) == (1, 0.25, [0, 0, 30, 20])
    found, image = judged(DOG, OTHER, label=2)
    assert set(found.values()) == {0.25}
    assert image["boxes"] == [30, 20, 60, 40]


def test_a_wrong_prediction_is_judged_by_the_class_of_the_image(judged, world):
    for label in range(3):  # at least two of them are not predicted
        name = world.CLASSES[label]
        regions = [Region(Box(0, 0, 6 * (k + 1), 40), n) for k, n in enumerate(world.CLASSES)]
        found, image = judged(*regions, label=label)
        assert image["class"] == name
        assert len(found) == 1 + (not image["correct"])
        assert list(found.values()) == pytest.approx([(label + 1) / 10] * len(found))


@pytest.mark.parametrize(
    ("regions", "share", "instances"),
    [
        ((Region(Box(0, 0, 30, 20), "DOG"), OTHER), 0.25, 1),  # as it is written elsewhere
        ((Region(Box(0, 0, 30, 20), "animal"), OTHER), 0.5, 2),  # nothing bears the name: all
        ((Region(Box(0, 0, 30, 20), ""), Region(Box(30, 20, 60, 40), "")), 0.5, 2),
        ((DOG, Region(Box(0, 20, 30, 40), "dog"), OTHER), 0.5, 2),
        ((DOG, Region(Box(0, 0, 60, 40), "dog", part="head"), OTHER), 0.25, 1),
        ((Region(Box(0, 0, 9, 9), "dog", part="head"), OTHER), 0.25, 1),  # a part is no thing
        ((DOG, Region(Box(0, 0, 60, 40), "dog", crowd=True), OTHER), 0.25, 1),
        ((Region(Box(0, 0, 60, 40), "dog", crowd=True), OTHER), math.nan, 0),  # annotated, but not one by one
        ((Region(Box(0, 0, 60, 40), "dog", difficult=True), DOG, OTHER), 0.25, 2),
        ((Region(Box(0, 0, 60, 40), "dog", difficult=True), OTHER), math.nan, 1),
        ((), math.nan, 0),
    ],
)  # fmt: skip
def test_which_things_judge_an_image_of_one_class(judged, regions, share, instances):
    found, image = judged(*regions)
    assert list(found.values()) == pytest.approx([share] * len(found), nan_ok=True)
    assert image["instances"] == instances


SMALL = Region(Box(0, 0, 20, 20), "dog")


@pytest.mark.parametrize(
    ("regions", "own", "label", "expected"),
    [
        ((SMALL, OTHER), "dog", "dog", True),
        ((SMALL, OTHER), None, "dog", True),
        ((SMALL, OTHER), "dog", "person", True),  # of one class: it is the dog that judges
        ((Region(Box(0, 0, 5, 5), "dog"), DOG, OTHER), None, "dog", False),  # areas are added up
        ((Region(Box(0, 0, 30, 19), "dog"), OTHER), None, "dog", True),
        ((DOG, OTHER), None, "dog", False),  # a quarter is not less than a quarter
        ((SMALL,), "dog", "dog", False),  # no other class
        ((SMALL, Region(Box(0, 0, 9, 9), "Dog")), "dog", "dog", False),
        ((SMALL, OTHER), None, "cow", False),  # nothing to point at
    ],
)
def test_a_trial_is_difficult_by_the_size_of_its_own_class(regions, own, label, expected):
    """Zhang et al. 2018: less than a quarter of the image, and another class is there."""
    sample = Sample("a", None, None, "all", regions, (40, 60))
    assert annotated_for(sample, label, (40, 60), {}, own=own).difficult is expected


def test_names_of_several_classes_are_matched_as_the_outputs_are(settings, world, tmp_path):
    regions = (Region(Box(0, 0, 30, 20), "potted_plant"), Region(Box(0, 0, 60, 20), "Dog"))
    sample = Sample("a", Photo(world.picture(1)), None, "all", regions)
    data = {"all": Listing("a", "all", world.CLASSES, ["a"], [None], lambda i: sample)}
    runs.evaluate(settings(methods=["cam"]), tmp_path / "run", data=data)
    run = runs.open_run(tmp_path / "run")
    assert (iou_of(run, "a", 1), iou_of(run, "a", 0)) == (0.25, 0.5)
    assert run.images["instances"].to_list() == [2]


def test_of_a_pair_of_critters_the_labelled_one_judges(settings, tmp_path):
    own = settings(
        data="critters:size=64:count=6:variant=pair", split="test", num_classes=24, methods=["cam"]
    )
    runs.evaluate(own, tmp_path / "run")
    run = runs.open_run(tmp_path / "run")
    for sample in open_data(own.data, "test"):
        first, second = sample.boxes()
        assert run.images.filter(id=sample.id)["boxes"].to_list() == [list(first)]
        for target in run.maps.filter(id=sample.id)["target"].unique():
            assert iou_of(run, sample.id, target) == pytest.approx(first.area / 64**2)
        assert first.area != second.area
