from collections import namedtuple

import pytest
import torch

from saliscope.engine.grid import as_grid, first_tensor, grid_of, with_first_tensor
from saliscope.engine.space import Space
from saliscope.errors import LayerError

Pair = namedtuple("Pair", "map extra")


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((2, 8, 7, 7), (224, 224), (2, 8, 7, 7)),
        ((2, 7, 7, 768), (224, 224), (2, 768, 7, 7)),  # Swin
        ((2, 96, 24, 24), (96, 96), (2, 96, 24, 24)),
        ((2, 24, 24, 96), (96, 96), (2, 96, 24, 24)),
        ((2, 6, 4, 32), (96, 64), (2, 32, 6, 4)),  # taller than wide, channels last
        ((2, 32, 6, 4), (96, 64), (2, 32, 6, 4)),
        ((2, 4, 6, 4), (96, 64), (2, 4, 6, 4)),  # channels first where both could be
        ((2, 7, 7, 7), (224, 224), (2, 7, 7, 7)),
        ((2, 8, 1, 1), (224, 224), (2, 8, 1, 1)),
        ((2, 3, 3, 768), (96, 96), (2, 768, 3, 3)),
        ((2, 7, 7, 768), None, (2, 7, 7, 768)),
    ],
)
def test_grid_of(shape, size, expected):
    tensor = torch.randn(shape)
    grid = grid_of(tensor, Space(size))
    assert grid.shape == expected
    if expected != shape:
        assert torch.equal(grid, tensor.permute(0, 3, 1, 2))
    else:
        assert torch.equal(grid, tensor)


def test_no_grid():
    assert grid_of(torch.randn(2, 5), Space((8, 8))) is None
    assert grid_of(torch.randn(2, 50, 8), Space((8, 8))) is None
    assert grid_of(torch.randn(2, 3, 4, 5, 6), Space((8, 8))) is None
    assert grid_of(torch.ones(2, 3, 4, 4, dtype=torch.long), Space((8, 8))) is None
    assert grid_of(None, Space((8, 8))) is None


def test_as_grid_says_what_the_layer_returned():
    with pytest.raises(LayerError, match=r'layer "fc" returns a tensor of shape \(2, 5\), not a'):
        as_grid(torch.randn(2, 5), Space((8, 8)), layer="fc")
    with pytest.raises(LayerError, match=r'layer "x" returns dict, not a grid'):
        as_grid({"a": torch.randn(2, 3, 4, 4)}, Space((8, 8)), layer="x")


def test_first_tensor_of_tuples():
    a, b = torch.randn(1), torch.randn(1)
    assert first_tensor((a, b)) is a
    assert first_tensor([a]) is a
    assert first_tensor(a) is a
    assert first_tensor(()) is None
    assert first_tensor(("text", a)) is None


def test_with_first_tensor_keeps_the_type():
    a, b, c = torch.randn(1), torch.randn(1), torch.randn(1)
    assert with_first_tensor(a, c) is c
    assert with_first_tensor([a, b], c) == [c, b]
    assert with_first_tensor((a, b), c) == (c, b)
    named = with_first_tensor(Pair(a, b), c)
    assert type(named) is Pair
    assert named.map is c
    assert named.extra is b
