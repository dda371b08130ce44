import cv2
import numpy as np
import pytest

from saliscope.localization import count_passed, even_grid
from saliscope.localization.basins import Relief, find_hills
from saliscope.localization.parts import Parts
from saliscope.localization.tree import join_hills


def maps():
    random = np.random.default_rng(3)
    noise = random.random((17, 22))
    return {
        "noise": noise,
        "few values": np.round(noise, 1),
        "smooth": cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 1, cv2.NORM_MINMAX),
        "one column": noise[:, :1],
        "unseen": np.where(noise < 0.2, np.nan, noise),
    }


@pytest.mark.parametrize(("name", "heat"), maps().items())
def test_each_part_at_each_level(name, heat):
    """Size, box, peak and first pixel of every part, against OpenCV's connected components."""
    relief = Relief.of(heat)
    level = count_passed(relief.values, even_grid(19))
    hills = find_hills(relief, level)
    parts = Parts(relief, hills, join_hills(hills))
    shown = level[:-1].reshape(heat.shape[0] + 2, heat.shape[1] + 1)[1:-1, 1:]
    (sizes, size), (extents, bounds) = parts.sizes(), parts.extents()
    (peaks, rank), (firsts, early) = parts.peaks(), parts.firsts()
    for at in range(1, 20):
        mask = (shown >= at).astype(np.uint8)
        count, label, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        found = []
        for part in range(1, count):
            rows, columns = np.nonzero(label == part)
            node = standing(parts, rows, columns, at)
            x, y, width, height, area = stats[part].tolist()
            assert size[sizes.find(node, at)] == area
            assert bounds[extents.find(node, at)].tolist() == [x, y, x + width, y + height]
            for steps in (sizes, extents, peaks, firsts):
                step = steps.find(node, at)
                assert steps.node[step] == node
                assert steps.low[step] <= at <= steps.high[step]
            found.append(
                (
                    float(heat[label == part].max()),
                    rank[peaks.find(node, at)],
                    (rows[0], columns[0]),
                    -early[firsts.find(node, at)],
                )
            )
        peak, ranked, first, read = zip(*found, strict=True)
        assert np.argsort(peak, stable=True).tolist() == np.argsort(ranked, stable=True).tolist()
        assert sorted(range(len(first)), key=first.__getitem__) == np.argsort(read).tolist()


def standing(parts, rows, columns, level):
    """The hill that stands for a part at a level, from any of its pixels: each climbs its chain."""
    cells = parts.hills.cells >> parts.hills.bits
    nodes = set()
    for place in (rows + 1) * parts.relief.width + columns + 1:
        node = cells[place]
        while parts.tree.until[node] >= level:
            node = parts.tree.into[node]
        nodes.add(int(node))
    (node,) = nodes
    return node
