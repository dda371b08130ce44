"""Attention rollout and relevance: by hand in float64 from the papers, whatever way a network writes its attention."""

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import saliscope as sc
from saliscope.engine import AttentionTap, Network, shadow
from saliscope.methods import map_batch, parse_method
from saliscope.models import logits_of


class Attention(nn.Module):
    """Self-attention over 8 channels with 2 heads, written in one of the ways that networks do."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, 2, 4).permute(2, 0, 3, 1, 4)
        if self.how == "fused":
            y = F.scaled_dot_product_attention(q, k, v)
        elif self.how == "multi-head":
            return F.multi_head_attention_forward(
                *[x.transpose(0, 1)] * 3, 8, 2, self.qkv.weight, self.qkv.bias, None, None, False, 0.0,
                self.proj.weight, self.proj.bias, training=False, need_weights=False,
            )[0].transpose(0, 1)  # fmt: skip
        elif self.how == "three axes":
            a = F.softmax((q @ k.mT / 2).flatten(0, 1), dim=-1)
            y = (a @ v.flatten(0, 1)).unflatten(0, (-1, 2))
        else:
            s = q @ k.mT / 2
            a = s.softmax(-1) if self.how == "method" else torch.softmax(s, dim=-1)
            a *= 1  # in place, as some networks do
            y = a @ v
        return self.proj(y.transpose(1, 2).flatten(2))


class Vit(nn.Module):
    def __init__(self, how="fused", depth=3, extra=1, read="class", classes=5):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.front = nn.Parameter(torch.randn(1, extra, 8))
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(depth))
        self.attns = nn.ModuleList(Attention(how) for _ in range(depth))
        self.mlps = nn.ModuleList(nn.Linear(8, 8) for _ in range(depth))
        self.head = nn.Linear(8, classes)
        self.extra, self.read = extra, read
        self.num_prefix_tokens = extra
        with torch.no_grad():
            for attn in self.attns:
                attn.qkv.weight.mul_(3)  # so that attention is far from uniform

    def tokens(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        return torch.cat([self.front.expand(len(x), -1, -1), x], 1)

    def forward(self, x):
        x = self.tokens(x)
        for norm, attn, mlp in zip(self.norms, self.attns, self.mlps, strict=True):
            x = x + attn(norm(x))
            x = x + mlp(x).tanh()
        return self.head(self.pool(x))

    def pool(self, x):
        if self.read == "class":
            return x[:, 0]
        return x[:, :2].mean(1) if self.read == "two" else x[:, self.extra :].mean(1)


def by_hand(net, x, target):
    """Attention matrices and their gradients (L, B, 2, N, N), in float64."""
    net = shadow(net).double()
    x, found = net.tokens(x.double()), []
    for norm, attn, mlp in zip(net.norms, net.attns, net.mlps, strict=True):
        b, n, _ = x.shape
        qkv = attn.qkv(norm(x))
        heads = []
        for h in range(2):
            q, k, v = (qkv[..., 8 * i + 4 * h : 8 * i + 4 * h + 4] for i in range(3))
            a = torch.exp(torch.einsum("bic,bjc->bij", q, k) / 2)
            heads.append((a / a.sum(2, keepdim=True), v))
        a = torch.stack([a for a, _ in heads], 1)
        a = a.requires_grad_(True) if not a.requires_grad else a
        found.append(a)
        y = torch.cat([a[:, h] @ heads[h][1] for h in range(2)], 2)
        x = x + attn.proj(y)
        x = x + mlp(x).tanh()
    assert (b, n) == x.shape[:2]
    score = net.head(net.pool(x))[:, target].sum()
    gradients = torch.autograd.grad(score, found)
    return [a.detach().numpy() for a in found], [g.numpy() for g in gradients]


def rows_read(read, extra, tokens):
    return {"class": [0], "two": [0, 1], "mean": range(extra, tokens)}[read]


def rollout(matrices, image, fusion="mean", discard=0.0, residual=0.5):
    joint = None
    for a in matrices:
        fused = getattr(np, fusion)(a[image], axis=0)
        n = len(fused)
        order = sorted((fused[i, j], i, j) for i in range(n) for j in range(n))
        for _, i, j in order[: int(discard * n * n)]:
            fused[i, j] = 0
        mixed = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                share = fused[i, j] / fused[i].sum() if fused[i].sum() else float(i == j)
                mixed[i, j] = (1 - residual) * share + residual * (i == j)
        joint = mixed if joint is None else mixed @ joint
    return joint


def relevance(matrices, gradients, image):
    n = matrices[0].shape[-1]
    r = np.eye(n)
    for a, g in zip(matrices, gradients, strict=True):
        bar = np.zeros((n, n))
        for h in range(2):
            for i in range(n):
                for j in range(n):
                    bar[i, j] += max(a[image, h, i, j] * g[image, h, i, j], 0) / 2
        r = r + bar @ r
    return r - np.eye(n)


def drawn(joint, read, extra, h=4, w=6):
    found = np.zeros((h, w))
    rows = list(rows_read(read, extra, len(joint)))
    for y in range(h):
        for x in range(w):
            found[y, x] = np.mean([joint[r, extra + w * y + x] for r in rows])
    return found


@pytest.fixture
def x():
    return torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


WAYS = ("fused", "multi-head", "method", "function", "three axes")


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(("extra", "read"), [(1, "class"), (3, "two"), (3, "mean"), (0, "mean")])
def test_slow_twins(x, close, how, extra, read):
    net = Vit(how, extra=extra, read=read).eval()
    matrices, gradients = by_hand(net, x, 3)
    for image in range(2):
        found = sc.attribute(net, x, 3, method="attention-lrp")[image]
        close(found, drawn(relevance(matrices, gradients, image), read, extra))
        found = sc.attribute(net, x, 3, method="attention-rollout")[image]
        close(found, drawn(rollout(matrices, image), read, extra))


@pytest.mark.parametrize(
    "options",
    [
        {"fusion": "max"},
        {"fusion": "min", "discard": 0.3},
        {"discard": 0.9},
        {"discard": 0.99},  # rows that lose all
        {"residual": 0.0},
        {"residual": 0.2, "fusion": "max", "discard": 0.5},
    ],
)
def test_options_of_rollout(x, close, options):
    net = Vit().eval()
    matrices, _ = by_hand(net, x, 0)
    found = sc.attribute(net, x, 0, method="attention-rollout", **options)
    for image in range(2):
        close(found[image], drawn(rollout(matrices, image, **options), "class", 1))


def test_targets(x):
    net = Vit().eval()
    network = Network(shadow(net), read=logits_of)
    specs = [parse_method("attention-lrp"), parse_method("attention-rollout")]
    targets = torch.tensor([[0, 3], [2, 2]])
    relevance, rollout = map_batch(network, x, specs, target=targets).signed
    for i in range(2):
        for k in range(2):
            alone = sc.attribute(net, x[i : i + 1], int(targets[i, k]), method="attention-lrp")[0]
            torch.testing.assert_close(relevance[i, k], alone, rtol=1e-4, atol=1e-8)
    assert not torch.equal(relevance[0, 0], relevance[0, 1])
    assert torch.equal(rollout[0, 0], rollout[0, 1])
    own = sc.attribute(net, x, lambda out: out[:, 3], method="attention-lrp")
    torch.testing.assert_close(own, sc.attribute(net, x, 3, method="attention-lrp"))


@pytest.mark.parametrize("option", ["discard", "residual"])
def test_shares(option):
    for value in (-0.1, 1.0):
        with pytest.raises(sc.MethodError, match=rf"attention-rollout:{option} is a share from 0 to below 1; got {value}"):  # fmt: skip
            parse_method(f"attention-rollout:{option}={value}")


class Encoder(nn.Module):
    """torch's own encoder, which takes a fused path in evaluation that shows no attention."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.encoder(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


def networks():
    from transformers import (
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
        DeiTConfig,
        DeiTForImageClassificationWithTeacher,
        Dinov2WithRegistersConfig,
        Dinov2WithRegistersForImageClassification,
        ViTConfig,
        ViTForImageClassification,
    )

    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}  # fmt: skip
    wide = {"image_size": (32, 48), "patch_size": 8, "num_labels": 5, **small}

    def hf(kind, config):
        return lambda: kind(config)

    def eager(kind, config):
        config._attn_implementation = "eager"
        return lambda: kind(config)

    def timm_fused(name, fused=True, **options):
        def make():
            net = timm.create_model(name, img_size=(32, 48), patch_size=8, num_classes=5, depth=2, embed_dim=16, num_heads=2, **options)  # fmt: skip
            for part in net.modules():
                if hasattr(part, "fused_attn"):
                    part.fused_attn = fused
            return net

        return make

    return {
        "torch encoder": (Encoder, (16, 24)),
        "torchvision": (lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 16, num_classes=5), (32, 32)),
        "timm fused": (timm_fused("vit_tiny_patch16_224"), (32, 48)),
        "timm": (timm_fused("vit_tiny_patch16_224", fused=False), (32, 48)),
        "timm deit": (timm_fused("deit_tiny_distilled_patch16_224"), (32, 48)),
        "timm registers": (timm_fused("vit_small_patch14_reg4_dinov2"), (32, 48)),
        "hf vit": (hf(ViTForImageClassification, ViTConfig(**wide)), (32, 48)),
        "hf vit eager": (eager(ViTForImageClassification, ViTConfig(**wide)), (32, 48)),
        "hf deit": (hf(DeiTForImageClassificationWithTeacher, DeiTConfig(**wide)), (32, 48)),
        "hf dinov2 registers": (hf(Dinov2WithRegistersForImageClassification,
            Dinov2WithRegistersConfig(**wide | {"image_size": 32})), (32, 32)),
        "hf clip": (hf(CLIPVisionModelWithProjection, CLIPVisionConfig(image_size=32, patch_size=8, projection_dim=4, **small)), (32, 32)),
    }  # fmt: skip


@pytest.mark.parametrize("name", networks())
def test_real_networks(name):
    """What is recorded is the network's own attention: the logits stay, rows sum to 1, the relevance explains the score.

    To first order: scaling the attention of every layer changes the score as the gradients say.
    """
    make, size = networks()[name]
    net = make().eval()
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.3)
    x = torch.randn(2, 3, *size)
    read = (lambda out: out.image_embeds[:, 1]) if name == "hf clip" else (lambda o: logits_of(o)[:, 1])  # fmt: skip
    twin, tap = shadow(net), AttentionTap(gradients=True)
    with torch.no_grad():
        plain = read(twin(x))
    with tap:
        scores = read(twin(x))
    torch.testing.assert_close(scores.detach(), plain, rtol=1e-4, atol=1e-5)
    assert len(tap.matrices) == 2
    for matrix in tap.matrices:
        torch.testing.assert_close(matrix.detach().sum(-1), torch.ones(matrix.shape[:-1]))
    assert all(bool(g.any()) for g in torch.autograd.grad(scores.sum(), tap.matrices))
    shape = (2, size[0] // (4 if name == "torch encoder" else 8), size[1] // (4 if name == "torch encoder" else 8))  # fmt: skip
    for method in ("attention-rollout", "attention-lrp", "le-grad"):
        maps = sc.attribute(net, x, read, method=method)
        assert maps.shape == shape
        assert maps.isfinite().all()
        assert bool((maps.flatten(1).std(1) > 0).all())


def test_masks_and_groups():
    """The explicit attention equals torch's own for everything that it takes."""
    r = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 5, 8, generator=r)
    keep = torch.rand(2, 1, 5, 5, generator=r) > 0.3
    keep |= torch.eye(5, dtype=torch.bool)
    cases = [{}, {"attn_mask": keep}, {"attn_mask": torch.randn(5, 5, generator=r)}, {"is_causal": True}, {"scale": 0.1}]  # fmt: skip
    for options in cases:
        expected = F.scaled_dot_product_attention(q, k, v, **options)
        with AttentionTap(gradients=False) as tap:
            found = F.scaled_dot_product_attention(q, k, v, **options)
        torch.testing.assert_close(found, expected)
        assert len(tap.matrices) == 1
    few = {"key": k[:, :2], "value": v[:, :2], "enable_gqa": True}
    with AttentionTap(gradients=False):
        found = F.scaled_dot_product_attention(q, **few)
    torch.testing.assert_close(found, F.scaled_dot_product_attention(q, **few))


@pytest.mark.parametrize("separate", [False, True])
def test_multi_head_attention_of_torch(separate):
    r = torch.Generator().manual_seed(0)
    kdim = 6 if separate else None
    mha = nn.MultiheadAttention(8, 2, batch_first=True, kdim=kdim, vdim=kdim).eval()
    q, k = torch.randn(2, 5, 8, generator=r), torch.randn(2, 7, kdim or 8, generator=r)
    padding = torch.zeros(2, 7, dtype=torch.bool)
    padding[0, 5:] = True
    blocked = torch.rand(4, 5, 7, generator=r) > 0.7
    blocked[..., 0] = False
    for options in ({}, {"key_padding_mask": padding}, {"attn_mask": blocked[0]}, {"attn_mask": blocked, "key_padding_mask": padding}, {"need_weights": False}, {"average_attn_weights": False}):  # fmt: skip
        with torch.no_grad():
            expected = mha(q, k, k, **options)
            with AttentionTap(gradients=False) as tap:
                found = mha(q, k, k, **options)
        torch.testing.assert_close(found[0], expected[0])
        assert len(tap.matrices) == 1
        if expected[1] is None:
            assert found[1] is None
        else:
            torch.testing.assert_close(found[1], expected[1])
    for odd in ({"add_bias_kv": True}, {"add_zero_attn": True}):
        strange = nn.MultiheadAttention(8, 2, **odd).eval()
        with (
            AttentionTap(gradients=False),
            pytest.raises(sc.MethodError, match=r"keys that belong to no token"),
        ):
            strange(q, q, q)


class Cut(Vit):
    def forward(self, x):
        with torch.no_grad():
            return super().forward(x)


class Cross(Vit):
    """The class token asks, and does not answer."""

    def pool(self, x):
        return F.scaled_dot_product_attention(x[:, :1], x, x)[:, 0]


REFUSED = {
    "cnn": (lambda: torchvision.models.squeezenet1_1(num_classes=5), r"follows the attention of a vision transformer, and this network computes none"),
    "windows": (lambda: torchvision.models.SwinTransformer([4, 4], 8, [1, 1], [1, 1], [2, 2], num_classes=5), r"attends within windows or parts"),
    "timm windows": (lambda: timm.create_model("swin_tiny_patch4_window7_224", img_size=(32, 48), window_size=2, depths=(1, 1), embed_dim=8, num_heads=(1, 1), num_classes=5), r"attends within windows"),
    "stages": (lambda: timm.create_model("pvt_v2_b0", num_classes=5), r"attends among other tokens from layer to layer \(2 x 2, 6 x"),
    "a reader of its own": (Cross, r"attends among other tokens from layer to layer \(1 x 97, 97 x 97\)"),
    "cut": (Cut, r"needs the gradient at every attention, and none arrives at some"),
    "too many tokens": (lambda: with_prefix(Vit(extra=4), 1), r"does not attend among patches: 100 tokens are not those of a grid"),
}  # fmt: skip


def with_prefix(net, said):
    net.num_prefix_tokens = said
    return net


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("method", ["attention-rollout", "attention-lrp"])
def test_refusals(case, method):
    make, message = REFUSED[case]
    with pytest.raises(sc.MethodError, match=message):
        sc.attribute(make().eval(), torch.randn(2, 3, 32, 48), 1, method=method)


def test_queries_of_other_tokens():
    class Only(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.head = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 5)

        def forward(self, x):
            t = self.patches(x).flatten(2).transpose(1, 2)
            return self.head(F.scaled_dot_product_attention(t[:, None, :1], t[:, None], t[:, None])[:, 0, 0])  # fmt: skip

    with pytest.raises(sc.MethodError, match=r"attends from other tokens than it attends to"):
        sc.attribute(Only(), torch.randn(2, 3, 16, 24), 1, method="attention-rollout")
