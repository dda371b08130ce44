"""All methods on one photograph: what applies, what is left out and why, and what each costs alone."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.every import explain_every
from saliscope.images import load_image
from saliscope.methods import METHODS, by_family
from saliscope.report.page import measured

NAMES = ["cam", "grad-cam@bn1", "eigen-cam@bn1", "shapley-cam@bn1", "centre"]


@pytest.fixture
def model(nets):
    return sc.Model(nets.gap("inplace"), 32)


def test_families_stay_together():
    names = by_family()
    assert sorted(names) == sorted(METHODS)
    families = [METHODS[n].family for n in names]
    changes = sum(a != b for a, b in pairwise(families))
    assert changes == len(set(families)) - 1


def test_each_is_what_it_is_alone(model, photos):
    photo = load_image(photos[0])
    found = explain_every(model, photo, NAMES, target=2)
    assert found.left_out == ()
    for one, name in zip(found.found, NAMES, strict=True):
        alone = sc.explain(model, photo, name, target=2)
        assert one.explanation.spec == alone.spec
        np.testing.assert_allclose(one.explanation.map, alone.map, rtol=1e-4, atol=1e-6)
        assert one.seconds > 0
    costs = [(f.passes.forward, f.passes.backward) for f in found.found]
    assert costs == [(1, 0), (1, 1), (1, 0), (1, 2), (1, 0)]


def test_what_does_not_apply_is_left_out_with_its_reason(photos):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 3))
    found = explain_every(sc.Model(net, 32), load_image(photos[0]), ["cam", "grad-cam", "edges"])
    assert [f.explanation.method for f in found.found] == ["grad-cam", "edges"]
    ((name, why),) = found.left_out
    assert name == "cam"
    assert "global average pooling" in why


def test_other_mistakes_are_not_left_out(model, photos):
    with pytest.raises(sc.TargetError, match="outside"):
        explain_every(model, load_image(photos[0]), NAMES, target=99)


def test_the_figure_shows_every_method_once(model, photos):
    found = explain_every(model, load_image(photos[0]), ["cam", *NAMES, "refine-cam", "xgrad-cam", "layer-cam", "fem", "edges"], truth=sc.Box(5, 5, 20, 20))  # fmt: skip
    figure = found.figure()
    texts = [t for axes in figure.axes for t in axes.texts]
    words = [t.get_text() for t in texts]
    for one in found.found:
        assert one.explanation.method.split(":")[0] in words
    assert words.count("1 forward + 2 backward") == 1
    assert sum(w.startswith("IoU 0.") for w in words) == len(found.found)
    assert {"one capture", "trivial"} <= set(words)
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == len(found.found)
    width, height = figure.get_size_inches()
    for text in texts:
        x, y = text.get_position()
        if text.axes.get_label() == "page":
            length = measured(
                text.get_text(), text.get_fontsize(), bold=text.get_fontweight() == "bold"
            )
            assert 0 < x < x + length <= width
            assert 0 < y < height


def test_reasons_are_in_the_figure(photos):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 3))
    found = explain_every(sc.Model(net, 32), load_image(photos[0]), ["cam", "grad-cam"])
    words = " ".join(t.get_text() for axes in found.figure().axes for t in axes.texts)
    assert "does not apply here" in words
    assert "cam: CAM needs a network" in words


def test_seeds_are_left_alone(model, photos):
    before = torch.random.get_rng_state()
    explain_every(model, load_image(photos[0]), ["random", "grad-cam@bn1:smooth=2"])
    assert torch.equal(before, torch.random.get_rng_state())
