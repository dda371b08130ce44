"""The robustness scores of one picture are those of the functions behind them."""

import pytest
import torch

from saliscope.metrics import Mean
from saliscope.metrics.robustness import ROBUSTNESS_METRICS
from saliscope.metrics.stability import (
    flip_consistency,
    jpeg_consistency,
    sensitivity,
    shift_consistency,
)


def hot(pictures):
    """A map that moves with the picture and is no mirror image of itself."""
    return (pictures[:, 0] - pictures[:, 1].roll(1, -1)) ** 2


def test_every_row_is_the_metric_of_one_picture():
    pictures = torch.rand(3, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    rows = {
        "max-sensitivity": ({"samples": 2}, sensitivity(hot, pictures, samples=2).largest),
        "average-sensitivity": ({"samples": 2}, sensitivity(hot, pictures, samples=2).mean),
        "flip-consistency": ({}, flip_consistency(hot, pictures)),
        "shift-consistency": ({"shift": (3, 1)}, shift_consistency(hot, pictures, (3, 1))),
        "jpeg-consistency": ({"quality": 30}, jpeg_consistency(hot, pictures, quality=30)),
    }
    assert set(rows) == set(ROBUSTNESS_METRICS)
    for name, (options, expected) in rows.items():
        metric = ROBUSTNESS_METRICS[name]
        mean = Mean(metric)
        for picture in pictures:
            mean.update(hot, picture, **options)
        assert mean.compute().value == pytest.approx(expected.mean(), rel=1e-6)
        assert metric.bounds[0] <= mean.compute().value <= metric.bounds[1]
