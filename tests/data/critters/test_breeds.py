"""The breeds can be told apart by exactly the parts they are said to be known by."""

from itertools import combinations

import pytest

from saliscope.data.critters.breeds import BREEDS, KINDS, SLOTS, breed_named, differing_slots


def test_there_are_12_pairs_of_twins_that_differ_in_one_part():
    assert len(BREEDS) == 24
    assert len({b.name for b in BREEDS}) == 24
    for even, odd in zip(BREEDS[::2], BREEDS[1::2], strict=True):
        assert even.twin is odd
        assert odd.twin is even
        assert even.family == odd.family
        assert differing_slots(even, odd) == (even.twin_slot,) == (odd.twin_slot,)


def test_breeds_of_different_pairs_differ_in_several_parts():
    fewest = min(len(differing_slots(a, b)) for a, b in combinations(BREEDS, 2) if a.twin is not b)
    assert fewest == 3


def test_every_slot_tells_some_twins_apart():
    assert {b.twin_slot for b in BREEDS} == set(SLOTS)


@pytest.mark.parametrize("breed", BREEDS, ids=lambda b: b.name)
def test_the_evidence_is_enough_and_all_of_it_is_needed(breed):
    kinds = dict(breed.evidence)
    assert len(kinds) == 3
    assert breed.twin_slot in kinds
    for slot, kind in kinds.items():
        assert kind in KINDS[slot][1:], "neutral kinds are no evidence"
    for other in BREEDS:
        unlike = [slot for slot in kinds if other.kinds[slot] != kinds[slot]]
        if other is breed:
            assert not unlike
        elif other is breed.twin:
            assert unlike == [breed.twin_slot]
        else:
            assert len(unlike) >= 2


@pytest.mark.parametrize("breed", BREEDS, ids=lambda b: b.name)
def test_all_other_slots_are_neutral(breed):
    for slot, kind in breed.kinds.items():
        assert kind == dict(breed.evidence).get(slot, KINDS[slot][0])


def test_breeds_are_found_by_name():
    assert breed_named("lop-eared bramble").evidence[0] == ("ears", "lop")
    with pytest.raises(KeyError, match="unicorn"):
        breed_named("unicorn")
