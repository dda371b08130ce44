import torch
from torch import nn

from saliscope.engine.inputs import batch_size, call, input_size, picture, private_inputs


class Echo(nn.Module):
    def forward(self, a, b=None):
        return a, b


def test_call_spreads_tuples_and_dicts():
    a, b = torch.randn(1), torch.randn(1)
    assert call(Echo(), a) == (a, None)
    assert call(Echo(), (a, b)) == (a, b)
    assert call(Echo(), [a, b]) == (a, b)
    assert call(Echo(), {"b": b, "a": a}) == (a, b)


def test_private_inputs_are_copies_in_the_wanted_precision():
    image, mask = torch.randn(2, 3, 4, 5, requires_grad=True), torch.ones(2, dtype=torch.long)
    copied = private_inputs(
        {"x": image, "nested": (mask, "text")}, dtype=torch.bfloat16, channels_last=True
    )
    assert copied["x"].dtype == torch.bfloat16
    assert copied["x"].is_contiguous(memory_format=torch.channels_last)
    assert not copied["x"].requires_grad
    assert copied["nested"][0].dtype == torch.long
    assert copied["nested"][1] == "text"
    again = private_inputs(image)
    again.zero_()
    assert image.abs().sum() > 0


def test_picture_is_the_first_of_four_axes():
    image, vector = torch.randn(2, 3, 4, 5), torch.randn(7, 2)
    assert picture((vector, image)) is image
    assert picture({"v": vector, "i": image}) is image
    assert picture(vector) is None
    assert input_size((vector, image)) == (4, 5)
    assert input_size(vector) is None
    assert batch_size((vector, image)) == 7
    assert batch_size(image) == 2
    assert batch_size(("text",)) == 1
