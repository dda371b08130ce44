"""`smooth`, on any method: the mean over noisy copies, by loops; seeded by image, in any batch and in chunks of any size."""

import pytest
import torch
from torch import nn

import saliscope as sc
from saliscope.methods import map_batch, parse_method
from saliscope.methods.noise import noisy_copies, own_generator

METHODS = ["grad-cam@conv1:relu=false", "grad-cam@act2", "cam@act2", "layer-cam@conv2", "eigen-cam@conv2", "gradient",
           "guided-backprop", "full-grad", "edges"]  # fmt: skip


@pytest.fixture
def net(nets):
    return nets.gap("inplace")


def copies_by_hand(image, count, noise, seed):
    """The copies of one image (C, H, W): Gaussian noise of `noise` times its range, one generator an image."""
    generator = own_generator(image, seed)
    values = image.flatten().tolist()
    sigma = noise * (max(values) - min(values))
    return [image + sigma * torch.randn(image.shape, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("method", METHODS)
def test_the_mean_of_the_maps_of_each_copy(net, batch, close, method):
    """The signed maps are averaged; the method's ReLU comes after. Channels are averaged before they become one."""
    spec = parse_method(method)
    options = {"channels": "keep"} if hasattr(spec.method, "channels") else {}
    plain = {"relu": False} if hasattr(spec.method, "relu") else {}
    found = sc.attribute(net, batch, 2, method=method, smooth=5, noise=0.2, seed=3)
    for i in range(3):
        maps = []
        for copy in copies_by_hand(batch[i], 5, 0.2, 3):
            own = sc.attribute(net, copy[None], 2, method=method, **options, **plain)
            maps.append(own[0].double())
        mean = sum(maps) / 5
        if options:
            mean = mean.abs().amax(0)
        close(found[i], mean.relu() if getattr(spec.method, "relu", False) else mean)


def test_the_noise_is_gaussian_and_as_wide_as_said():
    images = torch.rand(2, 3, 40, 40) * torch.tensor([1.0, 50.0]).view(2, 1, 1, 1)
    noise = torch.stack(list(noisy_copies(images, 30, level=0.2, seed=0))) - images
    for i in range(2):
        sigma = 0.2 * float(images[i].max() - images[i].min())
        assert float(noise[:, i].std()) == pytest.approx(sigma, rel=0.01)
        assert abs(float(noise[:, i].mean())) < 0.01 * sigma
        assert float((noise[:, i].abs() < sigma).float().mean()) == pytest.approx(0.683, abs=0.01)
    assert float((noise[0, 0] - noise[1, 0]).abs().mean()) > 0, "another copy, other noise"
    correlation = torch.corrcoef(noise[:, :, 0].transpose(0, 1).reshape(2, -1))[0, 1]
    assert abs(float(correlation)) < 0.05, "images are independent"


def test_seeds_and_images_decide(net, batch):
    method = "grad-cam@conv1:smooth=4:relu=false"
    first = sc.attribute(net, batch, 1, method=method)
    torch.rand(5)  # the state of torch's own generator counts for nothing
    assert torch.equal(first, sc.attribute(net, batch, 1, method=method))
    assert not torch.allclose(first, sc.attribute(net, batch, 1, method=method, seed=1))
    assert not torch.allclose(first, sc.attribute(net, batch, 1, method=method, noise=0.3))
    twice = sc.attribute(net, batch[[0, 1, 0]], 1, method=method)
    torch.testing.assert_close(twice[0], twice[2])


@pytest.mark.parametrize(
    "method", ["grad-cam@conv1:relu=false", "gradient", "guided-backprop", "full-grad"]
)
def test_batches_orders_and_chunks_do_not_matter(net, method):
    """One image: all copies in a pass; seven: two of each; twenty: one."""
    x = torch.randn(20, 3, 24, 16)
    spec = f"{method}:smooth=5"
    alone = torch.cat([sc.attribute(net, x[i : i + 1], 2, method=spec) for i in range(20)])
    scale = alone.abs().amax((1, 2), keepdim=True)
    for some in (x, x[:7], x[:3]):
        found = sc.attribute(net, some, 2, method=spec)
        n = len(some)
        torch.testing.assert_close(found / scale[:n], alone[:n] / scale[:n], rtol=0, atol=5e-5)
    order = torch.randperm(20)
    found = sc.attribute(net, x[order], 2, method=spec)
    torch.testing.assert_close(found / scale[order], (alone / scale)[order], rtol=0, atol=5e-5)


def test_several_classes_and_functions(net, batch):
    targets = torch.tensor([[0, 4], [1, 1], [2, 0]])
    for method in ("grad-cam@conv1:relu=false", "gradient:channels=sum"):
        both = sc.attribute(net, batch, targets, method=method, smooth=4)
        for k in range(2):
            one = sc.attribute(net, batch, targets[:, k], method=method, smooth=4)
            torch.testing.assert_close(both[:, k], one, rtol=1e-4, atol=1e-6)
        seen = []

        def second(output, seen=seen):
            seen.append(len(output))
            return output[:, 1]

        as_function = sc.attribute(net, batch, second, method=method, smooth=4)
        as_class = sc.attribute(net, batch, 1, method=method, smooth=4)
        torch.testing.assert_close(as_function, as_class, rtol=1e-4, atol=1e-6)
        assert set(seen) == {3}, "a function sees the batch it was written for"


def test_the_class_is_that_of_the_image_not_of_a_copy(net):
    """Noise so strong that copies are taken for other classes; the class explained is predicted once."""
    x = torch.randn(6, 3, 24, 16)
    own = net(x).argmax(1)
    copies = list(noisy_copies(x, 6, level=1.0, seed=0))
    assert any(not torch.equal(net(c).argmax(1), own) for c in copies)
    found = sc.attribute(net, x, method="grad-cam@conv1:smooth=6:noise=1:relu=false")
    told = sc.attribute(net, x, own, method="grad-cam@conv1:smooth=6:noise=1:relu=false")
    torch.testing.assert_close(found, told)


class Counting(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.sizes = net, []

    def forward(self, x):
        self.sizes.append(len(x))
        return self.net(x)


def test_the_same_noise_shares_its_passes(net, batch):
    network = sc.Model(Counting(net), (24, 16), prepare=False).network()
    sizes = network.module.sizes

    def passes(*specs):
        sizes.clear()
        maps = map_batch(network, batch, [parse_method(s) for s in specs], target=1).signed
        return sizes[:], maps

    alone, first = passes("gradient:smooth=10")
    assert alone == [3, 3, 27], (
        "the images themselves, a copy that shows what a pass takes, and nine at once"
    )
    same, maps = passes("gradient:smooth=10", "grad-cam@net.conv1:smooth=10", "vargrad:smooth=10", "edges:smooth=10")  # fmt: skip
    assert same == alone
    assert torch.equal(maps[0], first[0])
    assert passes("gradient:smooth=10", "grad-cam@net.conv1:smooth=10:seed=1")[0] == [3, 30, 3, 27]
    assert passes("gradient", "grad-cam@net.conv1")[0] == [3], "nothing is smoothed unless asked"


def test_what_else_belongs_to_an_image_goes_along(batch):
    """Copies of an image keep its other inputs; what belongs to none is left as it is."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x, scale, shift):
            return self.conv(x).relu().mean((2, 3)) * scale[:, None] + shift

    torch.manual_seed(0)
    net, scale, shift = Two().eval(), torch.tensor([1.0, -2.0, 5.0]), torch.zeros(4)
    method = "gradient:smooth=4:channels=sum"
    together = sc.attribute(net, (batch, scale, shift), 1, method=method)
    for i in range(3):
        alone = sc.attribute(net, (batch[i : i + 1], scale[i : i + 1], shift), 1, method=method)
        torch.testing.assert_close(together[i], alone[0], rtol=1e-4, atol=1e-6)


def test_without_noise_it_is_the_map_itself(net, batch):
    for method in METHODS:
        quiet = sc.attribute(net, batch, 1, method=method, smooth=3, noise=0.0)
        torch.testing.assert_close(quiet, sc.attribute(net, batch, 1, method=method), rtol=1e-4, atol=1e-6)  # fmt: skip


def test_a_constant_image_has_no_range(net):
    flat = torch.full((1, 3, 24, 16), 0.5)
    smooth = sc.attribute(net, flat, 1, method="gradient:smooth=3")
    torch.testing.assert_close(smooth, sc.attribute(net, flat, 1, method="gradient"))


def test_photographs(net, photos):
    model = sc.Model(net, 32)
    found = sc.explain(model, photos, "grad-cam@conv2:smooth=4")
    assert [e.spec for e in found] == ["grad-cam@conv2:smooth=4"] * 5
    alone = sc.explain(model, photos[3], "grad-cam@conv2:smooth=4")
    assert abs(alone.map - found[3].map).max() < 1e-5 * abs(alone.map).max()


@pytest.mark.parametrize(("options", "says"), [
    ({"smooth": -1}, r"grad-cam:smooth is a number of noisy copies, 0 for none; got -1"),
    ({"smooth": 2.5}, r"grad-cam:smooth is a whole number; got 2.5"),
    ({"smooth": True}, r"grad-cam:smooth is a whole number; got True"),
    ({"smooth": 2, "noise": -0.1}, r"grad-cam:noise is a share of the range of an image's values; got -0.1"),
    ({"smooth": 2, "noise": float("nan")}, r"grad-cam:noise is a share of the range of an image's values; got nan"),
    ({"smooth": 2, "noise": float("inf")}, r"grad-cam:noise is a share of the range of an image's values; got inf"),
    ({"smooth": 2, "seed": "x"}, r"grad-cam:seed is a whole number; got 'x'"),
])  # fmt: skip
def test_values_refused(net, batch, options, says):
    with pytest.raises(sc.MethodError, match=says):
        sc.attribute(net, batch, 1, method="grad-cam", **options)
