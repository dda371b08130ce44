"""Faithfulness scores against torchcam and grad-cam, equal where those are right, and where they are not."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from saliscope.metrics.curves import CurveProtocol, removal_curves
from saliscope.metrics.drop import absolute_drop, increase, relative_drop
from saliscope.metrics.imputation import impute
from saliscope.metrics.kept import kept_scores
from saliscope.metrics.order import removal_ranks, share_removed

metrics = pytest.importorskip("torchcam.metrics")
peer = pytest.importorskip("pytorch_grad_cam.metrics.cam_mult_image")
perturbing = pytest.importorskip("pytorch_grad_cam.metrics.perturbation_confidence")
road = pytest.importorskip("pytorch_grad_cam.metrics.road")

SIZE = (12, 10)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(
            torch.randn(3 * SIZE[0] * SIZE[1], 4, generator=torch.Generator().manual_seed(2)) / 5
        )

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.flatten(1) @ self.weights


class Probabilities:
    """Answers about the class of the largest logit of the images, as a question does."""

    def __init__(self, net: nn.Module, images: Tensor, *, logits: bool = False) -> None:
        self.net, self.batch, self.logits = net, len(images), logits
        self.classes = net(images).argmax(1)

    @torch.no_grad()
    def answers(self, count, make):
        for i in range(count):
            pictures = make(range(i, i + 1), slice(0, self.batch))[0]
            out = self.net(pictures)
            values = out if self.logits else out.softmax(1)
            yield range(i, i + 1), values.gather(1, self.classes[:, None])[None]


class Extractor:
    """What torchcam asks of one, with maps that are given."""

    def __init__(self, model: nn.Module, maps: Tensor) -> None:
        self.model, self.maps = model, maps

    def __call__(self, class_idx=None, scores=None, normalized=True, *, targets=None):
        return [self.maps]

    def fuse_cams(self, cams):
        return cams[0]

    def _hooks_off(self):
        return nullcontext()


def scene():
    random = torch.Generator().manual_seed(3)
    images = torch.randn(4, 3, *SIZE, generator=random)
    maps = torch.rand(4, *SIZE, generator=random)
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    maps = (maps - low) / (high - low)
    maps[1] = (maps[1] - 0.6).clamp_min(0) / 0.4  # many ties
    return Network(), images, maps


@pytest.mark.parametrize("steps", [10, 24])
def test_deletion_and_insertion_equal_torchcam(steps):
    net, images, maps = scene()
    theirs = metrics.DeletionInsertionMetric(
        Extractor(net, maps), partial(torch.softmax, dim=-1), steps=steps
    )
    theirs.update(images)
    row = CurveProtocol(name="torchcam", steps=steps, insertion="mean", ties="raster")
    found = removal_curves(Probabilities(net, images), images, maps[None], protocol=row)
    summary = theirs.summary()
    assert found["deletion"].area.mean().item() == pytest.approx(summary["deletion_auc"], abs=1e-5)
    assert found["insertion"].area.mean().item() == pytest.approx(
        summary["insertion_auc"], abs=1e-5
    )


def test_torchcam_breaks_ties_in_reading_order_and_we_by_a_draw():
    net, images, maps = scene()
    theirs = metrics.DeletionInsertionMetric(Extractor(net, maps[1:2]), steps=10)
    theirs.update(images[1:2])
    row = CurveProtocol(name="drawn", steps=10, insertion="mean")
    question = Probabilities(net, images[1:2], logits=True)
    areas = [
        removal_curves(question, images[1:2], maps[None, 1:2], protocol=row, seed=s)["deletion"]
        for s in range(6)
    ]
    drawn = np.array([a.area.item() for a in areas])
    assert drawn.std() > 1e-3
    assert abs(drawn.mean() - theirs.summary()["deletion_auc"]) > 1e-3
    assert areas[0].ties.item() > 0.4


def test_drop_and_increase_equal_torchcam():
    net, images, maps = scene()
    theirs = metrics.ClassificationMetric(Extractor(net, maps), partial(torch.softmax, dim=-1))
    theirs.update(images)
    found = kept_scores(Probabilities(net, images), images, maps[None])
    pairs = list(zip(found.before.flatten().tolist(), found.after.flatten().tolist(), strict=True))
    summary = theirs.summary()
    assert np.mean([relative_drop(*p) for p in pairs]) == pytest.approx(
        summary["avg_drop"], abs=1e-5
    )
    assert np.mean([increase(*p) for p in pairs]) == pytest.approx(summary["conf_increase"])


def test_the_drop_of_grad_cam_is_absolute_and_of_logits():
    net, images, maps = scene()
    classes = net(images).argmax(1).tolist()
    targets = [lambda out, c=c: out[c] for c in classes]
    theirs = peer.DropInConfidence()(images, maps.numpy(), targets, net)
    found = kept_scores(Probabilities(net, images, logits=True), images, maps[None])
    before, after = found.before.flatten().tolist(), found.after.flatten().tolist()
    ours = [absolute_drop(b, a) for b, a in zip(before, after, strict=True)]
    np.testing.assert_allclose(theirs, ours, atol=1e-5)
    shares = [relative_drop(b, a) for b, a in zip(before, after, strict=True)]
    assert not np.allclose(theirs, shares, atol=1e-2)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # theirs
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_filling_in_equals_grad_cam(share):
    _, images, maps = scene()
    gone = share_removed(removal_ranks(maps, images), share)
    found = impute(images, gone)
    for i in range(4):
        keep = 1 - gone[i].float()
        theirs = road.NoisyLinearImputer(noise=0)(images[i], keep)
        torch.testing.assert_close(found[i], theirs, atol=1e-4, rtol=0)


def test_the_percentile_of_grad_cam_removes_everything_under_ties():
    """Removing by rank takes the asked share; a threshold of 0 keeps no pixel that is below it."""
    heat = torch.rand(20, 20, generator=torch.Generator().manual_seed(0))
    heat = torch.where(heat < heat.flatten().kthvalue(236).values, 0.0, heat)  # 59 % zeros
    kept = []
    for percentile in (10, 20, 50):
        removing = perturbing.RemoveMostRelevantFirst(
            percentile, lambda _, mask: kept.append(mask.mean().item())
        )
        removing(torch.zeros(3, 20, 20), heat)
    assert kept == [0, 0, 0]  # asked to keep .1, .2 and .5
    ranks = removal_ranks(heat[None], torch.zeros(1, 3, 20, 20))
    assert [share_removed(ranks, s).float().mean().item() for s in (0.9, 0.8, 0.5)] == (
        pytest.approx([0.9, 0.8, 0.5])
    )
