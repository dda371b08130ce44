import math

import pytest

from saliscope.boxes import Box
from saliscope.errors import OptionError
from saliscope.metrics import ClsLoc, classification_error, localisation_error

A, B = Box.from_inclusive(0, 0, 9, 9), Box.from_inclusive(20, 20, 29, 29)
HALF_OF_B = Box.from_inclusive(20, 20, 29, 24)
FAR = Box.from_inclusive(40, 40, 49, 49)


def test_hand_computed():
    guesses = [(5, A), (3, HALF_OF_B)]
    assert localisation_error(guesses, 3, [A, B]) == 1
    assert localisation_error(guesses, 3, [A, B], top=2) == 0  # an IoU of exactly .5 is enough
    assert localisation_error([(3, FAR)], 3, [A, B]) == 1
    assert localisation_error([(3, None)], 3, [A, B]) == 1
    assert localisation_error([(3, A)], 3, [A, B]) == 0
    less = Box.from_inclusive(20, 20, 29, 23)
    assert localisation_error([(3, less)], 3, [A, B]) == 1
    assert math.isnan(localisation_error([(3, A)], 3, []))


def test_class_and_box_have_to_be_right_in_one_guess():
    assert localisation_error([(3, FAR), (5, A)], 3, [A], top=5) == 1
    assert classification_error([(5, A), (3, FAR)], 3) == 1
    assert classification_error([(5, A), (3, FAR)], 3, top=2) == 0


def test_a_set():
    images = [
        ([(5, A), (3, HALF_OF_B)], 3, [A, B], False),
        ([(3, FAR), (3, FAR)], 3, [A, B], False),
        ([(7, B), (1, B)], 7, [B], False),
        ([(2, A), (1, A)], 7, [B], True),
        ([(9, A), (7, A)], 7, [], False),
    ]
    score = ClsLoc([1, 2])
    for guesses, label, truth, listed in images:
        score.update(guesses, label, truth, blacklisted=listed)
    found = score.compute()
    # By the development kit: sum of min over guesses of max(d, f), over the images that are not listed.
    for top in (1, 2):
        errors = [
            localisation_error(g, label, truth, top=top)
            for g, label, truth, listed in images
            if not listed and truth
        ]
        assert found.localisation[top].value == sum(errors) / len(errors)
    assert found.localisation[1].value == 2 / 3
    assert found.localisation[2].value == 1 / 3
    assert (found.localisation[1].n, found.localisation[1].undefined) == (3, 1)
    assert found.classification[1].value == 3 / 5
    assert found.classification[2].value == 1 / 5
    assert found.classification[1].n == 5
    assert found.blacklisted == 1


def test_a_blacklisted_image_leaves_both_sides():
    alone = ClsLoc().update([(1, A)], 3, [A], blacklisted=True).compute()
    assert math.isnan(alone.localisation[1].value)
    assert (alone.localisation[5].n, alone.localisation[5].undefined) == (0, 0)
    assert alone.classification[5].value == 1


def test_facts():
    assert (ClsLoc.direction, ClsLoc.bounds) == ("lower", (0.0, 1.0))
    assert list(ClsLoc().compute().localisation) == [1, 5]


@pytest.mark.parametrize(
    "call", [lambda: localisation_error([], 1, [A], top=0), lambda: ClsLoc([0])]
)
def test_at_least_one_guess_counts(call):
    with pytest.raises(OptionError, match="1 or more; got 0"):
        call()
