"""Random numbers that never change."""

import numpy as np
import pytest

from saliscope.data.critters.dice import Dice


def test_the_stream_is_pinned():
    """These numbers are a promise: all pictures follow from them."""
    dice = Dice(0, "train", 7, "pose")
    found = [dice.unit() for _ in range(3)]
    assert found == [0.35750082310369113, 0.3503487334852342, 0.5589367745019286]


def test_streams_are_named_by_all_their_words():
    first = {Dice(*words).unit() for words in ((0, "a"), (1, "a"), (0, "b"), (0, "a", ""))}
    assert len(first) == 4
    assert Dice(0, "a").unit() == Dice(0, "a").unit()


def test_draws_go_beyond_one_block_and_are_uniform():
    dice = Dice("many")
    drawn = np.array([dice.unit() for _ in range(20_000)])
    assert len(set(drawn.tolist())) == len(drawn)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.histogram(drawn, 20, (0, 1))[0]
    assert np.abs(counts - 1000).max() < 150  # five standard deviations


def test_ranges_choices_and_chances():
    dice = Dice("ranges")
    assert all(2 <= dice.uniform(2, 3) < 3 for _ in range(100))
    assert {dice.below(3) for _ in range(100)} == {0, 1, 2}
    assert {dice.choice("xy") for _ in range(50)} == {"x", "y"}
    assert sum(dice.chance(0.25) for _ in range(4000)) == pytest.approx(1000, abs=140)
    assert not any(dice.chance(0) for _ in range(20))
    assert all(dice.chance(1) for _ in range(20))
