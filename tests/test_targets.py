"""Scalars beside a class logit: closed forms, sign, the rows of a batch, and what each refuses."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.engine import BatchTarget
from saliscope.targets import (
    ClassDifference,
    DetectionScore,
    EmbeddingSimilarity,
    MaskMean,
    OutputValue,
)

LOGITS = torch.tensor([[4.0, 1.0, 3.0], [0.0, 2.0, -1.0]])


def test_the_difference_of_two_classes():
    assert ClassDifference(0, 2)(LOGITS).tolist() == [1.0, 1.0]
    own = ClassDifference(torch.tensor([0, 1]), 2)
    assert own(LOGITS).tolist() == [1.0, 3.0]
    assert own.of(torch.tensor([1, 1, 0]))(LOGITS[[1, 1, 0]]).tolist() == [3.0, 3.0, 1.0]
    assert ClassDifference(0, 2)({"logits": LOGITS}).tolist() == [1.0, 1.0]
    assert ClassDifference(3, 258).name == "#3 rather than #258"
    assert own.name == "#(0, 1) rather than #2"


@pytest.mark.parametrize("index", [3, -1])
def test_a_class_that_is_not_there(index):
    with pytest.raises(sc.TargetError, match=rf"index #{index} is outside the 3 values"):
        ClassDifference(index, 0)(LOGITS)


@pytest.mark.parametrize("given", ["cat", 1.5, True, None])
def test_a_class_is_an_index(given):
    with pytest.raises(sc.TargetError, match="a class is an index, or a LongTensor"):
        ClassDifference(0, given)


def test_the_map_of_a_difference_is_the_difference_of_the_maps(nets, batch):
    net = nets.gap()
    both = sc.attribute(net, batch, torch.tensor([[0, 3]] * 3), method="grad-cam@bn1", relu=False)
    found = sc.attribute(net, batch, ClassDifference(0, 3), method="grad-cam@bn1", relu=False)
    torch.testing.assert_close(found, both[:, 0] - both[:, 1], rtol=1e-4, atol=1e-7)


def test_explanations_say_what_was_explained(nets, photos):
    found = sc.explain(sc.Model(nets.gap(), 32), photos[0], target=ClassDifference(0, 3))
    assert found.target.name == "#0 rather than #3"
    assert math.isfinite(found.target.logit)


def test_a_number_and_its_sign():
    assert OutputValue()(torch.tensor([2.0, 3.0])).tolist() == [2.0, 3.0]
    assert OutputValue(2, sign=-1)(LOGITS).tolist() == [-3.0, 1.0]
    assert OutputValue(2, sign=-1).name == "-output 2"
    with pytest.raises(sc.TargetError, match="sign is 1"):
        OutputValue(0, sign=0)


def test_regression_is_explained_with_its_sign(batch):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1), nn.Flatten(0))  # fmt: skip
    up = sc.attribute(net, batch, OutputValue(), method="grad-cam@1", relu=False)
    down = sc.attribute(net, batch, OutputValue(sign=-1), method="grad-cam@1", relu=False)
    assert float(up.abs().max()) > 0
    torch.testing.assert_close(down, -up)


def test_similarity_of_embeddings():
    vectors = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    assert EmbeddingSimilarity(torch.tensor([1.0, 0.0]))(vectors).tolist() == pytest.approx(
        [0.6, 0.0]
    )
    own = EmbeddingSimilarity(torch.tensor([[1.0, 0.0], [0.0, 5.0]]))
    assert own(vectors).tolist() == pytest.approx([0.6, 1.0])
    assert own.of(torch.tensor([1]))(vectors[1:]).tolist() == pytest.approx([1.0])
    for output in (SimpleNamespace(image_embeds=vectors), {"pooler_output": vectors}):
        assert own(output).tolist() == pytest.approx([0.6, 1.0])
    tokens = torch.stack([vectors, vectors], 1)
    assert own(SimpleNamespace(last_hidden_state=tokens)).tolist() == pytest.approx([0.6, 1.0])
    with pytest.raises(
        sc.TargetError, match="the reference has 3 numbers and the network's output 2"
    ):
        EmbeddingSimilarity(torch.ones(3))(vectors)
    with pytest.raises(sc.TargetError, match="no embedding"):
        own(torch.ones(2, 3, 4, 4))


def test_the_mean_over_a_mask():
    scores = torch.arange(24.0).reshape(1, 2, 3, 4)
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[0, :2] = True
    assert MaskMean(1, mask)({"out": scores}).tolist() == [12.5]
    assert MaskMean(0, mask)(SimpleNamespace(logits=scores)).tolist() == [0.5]
    own = MaskMean(1, torch.stack([mask, ~mask]))
    assert own(scores.repeat(2, 1, 1, 1)).tolist() == pytest.approx([12.5, (12 * 17.5 - 25) / 10])
    assert own.of(torch.tensor([1]))(scores).tolist() == pytest.approx([(12 * 17.5 - 25) / 10])
    assert MaskMean(1, mask).of(torch.tensor([0, 0])).mask is mask
    with pytest.raises(sc.TargetError, match="resize the mask"):
        MaskMean(1, torch.ones(2, 2))(scores)
    with pytest.raises(sc.TargetError, match="a mask is empty"):
        MaskMean(1, mask & False)(scores)
    with pytest.raises(sc.TargetError, match="class 2 is outside"):
        MaskMean(2, mask)(scores)
    with pytest.raises(sc.TargetError, match="no segmentation"):
        MaskMean(2, mask)(torch.ones(2, 2))


def test_the_score_of_a_detection():
    scores = torch.tensor([0.9, 0.8, 0.7], requires_grad=True)
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 20], [0, 0, 10, 10]])
    found = {"boxes": boxes, "scores": scores, "labels": torch.tensor([5, 3, 3])}
    nothing = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0)}
    target = DetectionScore(3, sc.Box(0, 0, 10, 10))
    values = target([found, nothing])
    assert values.tolist() == pytest.approx([0.7, 0.0])
    values.sum().backward()
    assert scores.grad.tolist() == [0, 0, 1]
    assert DetectionScore(9, sc.Box(0, 0, 1, 1))([found]).tolist() == [0.0]
    with pytest.raises(sc.TargetError, match="a detector returns a list"):
        target(boxes)


def test_log_probability():
    target = BatchTarget(torch.tensor([0, 1]), "log-probability")
    expected = LOGITS.double().softmax(1).log()
    assert target.scores(None, LOGITS).tolist() == pytest.approx(
        [float(expected[0, 0]), float(expected[1, 1])]
    )
    rows = torch.tensor([1, 0, 1])
    again = target.scores(None, LOGITS[rows], rows)
    assert again.tolist() == pytest.approx([float(expected[i, i]) for i in (1, 0, 1)])


def test_a_sure_network_saturates_only_at_the_top(nets, photos):
    """With the best class 10 logits ahead, its log-probability passes on 1e-5 to 1e-4 of the gradient; another's, all."""

    class Sure(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nets.gap()

        def forward(self, x):
            logits = self.net(x)
            first, second = logits.topk(2, 1).values.T
            return logits * (10 / (first - second).detach())[:, None]

    model = sc.Model(Sure(), 32, prepare=False)
    statuses = {}
    for space in ("log-probability", "probability"):
        best = sc.explain(model, photos[0], "grad-cam@net.bn1", target_space=space)
        other = (best.target.index + 1) % 5
        worse = sc.explain(model, photos[0], "grad-cam@net.bn1", target=other, target_space=space)
        statuses[space] = best.status, worse.status
    assert statuses["log-probability"][0] == "saturated"
    assert statuses["log-probability"][1] in ("ok", "negative")
    assert statuses["probability"] == ("saturated", "saturated")


def test_functions_that_know_their_rows_are_asked_in_any_batch():
    plain = BatchTarget(None, function=lambda output: output[:, 0])
    own = BatchTarget(None, function=ClassDifference(torch.tensor([0, 1]), 2))
    assert (plain.row_by_row, own.row_by_row) == (False, True)
    rows = torch.tensor([1, 1, 0])
    assert own.scores(LOGITS[rows], LOGITS[rows], rows).tolist() == [3.0, 3.0, 1.0]
