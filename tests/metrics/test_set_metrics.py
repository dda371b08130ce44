"""The scores of whole sets and of sanity checks equal what their accumulators and functions give."""

import math

import numpy as np
import pytest
import torch

import saliscope as sc
from saliscope.boxes import Box
from saliscope.metrics import (
    SANITY_METRICS,
    SET_METRICS,
    BoxAccuracy,
    PixelAP,
    PointingGame,
    lasting,
    random_logit,
)


def blob(top, left, side=8):
    heat = np.zeros((40, 40))
    heat[top : top + side, left : left + side] = 1.0
    return heat


BOXES = [Box(4, 4, 12, 12), Box(20, 20, 28, 28), Box(5, 5, 12, 12)]
HEATS = [blob(4, 4), blob(4, 20), blob(4, 4)]
ANNOTATED = [{"heat": h, "truth": [b]} for h, b in zip(HEATS, BOXES, strict=True)]


def test_box_accuracy_of_a_set():
    for name, version in (("max-box-acc", 1), ("max-box-acc-v2", 2)):
        score = BoxAccuracy(version)
        for image in ANNOTATED:
            score.update(**image)
        assert SET_METRICS[name](ANNOTATED) == score.compute().value
    assert SET_METRICS["max-box-acc"](ANNOTATED) == pytest.approx(2 / 3)


def test_pointing_is_a_mean_over_classes():
    images = [image | {"label": label} for image, label in zip(ANNOTATED, "aab", strict=True)]
    game = PointingGame()
    for image in images:
        game.update(**image)
    assert SET_METRICS["pointing-game"](images) == game.compute().all.value == 0.75


def test_pixels_are_pooled_over_the_set():
    masks = [blob(4, 4) > 0, blob(20, 20) > 0]
    images = [{"heat": h, "mask": m} for h, m in zip(HEATS, masks, strict=False)]
    pooled = PixelAP()
    for image in images:
        pooled.update(**image)
    assert SET_METRICS["pxap"](images) == pooled.compute().value
    assert SET_METRICS["pxap"](images) == pytest.approx(0.5 * 0.5 + 0.5 * 128 / 3200)


def test_of_no_image_nothing_is_defined():
    assert all(math.isnan(metric([])) for metric in SET_METRICS.values())


def test_lasting_is_the_mean_over_the_images_for_which_it_is_defined():
    values = np.full((3, 1, 2), 0.5)
    values[1:, :, 1] = math.nan
    chance = np.zeros(2)
    assert np.isnan(lasting(values, chance)[1])
    assert SANITY_METRICS["lasting"](values, chance) == 0.5
    values[1:] = math.nan
    assert math.isnan(SANITY_METRICS["lasting"](values, chance))


def test_random_logit_of_one_picture(nets):
    gap_net = nets.gap()

    def explain(net, pictures, classes):
        return sc.attribute(net, pictures, classes, method="grad-cam:relu=false", layer="conv1")

    picture = torch.rand(3, 24, 24)
    found = random_logit(explain, gap_net, picture[None], likenesses=["spearman-abs"])
    value = SANITY_METRICS["random-logit"](explain, gap_net, picture)
    assert value == found.values["spearman-abs"][0]
    assert -1 < value < 1

    def blind(net, pictures, classes):
        return pictures[:, 0]

    assert SANITY_METRICS["random-logit"](blind, gap_net, picture, seed=3) == 1.0
