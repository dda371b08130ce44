"""Maps may be arrays, tensors or lists."""

import numpy as np
import pytest
import torch

from saliscope.errors import DataError
from saliscope.metrics import (
    complexity_scores,
    gini,
    hog_features,
    pearson,
    similarity,
    top_overlap,
)
from saliscope.metrics.arrays import numbers


@pytest.mark.parametrize(
    "form",
    [
        torch.from_numpy,
        lambda a: torch.from_numpy(a).requires_grad_(),
        np.ndarray.tolist,
        np.float32,
    ],
)
def test_every_form_has_the_same_scores(form):
    one, other = np.random.default_rng(0).standard_normal((2, 40, 36)).astype(np.float32)
    one, other = one.astype(np.float64), other.astype(np.float64)
    a, b = form(one), form(other)
    assert gini(a) == gini(one)
    assert complexity_scores(a) == complexity_scores(one)
    assert pearson(a, b) == pearson(one, other)
    assert similarity(a, other, "ssim") == similarity(one, other, "ssim")
    assert top_overlap(a, b) == top_overlap(one, other)
    assert np.array_equal(hog_features(a, cell=8), hog_features(one, cell=8))


def test_half_precision_has_no_numpy_and_is_taken_all_the_same():
    assert numbers(torch.tensor([[1.5, 2.0]], dtype=torch.bfloat16)).tolist() == [[1.5, 2.0]]


def test_it_is_a_copy():
    given = np.ones((2, 2))
    numbers(given)[:] = 0
    assert given.all()


@pytest.mark.parametrize("given", ["heat", [[1.0], [2.0, 3.0]], {"a": 1}])
def test_anything_else_is_refused(given):
    with pytest.raises(DataError, match=r"a map is an array, a tensor or lists of numbers"):
        numbers(given)
