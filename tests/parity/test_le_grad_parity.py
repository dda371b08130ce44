"""LeGrad against torchcam: equal where torchcam can make it, and what it leaves to the user."""

import pytest
import timm
import torch
import torchvision

import saliscope as sc

torchcam = pytest.importorskip("torchcam.methods")


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    made = torchvision.models.VisionTransformer(32, 8, 3, 2, 16, 16, num_classes=5).eval()
    with torch.no_grad():
        for p in made.parameters():
            torch.nn.init.normal_(p, std=0.3)
    return made


def theirs(net, x, classes, layers, **options):
    with torchcam.LeGrad(net, layers, **options) as made:
        scores = net(x)
        return made(classes, scores, normalized=False)[0]


@pytest.mark.parametrize("last", [0, 1, 2])
def test_torchcams_le_grad_is_ours(net, x, last):
    """Raw, before its min-max with an epsilon."""
    layers = list(net.encoder.layers)[-last:]
    found = sc.attribute(net, x, [2, 4], method="le-grad", layers=last)
    other = theirs(net, x, [2, 4], layers)
    torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-5 * float(other.max()))


def test_torchcams_le_grad_reads_the_mean_where_the_network_reads_its_class_token(net, x):
    """As the paper does; with the network's own reading, torchcam wants a projection, and gives ours."""

    def own(tokens):
        return net.heads(net.encoder.ln(tokens)[:, 0])

    found = sc.attribute(net, x, [2, 4], method="le-grad", pool="network")
    other = theirs(net, x, [2, 4], list(net.encoder.layers), score_projection=own)
    torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-5 * float(other.max()))
    mean = sc.attribute(net, x, [2, 4], method="le-grad")
    assert float((mean - found).abs().max()) > 0.1 * float(found.max())


def test_torchcams_le_grad_knows_one_kind_of_network(x):
    """timm's attention is no `nn.MultiheadAttention`; ours is read from the call."""
    small = {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 16, "num_heads": 2}
    net = timm.create_model("vit_tiny_patch16_224", num_classes=5, **small).eval()
    with pytest.raises(TypeError, match=r"must expose `self_attention: nn\.MultiheadAttention`"):
        torchcam.LeGrad(net, list(net.blocks), score_projection=lambda z: net.head(net.norm(z)[:, 0]))  # fmt: skip
    assert sc.attribute(net, x, 2, method="le-grad").shape == (2, 4, 4)


@pytest.fixture
def x():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
