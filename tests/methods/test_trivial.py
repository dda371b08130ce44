import math

import numpy as np
import pytest
import torch

import saliscope as sc
from saliscope.methods import Centre, Edges, Evidence, Random

RANDOM_2X2 = [
    0.2949468493461609,
    0.42771482467651367,
    0.21576571464538574,
    0.5571001768112183,
]  # fixed: a recorded result must be found again


def maps(method, images):
    return method.signed_map(Evidence(images))


def test_random_is_the_images_own_noise(batch):
    together = maps(Random(), batch)
    assert together.shape == (3, 7, 7)
    assert float(together.min()) >= 0
    assert float(together.max()) < 1
    for i in (0, 1, 2):
        assert torch.equal(maps(Random(), batch[i : i + 1])[0], together[i])
    shuffled = maps(Random(), batch[[2, 0, 1]])
    assert torch.equal(shuffled, together[[2, 0, 1]])
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(maps(Random(seed=1), batch), together)
    assert torch.equal(maps(Random(), batch.to(memory_format=torch.channels_last)), together)


def test_random_is_the_same_in_every_process(batch):
    image = torch.arange(48, dtype=torch.float32).view(1, 3, 4, 4)
    first = maps(Random(grid=2), image)
    assert first.flatten().tolist() == pytest.approx(RANDOM_2X2, abs=1e-7)


def test_random_is_uniform_and_leaves_the_global_generator_alone(batch):
    before = torch.get_rng_state()
    noise = maps(Random(grid=200), batch[:1]).double()
    assert torch.equal(torch.get_rng_state(), before)
    assert abs(float(noise.mean()) - 0.5) < 0.01
    assert abs(float(noise.var()) - 1 / 12) < 0.003
    assert float(noise.var((1, 2))) > 0


@pytest.mark.parametrize(("sigma", "grid"), [(0.25, 56), (0.1, 7), (2.0, 4), (0.25, 1)])
def test_centre_is_the_gaussian(batch, sigma, grid):
    found = maps(Centre(sigma=sigma, grid=grid), batch)
    assert found.shape == (3, grid, grid)
    for y in range(0, grid, 3):
        for x in range(grid):
            u, v = (x + 0.5) / grid - 0.5, (y + 0.5) / grid - 0.5
            expected = math.exp(-(u * u + v * v) / (2 * sigma * sigma))
            assert float(found[1, y, x]) == pytest.approx(expected, rel=1e-5)


def edges_twin(image, pool):
    """Sobel magnitude of the channel mean, edge pixels repeated, averaged over pool x pixels."""
    grey = image.astype(np.float64).mean(0)
    height, width = grey.shape
    magnitude = np.zeros_like(grey)

    def at(y, x):
        return grey[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]

    for y in range(height):
        for x in range(width):
            along_x = sum(
                f * (at(y + d, x + 1) - at(y + d, x - 1)) for d, f in ((-1, 1), (0, 2), (1, 1))
            )
            along_y = sum(
                f * (at(y + 1, x + d) - at(y - 1, x + d)) for d, f in ((-1, 1), (0, 2), (1, 1))
            )
            magnitude[y, x] = math.hypot(along_x, along_y) / 8
    rows, columns = math.ceil(height / pool), math.ceil(width / pool)
    return np.array(
        [
            [
                magnitude[r * pool : (r + 1) * pool, c * pool : (c + 1) * pool].mean()
                for c in range(columns)
            ]
            for r in range(rows)
        ]
    )


@pytest.mark.parametrize("pool", [1, 4, 5])
def test_edges_are_sobels(batch, pool):
    images = batch[:, :, :13, :9]
    found = maps(Edges(pool=pool), images)
    for i in range(2):
        np.testing.assert_allclose(
            found[i], edges_twin(images[i].numpy(), pool), rtol=1e-4, atol=1e-6
        )


def test_edges_of_a_ramp_and_of_nothing():
    ramp = torch.arange(12.0).expand(1, 3, 8, 12)
    assert maps(Edges(pool=4), ramp)[0, :, 1].tolist() == pytest.approx([1.0, 1.0])
    assert float(maps(Edges(), torch.ones(1, 3, 8, 8)).max()) == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("random", {"grid": 0}, "random:grid is at least 1; got 0"),
        ("centre", {"grid": -1}, "centre:grid is at least 1"),
        ("edges", {"pool": 0}, "edges:pool is at least 1"),
        ("centre", {"sigma": 0.0}, "centre:sigma is a positive share of the side"),
        ("centre", {"sigma": float("nan")}, "centre:sigma is a positive"),
    ],
)
def test_options_out_of_range(batch, nets, name, options, message):
    with pytest.raises(sc.MethodError, match=message):
        sc.attribute(nets.gap(), batch, method=name, **options)


@pytest.mark.parametrize("name", ["random", "centre", "edges"])
def test_they_ignore_the_target_and_need_a_picture(batch, nets, name):
    net = nets.gap()
    found = sc.attribute(net, batch, torch.tensor([[0, 1]] * 3), method=name)
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[:, 0], sc.attribute(net, (batch,), 2, method=name))

    class Vectors(torch.nn.Module):
        def forward(self, x):
            return x

    with pytest.raises(sc.MethodError, match="looks at the picture itself"):
        sc.attribute(Vectors(), torch.randn(2, 5), 0, method=name)


@pytest.mark.parametrize("base", ["grad-cam", "hires-cam", "layer-cam"])
def test_shuffled_has_the_values_of_its_base_in_other_places(batch, nets, base):
    net = nets.gap()
    true = sc.attribute(net, batch, 1, method=base, layer="bn1", relu=False)
    found = sc.attribute(net, batch, 1, method="shuffled", layer="bn1", base=base, relu=False)
    assert torch.equal(found.flatten(1).sort().values, true.flatten(1).sort().values)
    moved = (found != true).flatten(1).float().mean(1)
    assert bool((moved > 0.9).all())
    for i in range(3):
        alone = sc.attribute(net, batch[i : i + 1], 1, method="shuffled@bn1", base=base, relu=False)
        torch.testing.assert_close(alone[0], found[i])
    other = sc.attribute(net, batch, 1, method="shuffled@bn1", base=base, relu=False, seed=1)
    assert not torch.equal(other, found)
    assert sc.attribute(net, batch, 1, method="shuffled@bn1", base=base).min() >= 0


def test_two_images_are_shuffled_each_in_its_own_order(nets):
    images = torch.stack([torch.zeros(3, 24, 16), torch.ones(3, 24, 16) * 0.01])
    orders = []
    for image in images:
        found = map_of(image)
        orders.append(found.flatten().argsort())
    assert not torch.equal(*orders)


def map_of(image):
    from saliscope.methods import Evidence, Shuffled

    rising = torch.arange(24.0).view(1, 1, 4, 6)
    return Shuffled(base="hires-cam").signed_map(
        Evidence(image[None], rising, torch.ones_like(rising))
    )


def test_shuffled_needs_a_picture(nets):
    from torch import nn

    net = nn.Sequential(
        nn.Unflatten(1, (2, 4, 4)), nn.Conv2d(2, 3, 1), nn.Flatten(), nn.Linear(48, 2)
    )
    with pytest.raises(sc.MethodError, match="a shuffled map is drawn from the picture"):
        sc.attribute(net, torch.rand(2, 32), 0, method="shuffled@1")
