import cv2
import numpy as np
import pytest

from saliscope.localization import count_passed, even_grid
from saliscope.localization.basins import Relief, find_hills
from saliscope.localization.tree import join_hills


def maps():
    random = np.random.default_rng(0)
    noise = random.random((24, 31))
    steps = np.arange(60)
    zigzag = np.where(steps % 2, 0.9 - steps / 80, 0.1 + steps / 80)[None]
    return {
        "noise": noise,
        "few values": np.round(noise, 1),
        "two values": (noise > 0.6).astype(float),
        "smooth": cv2.GaussianBlur(noise, (0, 0), 2),
        "passes that fall while summits fall": np.tile([0.9, 0.1, 0.8, 0.0], 10)[None],
        "passes that fall while summits rise": zigzag,
        "one row": noise[:1],
        "unseen": np.where(noise < 0.2, np.nan, noise),
    }


def grown(heat, count=23):
    relief = Relief.of(heat)
    hills = find_hills(relief, count_passed(relief.values, even_grid(count)))
    return relief, hills, join_hills(hills)


def pixels(relief, array, shape):
    return array[:-1].reshape(shape[0] + 2, shape[1] + 1)[1:-1, 1:]


@pytest.mark.parametrize(("name", "heat"), maps().items())
def test_pixels_share_a_slot_where_they_share_a_part(name, heat):
    relief, hills, tree = grown(heat)
    slot, level = (pixels(relief, a, heat.shape) for a in (tree.place(hills), hills.level))
    counts = tree.count(23)
    seen = set()
    for at in range(1, 24):
        count, label = cv2.connectedComponents((level >= at).astype(np.uint8), connectivity=8)
        assert counts[at - 1] == count - 1
        pairs = set(zip(label[level == at].tolist(), slot[level == at].tolist(), strict=True))
        slots = {number for _, number in pairs}
        assert len(pairs) == len(slots) == len({part for part, _ in pairs})
        assert not slots & seen
        seen |= slots
    assert max(seen) < tree.slots
    assert (slot[level == 0] == tree.slots).all()


@pytest.mark.parametrize(("name", "heat"), maps().items())
def test_who_takes_a_hill_in_stands_for_the_part_there(name, heat):
    _, _, tree = grown(heat)
    into, until = tree.into[tree.taken], tree.until[tree.taken]
    assert (tree.until[into] < until).all()
    assert (until <= tree.since[into]).all()
    left = np.setdiff1d(np.arange(len(tree.into)), tree.taken)
    np.testing.assert_array_equal(tree.into[left], left)


@pytest.mark.parametrize(("name", "heat"), maps().items())
def test_what_is_gathered_is_counted_once(name, heat):
    _, _, tree = grown(heat)
    total = tree.gather(np.add, np.ones(len(tree.into), np.intp))
    expected = np.ones(len(tree.into), np.intp)
    for hill in range(len(tree.into)):
        here = hill
        while tree.until[here]:
            here = tree.into[here]
            expected[here] += 1
    np.testing.assert_array_equal(total, expected)
