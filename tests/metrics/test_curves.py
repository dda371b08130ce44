import math

import numpy as np
import pytest
import torch

from saliscope.errors import DataError, OptionError
from saliscope.metrics.curves import CURVE_PROTOCOLS, CurveProtocol, area_under, removal_curves
from saliscope.metrics.faithfulness import curve_area
from saliscope.metrics.substrates import blur, substrate

WEIGHTS = torch.tensor([4.0, 3, 2, 1]) / 10
FOUR = CurveProtocol(name="four", steps=4, insertion="mean", ties="raster")


def four(pictures):
    return pictures.flatten(1) @ WEIGHTS


def known(asked, heat, kinds=("deletion", "insertion")):
    images = torch.ones(1, 1, 2, 2)
    maps = torch.tensor(heat, dtype=torch.float32).reshape(1, 1, 2, 2)
    return removal_curves(asked(four, 1), images, maps, kinds=kinds, protocol=FOUR)


def test_a_linear_function_in_the_right_and_the_wrong_order(asked):
    right = known(asked, [4, 3, 2, 1])
    assert right["deletion"].scores.flatten().tolist() == pytest.approx([1, 0.6, 0.3, 0.1, 0])
    assert right["deletion"].area.item() == pytest.approx(0.375)
    assert right["insertion"].area.item() == pytest.approx(0.625)
    assert known(asked, [1, 2, 3, 4])["deletion"].area.item() == pytest.approx(0.625)
    lerf = known(asked, [4, 3, 2, 1], ("deletion-lerf",))["deletion-lerf"]
    assert lerf.scores.flatten().tolist() == pytest.approx([1, 0.9, 0.7, 0.4, 0])
    assert lerf.area.item() == pytest.approx(0.625)
    assert right["deletion"].start.item() == pytest.approx(1)
    assert right["deletion"].end.item() == 0
    assert right["deletion"].mean_change.item() == pytest.approx((0.4 + 0.7 + 0.9 + 1) / 5)


def test_areas():
    even = torch.linspace(0, 1, 5)
    assert area_under(torch.tensor([1.0, 0, 0, 0, 0]), even).item() == pytest.approx(0.125)
    assert area_under(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0, 0.2, 1.0])).item() == (
        pytest.approx(0.6)
    )


def test_areas_of_tensors_are_those_of_single_curves():
    """The facts of `deletion` name `curve_area`, which needs no torch; runs take `area_under`."""
    random = torch.Generator().manual_seed(6)
    for steps in (1, 2, 28):
        scores = torch.rand(40, steps + 1, generator=random, dtype=torch.float64)
        scores[scores[:, 0] > 0.9, -1] = math.nan
        fractions = torch.rand(steps + 1, generator=random, dtype=torch.float64).sort().values
        expected = [curve_area(row, fractions.tolist()) for row in scores.tolist()]
        assert area_under(scores, fractions).tolist() == pytest.approx(expected, nan_ok=True)
        assert any(map(math.isnan, expected))
        assert not all(map(math.isnan, expected))


def scene(methods=2, batch=3, size=(6, 7)):
    random = torch.Generator().manual_seed(5)
    images = torch.randn(batch, 3, *size, generator=random)
    maps = torch.randn(methods, batch, *size, generator=random)
    maps[0] = maps[0].clamp_min(0)
    weights = torch.randn(3 * size[0] * size[1], 2, generator=random) / 10
    return images, maps, lambda p: (p.flatten(1) @ weights).tanh()


def twin(image, heat, function, ground, steps, kind):
    """One pixel at a time, sorted as Python sorts, in float64."""
    height, width = heat.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    places.sort(key=lambda p: float(heat[p]), reverse=kind != "deletion-lerf")
    base, fill = (ground, image) if kind == "insertion" else (image, ground)
    points, fractions = [], []
    for k in range(steps + 1):
        count = math.floor(k * len(places) / steps + 0.5)
        picture = base.clone()
        for y, x in places[:count]:
            picture[:, y, x] = fill[:, y, x]
        points.append(function(picture[None])[0].double().numpy())
        fractions.append(count / len(places))
    return np.stack(points), fractions


@pytest.mark.parametrize("kind", ["deletion", "insertion", "deletion-lerf"])
@pytest.mark.parametrize("name", ["saliscope", "rise", "four"])
def test_against_loops(asked, kind, name):
    images, maps, function = scene()
    maps[0] += 1e-4 * torch.rand(maps[0].shape)  # no ties: those have tests of their own
    row = CURVE_PROTOCOLS.get(name, FOUR)
    found = removal_curves(asked(function, 3), images, maps, kinds=(kind,), protocol=row)[kind]
    ground = substrate(images, row.insertion if kind == "insertion" else row.deletion)
    for m in range(2):
        for b in range(3):
            points, fractions = twin(images[b], maps[m, b], function, ground[b], row.steps, kind)
            np.testing.assert_allclose(found.scores[m, b].T.numpy(), points, atol=1e-5)
            np.testing.assert_allclose(found.fractions.numpy(), fractions, atol=1e-12)
            area = sum(
                (fractions[k + 1] - fractions[k]) * (points[k] + points[k + 1]) / 2
                for k in range(row.steps)
            )
            np.testing.assert_allclose(found.area[m, b].numpy(), area, atol=1e-5)


def test_points_that_maps_share_are_asked_once(asked):
    images, maps, function = scene(methods=6)
    question = asked(function, 3)
    removal_curves(question, images, maps)
    assert question.pictures == 3 * (6 * 27 * 2 + 3)
    question = asked(function, 3)
    removal_curves(question, images, maps, protocol=CurveProtocol(
        name="same", steps=28, insertion="mean"))  # fmt: skip
    assert question.pictures == 3 * (6 * 27 * 2 + 2)


def test_the_ends_are_the_image_and_the_substrate(asked):
    images, maps, function = scene()
    found = removal_curves(asked(function, 3), images, maps)
    whole, empty, blurred = (function(p) for p in (images, 0 * images, substrate(images, "blur")))
    for m in range(2):
        torch.testing.assert_close(found["deletion"].start[m].float(), whole)
        torch.testing.assert_close(found["deletion"].end[m].float(), empty)
        torch.testing.assert_close(found["insertion"].start[m].float(), blurred)
        torch.testing.assert_close(found["insertion"].end[m].float(), whole)


def test_a_batch_equals_its_images_whatever_the_chunks(asked):
    images, maps, function = scene()
    whole = removal_curves(asked(function, 3, chunk=7), images, maps, seed=4)
    for b in range(3):
        alone = removal_curves(asked(function, 1), images[b : b + 1], maps[:, b : b + 1], seed=4)
        for kind, curves in whole.items():
            torch.testing.assert_close(alone[kind].scores[:, 0], curves.scores[:, b])


def test_seeds_show_the_spread_that_ties_leave(asked):
    images, maps, function = scene()
    maps[0].flatten(1)[:, :29] = 0
    few = CurveProtocol(name="few", steps=6)
    areas = [
        removal_curves(asked(function, 3), images, maps, protocol=few, seed=s)["deletion"]
        for s in range(5)
    ]
    spread = torch.stack([a.area for a in areas]).std(0)
    assert (spread[0] > 1e-4).all()
    assert (spread[1] == 0).all()  # no ties, no spread
    assert (areas[0].ties[0] > 0.6).all()
    assert (areas[0].ties[1] == 0).all()


def test_a_map_without_a_value_everywhere_has_no_curve(asked):
    images, maps, function = scene()
    maps[1, 2, 3, 3] = math.nan
    maps[0, 0, 0, 0] = math.inf
    found = removal_curves(asked(function, 3), images, maps)["deletion"]
    lost = found.area.isnan().all(-1)
    assert lost.tolist() == [[True, False, False], [False, False, True]]


def test_inputs_stay_as_they_are(asked):
    images, maps, function = scene()
    before = images.clone(), maps.clone()
    removal_curves(asked(function, 3), images, maps)
    assert torch.equal(images, before[0])
    assert torch.equal(maps, before[1])


def test_rise_blur_against_loops():
    images = torch.randn(1, 2, 9, 8)
    kernel = [math.exp(-(i**2) / 50) for i in range(-5, 6)]
    total = sum(kernel)
    found = blur(images, sigma=5, taps=11, border="zero")
    for c, y, x in [(0, 0, 0), (1, 4, 3), (0, 8, 7), (1, 0, 5)]:
        value = sum(
            kernel[i + 5] * kernel[j + 5] / total**2 * float(images[0, c, y + i, x + j])
            for i in range(-5, 6)
            for j in range(-5, 6)
            if 0 <= y + i < 9 and 0 <= x + j < 8
        )
        assert found[0, c, y, x].item() == pytest.approx(value, abs=1e-6)
    assert torch.equal(substrate(images, "rise-blur"), found)


def test_a_blur_keeps_a_constant_picture_and_its_mean_where_it_mirrors():
    flat = torch.full((1, 3, 12, 40), 0.7)
    torch.testing.assert_close(substrate(flat, "blur"), flat)
    assert substrate(flat, "rise-blur")[0, 0, 0, 0] < 0.5  # zeros beyond the border


def test_colours_are_in_the_units_of_the_network():
    images = torch.randn(2, 3, 4, 4)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.1, 0.4)
    black = substrate(images, "black", mean=mean, std=std)
    white = substrate(images, "white", mean=mean, std=std)
    for c in range(3):
        torch.testing.assert_close(black[:, c] * std[c] + mean[c], torch.zeros(2, 4, 4))
        torch.testing.assert_close(white[:, c] * std[c] + mean[c], torch.ones(2, 4, 4))
    assert (substrate(images, "mean") == 0).all()


def test_what_is_refused(asked):
    images, maps, function = scene()
    with pytest.raises(DataError, match=r"got \(2, 3, 6, 7\) and \(3, 3, 6, 6\): bring the maps"):
        removal_curves(asked(function, 3), images[..., :6], maps)
    with pytest.raises(DataError, match=r"maps \(M, B, H, W\) go with images"):
        removal_curves(asked(function, 3), images, maps[0])
    with pytest.raises(OptionError, match=r'curve "delete" is unknown; nearest: "deletion"'):
        removal_curves(asked(function, 3), images, maps, kinds=("delete",))
    with pytest.raises(OptionError, match=r'substrate "gray" is unknown; known: "mean"'):
        substrate(images, "gray")
    with pytest.raises(OptionError, match=r'substrate "black" is a colour and needs'):
        substrate(images, "black")
    with pytest.raises(OptionError, match=r"odd number of taps; got 4"):
        blur(images, sigma=1, taps=4)
