import math

import numpy as np
import pytest

from saliscope.errors import DataError, OptionError
from saliscope.stats import maximised_difference, maximised_interval, maximised_table

OPTIONS = {"replicates": 300, "seed": 4}


def hits(n, seed, at=0.5):
    draw = np.random.default_rng(seed)
    centre, wide = draw.normal(at, 0.15, (n, 1)), draw.uniform(0.05, 0.4, (n, 1))
    right = np.abs(np.linspace(0, 1, 30) - centre) < wide
    return np.stack([right, right & (draw.random((n, 1)) < 0.7)], axis=1)


def one_by_one(values, reference, **options):
    return {
        name: (
            maximised_interval(each, **options),
            None if name == reference else maximised_difference(each, values[reference], **options),
        )
        for name, each in values.items()
    }


@pytest.mark.parametrize("by", ["percentile", "bca"])
@pytest.mark.parametrize("labels", ["none", "strata", "clusters"])
def test_it_gives_what_the_single_functions_give(by, labels):
    values = {"CAM": hits(120, 1), "edges": hits(120, 2, at=0.3)[..., ::2], "full": hits(120, 3)}
    given = {} if labels == "none" else {labels: np.random.default_rng(0).integers(0, 40, 120)}
    found = maximised_table(values, reference="CAM", by=by, level=0.9, **given, **OPTIONS)
    expected = one_by_one(values, "CAM", by=by, level=0.9, **given, **OPTIONS)
    assert found == expected
    assert list(found) == ["CAM", "edges", "full"]
    assert found["CAM"][1] is None
    assert found["edges"][1].second == found["CAM"][0]


def test_methods_undefined_on_different_images_have_their_own_resamples():
    values = {name: hits(80, seed).astype(float) for seed, name in enumerate("abcd")}
    values["a"][5], values["b"][[1, 9]], values["d"][5] = np.nan, np.nan, np.nan
    strata = np.arange(80) % 3
    found = maximised_table(values, reference="b", strata=strata, **OPTIONS)
    assert found == one_by_one(values, "b", strata=strata, **OPTIONS)
    interval, against = found["a"]
    assert (interval.interval.n, against.difference.n, against.difference.undefined) == (79, 77, 3)
    assert against.second != found["b"][0]


def test_images_are_drawn_once_for_all_methods(monkeypatch):
    calls = []
    draw = np.random.default_rng

    def counted(seed):
        calls.append(seed)
        return draw(seed)

    monkeypatch.setattr("saliscope.stats.maxima.np.random.default_rng", counted)
    values = {name: np.ones((30, 4), bool) for name in "abcdef"}
    found = maximised_table(values, reference="c", **OPTIONS)
    assert calls == [4]
    assert found["f"][1].difference.high == 0.0


def test_a_method_without_any_defined_image_has_no_interval():
    values = {"CAM": hits(30, 1), "none": np.full((30, 2, 30), np.nan)}
    interval, against = maximised_table(values, reference="CAM", by="bca", **OPTIONS)["none"]
    assert (interval.interval.n, interval.best, against.difference.n) == (0, (), 0)
    assert math.isnan(against.difference.estimate)
    assert math.isnan(against.first.interval.low)


def test_an_unknown_reference_and_other_images_are_refused():
    with pytest.raises(OptionError, match=r'no scores of the reference "Cam"; .*"CAM"'):
        maximised_table({"CAM": hits(9, 1)}, reference="Cam")
    with pytest.raises(DataError, match=r"same images and deltas; got \{'a': \(9, 2\), 'b': \(8, "):
        maximised_table({"a": hits(9, 1), "b": hits(8, 1)}, reference="a")
    with pytest.raises(OptionError, match="replicates number 100 or more"):
        maximised_table({"a": hits(9, 1)}, reference="a", replicates=10)
