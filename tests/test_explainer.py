import numpy as np
import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.explainer import explain_batch, resolve_specs
from saliscope.images import load_image
from saliscope.methods import parse_method

LABELS = ["ant", "bee", "cat", "dog", "elk"]


@pytest.fixture
def model(nets):
    return sc.Model(nets.gap(), (24, 16), labels=LABELS, name="small")


def specs_of(model, *texts):
    return resolve_specs(model, [parse_method(t) for t in texts])


def test_explanations_come_target_by_target_and_method_by_method(model, photos):
    specs = specs_of(model, "cam", "grad-cam@conv1", "random")
    loaded = [load_image(p) for p in photos[:3]]
    found = explain_batch(model, loaded, specs, top=2)
    inputs, _ = model.inputs(loaded)
    logits = model.module(inputs).detach().double()
    for i, of_image in enumerate(found):
        best = logits[i].topk(2).indices.tolist()
        assert [e.target.index for e in of_image] == [best[0]] * 3 + [best[1]] * 3
        assert [e.spec for e in of_image] == ["cam@act2", "grad-cam@conv1", "random"] * 2
        for e in of_image:
            assert e.photo is loaded[i]
            assert e.model == "small"
            assert e.predicted.index == best[0]
            assert e.target.label == LABELS[e.target.index]
            assert e.target.logit == pytest.approx(float(logits[i, e.target.index]), rel=1e-4)
            share = float(logits[i].softmax(0)[e.target.index])
            assert e.target.probability == pytest.approx(share, rel=1e-4)
            assert e.seconds > 0
        for k, c in enumerate(best):
            maps = sc.attribute(model, inputs[i : i + 1], c, method="cam")
            np.testing.assert_allclose(of_image[3 * k].map, maps[0], rtol=1e-4, atol=1e-6)


def test_layers_are_resolved(model):
    assert [s.layer for s in specs_of(model, "cam", "grad-cam", "grad-cam@bn1", "edges")] == [
        "act2", "act2", "bn1", None,
    ]  # fmt: skip
    with pytest.raises(sc.MethodError, match="where the network pools"):
        specs_of(model, "cam@conv1")
    with pytest.raises(sc.LayerError, match="not in GapNet"):
        specs_of(model, "grad-cam@nope")


def test_keras_names_are_replaced_by_native_ones():
    import torchvision

    model = sc.Model(torchvision.models.resnet50(num_classes=3).eval(), 64)
    assert specs_of(model, "grad-cam@conv4_block3_out")[0].layer == "layer3.2"


def test_target_and_top_exclude_each_other(model, photos):
    loaded, specs = [load_image(photos[0])], specs_of(model, "cam")
    with pytest.raises(sc.TargetError, match="either a target or the number of top classes"):
        explain_batch(model, loaded, specs, target=1, top=2)
    with pytest.raises(sc.TargetError, match="the top 9 of 5 classes"):
        explain_batch(model, loaded, specs, top=9)
    with pytest.raises(sc.TargetError, match="2 targets for 1 images"):
        explain_batch(model, loaded, specs, target=[1, 2])
    with pytest.raises(sc.OptionError, match='"odds" is unknown'):
        explain_batch(model, loaded, specs, space="odds")


def test_a_callable_target_has_no_class(model, photos):
    (found,) = explain_batch(
        model, [load_image(photos[0])], specs_of(model, "grad-cam"), target=lambda z: z[:, 0] * 2
    )[0]
    assert found.target.index is None
    assert found.target.space == "callable"
    inputs, _ = model.inputs([load_image(photos[0])])
    logits = model.module(inputs).detach()
    assert found.target.logit == pytest.approx(2 * float(logits[0, 0]), rel=1e-4)
    assert np.isnan(found.target.probability)
    assert found.predicted.index == int(logits.argmax())


class Fixed(nn.Module):
    """A map that is known: the red channel times `factor`, plus `shift`, pooled to 4 x 4."""

    def __init__(self, factor=1.0, shift=0.0, gain=1.0):
        super().__init__()
        self.grid = nn.AdaptiveAvgPool2d(4)
        self.mix = nn.Conv2d(3, 2, 1)
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.mix.weight.zero_()
            self.mix.weight[0, 0] = factor
            self.mix.bias.copy_(torch.tensor([shift, 0.0]))
            self.fc.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]) * gain)

    def forward(self, x):
        return self.fc(self.mix(self.grid(x)).mean((2, 3)))


RED = np.zeros((16, 16, 3), np.uint8)
RED[:8, :8, 0] = 255


@pytest.mark.parametrize(
    ("network", "options", "status", "box"),
    [
        (Fixed(), {"target": 0}, "ok", True),
        (Fixed(), {"target": 1}, "negative", False),
        (Fixed(), {"target": 1, "method": "grad-cam:sign=negative"}, "ok", True),
        (Fixed(0.0, 1.0), {"target": 0}, "constant", False),
        (Fixed(0.0, 0.0), {"target": 0}, "zero", False),
        (Fixed(gain=float("nan")), {"target": 0}, "nonfinite", False),
        (Fixed(gain=1e4), {"target": 0, "target_space": "probability"}, "zero", False),
        (Fixed(gain=20), {"target": 0, "target_space": "probability"}, "saturated", True),
        (Fixed(gain=1), {"target": 0, "target_space": "probability"}, "ok", True),
    ],
)
def test_the_status_travels_with_the_map(network, options, status, box):
    model = sc.Model(network, 16, mean=(0, 0, 0), std=(1, 1, 1))
    found = sc.explain(model, RED, **({"method": "grad-cam", "layer": "mix"} | options))
    assert found.status == status
    assert (found.box() is not None) is box
    if status == "ok":
        x0, y0, x1, y1 = found.box("gradcam2017")
        assert max(x0, y0) <= 1
        assert 8 <= min(x1, y1) <= max(x1, y1) <= 12, "the red corner"


def test_the_map_is_after_the_methods_relu_and_the_status_before_it():
    model = sc.Model(Fixed(), 16, mean=(0.5, 0, 0), std=(1, 1, 1))
    cut = sc.explain(model, RED, layer="mix", target=0)
    signed = sc.explain(model, RED, "grad-cam:relu=false", layer="mix", target=0)
    assert float(signed.map.min()) < 0
    np.testing.assert_allclose(cut.map, np.maximum(signed.map, 0))
    expected = np.where(RED[2::4, 2::4, 0] > 0, 0.5, -0.5) / 16
    np.testing.assert_allclose(signed.map, expected, rtol=1e-5)
