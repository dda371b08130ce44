"""The question that methods ask answers the scores too, of real networks and several targets."""

import copy

import pytest
import torch

from saliscope.engine import BatchTarget, Budget, Network, Question
from saliscope.metrics.curves import CurveProtocol, removal_curves
from saliscope.metrics.kept import keep, kept_scores
from saliscope.metrics.occlusion import occlusion_drops
from saliscope.metrics.road_curves import road


@pytest.fixture
def scene(nets):
    net = nets.gap()
    random = torch.Generator().manual_seed(4)
    images = torch.randn(3, 3, 16, 12, generator=random)
    maps = torch.rand(2, 3, 16, 12, generator=random)
    logits = net(images).detach()
    classes = logits.argmax(1), logits.argmin(1)
    targets = [BatchTarget(c, "probability") for c in classes]
    network = Network(copy.deepcopy(net), read=lambda output: output)
    question = Question(network, images, images, (), {}, targets, Budget())

    def ask(pictures):
        with torch.no_grad():
            shares = net(pictures).softmax(1)
        return torch.stack([shares.gather(1, c[:, None]).squeeze(1) for c in classes], 1)

    return question, images, maps, ask


def test_scores_of_a_question_are_those_of_the_network(scene):
    question, images, maps, ask = scene
    row = CurveProtocol(name="few", steps=40, insertion="mean", ties="raster")
    curves = removal_curves(question, images, maps, protocol=row)
    for at, pictures in ((0, images), (-1, 0 * images)):
        for m in range(2):
            torch.testing.assert_close(curves["deletion"].scores[m, ..., at].float(), ask(pictures))
            torch.testing.assert_close(
                curves["insertion"].scores[m, ..., -1 - at].float(), ask(pictures)
            )
    ranks = maps[1].flatten(1).argsort(dim=1, descending=True, stable=True).argsort(1)
    gone = (ranks < 24).reshape(3, 1, 16, 12)
    found = curves["deletion"].scores[1, ..., 5].float()
    torch.testing.assert_close(found, ask(torch.where(gone, 0.0, images)), atol=1e-5, rtol=0)


def test_the_other_scores_ask_it_too(scene):
    question, images, maps, ask = scene
    kept = kept_scores(question, images, maps)
    torch.testing.assert_close(kept.before.float(), ask(images))
    torch.testing.assert_close(kept.after[1].float(), ask(keep(images, maps)[1]))
    drops = occlusion_drops(question, images, patch=6, stride=5)
    covered = images.clone()
    covered[..., :6, 5:11] = 0
    torch.testing.assert_close(
        drops[..., 0, 1].float(), ask(images) - ask(covered), atol=1e-5, rtol=0
    )
    found = road(question, images, maps, shares=(0.3, 0.6))
    torch.testing.assert_close(found.whole.float(), ask(images))
    assert found.morf.shape == (2, 3, 2, 2)
    assert torch.isfinite(found.combined).all()
