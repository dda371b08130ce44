"""Extremal perturbation: smooth masks, blur and one step by hand; and whether it finds a blob of known place and area."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import saliscope as sc
from saliscope.engine import Question
from saliscope.methods import ExtremalPerturbation
from saliscope.methods.extremal import _Search
from saliscope.methods.fills import blurred
from saliscope.methods.smooth_masks import Focus, SmoothMasks, area_shape


def smooth_twin(values, rows, columns):
    """Cell by cell: the mean of k(u - v) v̄ over all cells, weighted by exp of the same over T."""
    out = np.zeros(rows * columns)
    for i, (y, x) in enumerate(np.ndindex(rows, columns)):
        above = below = 0.0
        for j, (b, a) in enumerate(np.ndindex(rows, columns)):
            near = math.exp(-(max(0.0, math.hypot(y - b, x - a) - 1) ** 2) / 4) * values[j]
            above += near * math.exp(near * 20)
            below += math.exp(near * 20)
        out[i] = above / below
    return out


@pytest.mark.parametrize(
    ("cells", "size", "grid"), [(6, (24, 16), [6, 4]), (28, (5, 7), [5, 7]), (3, (9, 1), [3, 1])]
)
def test_smooth_masks(close, cells, size, grid):
    masks = SmoothMasks(cells, size, torch.device("cpu"))
    assert masks.grid == grid
    values = torch.rand(2, grid[0] * grid[1])
    found = masks(values)
    for i in range(2):
        close(found[i], smooth_twin(values[i].double().tolist(), *grid))
    assert masks.wide(found).shape == (2, *size)


def test_a_single_cell_makes_a_bump():
    masks = SmoothMasks(9, (9, 9), torch.device("cpu"))
    values = torch.zeros(1, 81)
    values[0, 40] = 1.0
    bump = masks(values).view(9, 9)
    assert float(bump[4, 4]) == pytest.approx(1, abs=1e-3)
    assert float(bump[4, 5]) == pytest.approx(1, abs=1e-3), "a plateau one cell wide"
    assert float(bump[4, 6]) == pytest.approx(math.exp(-1 / 4), abs=1e-3)
    assert float(bump[4, 6]) > float(bump[4, 7]) > float(bump[4, 8])


def test_area_shapes():
    assert area_shape(0.3, 10).tolist() == pytest.approx([1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    assert area_shape(0.25, 10).tolist() == pytest.approx([1, 1, 0.5, 0, 0, 0, 0, 0, 0, 0])
    for area in (0.01, 0.37, 0.99):
        assert float(area_shape(area, 784).mean()) == pytest.approx(area)


def test_focus(batch):
    """Each pixel between the two copies whose blur is nearest; 1 is the picture, 0 the strongest blur."""
    focus = Focus(batch)
    strongest = 20 / 224 * 24
    shown = torch.rand(4, 24, 16)
    shown[0], shown[1] = 1.0, 0.0
    rows = torch.tensor([2, 0, 1, 1])
    found = focus(shown, rows)
    torch.testing.assert_close(found[0], batch[2])
    torch.testing.assert_close(found[1], blurred(batch[:1], strongest)[0])
    copies = [batch[1:2]] + [blurred(batch[1:2], strongest * i / 7) for i in range(1, 8)]
    for y, x in ((0, 0), (11, 3), (23, 15)):
        depth = (1 - float(shown[2, y, x])) * 7
        low = int(depth)
        for c in range(3):
            a, b = float(copies[low][0, c, y, x]), float(copies[min(low + 1, 7)][0, c, y, x])
            assert float(found[2, c, y, x]) == pytest.approx(a + (depth - low) * (b - a), abs=1e-5)


@pytest.mark.parametrize("game", ["preserve", "delete"])
def test_steps(nets, batch, close, game, monkeypatch):
    """Three steps of gradient descent with momentum on the whole objective, differentiated in one piece.

    From a random start: an even one has ties, which float32 and float64 may order differently.
    """
    begin = 0.5 + torch.rand(2, 2, 3, 12) / 3  # areas, targets, images, cells
    plain = _Search.__init__

    def begun(self, *arguments):
        plain(self, *arguments)
        assert bool((self.values == (1 if game == "preserve" else 0)).all()), "all in focus"
        self.values = begin.flatten(0, 2).clone()

    monkeypatch.setattr(_Search, "__init__", begun)
    net, x = nets.deep_head(inplace=False).double(), batch.double()
    method = ExtremalPerturbation(iterations=3, cells=4, game=game, areas="0.2+0.5", weight=50.0, rate=0.004)  # fmt: skip
    targets = torch.tensor([[0, 3], [2, 2], [4, 1]])
    found = sc.attribute(net, x, targets, method=method)
    masks, focus = SmoothMasks(4, (24, 16), torch.device("cpu")), Focus(x.float())
    focus.levels = [level.double() for level in focus.levels]
    masks.kernel = masks.kernel.double()
    n = 4 * 3
    for i, k in np.ndindex(3, 2):
        total = 0.0
        for a, area in enumerate((0.2, 0.5)):
            m = begin[a, k, i][None].double()
            speed = torch.zeros_like(m)
            row = torch.tensor([i])
            with torch.no_grad():
                ends = [net(level[i : i + 1])[0, targets[i, k]] for level in (focus.levels[0], focus.levels[-1])]  # fmt: skip
            fall = (ends[0] - ends[1]).abs()
            for step in range(3):
                m.requires_grad_(True)
                smooth = masks(m)
                shown = masks.wide(smooth)
                picture = focus(shown if game == "preserve" else 1 - shown, row)
                score = net(picture)[0, targets[i, k]] / fall * (1 if game == "preserve" else -1)
                error = (
                    (smooth[0].sort(descending=True).values - area_shape(area, n)).square().mean()
                )
                objective = n * (50 ** (step / 2) * error - score)
                (gradient,) = torch.autograd.grad(objective, m)
                speed = 0.9 * speed + gradient
                m = (m.detach() - 0.004 * speed).clamp(0, 1)
            total = total + masks.wide(masks(m))[0].numpy() / 2
        assert float(total.min()) > 0.1 or float(total.max()) < 0.999, "it has moved"
        close(found[i, k], total, atol=1e-4)


class Blobs(nn.Module):
    """Scores are the contrast inside two discs: a blur takes it away."""

    def __init__(self, size=32, radius=5.8, scale=1.0):
        super().__init__()
        y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        discs = [((y - a) ** 2 + (x - b) ** 2 <= radius**2) for a, b in ((10, 22), (21, 8))]
        self.discs, self.scale = torch.stack(discs).float(), scale

    def forward(self, x):
        contrast = (x - F.avg_pool2d(x, 3, 1, 1)).abs().mean(1)
        return torch.einsum("bhw,khw->bk", contrast, self.discs) * self.scale


def fit(mask, disc):
    """IoU of the disc with as many of the brightest pixels."""
    chosen = torch.zeros(mask.numel())
    chosen[mask.flatten().topk(int(disc.sum())).indices] = 1
    both = chosen * disc.flatten()
    return float(both.sum() / (chosen + disc.flatten() - both).sum())


@pytest.mark.parametrize("game", ["preserve", "delete"])
def test_it_finds_the_blob_with_the_area_asked_for(game):
    net, x = Blobs(), torch.randn(1, 3, 32, 32)
    area = float(net.discs[0].mean())
    spec = f"extremal-perturbation:cells=12:iterations=120:areas={area:.3f}:game={game}"
    found = sc.attribute(net, x, torch.tensor([[0, 1]]), method=spec)
    for k in range(2):
        assert fit(found[0, k], net.discs[k]) > 0.5
        assert fit(found[0, k], net.discs[1 - k]) == 0
        assert float(found[0, k].mean()) == pytest.approx(area, abs=0.025)
        assert float(found[0, k].min()) >= 0
        assert float(found[0, k].max()) <= 1 + 1e-6


def test_the_scale_of_the_score_does_not_matter():
    x = torch.randn(1, 3, 32, 32)
    spec = "extremal-perturbation:cells=8:iterations=12"
    plain = sc.attribute(Blobs(), x, 0, method=spec)
    for scale in (1e-6, 1e6):
        found = sc.attribute(Blobs(scale=scale), x, 0, method=spec)
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-3)


def test_a_score_that_nothing_changes_leaves_the_area_alone():
    class Constant(nn.Module):
        def forward(self, x):
            return 0 * x.sum((1, 2, 3))[:, None] + 1

    found = sc.attribute(Constant(), torch.randn(1, 3, 16, 16), 0, method="extremal-perturbation:cells=6:iterations=20")  # fmt: skip
    assert found.isfinite().all()


@pytest.mark.parametrize("limit", [1, 9, 1000])
def test_how_many_at_once_does_not_matter(nets, batch, limit, monkeypatch):
    net = nets.gap()
    spec = "extremal-perturbation:cells=5:iterations=4:areas=0.1+0.4"
    targets = torch.tensor([[0, 3], [2, 2], [4, 1]])
    plain = sc.attribute(net, batch, targets, method=spec)
    monkeypatch.setattr(Question, "at_once", lambda self: limit)
    found = sc.attribute(net, batch, targets, method=spec)
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-4)


def test_areas_are_averaged(nets, batch):
    spec, net = "extremal-perturbation:cells=5:iterations=5:areas=", nets.gap()
    one, two, both = (
        sc.attribute(net, batch, 1, method=spec + a) for a in ("0.1", "0.4", "0.1+0.4")
    )
    torch.testing.assert_close(both, (one + two) / 2, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"areas": "big"}, r'extremal-perturbation:areas are shares .* got "big"'),
        ({"areas": "0.1+1"}, r'extremal-perturbation:areas are shares .* got "0.1\+1"'),
        ({"areas": "0"}, r"extremal-perturbation:areas are shares"),
        ({"areas": "nan"}, r"extremal-perturbation:areas are shares"),
        ({"iterations": 0}, r"extremal-perturbation:iterations is at least 1; got 0"),
        ({"cells": 0}, r"extremal-perturbation:cells is at least 1; got 0"),
        ({"weight": 0.5}, r"extremal-perturbation:weight is at least 1, where it starts; got 0.5"),
        ({"rate": 0.0}, r"extremal-perturbation:rate is positive; got 0.0"),
        ({"rate": float("inf")}, r"extremal-perturbation:rate is positive; got inf"),
    ],
)
def test_settings_it_cannot_have(options, message):
    with pytest.raises(sc.MethodError, match=message):
        ExtremalPerturbation(**options)


def test_where_blur_changes_no_score_there_is_nothing_to_find(nets, batch):
    x = batch.clone()
    x[1] = 0.25
    found = sc.attribute(nets.gap(), x, 1, method="extremal-perturbation:iterations=3:cells=5")
    assert float(found[1].abs().max()) == 0
    assert float(found[0].max()) > 0
