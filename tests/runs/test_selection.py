"""Which samples a run takes, and in which batches."""

import hashlib
from itertools import pairwise

import pytest

from saliscope.data import Listing
from saliscope.runs.selection import first_of, select, split_unit, units_of


def data(count=10, prefix="a"):
    ids = [f"{prefix}/{i}" for i in range(count)]
    return Listing("toys", "test", ("x",), ids, [0] * count, lambda i: None)


def places(units):
    return [unit.positions for unit in units]


# --- a limit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, 10, 11])
def test_all_samples_in_order(limit):
    assert select(data(), limit) == list(range(10))


def test_a_limit_takes_those_with_the_smallest_hash_in_order():
    ids = data(50).ids
    ranked = sorted(range(50), key=lambda i: hashlib.sha256(f"limit/{ids[i]}".encode()).hexdigest())
    for limit in (1, 7, 49):
        assert select(data(50), limit) == sorted(ranked[:limit])


def test_a_larger_limit_takes_the_same_and_more():
    chosen = [set(select(data(40), n)) for n in range(1, 41)]
    assert all(a < b for a, b in pairwise(chosen))
    assert chosen[0] != {0}  # a draw, not the beginning


def test_the_choice_depends_on_the_ids_alone():
    one, ids = data(30), list(reversed(data(30).ids))
    other = Listing("toys", "val", ("x",), ids, [0] * 30, lambda i: None)
    assert {one.ids[i] for i in select(one, 9)} == {other.ids[i] for i in select(other, 9)}


# --- batches ---------------------------------------------------------------------------------------------------------


def test_batches_in_order():
    assert places(units_of(data(), "test", range(10), (), batch_size=4)) == [
        (0, 1, 2, 3),
        (4, 5, 6, 7),
        (8, 9),
    ]


def test_what_is_done_is_taken_out_of_its_batch():
    done = {"a/1", "a/4", "a/5", "a/6", "a/7"}
    units = units_of(data(), "test", range(10), done, batch_size=4)
    assert places(units) == [(0, 2, 3), (8, 9)]
    assert units[1].name == units_of(data(), "test", range(10), (), batch_size=4)[2].name
    assert units_of(data(), "test", range(10), set(data().ids), batch_size=4) == []


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_shards_share_out_the_batches(shards):
    whole = units_of(data(), "test", range(10), (), batch_size=2)
    parts = [
        units_of(data(), "test", range(10), (), batch_size=2, slot=(i, shards))
        for i in range(shards)
    ]
    assert sorted((u for part in parts for u in part), key=lambda u: u.positions) == whole
    assert places(parts[0]) == places(whole[::shards])


def test_shards_do_not_depend_on_what_is_done():
    done = {"a/0", "a/1"}
    assert places(units_of(data(), "test", range(10), done, batch_size=2, slot=(1, 2))) == [
        (2, 3),
        (6, 7),
    ]


def test_a_name_says_which_samples():
    units = units_of(data(), "test", [3, 5, 8], (), batch_size=2)
    digest = hashlib.sha256(b"a/3\0a/5").hexdigest()[:10]
    assert units[0].name == f"part-test-00000003-{digest}"
    assert [first_of(u.name) for u in units] == [("test", 3), ("test", 8)]
    assert units_of(data(prefix="b"), "test", [3, 5], (), batch_size=2)[0].name != units[0].name
    assert first_of("part-a-split-of-mine-00000012-0123456789") == ("a-split-of-mine", 12)


def test_a_batch_apart_is_one_batch_a_sample():
    (unit,) = units_of(data(), "val", [2, 4], (), batch_size=2)
    singles = split_unit(unit, data())
    assert places(singles) == [(2,), (4,)]
    assert [u.name for u in singles] == [
        u.name for u in units_of(data(), "val", [2, 4], (), batch_size=1)
    ]
    assert {u.split for u in singles} == {"val"}
