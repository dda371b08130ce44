"""The sanity checks on critternet, a network that learned: Grad-CAM changes, edges never."""

import numpy as np
import pytest
import torch

import saliscope as sc
from saliscope.data import open_data
from saliscope.metrics import lasting, random_logit, randomisation_curve, sanity_verdict, stages
from saliscope.models import logits_of

IMAGES = 6


@pytest.fixture(scope="module")
def material():
    model, data = sc.load_model("critternet"), open_data("critters", split="test")
    photos = [data[i].photo().pixels for i in range(IMAGES)]
    pictures = torch.from_numpy(np.stack([model.preprocessing(p)[0] for p in photos]))
    return model.module, pictures


def explainer(method, layer=None):
    return lambda net, x, c: sc.attribute(net, x, c, method=method, layer=layer)


@pytest.mark.slow
def test_grad_cam_changes_when_critternet_forgets_and_edges_never(material, unchanged):
    net, pictures = material
    order = stages(net, pictures[:2], read=logits_of, depth=1)
    with unchanged(net, pictures):
        changing = randomisation_curve(
            explainer("grad-cam:relu=false", "layer4"), net, pictures, order=order
        )
        edges = randomisation_curve(explainer("edges"), net, pictures, order=order)
    for likeness, values in changing.values.items():
        assert (values[0] == 1).all()
        assert np.nanmean(values[-1]) < 0.5, likeness
    assert all((values == 1).all() for values in edges.values.values())
    lasted = [
        lasting(c.values["spearman-abs"], c.chance["spearman-abs"]) for c in (changing, edges)
    ]
    assert sanity_verdict(lasted[0].min(), lasted[0].max()) == "passes"
    assert (lasted[1] == 1).all()
    assert sanity_verdict(1, 1) == "fails"


@pytest.mark.slow
def test_grad_cam_knows_the_class_and_edges_do_not(material):
    net, pictures = material
    knows = random_logit(explainer("grad-cam:relu=false", "layer4"), net, pictures)
    assert np.mean(knows.values["spearman"]) < 0.5
    blind = random_logit(explainer("edges"), net, pictures)
    assert all((values == 1).all() for values in blind.values.values())
