"""One map of several layers: the average of any method, and Refine-CAM's product."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import saliscope as sc
from saliscope.methods.layers import average, product, same_grid

BOTH = "features.1+features.4"  # 12 x 8 and 6 x 4 cells


def resized(m, size):
    """Bilinear with half-pixel centres, clamped, in loops."""
    out = np.zeros(size)
    for i, j in np.ndindex(*size):
        y = min(max((i + 0.5) * m.shape[0] / size[0] - 0.5, 0), m.shape[0] - 1)
        x = min(max((j + 0.5) * m.shape[1] / size[1] - 0.5, 0), m.shape[1] - 1)
        top, left = int(y), int(x)
        low, right = min(top + 1, m.shape[0] - 1), min(left + 1, m.shape[1] - 1)
        v, u = y - top, x - left
        out[i, j] = (1 - v) * ((1 - u) * m[top, left] + u * m[top, right])
        out[i, j] += v * ((1 - u) * m[low, left] + u * m[low, right])
    return out


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "eigen-cam", "shapley-cam", "fem"])
@pytest.mark.parametrize("door", ["raw", "model"])
def test_maps_are_averaged_on_the_finest_grid(nets, batch, close, method, door):
    net = nets.deep_head()
    thing = sc.Model(net, (24, 16)) if door == "model" else net
    options = {} if method == "fem" else {"relu": False}
    found = sc.attribute(thing, batch, 1, method=method, layer=BOTH, **options)
    single = sc.attribute(thing, batch, 1, method=method, layer=BOTH.split("+"), **options)
    assert found.shape == (3, 12, 8)
    for i in range(3):
        expected = np.zeros((12, 8))
        for m in single.values():
            big = resized(m[i].double().numpy(), (12, 8))
            expected += big / np.abs(big).max() / 2
        close(found[i], expected)


def test_the_relu_comes_last(nets, batch):
    net = nets.deep_head()
    signed = sc.attribute(net, batch, 1, layer=BOTH, relu=False)
    assert float(signed.min()) < 0
    assert torch.equal(sc.attribute(net, batch, 1, layer=BOTH), signed.relu())


@pytest.mark.parametrize("base", ["grad-cam++", "grad-cam", "layer-cam"])
def test_refine_cam_multiplies(nets, batch, close, base):
    net = nets.deep_head()
    found = sc.attribute(net, batch, 1, method="refine-cam", layer=BOTH, base=base)
    single = sc.attribute(net, batch, 1, method=base, layer=BOTH.split("+"))
    for i in range(3):
        expected = np.ones((12, 8))
        for m in single.values():
            big = resized(np.maximum(m[i].double().numpy(), 0), (12, 8))
            expected *= big / big.max()
        close(found[i], expected)
    assert 0 <= float(found.min()) < float(found.max()) <= 1


def test_refine_cam_of_one_layer_is_its_base(nets, batch):
    net = nets.deep_head()
    found = sc.attribute(net, batch, 1, method="refine-cam", layer="features.4")
    torch.testing.assert_close(
        found, sc.attribute(net, batch, 1, method="grad-cam++", layer="features.4")
    )


def test_the_order_of_layers_and_their_scale_do_not_matter():
    r = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 4, 6, generator=r), torch.randn(2, 8, 12, generator=r)]
    for fuse in (average, product):
        torch.testing.assert_close(fuse(maps), fuse(maps[::-1]))
        torch.testing.assert_close(fuse([maps[0] * 1e-20, maps[1] * 1e20]), fuse(maps))


def test_a_layer_that_says_nothing():
    """Zeros add nothing to an average and leave nothing of a product; NaN is not hidden."""
    r = torch.Generator().manual_seed(0)
    one, zero = torch.randn(1, 4, 6, generator=r), torch.zeros(1, 2, 3)
    torch.testing.assert_close(average([one, zero]), one / one.abs().max() / 2)
    assert float(product([one, zero]).abs().max()) == 0
    assert average([one, zero * float("nan")]).isnan().all()


def test_grids_that_differ_both_ways():
    maps = [torch.ones(1, 2, 9), torch.ones(1, 5, 3)]
    assert [m.shape for m in same_grid(maps)] == [(1, 5, 9)] * 2


def test_written_with_aliases_and_kept_as_written(photos):
    import torchvision

    torch.manual_seed(0)
    model = sc.Model(torchvision.models.resnet50(num_classes=4), 64)
    spec = "grad-cam@conv4_block6_out+conv5_block3_out"
    found = sc.explain(model, photos[0], spec)
    assert found.spec == spec
    native = sc.explain(model, photos[0], "grad-cam@layer3.5+layer4.2")
    np.testing.assert_array_equal(found.map, native.map)
    assert found.map.shape == (4, 4)


@pytest.mark.parametrize("door", ["raw", "model"])
def test_unknown_layers_are_named_one_by_one(nets, batch, door):
    thing = nets.deep_head()
    thing = sc.Model(thing, (24, 16)) if door == "model" else thing
    with pytest.raises(sc.LayerError, match='layer "nope" is not in DeepHead'):
        sc.attribute(thing, batch, 1, layer="features.1+nope")
    with pytest.raises(sc.MethodError, match="CAM"):
        sc.attribute(thing, batch, 1, method="cam", layer=BOTH)


def test_twin_of_the_resize(close):
    m = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(m[None, None], (7, 10), mode="bilinear", align_corners=False)[0, 0]
    close(expected, resized(m.double().numpy(), (7, 10)))
