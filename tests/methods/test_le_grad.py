"""LeGrad: by hand in float64 from the paper, layer by layer, for networks that read their tokens in several ways."""

import importlib.util
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

import saliscope as sc
from saliscope.engine import Network, blocks_of, shadow, tallied
from saliscope.methods import map_batch, parse_method
from saliscope.models import logits_of
from saliscope.targets import ClassDifference

_spec = importlib.util.spec_from_file_location(
    "le_grad_twins", Path(__file__).with_name("le_grad_twins.py")
)
twins = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(twins)
MANNERS, Block, Vit = twins.MANNERS, twins.Block, twins.Vit
by_hand, differences = twins.by_hand, twins.differences


@pytest.fixture
def x():
    return torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("pool", ["mean", "network"])
@pytest.mark.parametrize("manner", MANNERS)
def test_slow_twins(x, close, manner, pool):
    net = Vit(**MANNERS[manner]).eval()
    found = sc.attribute(net, x, 3, method="le-grad", pool=pool)
    close(found, by_hand(net, x, 3, pool))
    assert bool((found >= 0).all())
    assert float(found.std()) > 0


def test_finite_differences(close):
    net = Vit().eval()
    x = torch.randn(2, 3, 8, 12)
    for pool in ("mean", "network"):
        found = sc.attribute(net, x, 1, method="le-grad", pool=pool)
        close(found, by_hand(net, x, 1, pool, gradient=differences))


def test_layers(x, close):
    net = Vit().eval()
    for layers in (1, 2, 3):
        found = sc.attribute(net, x, 3, method="le-grad", layers=layers)
        close(found, by_hand(net, x, 3, layers=layers))
    every = sc.attribute(net, x, 3, method="le-grad")
    assert torch.equal(every, found)
    with pytest.raises(sc.MethodError, match=r"le-grad:layers is how many of the last layers count, and this network has 3; got 4. Use 0 for all"):  # fmt: skip
        sc.attribute(net, x, 3, method="le-grad", layers=4)
    with pytest.raises(sc.MethodError, match=r"le-grad:layers is how many of the last layers count, 0 for all; got -1"):  # fmt: skip
        parse_method("le-grad:layers=-1")


def test_pooled_alike_where_the_network_takes_the_mean_first(x):
    net = Vit("early").eval()
    maps = [sc.attribute(net, x, 3, method="le-grad", pool=p) for p in ("mean", "network")]
    torch.testing.assert_close(*maps)
    net = Vit("class").eval()
    maps = [sc.attribute(net, x, 3, method="le-grad", pool=p) for p in ("mean", "network")]
    assert float((maps[0] - maps[1]).abs().max()) > 0.1 * float(maps[0].max())


def test_targets(x, close):
    """Several targets, classes of each image, and functions, which are asked layer by layer with the batch whole."""
    net = Vit().eval()
    targets = torch.tensor([[0, 3], [2, 1]])
    found = sc.attribute(net, x, targets, method="le-grad")
    for i in range(2):
        for k in range(2):
            close(found[i, k], by_hand(net, x[i : i + 1], int(targets[i, k]))[0])
    sizes = []

    def function(out):
        sizes.append(len(out))
        return out[torch.arange(2), targets[:, 1]]

    own = sc.attribute(net, x, function, method="le-grad")
    torch.testing.assert_close(own, found[:, 1])
    assert set(sizes) == {2}
    space = sc.attribute(net, x, 3, method="le-grad", target_space="log-probability")
    again = sc.attribute(net, x, lambda o: o.log_softmax(1)[:, 3], method="le-grad")
    torch.testing.assert_close(space, again)
    rival = ClassDifference(3, 1)
    again = sc.attribute(net, x, lambda o: o[:, 3] - o[:, 1], method="le-grad")
    torch.testing.assert_close(sc.attribute(net, x, rival, method="le-grad"), again)


def hf_vit():
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(ViTConfig(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16, image_size=(16, 24), patch_size=8, num_labels=5))  # fmt: skip


PASSED_ONCE = {
    **{manner: lambda manner=manner: Vit(**MANNERS[manner]) for manner in MANNERS},
    "timm": lambda: timm.create_model("vit_tiny_patch16_224", img_size=(16, 24), patch_size=8, num_classes=5, depth=3, embed_dim=16, num_heads=2),
    "hf": hf_vit,
}  # fmt: skip


@pytest.mark.parametrize("name", PASSED_ONCE)
def test_one_pass(x, name):
    network = Network(shadow(PASSED_ONCE[name]().eval()), read=logits_of)
    spec = parse_method("le-grad")
    targets = ((1, 1), (lambda o: logits_of(o)[:, 1], 3), (ClassDifference(1, 2), 1))
    for target, passes in targets:
        map_batch(network, x, [spec], target=target)  # finds the blocks
        with tallied() as plain:
            map_batch(network, x, [parse_method("centre")], target=target)
        with tallied() as tally:
            map_batch(network, x, [spec], target=target)
        assert tally.forward - plain.forward == passes * len(x)


class Counting(Vit):
    """Behind its blocks it counts on the images it was given."""

    def forward(self, x):
        self.images = len(x)
        return super().forward(x)

    def rest(self, x):
        return super().rest(x.reshape(self.images, -1, 8))


class Mixing(Vit):
    def rest(self, x):
        return super().rest(x - 0.5 * x.mean(0))


@pytest.mark.parametrize("kind", [Counting, Mixing])
def test_networks_that_count_or_mix_their_images(x, close, kind):
    """Layers that cannot be read together are read one by one."""
    net = kind().eval()
    found = sc.attribute(net, x, 3, method="le-grad", pool="network")
    torch.testing.assert_close(
        found, sc.attribute(net, x, lambda o: o[:, 3], method="le-grad", pool="network")
    )
    if kind is Mixing:
        close(found, by_hand(net, x, 3, "network"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precision(dtype):
    """A head of small weights: the gradient of a mean over the tokens would underflow float16."""
    net, x = Vit().eval(), torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        net.head.weight.mul_(1e-4)
    plain = sc.attribute(net, x, 3, method="le-grad")
    found = sc.attribute(net.to(dtype), x.to(dtype), 3, method="le-grad")
    assert found.dtype == torch.float32
    size = 0.05 if dtype != torch.float64 else 1e-5
    assert float((found - plain).abs().max()) < size * float(plain.max())


class Wrapped(Vit):
    """The last block stands in a module of its own with the norm, as stages do."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block(), nn.Sequential(Block(), nn.LayerNorm(8))])


def block_names(net, size=(32, 32)):
    found = blocks_of(Network(shadow(net.eval()), read=logits_of), torch.randn(2, 3, *size))
    return None if found is None else found.names


def test_where_the_blocks_are():
    small = {
        "img_size": 32,
        "patch_size": 8,
        "num_classes": 5,
        "depth": 2,
        "embed_dim": 16,
        "num_heads": 2,
    }
    assert block_names(Vit()) == ("blocks.0", "blocks.1", "blocks.2")
    assert block_names(Wrapped()) == ("blocks.0", "blocks.1", "blocks.2.0")
    assert block_names(timm.create_model("vit_tiny_patch16_224", **small)) == ("blocks.0", "blocks.1")  # fmt: skip
    tv = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 16, num_classes=5)
    assert block_names(tv) == ("encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1")


class Inline(Vit):
    """The additions stand in the network's own forward: no module returns the tokens."""

    def forward(self, x):
        x = self.tokens(x)
        for block in self.blocks:
            x = x + block.attn(block.norm1(x))
            x = x + block.mlp(block.norm2(x))
        return self.rest(x)


class InPlace(Vit):
    """The same, where what attention returned becomes the stream of tokens in place."""

    def forward(self, x):
        x = self.tokens(x)
        for block in self.blocks:
            y = block.attn(x)
            y += x
            x = y
        return self.rest(x)


class Shared(Vit):
    def forward(self, x):
        x = self.tokens(x)
        for _ in range(3):
            x = self.blocks[0](x)
        return self.rest(x)


class Cut(Vit):
    def rest(self, x):
        return super().rest(x).detach() * super().rest(self.front.detach().repeat(len(x), 2, 1))


class Twice(Block):
    def forward(self, x):
        return super().forward(x + self.attn(x))


REFUSED = {
    "cnn": (lambda: torchvision.models.squeezenet1_1(num_classes=5), r"LeGrad follows the attention of a vision transformer, and this network computes none"),
    "windows": (lambda: torchvision.models.SwinTransformer([4, 4], 8, [1, 1], [1, 1], [2, 2], num_classes=5), r"LeGrad adds up the attention to one set of tokens, and this network attends within windows"),
    "stages": (lambda: timm.create_model("pvt_v2_b0", num_classes=5), r"attends among other tokens from layer to layer"),
    "inline": (Inline, r"LeGrad reads the tokens behind every layer, and this network has no row of blocks"),
    "in place": (InPlace, r"has no row of blocks"),
    "one block": (lambda: Vit(depth=1), r"has no row of blocks"),
    "one block three times": (Shared, r"has no row of blocks"),
    "two attentions a block": (lambda: Vit(make=Twice), r"has no row of blocks"),
    "cut": (Cut, r"LeGrad needs the gradient at every attention, and none arrives at some"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    make, message = REFUSED[case]
    with pytest.raises(sc.MethodError, match=message):
        sc.attribute(make().eval(), torch.randn(2, 3, 32, 48), 1, method="le-grad")


def test_blocks_that_run_only_sometimes(x):
    class Skipping(Vit):
        def forward(self, x):
            z = self.tokens(x)
            for block in self.blocks[int(x.mean() > 1) :]:
                z = block(z)
            return self.rest(z)

    model = sc.Model(Skipping().eval(), (16, 24))
    sc.attribute(model, x, 1, method="le-grad")
    with pytest.raises(sc.ModelError, match=r"ran the blocks blocks.1, blocks.2 in this pass and blocks.0, blocks.1, blocks.2 before"):  # fmt: skip
        sc.attribute(model, x + 9, 1, method="le-grad")
