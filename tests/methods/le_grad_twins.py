"""A small vision transformer in several manners, and LeGrad of it by hand in float64, from the paper."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from saliscope.engine import shadow


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, 2, 4).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2, self.attn = nn.LayerNorm(8), nn.LayerNorm(8), Attention()
        self.mlp = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """Three blocks; `read`: the class token, the mean of the patches behind the norm, or in front of it."""

    def __init__(self, read="class", make=Block, depth=3, order="tokens"):
        super().__init__()
        self.read, self.order, self.num_prefix_tokens = read, order, int(read == "class")
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.front = nn.Parameter(torch.randn(1, self.num_prefix_tokens, 8))
        self.blocks = nn.ModuleList(make() for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)
        with torch.no_grad():
            for name, p in self.named_parameters():
                if "qkv.weight" in name or "in_proj_weight" in name:
                    p.mul_(3)  # so that attention is far from uniform
                elif p.ndim == 1:
                    p.add_(0.3 * torch.randn(p.shape))

    def tokens(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        return torch.cat([self.front.expand(len(x), -1, -1), x], 1)

    def forward(self, x):
        x = self.tokens(x)
        if self.order == "sequence":
            x = x.transpose(0, 1)
        for block in self.blocks:
            x = block(x)
        return self.rest(x.transpose(0, 1) if self.order == "sequence" else x)

    def rest(self, x):
        if self.read == "early":
            return self.head(self.norm(x.mean(1)))
        x = self.norm(x)
        return self.head(x[:, 0] if self.read == "class" else x.mean(1))


def torch_layer(**options):
    return lambda: nn.TransformerEncoderLayer(8, 2, 12, **options)


def weights(block):
    if isinstance(block, Block):
        a = block.attn
        return a.qkv.weight, a.qkv.bias, a.proj, block.mlp[0], block.mlp[2], F.gelu
    a = block.self_attn
    return a.in_proj_weight, a.in_proj_bias, a.out_proj, block.linear1, block.linear2, F.relu


def layer_by_hand(block, x, attention=None):
    """The attention (B, 2, N, N) and the tokens behind one block; with another attention where one is given."""
    w, b, out, up, down, act = weights(block)
    first = isinstance(block, Block) or block.norm_first
    y = block.norm1(x) if first else x
    qkv = y @ w.T + b
    matrices, mixed = [], []
    for h in range(2):
        q, k, v = (qkv[..., 8 * i + 4 * h : 8 * i + 4 * h + 4] for i in range(3))
        e = torch.exp(torch.einsum("bic,bjc->bij", q, k) / 2)
        matrices.append(e / e.sum(2, keepdim=True))
        mixed.append((matrices[-1] if attention is None else attention[:, h]) @ v)
    x = x + out(torch.cat(mixed, 2))
    if not first:
        x = block.norm1(x)
    x = x + down(act(up(block.norm2(x) if first else x)))
    return torch.stack(matrices, 1), x if first else block.norm2(x)


def score(net, z, target, pool):
    if pool == "mean":
        return net.head(net.norm(z.mean(1)))[:, target]  # the paper's
    return net.rest(z)[:, target]


def by_hand(net, x, target, pool="mean", layers=0, gradient=None):
    """The map (B, h, w), each layer for itself: nothing of one is in the graph of another."""
    net = shadow(net).double()
    z = net.tokens(x.double())
    found = []
    for block in net.blocks:
        given = z.detach()
        a, z = layer_by_hand(block, given)
        a = a.detach()

        def of(a, block=block, given=given):
            return score(net, layer_by_hand(block, given, a)[1], target, pool)

        g = (gradient or differentiated)(of, a).numpy()
        batch, heads, n, _ = g.shape
        layer = np.zeros((batch, n))
        for i in range(batch):
            for h in range(heads):
                for query in range(n):
                    for key in range(n):
                        layer[i, key] += max(g[i, h, query, key], 0) / (heads * n)
        found.append(layer[:, net.num_prefix_tokens :])
    height, width = x.shape[2] // 4, x.shape[3] // 4
    return np.mean(found[-layers:], 0).reshape(len(x), height, width)


def differentiated(of, a):
    a = a.requires_grad_(True)
    return torch.autograd.grad(of(a).sum(), a)[0]


def differences(of, a, step=1e-5):
    """The same without any graph."""
    found = torch.zeros_like(a)
    for place in np.ndindex(*a.shape[1:]):
        more, less = a.clone(), a.clone()
        more[(slice(None), *place)] += step
        less[(slice(None), *place)] -= step
        found[(slice(None), *place)] = (of(more) - of(less)) / (2 * step)
    return found


MANNERS = {
    "class": {"read": "class"},
    "patches": {"read": "patches"},
    "early": {"read": "early"},
    "torch": {"read": "class", "make": torch_layer(batch_first=True)},
    "torch, norm first": {
        "read": "patches",
        "make": torch_layer(batch_first=True, norm_first=True),
    },
    "torch, sequence first": {"read": "class", "make": torch_layer(), "order": "sequence"},
}
