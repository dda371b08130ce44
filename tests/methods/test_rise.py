"""RISE: its masks by hand, its sums against loops in float64, and when it stops."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.engine import Network, Question
from saliscope.methods import RISE
from saliscope.methods.rise import _Masks

TARGETS = torch.tensor([[0, 3], [2, 2], [4, 1]])


def mask_twin(grid, shift, size):
    """Bilinear interpolation with half-pixel centres at (cells + 1) times the cell, cut out at `shift`; pixel by pixel."""
    cells = len(grid)
    out = np.zeros(size)
    for y, x in np.ndindex(*size):
        at = []
        for place, move, side in zip((y, x), shift, size, strict=True):
            cell = math.ceil(side / cells)
            u = (place + move + 0.5) * cells / ((cells + 1) * cell) - 0.5
            at.append(min(max(u, 0), cells - 1))
        (b, a), (v, u) = (int(at[0]), int(at[1])), (at[0] % 1, at[1] % 1)
        b1, a1 = min(b + 1, cells - 1), min(a + 1, cells - 1)
        top = grid[b][a] * (1 - u) + grid[b][a1] * u
        low = grid[b1][a] * (1 - u) + grid[b1][a1] * u
        out[y, x] = top * (1 - v) + low * v
    return out


@pytest.mark.parametrize("size", [(24, 16), (23, 9), (4, 30)])
def test_masks(size, close):
    masks = _Masks(RISE(masks=30, cells=4), torch.zeros(1, 3, *size))
    found = masks.of(range(5, 9))
    for i in range(4):
        expected = mask_twin(masks.grids[5 + i].tolist(), masks.shift[5 + i].tolist(), size)
        close(found[i], expected, atol=1e-6)


def test_masks_as_drawn():
    size = (24, 16)
    masks = _Masks(RISE(masks=3000, cells=4, p=0.3), torch.zeros(1, 3, *size))
    assert set(masks.grids.unique().tolist()) == {0.0, 1.0}
    assert float(masks.grids.mean()) == pytest.approx(0.3, abs=0.01)
    for axis, cell in enumerate((6, 4)):
        counts = masks.shift[:, axis].bincount()
        assert len(counts) == cell + 1, "from 0 up to the size of a cell"
        assert int(counts.min()) > 0.7 * 3000 / (cell + 1)
    shown = masks.of(range(3000)).mean(0)
    assert float((shown - 0.3).abs().max()) < 0.04, "every pixel as often as any other"
    again = _Masks(RISE(masks=3000, cells=4, p=0.3), torch.zeros(2, 1, *size))
    other = _Masks(RISE(masks=3000, cells=4, p=0.3, seed=1), torch.zeros(1, 3, *size))
    assert torch.equal(again.of(range(9)), masks.of(range(9))), "the same for all images"
    assert not torch.equal(other.of(range(9)), masks.of(range(9)))


def twin(net, image, method, c, fill=0.0):
    """1/(N p) of the sum over masks of the score, less its mean if centred, times the mask."""
    masks = _Masks(method, image[None].float()).of(range(method.masks)).double().numpy()
    image = image.numpy()
    scores = []
    for m in masks:
        seen = image * m + fill * (1 - m)
        scores.append(float(net(torch.from_numpy(seen)[None])[0, c].detach()))
    middle = sum(scores) / len(scores) if method.centre else 0.0
    total = sum((s - middle) * m for s, m in zip(scores, masks, strict=True))
    return total / (method.masks * method.p)


@pytest.mark.parametrize(
    "method",
    [RISE(masks=45), RISE(masks=45, centre=False, p=0.3), RISE(masks=33, cells=3, fill="mean", seed=4)],
)  # fmt: skip
def test_sums(nets, batch, close, method):
    net, x = nets.deep_head().double(), batch.double()
    found = sc.attribute(net, x, TARGETS, method=method)
    assert found.shape == (3, 2, 24, 16)
    for i, k in np.ndindex(3, 2):
        fill = x[i].numpy().mean((1, 2), keepdims=True) if method.fill == "mean" else 0.0
        close(found[i, k], twin(net, x[i], method, TARGETS[i, k], fill))


def test_a_constant_of_the_score_changes_nothing(nets, batch):
    """A logit has no zero of its own: only the paper's sum, made for probabilities, takes it in."""
    net = nets.gap()
    plain = sc.attribute(net, batch, 1, method="rise:masks=60")
    as_written = sc.attribute(net, batch, 1, method="rise:masks=60:centre=false")
    with torch.no_grad():
        net.fc.bias += 100.0
    found = sc.attribute(net, batch, 1, method="rise:masks=60")
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-3 * float(plain.abs().max()))
    moved = sc.attribute(net, batch, 1, method="rise:masks=60:centre=false")
    assert float((moved - as_written).mean()) == pytest.approx(100, rel=0.1)
    assert float((moved - as_written).std()) > float(plain.std()), "and its noise drowns the map"


class Spot(nn.Module):
    """The score is the mean of a few pixels; a second class the negative of others."""

    def forward(self, x):
        return torch.stack([x[:, :, 3:8, 2:7].mean((1, 2, 3)), -x[:, :, 15:20, 9:14].mean((1, 2, 3))], 1)  # fmt: skip


def test_it_finds_what_the_score_is_made_of():
    found = sc.attribute(Spot(), torch.ones(1, 3, 24, 16), torch.tensor([[0, 1]]), method="rise:masks=1500:cells=6")  # fmt: skip
    up, down = found[0]
    assert divmod(int(up.argmax()), 16)[0] in range(3, 8)
    assert divmod(int(up.argmax()), 16)[1] in range(2, 7)
    assert divmod(int(down.argmin()), 16)[0] in range(15, 20)
    assert abs(float(up[15:20, 9:14].mean())) < 0.2 * float(up.max()), "0 is no influence"


@pytest.fixture
def asked(monkeypatch):
    """How many images were asked about after the first pass."""
    monkeypatch.setattr(Question, "at_once", lambda self: 32)
    seen = []
    plain = Network.capture
    monkeypatch.setattr(Network, "capture", lambda self, x, *a, **k: seen.append(len(x)) or plain(self, x, *a, **k))  # fmt: skip
    return seen


class Uneven(nn.Module):
    """One class looks at a spot, the other at nearly everything: its map has less contrast beside its noise."""

    def forward(self, x):
        return torch.stack([x[:, :, 3:8, 2:7].mean((1, 2, 3)), -x[:, :, :20, 1:14].square().mean((1, 2, 3))], 1)  # fmt: skip


def test_stopping_early(asked, monkeypatch):
    """The map is that of as many masks as it took, in hundreds; each image and target stops by itself."""
    x = torch.rand(2, 3, 24, 16) + 0.5
    targets = torch.tensor([[0, 1], [1, 0]])
    spec = "rise:masks=900:tolerance=0.31"
    found = sc.attribute(Uneven(), x, targets, method=spec)
    took = sum(asked[1:]) // 2
    whole = {n: sc.attribute(Uneven(), x, targets, method=f"rise:masks={n}") for n in range(100, 901, 100)}  # fmt: skip
    stops = {}
    for i, k in np.ndindex(2, 2):
        equal = [n for n, maps in whole.items() if torch.allclose(maps[i, k], found[i, k], rtol=1e-4, atol=1e-6)]  # fmt: skip
        assert len(equal) == 1
        stops[i, k] = equal[0]
    assert 100 < stops[0, 0] < stops[0, 1] < 900
    assert 100 < stops[1, 1] < stops[1, 0] < 900
    assert max(stops.values()) <= took < max(stops.values()) + 100
    for i in range(2):
        alone = sc.attribute(Uneven(), x[i : i + 1], targets[i : i + 1], method=spec)
        torch.testing.assert_close(alone[0], found[i])
    for limit in (7, 1000):
        monkeypatch.setattr(Question, "at_once", lambda self, n=limit: n)
        again = sc.attribute(Uneven(), x, targets, method=spec)
        torch.testing.assert_close(again, found)


def test_a_tolerance_that_is_never_met_takes_all_masks(nets, batch, asked):
    found = sc.attribute(nets.gap(), batch, 1, method="rise:masks=250:tolerance=0.0001")
    assert sum(asked[1:]) == 3 * 250
    torch.testing.assert_close(found, sc.attribute(nets.gap(), batch, 1, method="rise:masks=250"), rtol=1, atol=1)  # fmt: skip


@pytest.mark.parametrize("centre", [True, False])
def test_the_error_is_what_other_seeds_show(centre):
    from saliscope.methods.rise import _Sums

    maps, errors = [], []
    x = torch.rand(1, 3, 12, 8)
    for seed in range(40):
        method = RISE(masks=200, cells=3, seed=seed, tolerance=1e-9, centre=centre)
        masks, sums = _Masks(method, x).of(range(200)), _Sums(method)
        scores = (x * masks[:, None, None])[:, 0, :, 2:5, 2:6].mean((1, 2, 3)) * 3 + 0.5
        sums.add(masks, scores[:, None, None])
        maps.append(sums.maps()[0, 0])
        errors.append(float(sums._error() * maps[-1].std(correction=0)))
    stacked = torch.stack(maps)
    true = float(stacked.var(0).mean().sqrt())
    assert float(np.median(errors)) == pytest.approx(true, rel=0.15)


def test_a_score_that_never_changes_is_done_at_once(asked):
    class Constant(nn.Module):
        def forward(self, x):
            return x.new_ones(len(x), 2) + 0 * x.sum((1, 2, 3))[:, None]

    found = sc.attribute(Constant(), torch.rand(2, 3, 9, 9), 0, method="rise:tolerance=0.1")
    assert torch.equal(found, torch.zeros(2, 9, 9))
    assert sum(asked[1:]) <= 2 * 132


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("masks", 0, r"rise:masks is at least 1; got 0"),
        ("cells", 0, r"rise:cells is at least 1; got 0"),
        ("p", 0.0, r"rise:p is a probability above 0 and below 1; got 0.0"),
        ("p", 1.0, r"rise:p is a probability above 0 and below 1; got 1.0"),
        ("p", float("nan"), r"rise:p is a probability"),
        ("tolerance", -0.1, r"rise:tolerance is a share of the map's spread, 0 for all masks; got -0.1"),
        ("tolerance", float("nan"), r"rise:tolerance is a share"),
    ],
)  # fmt: skip
def test_settings_it_cannot_have(option, value, message):
    with pytest.raises(sc.MethodError, match=message):
        RISE(**{option: value})
