import numpy as np
import pytest
import torch

from saliscope.engine import TopClasses, class_indices, class_scores, function_scores
from saliscope.errors import OptionError, TargetError

LOGITS = torch.tensor([[0.1, 3.0, 2.0, -1.0], [5.0, 0.0, 1.0, 4.0]])


@pytest.mark.parametrize(
    ("target", "expected", "several"),
    [
        (None, [[1], [0]], False),
        (2, [[2], [2]], False),
        (np.int64(2), [[2], [2]], False),
        ([3, 1], [[3], [1]], False),
        ((3, 1), [[3], [1]], False),
        ([np.int64(3), torch.tensor(1)], [[3], [1]], False),
        (np.array([3, 1]), [[3], [1]], False),
        (torch.tensor([3, 1]), [[3], [1]], False),
        (torch.tensor([3, 1], dtype=torch.int32), [[3], [1]], False),
        (torch.tensor([[3, 1], [0, 2]]), [[3, 1], [0, 2]], True),
        (torch.tensor([[3], [0]]), [[3], [0]], True),
        (TopClasses(1), [[1], [0]], True),
        (TopClasses(3), [[1, 2, 0], [0, 3, 2]], True),
    ],
)
def test_class_indices(target, expected, several):
    indices, found = class_indices(target, LOGITS)
    assert indices.tolist() == expected
    assert indices.dtype == torch.long
    assert found is several


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (4, r"class 4 is outside the network's 4 classes \(0 to 3\)"),
        (-1, r"class -1 is outside"),
        ([0, 7], r"class 7 is outside"),
        (torch.tensor([[0, 1], [2, 9]]), r"class 9 is outside"),
        (True, "not a boolean"),
        (torch.tensor([True, False]), "not a boolean"),
        ([True, False], "not all integers"),
        ([1.0, 2.0], "not all integers"),
        (["1", "2"], "not all integers"),
        (torch.tensor([1.0, 2.0]), r"integers, got torch\.float32"),
        (2.5, "a float is no target"),
        ([1], r"\(1,\) targets for 2 images"),
        ([1, 2, 3], r"\(3,\) targets for 2 images"),
        (torch.tensor([[1, 2, 3]]), r"\(1, 3\) targets for 2 images"),
        (torch.zeros(2, 0, dtype=torch.long), r"\(2, 0\) targets for 2 images"),
        (torch.zeros(2, 1, 1, dtype=torch.long), "targets for 2 images"),
        (TopClasses(5), "the top 5 of 4 classes"),
        (TopClasses(0), "the top 0 of 4 classes"),
    ],
)
def test_wrong_targets_raise(target, message):
    with pytest.raises(TargetError, match=message):
        class_indices(target, LOGITS)


def test_scores_are_logits_or_probabilities():
    classes = torch.tensor([2, 3])
    assert class_scores(LOGITS, classes).tolist() == [2.0, 4.0]
    wide = LOGITS.double()
    for i, c in enumerate([2, 3]):
        total = sum(float(torch.exp(v)) for v in wide[i])
        share = float(torch.exp(wide[i, c])) / total
        found = class_scores(LOGITS, classes, space="probability")[i]
        assert float(found) == pytest.approx(share, rel=1e-6)
    with pytest.raises(OptionError, match='"odds" is unknown'):
        class_scores(LOGITS, classes, space="odds")


def test_function_scores_are_checked():
    assert function_scores(lambda o: o[:, 0] * 2, LOGITS, 2).tolist() == pytest.approx([0.2, 10.0])
    with pytest.raises(TargetError, match=r"shape \(2,\); got shape \(2, 4\)"):
        function_scores(lambda o: o, LOGITS, 2)
    with pytest.raises(TargetError, match=r"shape \(2,\); got shape \(\)"):
        function_scores(lambda o: o.sum(), LOGITS, 2)
    with pytest.raises(TargetError, match="got float"):
        function_scores(lambda o: 1.0, LOGITS, 2)
