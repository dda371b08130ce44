import numpy as np
import pytest

from saliscope.stats import counts
from saliscope.stats.counts import counts_by, counts_kept, draw_counts


def test_blocks_of_strata_are_drawn_one_after_another_by_a_slow_twin(monkeypatch):
    monkeypatch.setattr("saliscope.stats.counts.CELLS", 12)
    draw, expected = np.random.default_rng(6), []
    for rows in [2] * 50 + [1]:
        left, right = draw.integers(0, 2, (rows, 2)), draw.integers(2, 5, (rows, 3))
        expected += [np.bincount(row, minlength=5) for row in np.hstack([left, right])]
    found = list(draw_counts(np.random.default_rng(6), np.array([2, 3]), 101))
    np.testing.assert_array_equal(np.concatenate(found), expected)
    less = list(draw_counts(np.random.default_rng(6), np.array([2, 3]), 101, width=9))
    np.testing.assert_array_equal(np.concatenate(less), expected)
    assert [len(block) for block in less] == [1] * 101


SIZES = np.array([3, 40, 7])


def test_kept_counts_are_those_that_would_be_drawn(monkeypatch):
    monkeypatch.setattr(counts, "CELLS", 2000)
    plain = [list(counts_by(5, SIZES, 101, width=w)) for w in (1, 9)]
    with counts_kept():
        kept = [list(counts_by(5, SIZES, 101, width=w)) for w in (1, 9, 1)]
    for one, other in zip([*plain, plain[0]], kept, strict=True):
        assert [block.shape for block in one] == [block.shape for block in other]
        np.testing.assert_array_equal(np.concatenate(one), np.concatenate(other))
        assert {block.dtype for block in other} == {np.dtype(np.float32)}
    assert (np.concatenate(kept[0]).sum(axis=1) == 50).all()


def test_within_one_seed_and_size_it_is_drawn_once(monkeypatch):
    drawn = []
    real = counts.draw_counts

    def draw(generator, sizes, replicates, **more):
        drawn.append(
            (int(generator.bit_generator.state["state"]["state"]), tuple(sizes), replicates)
        )
        return real(generator, sizes, replicates, **more)

    monkeypatch.setattr(counts, "draw_counts", draw)
    other = np.array([3, 7, 40])
    with counts_kept():
        for seed, sizes, replicates in [
            (0, SIZES, 100),
            (0, SIZES, 100),
            (1, SIZES, 100),
            (0, other, 100),
            (0, SIZES, 101),
        ]:
            list(counts_by(seed, sizes, replicates))
        assert len(drawn) == len(set(drawn)) == 4
    list(counts_by(0, SIZES, 100))
    assert len(drawn) == 5
    with counts_kept():
        list(counts_by(0, SIZES, 100))
    assert len(drawn) == 6


def test_a_unit_drawn_more_often_than_a_byte_holds(monkeypatch):
    monkeypatch.setattr(counts, "_picks", lambda *_: iter([np.zeros((2, 300), np.int32)]))
    with counts_kept():
        (block,) = counts_by(0, np.array([300]), 2)
    assert block[:, 0].tolist() == [300, 300]
    assert not block[:, 1:].any()


@pytest.mark.parametrize(("room", "again"), [(10_000, 1), (5_000, 2), (4_000, 2)])
def test_no_more_is_kept_than_there_is_room_for(monkeypatch, room, again):
    monkeypatch.setattr(counts, "_ROOM", room)
    drawn = []
    real = counts.draw_counts
    monkeypatch.setattr(counts, "draw_counts", lambda *a, **k: drawn.append(1) or real(*a, **k))
    with counts_kept():
        first = np.concatenate(list(counts_by(0, SIZES, 100)))  # 5,000 bytes
        list(counts_by(1, SIZES, 100))
        np.testing.assert_array_equal(np.concatenate(list(counts_by(0, SIZES, 100))), first)
    assert len(drawn) == 1 + again


def test_blocks_made_ahead_come_in_order_and_their_error_is_that_of_the_caller():
    def blocks():
        yield from range(5)
        raise MemoryError("no room")

    ahead, found = counts._ahead(blocks()), []
    with pytest.raises(MemoryError, match="no room"):
        found.extend(iter(ahead))
    assert found == [0, 1, 2, 3, 4]
