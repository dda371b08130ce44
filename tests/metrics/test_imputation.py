import math

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve

from saliscope.errors import DataError, OptionError
from saliscope.metrics import imputation
from saliscope.metrics.imputation import impute

NEIGHBOURS = {(dy, dx): 1 / 6 if dy * dx == 0 else 1 / 12
              for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx}  # fmt: skip


def twin(image, missing):
    """One direct solve in float64, the rows as the paper has them: C, H, W and H, W."""
    channels, height, width = image.shape
    places = [tuple(p) for p in np.argwhere(missing)]
    number = {p: i for i, p in enumerate(places)}
    rows, columns, values = [], [], []
    known = np.zeros((len(places), channels))
    for i, (y, x) in enumerate(places):
        around = {
            (y + dy, x + dx): w
            for (dy, dx), w in NEIGHBOURS.items()
            if 0 <= y + dy < height and 0 <= x + dx < width
        }
        total = sum(around.values())
        rows.append(i), columns.append(i), values.append(1.0)
        for place, w in around.items():
            if place in number:
                rows.append(i), columns.append(number[place]), values.append(-w / total)
            else:
                known[i] += w / total * image[:, *place]
    system = sparse.csc_matrix((values, (rows, columns)))
    found = image.astype(np.float64).copy()
    solution = spsolve(system, known).reshape(len(places), channels)
    for place, value in zip(places, solution, strict=True):
        found[:, *place] = value
    return found


def fill(image, missing, **options):
    image, missing = torch.as_tensor(image), torch.as_tensor(missing)
    return impute(image.float()[None], missing[None], **options)[0].numpy()


def ramp():
    return np.arange(25.0).reshape(1, 5, 5)


def holes(size, *places):
    missing = np.zeros(size, bool)
    for place in places:
        missing[place] = True
    return missing


def test_one_pixel_of_a_ramp():
    assert fill(ramp(), holes((5, 5), (2, 2)))[0, 2, 2] == pytest.approx(12, abs=1e-3)
    assert fill(ramp(), holes((5, 5), (0, 0)))[0, 0, 0] == pytest.approx(3.6, abs=1e-3)
    edge = (1 / 6 * (0 + 2 + 6) + 1 / 12 * (5 + 7)) / (3 / 6 + 2 / 12)
    assert fill(ramp(), holes((5, 5), (0, 1)))[0, 0, 1] == pytest.approx(edge, abs=1e-3)


def test_planes_come_back_exactly():
    y, x = np.mgrid[:23, :30]
    plane = np.stack([2.0 * y - x + 3, 0.5 * x, -y + 0.0 * x])
    missing = holes((5, 5), (slice(1, 4), slice(1, 4)))
    np.testing.assert_allclose(fill(ramp(), missing), ramp(), atol=3e-4)
    large = holes((23, 30), (slice(2, 21), slice(3, 28)))
    np.testing.assert_allclose(fill(plane, large), plane, atol=66e-5)


def test_a_constant_image_with_one_pixel_left():
    missing = np.ones((40, 33), bool)
    missing[7, 20] = False
    found = fill(np.full((2, 40, 33), 0.7), missing)
    np.testing.assert_allclose(found, 0.7, atol=1e-6)


def test_nothing_left_raises_and_nothing_missing_changes_nothing():
    images = torch.randn(2, 3, 6, 7)
    missing = torch.zeros(2, 6, 7, dtype=torch.bool)
    assert torch.equal(impute(images, missing), images)
    missing[1] = True
    with pytest.raises(DataError, match=r"all pixels of an image are missing.*a smaller share"):
        impute(images, missing)


def smooth(random, channels, height, width, cells):
    small = torch.as_tensor(random.random((1, channels, cells, cells)))
    return torch.nn.functional.interpolate(small, (height, width), mode="bicubic")[0].numpy()


def scene(seed, size, kind, share, channels=3):
    random = np.random.default_rng(seed)
    image = smooth(random, channels, *size, 9) + 0.1 * random.normal(size=(channels, *size))
    heat = random.random(size) if kind == "noise" else smooth(random, 1, *size, 4)[0]
    missing = np.zeros(size, bool)
    missing.flat[np.argsort(-heat, axis=None)[: round(share * heat.size)]] = True
    return image.astype(np.float32), missing


@pytest.mark.parametrize("size", [(32, 32), (31, 45), (17, 64), (9, 90), (1, 40), (50, 2)])
@pytest.mark.parametrize("kind", ["noise", "blob"])
def test_against_a_direct_solve(size, kind):
    for share in (0.1, 0.5, 0.9, 1 - 1 / (size[0] * size[1])):
        image, missing = scene(1, size, kind, share)
        seen = image[:, ~missing]
        limit = max(1e-5 * (seen.max() - seen.min()), 1e-6)
        np.testing.assert_allclose(fill(image, missing), twin(image, missing), atol=limit)


@pytest.mark.parametrize("kind", ["noise", "blob"])
def test_against_a_direct_solve_at_224(kind):
    image, missing = scene(2, (224, 224), kind, 0.6, channels=1)
    error = np.abs(fill(image, missing) - twin(image, missing)).max()
    assert error < 1e-5 * np.ptp(image)


def test_thin_walls_and_islands():
    image = np.random.default_rng(3).normal(size=(3, 64, 64)).astype(np.float32)
    missing = np.ones((64, 64), bool)
    missing[::9] = False
    missing[:, 17] = False
    missing[40, 40] = False
    np.testing.assert_allclose(fill(image, missing), twin(image, missing), atol=5e-5)
    checks = np.indices((64, 64)).sum(0) % 2 == 0
    np.testing.assert_allclose(fill(image, checks), twin(image, checks), atol=5e-5)


def test_many_at_once_equal_one_at_a_time():
    scenes = [
        scene(s, (24, 30), kind, share)
        for s, (kind, share) in enumerate([("noise", 0.2), ("blob", 0.9), ("blob", 0.0),
                                           ("noise", 0.9), ("blob", 0.4)])
    ]  # fmt: skip
    images = torch.from_numpy(np.stack([s[0] for s in scenes]))
    masks = torch.from_numpy(np.stack([s[1] for s in scenes]))
    for at_once in (1, 2, None):
        found = impute(images, masks, at_once=at_once)
        for i in range(len(scenes)):
            np.testing.assert_allclose(found[i].numpy(), fill(*scenes[i]), atol=1.5e-5)
            known = ~masks[i]
            assert torch.equal(found[i][:, known], images[i][:, known])


def test_any_number_of_channels_and_any_scale():
    image, missing = scene(4, (20, 21), "blob", 0.7, channels=5)
    base = fill(image, missing)
    np.testing.assert_allclose(fill(image * 1e6, missing) / 1e6, base, atol=2e-5)
    np.testing.assert_allclose(fill(image * 1e-6, missing) * 1e6, base, atol=2e-5)
    np.testing.assert_allclose(fill(image + 100, missing) - 100, base, atol=1e-4)


def test_a_faint_image_beside_a_bright_one_is_as_exact():
    image, missing = scene(4, (20, 21), "blob", 0.7)
    together = torch.from_numpy(np.stack([image * 1e-3, image * 1e3]))
    found = impute(together, torch.from_numpy(np.stack([missing, missing]))).numpy()
    exact = twin(image, missing)
    np.testing.assert_allclose(found[0] * 1e3, exact, atol=2e-5)
    np.testing.assert_allclose(found[1] / 1e3, exact, atol=2e-5)


def test_what_lies_in_the_hole_does_not_matter():
    image, missing = scene(5, (20, 21), "blob", 0.5)
    other = image.copy()
    other[:, missing] = np.nan
    assert np.array_equal(fill(image, missing), fill(other, missing))


def test_inputs_stay_as_they_are():
    image, missing = map(torch.from_numpy, scene(6, (12, 12), "blob", 0.5))
    before = image.clone(), missing.clone()
    impute(image[None], missing[None])
    assert torch.equal(image, before[0])
    assert torch.equal(missing, before[1])


def test_half_precision_is_solved_in_float32():
    image, missing = map(torch.from_numpy, scene(7, (20, 20), "blob", 0.5))
    low = image.half()
    found = impute(low[None], missing[None])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, impute(low.float()[None], missing[None]))


def test_what_is_refused():
    images = torch.zeros(2, 3, 4, 5)
    with pytest.raises(DataError, match=r"masks \(P, H, W\); got \(2, 3, 4, 5\) and \(2, 4, 4\)"):
        impute(images, torch.zeros(2, 4, 4, dtype=torch.bool))
    images[0, 0, 0, 0] = math.nan
    with pytest.raises(DataError, match=r"a known pixel is NaN or infinite.*give finite images"):
        impute(images, torch.zeros(2, 4, 5, dtype=torch.bool))
    image, missing = scene(8, (32, 32), "blob", 0.5)
    for tolerance in (1e-7, 0.0, 1.0, math.nan):
        with pytest.raises(OptionError, match=r"from 1e-06 \(float32\) up to 1; got"):
            fill(image, missing, tolerance=tolerance)


def test_what_does_not_converge_is_said(monkeypatch):
    monkeypatch.setattr(imputation, "_LIMIT", 2)
    with pytest.raises(DataError, match=r"not be filled in to 1e-05 of their range in 2 steps"):
        fill(*scene(8, (32, 32), "blob", 0.5))


def test_a_large_hole_to_the_tolerance_asked():
    image, missing = scene(9, (96, 120), "blob", 0.97, channels=1)
    exact, width = twin(image, missing), np.ptp(image[:, ~missing])
    for tolerance in (1e-3, 1e-5, 1e-6):
        assert np.abs(fill(image, missing, tolerance=tolerance) - exact).max() < tolerance * width
