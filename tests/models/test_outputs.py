from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from saliscope.errors import ModelError
from saliscope.models.outputs import logits_of

LOGITS = torch.randn(2, 5)
GRID = torch.randn(2, 5, 3, 3)
Pair = namedtuple("Pair", ["logits", "aux_logits"])


@dataclass
class Answer:
    loss: object
    logits: torch.Tensor


class Lazy(dict):
    """A model-output object: a dict with attributes."""

    __getattr__ = dict.get


CONTAINERS = {
    "a tensor": LOGITS,
    "a tuple": (GRID, LOGITS, torch.randn(2, 5)),
    "a list": [LOGITS],
    "named fields": Pair(LOGITS, torch.randn(2, 5)),
    "an object": Answer(None, LOGITS),
    "any object": SimpleNamespace(logits=LOGITS),
    "a dict with a known key": {"aux": torch.randn(2, 5), "out": LOGITS},
    "scores": {"features": torch.randn(2, 9), "scores": LOGITS},
    "prediction": OrderedDict(hidden=torch.randn(2, 9), prediction=LOGITS),
    "logits before out": {"out": torch.randn(2, 5), "logits": LOGITS},
    "a dict with one that fits": {"anything": LOGITS, "grid": GRID, "loss": torch.tensor(1.0)},
    "a key that does not fit": {"out": GRID, "x": LOGITS},
    "a model output": Lazy(loss=torch.tensor(1.0), logits=LOGITS),
    "logits that do not fit": Lazy(logits=GRID, x=LOGITS),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_logits_in_containers(kind):
    assert logits_of(CONTAINERS[kind]) is LOGITS


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_and_one_logit(dtype):
    one = torch.randn(3, 1, dtype=dtype)
    assert logits_of(one) is one


def test_transformers_outputs():
    from transformers.modeling_outputs import ImageClassifierOutput

    assert logits_of(ImageClassifierOutput(loss=torch.tensor(0.0), logits=LOGITS)) is LOGITS


@pytest.mark.parametrize(
    ("output", "found"),
    [
        (GRID, r"a float32 tensor \(2, 5, 3, 3\)"),
        (torch.randn(5), r"a float32 tensor \(5,\)"),
        (torch.randn(2, 0), r"a float32 tensor \(2, 0\)"),
        (torch.ones(2, 5, dtype=torch.int64), r"an int64 tensor \(2, 5\)"),
        (None, "an object of type NoneType"),
        ("text", "str"),
        ((), "a tuple with nothing"),
        (
            (torch.randn(2, 8), LOGITS),
            r"a tuple with a float32 tensor \(2, 8\), a float32 tensor \(2, 5\)",
        ),
        ([GRID, "x"], r"a list with a float32 tensor \(2, 5, 3, 3\), str"),
        (
            {"a": LOGITS, "b": LOGITS},
            r"a dict with 'a': a float32 tensor \(2, 5\), 'b': a float32 tensor \(2, 5\)",
        ),
        ({"a": {"b": {"c": LOGITS}}}, "a dict with 'a': a dict with 'b': dict"),
        (SimpleNamespace(x=LOGITS), "an object of type SimpleNamespace"),
        ([1] * 9, "a list with (an object of type int(, )?){6} and 3 more"),
    ],
)
def test_what_was_found_is_named(output, found):
    message = rf"the network returned ({found}), in which no logits \(batch, classes\) were found"
    with pytest.raises(ModelError, match=message):
        logits_of(output)
