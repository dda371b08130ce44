import math
from dataclasses import replace

import numpy as np
import pytest

from made_runs import make_run
from saliscope.metrics import spearman, top_overlap
from saliscope.report.study.alike import alike_of
from saliscope.report.study.together import study_of
from saliscope.runs import open_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    methods = ["cam", "grad-cam@layer4", "grad-cam@layer2"]
    return open_run(make_run(tmp_path_factory.mktemp("alike"), 12, methods=methods, photos=False, failed=1, wrong=2))  # fmt: skip


def shrunk(values, height, width):
    """The mean of the cells that become one, in loops."""
    cells = np.array(values, np.float32).reshape(height, width).astype(np.float64)
    step = height // 7
    return np.array([[cells[y * step : (y + 1) * step, x * step : (x + 1) * step].mean() for x in range(7)] for y in range(7)])  # fmt: skip


def pairs_of(run, one, other):
    rows = run.maps.filter(is_truth=True).sort("index")
    for index in rows["index"].unique(maintain_order=True):
        found = [
            shrunk(*rows.filter(index=index, spec=s).select("map", "height", "width").row(0))
            for s in (one, other)
        ]
        yield found


@pytest.mark.parametrize(
    ("one", "other"), [("cam", "grad-cam@layer2"), ("grad-cam@layer4", "edges"), ("cam", "cam")]
)
def test_means_are_over_images_on_the_smallest_grid(run, one, other):
    found = alike_of(study_of([run], replicates=100), 0)
    assert found.grid == (7, 7)
    assert found.images == 11
    i, j = found.names.index(one), found.names.index(other)
    pairs = [p for p in pairs_of(run, one, other) if all(np.isfinite(m).all() and np.ptp(m) > 1e-6 for m in p)]  # fmt: skip
    assert found.correlation[i, j] == pytest.approx(np.mean([spearman(a, b) for a, b in pairs]), abs=1e-3)  # fmt: skip
    assert found.overlap[i, j] == pytest.approx(np.mean([top_overlap(a, b).value for a, b in pairs]), abs=1e-3)  # fmt: skip
    assert found.correlation[j, i] == found.correlation[i, j]


def test_like_methods_stand_beside_each_other(run):
    found = alike_of(study_of([run], replicates=100), 0)
    assert sorted(found.order) == list(range(len(found.names)))
    order = [found.names[i] for i in found.order]
    assert abs(order.index("cam") - order.index("grad-cam@layer4")) == 1
    assert found.tree.shape == (len(found.names) - 1, 4)
    assert sorted(n for group in found.groups for n in group) == sorted(found.names)


def test_a_method_without_maps_is_in_no_tree(run):
    found = alike_of(study_of([run], replicates=100), 0)
    holes = found.correlation.copy()
    holes[1], holes[:, 1] = math.nan, math.nan
    lost = replace(found, correlation=holes)
    assert 1 not in lost.known
    assert lost.order[-1] == 1
    assert found.names[1] not in [n for group in lost.groups for n in group]


def test_a_run_without_stored_maps_is_compared_with_nothing(request):
    stored_nothing = request.getfixturevalue("make_run")(n=4)
    assert alike_of(study_of([stored_nothing], replicates=100), 0) is None
