"""What holds for every method that asks the network many times."""

import pytest
import torch

import saliscope as sc
from quick import at
from saliscope.methods import METHODS

PROBES = [name for name, kind in METHODS.items() if kind.family == "probes"]


@pytest.fixture
def gap(nets):
    return nets.gap("inplace")


# --- methods that ask the network again --------------------------------------------------------------------------------

TARGETS = torch.tensor([[0, 3], [2, 2], [4, 1]])


def near(found, expected, atol=1e-4):
    scale = float(expected.abs().max())
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=atol)


@pytest.mark.parametrize("name", PROBES)
def test_probes_in_a_batch_as_alone_in_any_order(gap, batch, name):
    found = sc.attribute(gap, batch, TARGETS, method=at(name))
    order = torch.tensor([2, 0, 1])
    near(sc.attribute(gap, batch[order], TARGETS[order], method=at(name)), found[order])
    for i in range(3):
        alone = sc.attribute(gap, batch[i : i + 1], TARGETS[i : i + 1], method=at(name))
        near(alone[0], found[i])
        for k in range(2):
            near(sc.attribute(gap, batch[i : i + 1], int(TARGETS[i, k]), method=at(name))[0], found[i, k])  # fmt: skip
    assert not torch.allclose(found[0, 0], found[0, 1], rtol=1e-3)
    near(found[1, 0], found[1, 1])


@pytest.mark.parametrize("name", PROBES)
def test_probes_of_a_function_of_the_users_own(gap, batch, name):
    """It may count on the batch: each image is in its own place, in every pass."""
    own = torch.tensor([3, 2, 1])

    def score(output):
        assert len(output) == 3
        return output[torch.arange(3), own]

    found = sc.attribute(gap, batch, score, method=at(name))
    near(found, sc.attribute(gap, batch, own, method=at(name)))


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("limit", [1, 2, 7, 10_000])
def test_probes_however_many_are_asked_at_once(gap, batch, monkeypatch, name, limit):
    from saliscope.engine import Question

    expected = sc.attribute(gap, batch, TARGETS, method=at(name))
    monkeypatch.setattr(Question, "at_once", lambda self: limit)
    near(sc.attribute(gap, batch, TARGETS, method=at(name)), expected)


@pytest.mark.parametrize("name", PROBES)
def test_probes_of_an_even_picture_beside_others(gap, batch, name):
    plain = sc.attribute(gap, batch, 1, method=at(name))
    for colour in (0.0, 0.7):
        x = batch.clone()
        x[1] = colour
        found = sc.attribute(gap, x, 1, method=at(name))
        assert found.isfinite().all()
        near(found[[0, 2]], plain[[0, 2]])


@pytest.mark.parametrize("name", PROBES)
def test_probes_do_not_hide_nan_nor_pass_it_on(gap, batch, name):
    x = batch.clone()
    x[1, 0, 3, 4] = float("nan")
    found = sc.attribute(gap, x, 1, method=at(name))
    assert found[1].isnan().any()
    near(found[[0, 2]], sc.attribute(gap, batch, 1, method=at(name))[[0, 2]])


@pytest.mark.parametrize("name", PROBES)
def test_probes_with_other_arguments_beside_the_picture(batch, name):
    """What belongs to an image goes along with its variants."""

    class Two(torch.nn.Module):
        def forward(self, picture, gain):
            bright = picture[:, :, 4:12, 3:9].square().mean((1, 2, 3))
            return torch.stack([bright * gain, picture.mean((1, 2, 3))], 1)

    if METHODS[name]().on_layer:
        pytest.skip("no layer")
    gain = torch.tensor([1.0, -2.0, 3.0])
    found = sc.attribute(Two(), (batch, gain), 0, method=at(name))
    for i in range(3):
        near(sc.attribute(Two(), {"picture": batch[i : i + 1], "gain": gain[i : i + 1]}, 0, method=at(name))[0], found[i])  # fmt: skip


@pytest.mark.parametrize("name", PROBES)
def test_probes_under_autocast_keep_their_own_sums_exact(gap, batch, name):
    """The network may round, its scores' sums may not: a `Model` of float32 gives the same map."""
    model = sc.Model(gap, (24, 16))
    plain = sc.attribute(model, batch, 1, method=at(name))
    with torch.autocast("cpu", torch.bfloat16):
        found = sc.attribute(model, batch, 1, method=at(name))
    near(found, plain)


@pytest.mark.parametrize("name", PROBES)
def test_probes_can_be_smoothed(gap, batch, name):
    found = sc.attribute(gap, batch, TARGETS, method=f"{at(name)}:smooth=2:noise=0.05")
    assert found.isfinite().all()
    assert found.shape == sc.attribute(gap, batch, TARGETS, method=at(name)).shape
