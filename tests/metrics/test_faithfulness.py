import math

import numpy as np
import pytest

from saliscope.errors import DataError
from saliscope.metrics import METRICS, Mean
from saliscope.metrics.faithfulness import FAITHFULNESS, curve_area, infidelity, road_combined


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


def test_each_score_has_its_fraction():
    with pytest.raises(DataError, match=r"has its fraction; got \(3,\) and \(2,\)"):
        curve_area([1.0, 0.5, 0.0], [0.0, 1.0])


def test_road_of_nothing_is_undefined():
    assert math.isnan(road_combined([], []))


def test_infidelity_of_linear_models():
    w = np.array([1.0, -2.0, 3.0])
    noise = np.random.default_rng(0).normal(size=(200_000, 3))
    drops = noise @ w
    assert infidelity(noise @ w, drops) == pytest.approx(0, abs=1e-12)
    assert infidelity(noise @ w, drops, scaled=False) == pytest.approx(0, abs=1e-12)
    assert infidelity(np.zeros(200_000), drops) == pytest.approx(14, rel=0.02)
    assert infidelity(2 * noise @ w, drops) == pytest.approx(0, abs=1e-12)
    assert infidelity(2 * noise @ w, drops, scaled=False) == pytest.approx(14, rel=0.02)


def test_the_best_beta_is_the_best():
    p, d = np.random.default_rng(1).normal(size=(2, 50))
    best = infidelity(p, d)
    for beta in np.linspace(-2, 2, 81):
        assert best <= infidelity(beta * p, d, scaled=False) + 1e-12
    assert infidelity(7 * p, d) == pytest.approx(best)


def test_undefined_infidelity():
    assert math.isnan(infidelity([], []))
    assert math.isnan(infidelity([1.0, math.nan], [1.0, 2.0]))
    with pytest.raises(DataError, match=r"both \(n,\); got \(2,\) and \(3,\)"):
        infidelity([1, 2], [1, 2, 3])
