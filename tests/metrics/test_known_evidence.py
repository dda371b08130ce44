"""Where it is known what makes a class: the twin test and the planted tag."""

import math

import numpy as np
import pytest

from saliscope.data import open_data
from saliscope.errors import DataError
from saliscope.metrics import Mean
from saliscope.metrics.known_evidence import (
    EVIDENCE_METRICS,
    contrast,
    cue_enrichment,
    cue_heat,
    mask_pointing,
    twin_enrichment,
    twin_share,
)

PART = np.zeros((4, 5), bool)
PART[:2, :2] = True


def test_the_contrast_counts_and_not_what_both_maps_share():
    common = np.random.default_rng(0).random((4, 5)).astype(np.float32) * 100
    own, twin = common.copy(), common.copy()
    own[0, 0] += 3
    own[3, 3] += 1
    twin[1, 1] += 5  # speaks for the twin, in the part: not for the breed
    assert twin_share(own, twin, PART) == pytest.approx(0.75, rel=1e-4)
    assert twin_enrichment(own, twin, PART) == pytest.approx(0.75 / (4 / 20), rel=1e-4)
    assert twin_share(twin, own, PART) == pytest.approx(1)


def test_an_even_contrast_is_enriched_nowhere():
    assert twin_enrichment(np.ones((4, 5)), np.zeros((4, 5)), PART) == pytest.approx(1)
    assert twin_share(np.ones((4, 5)), np.zeros((4, 5)), PART) == pytest.approx(0.2)


def test_a_method_blind_to_the_class_has_no_contrast():
    same = np.random.default_rng(0).random((4, 5))
    assert math.isnan(twin_share(same, same, PART))
    assert math.isnan(twin_enrichment(same, same, PART))


def test_small_differences_of_large_maps_are_kept():
    own = np.full((4, 5), 2.0**24, np.float32)
    twin = own.copy()
    own[0, 0] += 2
    assert contrast(own, twin)[0, 0] == 2
    assert twin_share(own, twin, PART) == 1


def test_pixels_that_a_crop_never_saw_count_for_neither():
    own, twin = np.ones((4, 5)), np.zeros((4, 5))
    own[0] = np.nan
    assert twin_share(own, twin, PART) == pytest.approx(2 / 15)


def test_heat_on_the_tag():
    heat = np.full((4, 5), -3.0)
    heat[0, 0], heat[3, 4] = 1.0, 3.0
    assert cue_heat(heat, PART) == pytest.approx(0.25)
    assert cue_enrichment(heat, PART) == pytest.approx(1.25)


def test_a_hidden_part_or_tag_is_undefined():
    hidden = np.zeros((4, 5), bool)
    assert math.isnan(cue_heat(np.ones((4, 5)), hidden))
    assert math.isnan(cue_enrichment(np.ones((4, 5)), hidden))
    assert math.isnan(twin_share(np.ones((4, 5)), np.zeros((4, 5)), hidden))
    assert math.isnan(cue_heat(np.zeros((4, 5)), PART))


def test_maps_of_other_sizes_are_refused():
    with pytest.raises(
        DataError, match=r"maps of a class and its twin are \(H, W\).* \(4, 5\) and \(5, 4\)"
    ):
        contrast(np.ones((4, 5)), np.ones((5, 4)))
    with pytest.raises(DataError, match=r"heatmap is \(4, 5\) and the region \(5, 4\)"):
        twin_share(np.ones((4, 5)), np.zeros((4, 5)), PART.T)


def hottest_in(heat, mask):  # slow twin: the first hottest pixel, row by row
    best, inside = -math.inf, math.nan
    for y in range(heat.shape[0]):
        for x in range(heat.shape[1]):
            if heat[y, x] > best:
                best, inside = heat[y, x], float(mask[y, x])
    return inside


def test_pointing_at_a_mask():
    random = np.random.default_rng(0)
    answers = []
    for _ in range(60):
        heat = random.integers(0, 4, (5, 6)).astype(float)
        heat[random.random((5, 6)) < 0.3] = np.nan
        mask = random.random((5, 6)) < 0.5
        answers.append(mask_pointing(heat, mask))
        assert answers[-1] == hottest_in(heat, mask)
    assert {0.0, 1.0} == set(answers)


@pytest.mark.parametrize("level", [-1.0, 0.0, 4.0])
def test_a_constant_map_points_at_no_mask(level):
    """It has no hottest place, and its first pixel is none: a miss, as in the pointing game."""
    for mask in (PART, ~PART, np.ones((4, 5), bool)):
        assert mask_pointing(np.full((4, 5), level), mask) == 0.0


def test_pointing_at_nothing_or_from_nowhere_is_undefined():
    assert math.isnan(mask_pointing(np.ones((4, 5)), np.zeros((4, 5), bool)))
    assert math.isnan(mask_pointing(np.full((4, 5), np.nan), PART))
    with pytest.raises(DataError, match=r"heatmap is \(4, 5\) and the mask \(5, 4\)"):
        mask_pointing(np.ones((4, 5)), PART.T)


def test_the_masks_of_critters_fit():
    sample = open_data("critters:count=1", "test")[0]
    twin = open_data("critters:count=1", "test").twin(0)
    own, other = (s.photo().pixels.astype(float).mean(2) for s in (sample, twin))
    marks = np.abs(own - other)  # a map that knows the truth
    assert EVIDENCE_METRICS["twin-share"](
        marks, 0 * marks, sample.masks()["twin"]
    ) == pytest.approx(1)
    tagged = open_data("critters:variant=cue:count=1", "test")[0].masks()["tag"]
    mean = Mean(EVIDENCE_METRICS["cue-heat"]).update(tagged.astype(float), tagged)
    assert mean.update(np.zeros(tagged.shape), tagged).compute().value == 1
    assert mean.compute().undefined == 1
    assert EVIDENCE_METRICS["cue-enrichment"](tagged * 1.0, tagged) == pytest.approx(
        1 / tagged.mean()
    )
    assert EVIDENCE_METRICS["twin-enrichment"](
        np.ones((4, 5)), np.zeros((4, 5)), PART
    ) == pytest.approx(1)
