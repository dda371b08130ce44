"""Occlusion against a window-by-window loop in float64."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import saliscope as sc


def side_windows(side, patch, stride):
    """Where windows start: steps of the stride, and one that ends at the border."""
    starts = list(range(0, side - patch + 1, stride))
    return starts if starts[-1] == side - patch else [*starts, side - patch]


def twin(score, x, patch, stride, fill):
    """The fall of the score with each window filled, averaged pixel by pixel over the windows that hide it."""
    height, width = x.shape[1:]
    total, count = np.zeros((height, width)), np.zeros((height, width))
    plain = score(x)
    for y in side_windows(height, patch[0], stride[0]):
        for a in side_windows(width, patch[1], stride[1]):
            changed = x.copy()
            for c in range(len(x)):
                for v, u in np.ndindex(*patch):
                    changed[c, y + v, a + u] = fill[c, y + v, a + u]
            fall = plain - score(changed)
            for v, u in np.ndindex(*patch):
                total[y + v, a + u] += fall
                count[y + v, a + u] += 1
    return total / count


def scorer(net, c):
    return lambda x: float(net(torch.from_numpy(x)[None])[0, c].detach())


@pytest.mark.parametrize(
    ("options", "patch", "stride"),
    [
        ("patch=6:stride=3", (6, 6), (3, 3)),
        ("patch=7:stride=5", (7, 7), (5, 5)),
        ("patch=0.25:stride=0.2", (6, 4), (5, 3)),
        ("patch=16:stride=16", (16, 16), (16, 16)),
        ("patch=1:stride=0.01:fill=white", (1, 1), (1, 1)),
    ],
)
def test_windows(nets, batch, close, options, patch, stride):
    net, x = nets.deep_head().double(), batch.double()
    targets = torch.tensor([[0, 3], [2, 2], [4, 1]])
    found = sc.attribute(net, x, targets, method=f"occlusion:{options}")
    assert found.shape == (3, 2, 24, 16)
    for i, k in np.ndindex(3, 2):
        if options.startswith("patch=1:") and (i, k) != (1, 0):
            continue  # 384 windows
        image = x[i].numpy()
        fill = np.zeros_like(image)
        if "white" in options:
            fill += image.max((1, 2), keepdims=True)
        close(found[i, k], twin(scorer(net, targets[i, k]), image, patch, stride, fill))


@pytest.mark.parametrize("fill", ["grey", "mean", "black", "white", "blur"])
def test_fills(nets, batch, close, fill):
    net, x = nets.deep_head().double(), batch.double()
    found = sc.attribute(net, x, 1, method="occlusion", patch=8, stride=4, fill=fill)
    for i in range(3):
        from saliscope.methods.fills import filled

        stands = filled(x[i : i + 1].float(), fill)[0].double().numpy()
        close(found[i], twin(scorer(net, 1), x[i].numpy(), (8, 8), (4, 4), stands))


class Weighted(nn.Module):
    """The score is the sum of the pixels, each with a weight."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, x):
        return (x * self.weights).sum((1, 2, 3))[:, None]


def test_by_hand():
    """2 x 3 pixels, windows of 2 x 2: the middle column is hidden by both."""
    net = Weighted(torch.tensor([[1.0, 2, 4], [8, 16, 32]]))
    found = sc.attribute(net, torch.ones(1, 1, 2, 3), 0, method="occlusion", patch=2, stride=1)
    left, right = 27.0, 54.0
    assert found[0].tolist() == [[left, (left + right) / 2, right]] * 2


def test_the_border_is_hidden_by_whole_windows():
    """5 pixels, windows of 3 in steps of 3: the second one is moved in, not cut."""
    net = Weighted(torch.ones(1, 5))
    found = sc.attribute(net, torch.ones(1, 1, 5, 5), 0, method="occlusion", patch=3, stride=3)
    assert torch.equal(found[0], torch.full((5, 5), 9.0)), "even evidence, an even map"


def test_a_mirrored_picture_gives_the_mirrored_map(nets, batch):
    net = Weighted(torch.randn(3, 24, 16))
    mirrored = Weighted(net.weights.flip(2))
    options = {"method": "occlusion", "patch": 4, "stride": 2}
    plain = sc.attribute(net, batch, 0, **options)
    found = sc.attribute(mirrored, batch.flip(3), 0, **options)
    torch.testing.assert_close(found.flip(2), plain, rtol=1e-4, atol=1e-4)


def test_what_it_costs(nets, batch, monkeypatch):
    from saliscope.engine import Network, Question

    monkeypatch.setattr(Question, "at_once", lambda self: 32)
    seen = []
    plain = Network.capture
    monkeypatch.setattr(
        Network,
        "capture",
        lambda self, x, *a, **k: (
            seen.append((len(x), k.get("gradients"))) or plain(self, x, *a, **k)
        ),
    )
    sc.attribute(nets.gap(), batch, torch.tensor([[0, 1, 2]] * 3), method="occlusion")
    windows = (math.ceil((24 - 5) / 2) + 1) * (math.ceil((16 - 3) / 2) + 1)
    first, *rest = seen
    assert first[0] == 3
    assert sum(n for n, _ in rest) == 3 * (1 + windows), "all targets from the same passes"
    assert not any(gradients for _, gradients in rest)


@pytest.mark.parametrize("option", ["patch", "stride"])
@pytest.mark.parametrize("value", [0, -3, 1.5, float("nan"), float("inf")])
def test_lengths_that_are_none(option, value):
    with pytest.raises(sc.MethodError, match=rf"occlusion:{option} is a whole number of pixels, or a share .* got {value}"):  # fmt: skip
        sc.attribute(Weighted(1.0), torch.ones(1, 1, 2, 2), 0, method="occlusion", **{option: value})  # fmt: skip


def test_windows_that_do_not_fit(nets, batch):
    with pytest.raises(sc.MethodError, match=r"occlusion:patch is 20 pixels, more than the 16 of a side"):  # fmt: skip
        sc.attribute(nets.gap(), batch, 0, method="occlusion:patch=20:stride=4")
    with pytest.raises(sc.MethodError, match=r"occlusion:stride is 5 pixels and patch 4: some pixels would never be hidden"):  # fmt: skip
        sc.attribute(nets.gap(), batch, 0, method="occlusion:patch=4:stride=5")
