import math

import pytest

from saliscope.metrics import METRICS, Mean
from saliscope.metrics.faithfulness import FAITHFULNESS, curve_area


def test_facts():
    for name, metric in FAITHFULNESS.items():
        assert metric.name == name
        assert metric.bounds[0] < metric.bounds[1]
        assert metric.protocol
    assert not set(FAITHFULNESS) & set(METRICS)
    lower = {name for name, m in FAITHFULNESS.items() if m.direction == "lower"}
    assert lower == {
        "deletion", "average-drop", "absolute-drop", "mean-heat", "road-morf", "infidelity",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("deletion", ([1, 0.6, 0.3, 0.1, 0],), 0.375),
        ("insertion", ([0, 0.4, 0.7, 0.9, 1],), 0.625),
        ("deletion", ([1.0, 1.0, 0.0], [0, 0.2, 1.0]), 0.6),
        ("deletion-lerf", ([1, 0.5, 0],), 0.5),
        ("road-morf", ([0.5, 0.25],), 0.375),
        ("road-lerf", ([],), math.nan),
        ("road-combined", ([0.5, 0.25], [0.75, 0.75]), 0.1875),
        ("road-combined", ([math.nan], [0.75]), math.nan),
        ("infidelity", ([2.0, 4.0], [1.0, 2.0]), 0.0),
        ("occlusion-rank", ([1.0, 2.0, 4.0], [1.0, 3.0, 2.0]), 0.5),
        ("adcc", (1.0, 0.5, 0.5), 0.6),
        ("win", (0.1, 0.2), 1.0),
    ],
)
def test_values(name, arguments, value):
    assert FAITHFULNESS[name](*arguments) == pytest.approx(value, nan_ok=True)


def test_means_leave_the_undefined_out():
    mean = Mean(FAITHFULNESS["average-drop"]).update(0.8, 0.4).update(0.0, 0.1).compute()
    assert (mean.value, mean.n, mean.undefined) == (0.5, 1, 1)


def test_area_of_many_even_steps():
    assert curve_area([k / 100 for k in range(101)]) == pytest.approx(0.5)
