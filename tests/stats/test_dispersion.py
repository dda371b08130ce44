import math

import numpy as np
import pytest

from saliscope.errors import DataError
from saliscope.stats import by_class, mean_interval

VALUES = [0.9, 0.7, 0.1, math.nan, 0.5, 0.5, math.nan]
CLASSES = ["cat", "cat", "dog", "dog", "emu", "emu", "fox"]


def test_each_class_has_its_mean_and_number():
    found = by_class(VALUES, CLASSES, replicates=100)
    assert [(c.name, c.n, c.undefined) for c in found.classes] == [
        ("cat", 2, 0), ("dog", 1, 1), ("emu", 2, 0), ("fox", 0, 1),
    ]  # fmt: skip
    assert [c.mean for c in found.classes[:3]] == pytest.approx([0.8, 0.1, 0.5])
    assert found.classes[0].sd == pytest.approx(0.2 / math.sqrt(2))
    assert math.isnan(found.classes[1].sd)
    assert math.isnan(found.classes[3].mean)


def test_macro_gives_classes_the_same_say_and_micro_images():
    found = by_class(VALUES, CLASSES, replicates=100)
    assert found.macro.estimate == pytest.approx((0.8 + 0.1 + 0.5) / 3)
    assert found.micro.estimate == pytest.approx(2.7 / 5)
    assert (found.macro.n, found.macro.undefined) == (5, 2)
    assert found.spread == pytest.approx(np.std([0.8, 0.1, 0.5], ddof=1))
    # Of cat and emu, the classes with two images: var .045 less mean(.02 / 2, 0) = .005.
    assert found.excess == pytest.approx(math.sqrt(0.045 - 0.005))


def test_worst_and_best_are_sorted_and_defined():
    found = by_class(VALUES, CLASSES, replicates=100)
    assert [c.name for c in found.worst(2)] == ["dog", "emu"]
    assert [c.name for c in found.best(9)] == ["cat", "emu", "dog"]
    tied = by_class([1.0, 1.0, 1.0], ["c", "a", "b"], replicates=100)
    assert [c.name for c in tied.worst()] == [c.name for c in tied.best()] == ["a", "b", "c"]


def test_the_intervals_draw_images_within_classes_by_a_slow_twin():
    values, classes = [1.0, 3.0, 10.0, 40.0, 25.0], [0, 0, 1, 1, 1]
    found = by_class(values, classes, replicates=300, seed=8)
    draw = np.random.default_rng(8)
    a = np.array(values)[draw.integers(0, 2, (300, 2))]
    b = np.array(values)[draw.integers(2, 5, (300, 3))]
    macro = (a.mean(axis=1) + b.mean(axis=1)) / 2
    assert found.macro.low == pytest.approx(np.quantile(macro, 0.025))
    assert found.macro.high == pytest.approx(np.quantile(macro, 0.975))
    micro = (a.sum(axis=1) + b.sum(axis=1)) / 5
    assert found.micro.low == pytest.approx(np.quantile(micro, 0.025))


def test_classes_of_one_size_have_one_mean():
    values = np.random.default_rng(0).random(60)
    found = by_class(values, np.arange(60) % 6, replicates=300)
    assert found.macro.low == pytest.approx(found.micro.low)
    assert found.macro.high == pytest.approx(found.micro.high)
    assert found.micro == mean_interval(values, strata=np.arange(60) % 6, replicates=300)


def test_scatter_alone_is_no_excess():
    draw = np.random.default_rng(1)
    classes = np.repeat(np.arange(120), 20)
    chance = by_class(draw.normal(size=2400), classes, replicates=100)
    assert chance.spread == pytest.approx(1 / math.sqrt(20), rel=0.15)
    assert chance.excess < 0.12
    real = by_class(
        draw.normal(size=2400) + draw.normal(0, 0.5, 120)[classes], classes, replicates=100
    )
    assert real.excess == pytest.approx(0.5, rel=0.2)


def test_one_class_has_no_spread_and_nothing_no_mean():
    one = by_class([1.0, 2.0], ["a", "a"], replicates=100)
    assert math.isnan(one.spread)
    assert math.isnan(one.excess)
    empty = by_class([math.nan], ["a"], by="bca", replicates=100)
    assert math.isnan(empty.macro.estimate)
    assert (empty.macro.undefined, empty.worst(), empty.macro.by) == (1, (), "bca")
    with pytest.raises(DataError, match="classes need one label a row"):
        by_class([1.0, 2.0], ["a"])


def test_the_interval_of_the_macro_mean_covers():
    draw, hits = np.random.default_rng(4), 0
    classes = np.repeat(np.arange(4), [8, 15, 30, 60])
    for i in range(200):
        values = classes + draw.normal(size=113)
        found = by_class(values, classes, replicates=300, seed=i).macro
        hits += found.low <= 1.5 <= found.high
    assert 0.87 < hits / 200 < 0.98
