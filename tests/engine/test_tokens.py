"""Grids that are no (B, C, h, w): tokens, channels last, signals, volumes; each cell is followed to its place."""

import pytest
import torch
from torch import nn

from saliscope.engine import Network, shadow, survey
from saliscope.engine.grid import Layout, as_grid, grid_of, layout_of
from saliscope.engine.space import Space, halved, is_spatial, prefix_tokens, space_of
from saliscope.errors import LayerError
from saliscope.models import logits_of


def numbered(h, w, *, extra=0, batch=2, channels=3):
    """Tokens (B, extra + h w, C) that hold 100 b + 10 y + x + c / 10; those in front hold -1."""
    b, y, x, c = torch.meshgrid(
        *map(torch.arange, (batch, h, w, channels)), indexing="ij"
    )  # row by row
    cells = (100 * b + 10 * y + x + c / 10).reshape(batch, h * w, channels)
    return torch.cat([-torch.ones(batch, extra, channels), cells], 1)


def expected(h, w, batch=2, channels=3):
    return torch.tensor(
        [
            [[[100 * b + 10 * y + x + c / 10 for x in range(w)] for y in range(h)] for c in range(channels)]
            for b in range(batch)
        ]
    )  # fmt: skip


def space(size, *seen, prefix=(), batch=2):
    return Space(size, batch, frozenset(prefix), list(seen))


@pytest.mark.parametrize(
    ("extra", "known"),
    [
        (0, space((64, 96), (4, 6))),
        (1, space((64, 96), (4, 6), prefix=[1])),
        (5, space((64, 96), (4, 6), prefix=[5])),
        (0, space((64, 96), (4, 6), prefix=[5])),  # before the others are put in front
        (3, space((64, 96), (4, 6))),  # nobody says how many: fewer than a row or column
        (1, space((64, 96), (16, 24), (8, 12), (4, 6), prefix=[1])),  # stages
        (0, space((64, 96), (16, 24))),  # merged two by two, twice
        (1, space((64, 96), (4, 6), (24, 1), prefix=[1])),  # tokens laid out in a column
        (1, space((64, 96), prefix=[1])),  # no convolution: by the aspect
        (0, space((65, 97))),  # nearly by the aspect
    ],
)
def test_tokens(extra, known):
    grid = grid_of(numbered(4, 6, extra=extra), known)
    torch.testing.assert_close(grid, expected(4, 6))
    sequence = numbered(4, 6, extra=extra).transpose(0, 1)
    torch.testing.assert_close(grid_of(sequence, known), expected(4, 6))


def test_merging_rounds_up():
    assert halved([(7, 5)]) == [(4, 3), (2, 2), (1, 1)]
    grid = grid_of(numbered(4, 3), space((28, 20), (7, 5)))
    torch.testing.assert_close(grid, expected(4, 3))


@pytest.mark.parametrize(
    ("shape", "known", "message"),
    [
        ((2, 30, 8), space((64, 96), (4, 6), prefix=[1]), r"30 tokens are not those of a grid in this pass \(\(4, 6\)\), alone or behind 1 of"),
        ((2, 28, 8), space((64, 96), (4, 6)), r"28 tokens are not those .* behind an unknown number .* set its attribute num_prefix_tokens"),
        ((2, 26, 8), space((64, 96)), r"26 tokens are not those of a grid in this pass \(none\)"),
        ((2, 17, 8), space((64, 64), (4, 4), (17, 1), prefix=[1, 13]), None),
        ((2, 20, 8), space((64, 64), (4, 5), (5, 4)), r"20 tokens may be a grid of \(4, 5\) or \(5, 4\)"),
        ((8, 9, 8), space((64, 96), (4, 6)), r"of each of 2 images: it works on windows or other parts of them"),
        ((8, 4, 4, 6), space((64, 96), (4, 6)), r"works on windows"),
        ((2, 3, 25, 25), space((64, 96), (4, 6), prefix=[1]), r"attention heads with a vector or a row of weights"),
        ((2, 3, 65, 64), space((224, 224), (8, 8)), r"attention heads"),  # has the aspect of the input
        ((2, 4, 49, 64), space((224, 224), (56, 56)), r"neither \(49, 64\) nor \(4, 49\) is a grid that a convolution returned"),
        ((2, 3, 4, 5, 6), space((64, 96), (4, 6)), r"not a grid \(batch, channels, height, width\); choose"),
    ],
)  # fmt: skip
def test_what_is_no_grid(shape, known, message):
    if message is None:
        assert layout_of(torch.zeros(shape), known) == Layout((4, 4), "tokens", 1)
        return
    assert grid_of(torch.zeros(shape), known) is None
    with pytest.raises(LayerError, match=rf'layer "x" returns a tensor of shape .*{message}'):
        as_grid(torch.zeros(shape), known, layer="x")


@pytest.mark.parametrize(
    ("shape", "known", "layout"),
    [
        # Wide, so that (w, C) has the aspect of the input as well.
        ((2, 8, 32, 128), space((32, 128), (8, 32)), Layout((8, 32), "last")),
        ((2, 128, 8, 32), space((32, 128), (8, 32)), Layout((8, 32), "first")),
        ((2, 4, 16, 64), space((32, 128), (8, 32)), Layout((4, 16), "last")),  # merged
        ((2, 5, 9, 3), space((10, 20), (9, 3)), Layout((9, 3), "first")),  # strides differ
        ((2, 5, 12), space((48,), (12,)), Layout((12,), "first")),
        ((2, 13, 5), space((48,), (12,), prefix=[1]), Layout((12,), "tokens", 1)),
        ((2, 12, 5), space((48,), (12,)), Layout((12,), "last")),
        ((2, 5, 9), space((48,)), Layout((9,), "first")),
        ((2, 5, 2, 4, 6), space((8, 64, 96), (2, 4, 6)), Layout((2, 4, 6), "first")),
        ((2, 2, 4, 6, 5), space((8, 64, 96), (2, 4, 6)), Layout((2, 4, 6), "last")),
        ((2, 5, 8, 4, 6), space((8, 64, 96)), Layout((8, 4, 6), "first")),  # time at its own pace
        ((2, 49, 5), space((8, 64, 96), (2, 4, 6), prefix=[1]), Layout((2, 4, 6), "tokens", 1)),
    ],
)
def test_layouts(shape, known, layout):
    assert layout_of(torch.zeros(shape), known) == layout


def test_views_of_signals_and_volumes():
    signal = torch.arange(30.0).reshape(2, 5, 3)
    assert torch.equal(Layout((3,), "first").view(signal), signal[:, :, None])
    volume = torch.arange(240.0).reshape(2, 5, 2, 4, 3)
    found = Layout((2, 4, 3), "first").view(volume)
    assert torch.equal(found.reshape(volume.shape), volume)
    assert found.shape == (2, 5, 2, 12)
    last = Layout((2, 4, 3), "last").view(volume.movedim(1, -1))
    assert torch.equal(last, found)
    tokens = Layout((2, 4, 3), "tokens", 1).view(
        torch.cat([volume[:, :, :1, 0, 0], volume.flatten(2)], 2).transpose(1, 2)
    )
    assert torch.equal(tokens, found)


class Named(nn.Module):
    def __init__(self, said=None, **shapes):
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
        if said is not None:
            self.num_prefix_tokens = said


@pytest.mark.parametrize(
    ("module", "numbers"),
    [
        (Named(cls_token=(1, 1, 8), pos_embed=(1, 17, 8), mask_token=(1, 8)), {1}),
        (Named(cls_token=(1, 1, 8), distillation_token=(1, 1, 8)), {2}),
        (Named(cls_token=(1, 1, 8), register_tokens=(1, 4, 8)), {5}),
        (Named(class_embedding=(8,), position_embedding=(17, 8)), {1}),
        (nn.Sequential(Named(class_token=(1, 1, 8))), {1}),
        (nn.Sequential(Named(cls_token=(1, 1, 8), said=3)), {3}),
        (Named(cls_token=(1, 1, 8), said=0), {0}),
        (Named(pos_embed=(1, 16, 8)), set()),
    ],
)
def test_the_tokens_in_front_are_counted(module, numbers):
    assert prefix_tokens(module) == numbers


def test_grids_seen():
    found = space_of({"ids": torch.ones(2, 3), "x": torch.zeros(2, 3, 8, 12)}, frozenset())
    assert (found.size, found.batch) == ((8, 12), 2)
    for tensor in (None, torch.zeros(2, 5), torch.zeros(2, 5, 4, 6), torch.zeros(6, 5, 2, 2)):
        found.see(tensor)
    assert found.seen == [(4, 6)]
    for module in (
        nn.Conv1d(1, 1, 1),
        nn.ConvTranspose2d(1, 1, 1),
        nn.MaxPool3d(2),
        nn.Upsample(2),
    ):
        assert is_spatial(module)
    assert not is_spatial(nn.Linear(1, 1))


class Vit(nn.Module):
    """Patches, tokens in front, one attention and one MLP with residuals; reads `read`: "class" or "mean"."""

    def __init__(self, extra=1, read="class", width=8):
        super().__init__()
        self.proj = nn.Conv2d(3, width, 4, stride=4)
        self.front = nn.Parameter(torch.randn(1, extra, width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp, self.norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.head = nn.Linear(width, 5)
        self.extra, self.read = extra, read

    def forward(self, x):
        x = self.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.front.expand(len(x), -1, -1), x], 1)
        y = self.norm1(x)
        x = x + self.attn(y, y, y)[0]
        x = x + self.mlp(self.norm2(x)).tanh()
        x = self.norm(x)
        return self.head(x[:, 0] if self.read == "class" else x[:, self.extra :].mean(1))


@pytest.mark.parametrize(
    ("read", "recommended", "head"), [("class", "norm1", False), ("mean", "norm", True)]
)
@pytest.mark.parametrize("extra", [1, 3])
def test_the_recommended_layer_is_the_last_one_that_matters(read, recommended, head, extra):
    net = Vit(extra, read).eval()
    x = torch.randn(2, 3, 16, 24)
    facts = survey(net, x, read=logits_of)
    assert facts.recommended == recommended
    assert (facts.head is not None) is head
    zeroed = Vit(extra, read).eval()
    nn.init.zeros_(zeroed.head.weight)  # as a new classifier has it
    assert survey(zeroed, x, read=logits_of).recommended == recommended
    assert not zeroed.head.weight.any()


@pytest.mark.parametrize("layer", ["norm1", "norm2", "mlp", "norm", "attn"])
@pytest.mark.parametrize("read", ["class", "mean"])
def test_gradients_at_tokens_are_those_of_autograd(layer, read):
    """Also where a pooling + linear head answers without a backward pass."""
    net = Vit(2, read).eval()
    net.num_prefix_tokens = 2
    x = torch.randn(2, 3, 16, 24)
    kept = {}

    def keep(_, __, output):
        kept["a"] = output[0] if isinstance(output, tuple) else output

    hook = net.get_submodule(layer).register_forward_hook(keep)
    (grad,) = torch.autograd.grad(net(x)[:, 3].sum(), kept["a"], allow_unused=True)
    hook.remove()
    network = Network(shadow(net), read=logits_of, survey=survey(net, x, read=logits_of))
    capture = network.capture(x, [layer], of_logits=True)
    found = capture.gradients(capture.logits[:, 3])[layer]
    for b in range(2):
        for y in range(4):
            for i in range(6):
                place = 2 + 6 * y + i
                torch.testing.assert_close(
                    capture.activations[layer][b, :, y, i], kept["a"][b, place].detach()
                )
                torch.testing.assert_close(found[b, :, y, i], grad[b, place], atol=1e-6, rtol=1e-4)
    assert capture.grids == {layer: (4, 6)}
    if read == "class" and layer != "norm1":
        assert not found.any()
