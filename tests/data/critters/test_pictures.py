"""What is said about a picture holds for its pixels."""

import hashlib
import multiprocessing
import pickle

import numpy as np
import pytest

from saliscope.boxes import Box
from saliscope.data import fingerprint, open_data
from saliscope.data.critters import BREEDS, open_critters
from saliscope.data.critters.drawing import FINE, rasterise
from saliscope.data.critters.world import draw, masks_of, with_twin
from saliscope.errors import OptionError

MANY = range(0, 240, 5)  # every breed twice


def digest(data, index):
    return hashlib.sha256(data[index].photo().pixels.tobytes()).hexdigest()[:16]


def test_the_first_pictures_are_pinned():
    """Other pixels on another machine would be other data: heed this before changing it."""
    found = {
        "plain": digest(open_data("critters", "test"), 0),
        "train": digest(open_data("critters:seed=3", "train"), 1234),
        "pair": digest(open_data("critters:variant=pair", "test"), 5),
        "cue": digest(open_data("critters:variant=cue:rho=0.5", "train"), 9),
        "large": digest(open_data("critters:size=224", "val"), 2),
    }
    assert found == {
        "plain": "717ac37789fcf504",
        "train": "ada7df56ce6dca80",
        "pair": "fbf3cb35ae229e01",
        "cue": "0f2c0053037eb318",
        "large": "df9e29b3622505bc",
    }


def test_a_sample_depends_on_nothing_but_seed_split_and_number():
    few, many = open_critters(count=3), open_critters(count=500)
    backwards = [digest(many, i) for i in (2, 1, 0)][::-1]
    assert [digest(few, i) for i in range(3)] == backwards
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.starmap(digest, [(few, i) for i in range(3)]) == backwards
    others = [open_critters(seed=1), open_critters(split="train"), open_critters(split="val")]
    assert len({digest(data, 0) for data in [few, *others]}) == 4


def test_a_data_set_pickles_and_knows_its_labels_without_drawing():
    data = pickle.loads(pickle.dumps(open_critters(count=50)))
    assert list(data.labels) == [i % 24 for i in range(50)]
    assert data.ids[7] == "0-test-000007"
    assert data[-1].id == data.ids[49]
    assert data.classes[data[25].label] == "lop-eared bramble"
    assert fingerprint(data) != fingerprint(open_critters(count=50, seed=1))
    with pytest.raises(IndexError, match="range"):
        data[50]


@pytest.mark.parametrize("index", MANY)
def test_twins_differ_in_their_one_part_and_nowhere_else(index):
    data = open_critters()
    sample, twin = data[index], data.twin(index)
    assert twin.label == sample.label ^ 1
    unlike = (sample.photo().pixels != twin.photo().pixels).any(axis=-1)
    region = sample.masks()["twin"]
    assert unlike.any()
    assert not (unlike & ~region).any()
    np.testing.assert_array_equal(region, twin.masks()["twin"])
    assert unlike.sum() > 0.3 * region.sum()  # the region is not just "everything"


@pytest.mark.parametrize("index", MANY)
def test_blanking_the_twin_region_leaves_nothing_to_tell_by(index):
    data = open_critters()
    sample = data[index]
    blank = sample.masks()["twin"]
    one, other = sample.photo().pixels.copy(), data.twin(index).photo().pixels.copy()
    one[blank] = other[blank] = 128
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("index", MANY)
def test_boxes_are_tight_and_masks_add_up(index):
    sample = open_critters()[index]
    masks = sample.masks()
    body = masks["body"]
    rows, columns = np.flatnonzero(body.any(1)), np.flatnonzero(body.any(0))
    assert sample.regions[0].box == Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    parts = (
        "torso",
        "head",
        "legs",
        "eyes",
        "ears",
        "tail",
        "muzzle",
        "coat",
        "horn",
        "collar",
        "back",
        "feet",
    )
    np.testing.assert_array_equal(np.logical_or.reduce([masks[p] for p in parts]), body)
    breed = BREEDS[sample.label]
    np.testing.assert_array_equal(
        masks["evidence"], np.logical_or.reduce([masks[slot] for slot, _ in breed.evidence])
    )
    assert all(masks[slot].sum() >= 8 for slot, _ in breed.evidence), "evidence that nobody sees"
    absent = {"coat", "horn", "collar", "back", "feet"} - {slot for slot, _ in breed.evidence}
    assert not any(masks[slot].any() for slot in absent)
    assert not (masks["distractors"] & body).any()
    things = [mask for name, mask in masks.items() if name.startswith("distractor/")]
    np.testing.assert_array_equal(
        np.sum(things, axis=0), masks["distractors"]
    )  # they do not overlap


def test_masks_are_what_the_slow_way_finds():
    """Each fine point of an animal belongs to one part; a pixel has a part when one of its nine points does."""
    data = open_critters()
    scene = data.scene(17)
    figure = scene.figures[0]
    from saliscope.data.critters.anatomy import PARTS, animal

    shapes = animal(figure.breed.kinds, figure.pose)
    drawn = rasterise(shapes, figure.pose, figure.colours, figure.place, window=figure.window)
    expected = {part: np.zeros(scene.size, bool) for part in PARTS}
    for y in range(drawn.fine.shape[0]):
        for x in range(drawn.fine.shape[1]):
            number = drawn.fine[y, x, 3]
            if number:
                place = (drawn.corner[1] + y // FINE, drawn.corner[0] + x // FINE)
                expected[PARTS[number - 1]][place] = True
    masks = masks_of(scene)
    for part in PARTS:
        np.testing.assert_array_equal(masks[part], expected[part])


def test_without_the_animal_the_picture_shows_what_is_behind():
    """The body mask covers all pixels that the animal changes, but for its shadow."""
    scene = open_critters().scene(30)
    from dataclasses import replace

    with_it, without = draw(scene), draw(replace(scene, figures=()))
    changed = (with_it != without).any(axis=-1) & ~masks_of(scene)["body"]
    darker = with_it.astype(int).sum(-1) <= without.astype(int).sum(-1)
    assert darker[changed].all()  # the shadow
    assert 0 < changed.sum() < 0.2 * changed.size


def test_sizes_and_places_vary_as_promised():
    data = open_critters()
    boxes = [data[i].regions[0].box for i in range(0, 600, 4)]
    shares = np.array([box.area / 160**2 for box in boxes])
    assert shares.min() >= 0.10
    assert shares.max() <= 0.70
    assert np.quantile(shares, 0.1) < 0.16
    assert np.quantile(shares, 0.9) > 0.40
    assert all(b.x0 >= 0 and b.x1 <= 160 and b.y0 >= 0 and b.y1 <= 160 for b in boxes)
    centres = np.array([[(b.x0 + b.x1) / 2, (b.y0 + b.y1) / 2] for b in boxes]) / 160
    assert (centres.std(axis=0) > 0.08).all()
    mirrored = [data.scene(i).figures[0].pose.mirrored for i in range(0, 600, 4)]
    assert 0.35 < np.mean(mirrored) < 0.65


def test_colour_and_place_say_nothing_about_the_breed():
    """They come from streams that do not know it: the twin's scene differs in the breed alone."""
    scene = open_critters().scene(4)
    twin = with_twin(scene)
    first, second = scene.figures[0], twin.figures[0]
    assert (first.pose, first.colours, first.place, first.window) == (
        second.pose, second.colours, second.place, second.window,
    )  # fmt: skip
    assert twin.things is scene.things


def test_larger_pictures_show_larger_animals():
    small, large = open_critters()[3], open_critters(size=320)[3]
    assert large.photo().size == (320, 320)
    assert 0.10 <= large.regions[0].box.area / 320**2 <= 0.70
    assert small.photo().size == (160, 160)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "triple"}, 'no variant "triple"; known: "plain", "pair"'),
        ({"rho": 1.5}, "rho is a probability, 0 to 1; got 1.5"),
        ({"rho": "x"}, "rho is a probability, 0 to 1; got x"),
        ({"seed": "x"}, "seed of critters is a whole number; got 'x'"),
        ({"count": 1.5}, "count of critters is a whole number; got 1.5"),
        ({"size": 32}, "at least 64 pixels to be told apart; got 32"),
        ({"count": 0}, "at least 1; got 0"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        open_critters(**options)
