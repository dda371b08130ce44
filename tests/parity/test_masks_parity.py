"""Occlusion, LIME, Kernel SHAP and Gradient SHAP against captum: equal where it is right, and what differs.

If a difference is gone, captum has changed: update docs/deviations.md.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import saliscope as sc
from saliscope.methods import LIME
from saliscope.methods.noise import own_generator
from saliscope.methods.superpixels import superpixels

captum = pytest.importorskip("captum.attr")

CLASSES = torch.tensor([2, 4])


@pytest.fixture
def net(nets) -> nn.Module:
    return nets.deep_head(inplace=False)


@pytest.fixture
def x(batch) -> Tensor:
    return batch[:2]


def captum_occlusion(net, x, patch, stride):
    maps = captum.Occlusion(net).attribute(
        x, sliding_window_shapes=(3, *patch), strides=(3, *stride), baselines=0, target=CLASSES
    )
    return maps[:, 0]  # the same for all channels


@pytest.mark.parametrize(
    ("ours", "patch", "stride"),
    [
        ("patch=4:stride=4", (4, 4), (4, 4)),
        ("patch=8:stride=2", (8, 8), (2, 2)),
        ("patch=0.25:stride=0.125", (6, 4), (3, 2)),
    ],
)
def test_occlusion_where_windows_end_at_the_border(net, x, ours, patch, stride):
    found = sc.attribute(net, x, CLASSES, method=f"occlusion:{ours}")
    theirs = captum_occlusion(net, x, patch, stride)
    torch.testing.assert_close(found, theirs, rtol=1e-4, atol=1e-6)


def test_captum_cuts_the_last_window_of_occlusion():
    """It hides less there, so an even picture gets an uneven map; equal but for the pixels of the last windows."""

    class Sum(nn.Module):
        def forward(self, x):
            return x.sum((1, 2, 3))[:, None]

    image = torch.ones(1, 1, 7, 7)
    theirs = captum.Occlusion(Sum()).attribute(image, sliding_window_shapes=(1, 3, 3), strides=(1, 3, 3), target=0)  # fmt: skip
    found = sc.attribute(Sum(), image, 0, method="occlusion:patch=3:stride=3")
    assert torch.equal(found, torch.full((1, 7, 7), 9.0))
    assert torch.equal(theirs[0, 0, :6, :6], found[0, :6, :6])
    assert theirs[0, 0, 6].tolist() == [3.0] * 6 + [1.0]


def labels_of(x, segments):
    return torch.stack([superpixels(image, segments) for image in x])


def test_kernel_shap_is_captums_shapley_values(net, x):
    """All orders of five segments: the same values, which captum's KernelShap only comes near to."""
    exact = sc.attribute(net, x, CLASSES, method="kernel-shap:segments=4")
    for i in range(2):
        mask = labels_of(x[i : i + 1], 4)[:, None]
        one, target = x[i : i + 1], int(CLASSES[i])
        orders = captum.ShapleyValues(net).attribute(one, target=target, feature_mask=mask)
        torch.testing.assert_close(exact[i], orders[0, 0], rtol=1e-4, atol=1e-6)
        torch.manual_seed(0)
        near = captum.KernelShap(net).attribute(one, target=target, feature_mask=mask, n_samples=400)  # fmt: skip
        away = (near[0, 0] - exact[i]).abs().max() / exact[i].abs().max()
        assert 1e-5 < float(away) < 0.2


def test_lime_with_captum_on_the_same_samples(net, x):
    """The samples, the weights and ridge regression given, captum fits the same model."""
    pytest.importorskip("sklearn.linear_model")
    from captum._utils.models.linear_model import SkLearnLinearModel

    method = LIME(samples=40, segments=6, ridge=0.5)
    found = sc.attribute(net, x, CLASSES, method=method)
    for i in range(2):
        labels = superpixels(x[i], 6)
        count = int(labels.max()) + 1
        plan = method.plan(count, own_generator(x[i], 0)).float()

        def similarity(original, changed, z, **rest):
            distance = 1 - math.sqrt(float(z.mean()))
            return torch.tensor([math.exp(-(distance**2) / 0.25**2)])

        draws = iter(plan)
        lime = captum.LimeBase(
            net,
            interpretable_model=SkLearnLinearModel("linear_model.Ridge", alpha=0.5),
            similarity_func=similarity,
            perturb_func=lambda original, draws=draws, **rest: next(draws)[None],
            perturb_interpretable_space=True,
            from_interp_rep_transform=lambda z, original, labels=labels, **rest: (
                original * z[0][labels]
            ),
            to_interp_rep_transform=None,
        )
        values = lime.attribute(x[i : i + 1], target=int(CLASSES[i]), n_samples=40)
        torch.testing.assert_close(found[i], values[0][labels].float(), rtol=1e-3, atol=1e-5)


def test_gradient_shap_of_a_score_without_bends():
    """x² is bent evenly: the points are drawn otherwise, the mean is the same within the draws."""

    class Square(nn.Module):
        def forward(self, x):
            return x.square().sum((1, 2, 3))[:, None]

    image = torch.randn(1, 3, 6, 5)
    found = sc.attribute(Square(), image, 0, method="gradient-shap:samples=400:baseline=grey:channels=keep")  # fmt: skip
    torch.manual_seed(0)
    theirs = captum.GradientShap(Square()).attribute(image, torch.zeros_like(image), n_samples=20000, stdevs=0.0, target=0)  # fmt: skip
    torch.testing.assert_close(found, theirs, rtol=0.03, atol=1e-3)
    torch.testing.assert_close(found, image.square(), rtol=2e-3, atol=1e-5)


def test_gradient_shap_of_a_linear_score():
    weights = torch.randn(3, 6, 5)

    class Linear(nn.Module):
        def forward(self, x):
            return (x * weights).sum((1, 2, 3))[:, None]

    image = torch.randn(2, 3, 6, 5)
    found = sc.attribute(Linear(), image, 0, method="gradient-shap:samples=2:baseline=grey")
    theirs = captum.GradientShap(Linear()).attribute(image, torch.zeros_like(image[:1]), n_samples=2, target=0)  # fmt: skip
    torch.testing.assert_close(found, theirs.sum(1), rtol=1e-4, atol=1e-5)


def test_captums_gradient_shap_depends_on_the_batch_and_on_the_global_seed(net, x):
    """Its draws come from numpy's and torch's global generators; here from the image and a seed."""
    import numpy as np

    def theirs(some):
        torch.manual_seed(0)
        np.random.seed(0)
        return captum.GradientShap(net).attribute(some, torch.zeros_like(some), n_samples=3, stdevs=0.1, target=CLASSES[-len(some) :])  # fmt: skip

    def ours(some):
        return sc.attribute(net, some, CLASSES[-len(some) :], method="gradient-shap:samples=3:deviation=0.1")  # fmt: skip

    state = np.random.get_state()
    assert not torch.allclose(theirs(x)[1], theirs(x[1:])[0], rtol=0.01)
    np.random.set_state(state)
    torch.testing.assert_close(ours(x)[1], ours(x[1:])[0], rtol=1e-4, atol=1e-6)
