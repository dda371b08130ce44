"""Thousands of explanations in one process: nothing may pile up."""

import gc

import numpy as np
import psutil
import pytest

import saliscope as sc
from quick import at
from saliscope.methods import METHODS

SPECS = [
    "grad-cam",
    "grad-cam@conv1",
    "grad-cam@bn1:relu=false",
    "grad-cam:sign=negative",
    "layer-cam@conv1+act2",
]
SPECS += [
    "cam" if name == "cam" else at(name)
    for name, kind in METHODS.items()
    if kind.family != "transformers"
]


def resident() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


def growth(nets, count: int) -> float:
    """Resident memory gained between the 100th and the last of `count` explanations, in MB."""
    net = nets.gap("inplace")
    model = sc.Model(net, 32, labels=list("abcde"))
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (40 + i, 52 - i, 3), dtype=np.uint8) for i in range(7)]
    start = 0.0
    for i in range(count):
        if i == 100:
            start = resident()
        found = sc.explain(model, images[i % 7], SPECS[i % len(SPECS)], target=i % 5)
        assert np.isfinite(found.heatmap()).all()
        found.box()
        if i % 10 == 0:
            found.overlay()
            sc.attribute(net, model.inputs([found.photo])[0], layer="conv2")
        if i % 50 == 7:
            with pytest.raises(sc.LayerError):
                sc.explain(model, images[0], layer="none")
    assert len(net.conv1._forward_hooks) == 0
    return resident() - start


def test_300_explanations(nets):
    assert growth(nets, 300) < 20


@pytest.mark.slow
def test_5000_explanations(nets):
    assert growth(nets, 5000) < 20
