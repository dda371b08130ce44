import math

import numpy as np
import pytest

from saliscope.errors import DataError
from saliscope.metrics import enrichment, heat_share

CORNER = np.zeros((4, 5), bool)
CORNER[:2, :2] = True


def test_known_shares():
    heat = np.zeros((4, 5), np.float32)
    heat[0, 0], heat[1, 1], heat[3, 4] = 1.0, 2.0, 5.0
    assert heat_share(heat, CORNER) == pytest.approx(3 / 8)
    assert enrichment(heat, CORNER) == pytest.approx((3 / 8) / (4 / 20))


def test_an_even_map_has_the_share_of_the_area():
    heat = np.full((4, 5), 0.3, np.float32)
    assert heat_share(heat, CORNER) == pytest.approx(4 / 20)
    assert enrichment(heat, CORNER) == pytest.approx(1)


def test_negative_heat_is_none_and_does_not_cancel():
    heat = np.full((4, 5), -1.0)
    heat[0, 0], heat[3, 3] = 1.0, 1.0
    assert heat_share(heat, CORNER) == pytest.approx(0.5)


def test_what_a_crop_never_saw_counts_on_neither_side():
    heat = np.ones((4, 5))
    heat[:, 4] = np.nan
    heat[0, 0] = np.nan
    assert heat_share(heat, CORNER) == pytest.approx(3 / 15)
    assert enrichment(heat, CORNER) == pytest.approx(1)


@pytest.mark.parametrize("heat", [np.zeros((4, 5)), np.full((4, 5), -2.0), np.full((4, 5), np.nan)])
def test_without_heat_the_share_is_undefined(heat):
    assert math.isnan(heat_share(heat, CORNER))
    assert math.isnan(enrichment(heat, CORNER))


def test_an_empty_region_has_no_heat_and_no_enrichment():
    nothing = np.zeros((4, 5), bool)
    assert heat_share(np.ones((4, 5)), nothing) == 0
    assert math.isnan(enrichment(np.ones((4, 5)), nothing))


def test_sizes_must_agree():
    with pytest.raises(DataError, match=r"heatmap is \(4, 4\) and the region \(4, 5\)"):
        heat_share(np.ones((4, 4)), CORNER)


def test_many_small_values_are_summed_exactly_enough():
    heat = np.full((1000, 1000), 1e-4, np.float32)
    left = np.zeros((1000, 1000), bool)
    left[:, :250] = True
    assert heat_share(heat, left) == pytest.approx(0.25, rel=1e-9)
