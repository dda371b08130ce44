"""Sensitivity and consistency against twins in loops, captum, and explainers whose answer is known."""

import io
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import stats

from saliscope.errors import DataError, OptionError
from saliscope.metrics.stability import (
    flip_consistency,
    jpeg_consistency,
    jpeg_copies,
    nearby_copies,
    sensitivity,
    shift_consistency,
)

KERNEL = torch.randn(1, 3, 3, 3, generator=torch.Generator().manual_seed(1))


def filtered(pictures):
    """A map that moves with the picture and is no mirror image of itself."""
    return F.conv2d(pictures, KERNEL.to(pictures), padding=1)[:, 0] ** 2


def pooled(pictures):
    return F.avg_pool2d(pictures.mean(1, keepdim=True), 4)[:, 0]


def fixed(pictures):
    """The same map whatever the picture."""
    return torch.arange(12.0).view(1, 3, 4).expand(len(pictures), -1, -1)


def even(pictures):
    return torch.ones(len(pictures), 3, 4)


def nothing(pictures):
    return torch.zeros(len(pictures), 3, 4)


@pytest.fixture
def pictures():
    return torch.rand(3, 3, 12, 16, generator=torch.Generator().manual_seed(5))


def distances_in_loops(copies, pictures):
    """|M(x + d) - M(x)| / |M(x)| for each copy and picture, number by number."""
    found = []
    for moved in copies:
        row = []
        for one, other in zip(filtered(pictures).double(), filtered(moved).double(), strict=True):
            away = sum(
                (a - b) ** 2
                for a, b in zip(other.flatten().tolist(), one.flatten().tolist(), strict=True)
            )
            own = sum(b * b for b in one.flatten().tolist())
            row.append(math.sqrt(away) / math.sqrt(own))
        found.append(row)
    return np.array(found)


def test_sensitivity_equals_its_twin(pictures):
    copies = list(nearby_copies(pictures, 4, radius=0.1, seed=2))
    expected = distances_in_loops(copies, pictures)
    found = sensitivity(filtered, pictures, radius=0.1, samples=4, seed=2)
    assert found.largest == pytest.approx(expected.max(axis=0), rel=1e-6)
    assert found.mean == pytest.approx(expected.mean(axis=0), rel=1e-6)
    assert (found.largest > found.mean).all()


def test_max_sensitivity_is_captums_for_the_same_noise(pictures):
    captum = pytest.importorskip("captum.metrics")
    copies = torch.stack(list(nearby_copies(pictures, 5, radius=0.05, seed=1, width=1)))

    def perturb(inputs, radius):  # captum repeats each picture, one picture after the other
        assert len(inputs) == 15
        return copies.transpose(0, 1).reshape(15, 3, 12, 16)

    theirs = captum.sensitivity_max(
        lambda x: (filtered(x[0] if isinstance(x, tuple) else x),), pictures,
        perturb_func=perturb, perturb_radius=0.05, n_perturb_samples=5,
    )  # fmt: skip
    found = sensitivity(filtered, pictures, radius=0.05, samples=5, seed=1, width=1)
    assert found.largest == pytest.approx(theirs.numpy(), rel=1e-5)


def test_captum_divides_a_zero_map_by_one_where_it_is_undefined_here(pictures):
    captum = pytest.importorskip("captum.metrics")

    def first_zero(x):
        x = x[0] if isinstance(x, tuple) else x
        return (torch.zeros(1, 3, 4) if len(x) == 1 else torch.full((len(x), 3, 4), 2.0),)

    theirs = captum.sensitivity_max(first_zero, pictures[:1], n_perturb_samples=3)
    assert theirs.item() == pytest.approx(2 * math.sqrt(12))
    assert math.isnan(sensitivity(nothing, pictures).largest[0])


def test_noise_fills_its_ball_and_no_more(pictures):
    scaled = pictures * torch.tensor([1.0, 10.0, 0.01]).view(3, 1, 1, 1)
    copies = torch.stack(list(nearby_copies(scaled, 40, radius=0.2)))
    width = scaled.flatten(1).amax(1) - scaled.flatten(1).amin(1)
    away = (copies - scaled).transpose(0, 1).flatten(1)
    assert (away.abs().amax(1) <= 0.2 * width * 1.0001).all()
    assert (away.abs().amax(1) > 0.199 * width).all()
    assert (away.std(1) / (0.2 * width) - 1 / math.sqrt(3)).abs().max() < 0.01  # uniform
    assert away.mean(1).abs().max() < 0.02 * width.max()
    assert not torch.equal(copies[0], copies[1])
    absolute = torch.stack(list(nearby_copies(scaled, 2, radius=0.2, width=3)))
    assert (absolute - scaled).abs().flatten(2).amax(2).min() > 0.59


def test_a_batch_equals_its_pictures_in_any_order(pictures):
    whole = sensitivity(filtered, pictures, samples=3)
    for order in ([2, 0, 1], [1]):
        part = sensitivity(filtered, pictures[order], samples=3)
        assert part.largest == pytest.approx(whole.largest[order], rel=1e-4)
    assert not np.allclose(
        sensitivity(filtered, pictures, samples=3, seed=1).largest, whole.largest
    )


def test_a_map_that_stays_has_sensitivity_0_and_one_that_is_zero_has_none(pictures):
    for explain in (fixed, even):
        found = sensitivity(explain, pictures)
        assert (found.largest == 0).all()
        assert (found.mean == 0).all()
    assert np.isnan(sensitivity(nothing, pictures).mean).all()


def test_the_scale_of_a_map_does_not_matter(pictures):
    plain = sensitivity(filtered, pictures, samples=2).largest
    for factor in (1e-30, 1e30):
        scaled = sensitivity(lambda x, f=factor: filtered(x.double()) * f, pictures, samples=2)
        assert scaled.largest == pytest.approx(plain, rel=1e-4)


def test_pictures_in_low_precision_are_taken(pictures):
    found = sensitivity(lambda x: filtered(x.float()), pictures.bfloat16(), radius=0.5, samples=2)
    assert np.isfinite(found.largest).all()


def test_a_map_that_moves_with_the_picture_is_consistent(pictures):
    mirrored = KERNEL + KERNEL.flip(3)
    assert flip_consistency(lambda x: F.conv2d(x, mirrored)[:, 0], pictures) == pytest.approx(1)
    assert (shift_consistency(pooled, pictures, (4, -8)) == 1).all()
    assert (shift_consistency(pooled, pictures, (-8, 0)) == 1).all()
    assert (shift_consistency(pooled, pictures, (0, 4), likeness="pearson") > 1 - 1e-9).all()


def test_flip_consistency_equals_its_twin(pictures):
    found = flip_consistency(filtered, pictures)
    for picture, value in zip(pictures, found, strict=True):
        own = filtered(picture[None])[0]
        back = filtered(torch.tensor(picture.numpy()[:, :, ::-1].copy())[None])[0].numpy()[:, ::-1]
        assert value == pytest.approx(
            stats.spearmanr(own.ravel(), back.ravel()).statistic, abs=1e-6
        )
    assert (found < 0.9).all()


@pytest.mark.parametrize("shift", [(4, -8), (-4, 4), (0, 8), (8, 0)])
def test_shift_consistency_equals_its_twin(pictures, shift):
    def explain(x):  # sees the edge, so that the filled room matters
        return F.avg_pool2d(F.conv2d(F.pad(x, (6, 6, 6, 6)), torch.ones(1, 3, 13, 13)), 4)[:, 0]

    found = shift_consistency(explain, pictures, shift)
    down, right = shift
    for picture, value in zip(pictures, found, strict=True):
        moved = torch.empty_like(picture)
        for i in range(12):
            for j in range(16):
                moved[:, i, j] = picture[:, min(max(i - down, 0), 11), min(max(j - right, 0), 15)]
        own, other = explain(picture[None])[0], explain(moved[None])[0]
        pairs = [
            (own[i, j].item(), other[i + down // 4, j + right // 4].item())
            for i in range(3)
            for j in range(4)
            if 0 <= i + down // 4 < 3 and 0 <= j + right // 4 < 4
        ]
        assert value == pytest.approx(
            stats.spearmanr(*zip(*pairs, strict=True)).statistic, abs=1e-6
        )


def test_a_fixed_map_is_not_consistent_and_a_constant_one_undefined(pictures):
    assert (flip_consistency(fixed, pictures) < 1).all()
    assert (jpeg_consistency(fixed, pictures) == 1).all()
    for explain in (even, nothing):
        assert np.isnan(flip_consistency(explain, pictures)).all()
        assert np.isnan(shift_consistency(explain, pictures, (4, 4))).all()
        assert np.isnan(jpeg_consistency(explain, pictures)).all()


def test_jpeg_copies_are_pillows(pictures):
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    shape = (1, 3, 1, 1)
    normalised = (pictures - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    found = jpeg_copies(normalised, quality=40, mean=mean, std=std)
    assert found.dtype == torch.float32
    for picture, copy in zip(pictures, found, strict=True):
        file = io.BytesIO()
        steps = (picture.permute(1, 2, 0).double().numpy() * 255).round().astype(np.uint8)
        Image.fromarray(steps).save(file, "JPEG", quality=40)
        expected = np.asarray(Image.open(file), np.float64) / 255
        seen = copy.double() * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
        assert np.allclose(seen.permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_a_worse_jpeg_is_less_consistent(pictures):
    smooth = F.interpolate(pictures[:, :, :3, :4], size=(48, 64), mode="bilinear")
    fine, coarse = (jpeg_consistency(filtered, smooth, quality=q).mean() for q in (95, 5))
    assert fine > coarse


def test_likeness_is_chosen_by_name(pictures):
    values = [jpeg_consistency(filtered, pictures, likeness=n)[0] for n in ("spearman", "pearson")]
    assert values[0] != values[1]


def test_a_map_that_breaks_is_undefined(pictures):
    def breaks(x):
        maps = filtered(x)
        return maps.masked_fill(x.flatten(1).mean(1).view(-1, 1, 1) > 0.5, math.nan)

    for value in (
        sensitivity(breaks, pictures + 1).largest,
        flip_consistency(breaks, pictures + 1),
    ):
        assert np.isnan(value).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same_noise(pictures):
    here = sensitivity(filtered, pictures, radius=0.2, samples=3)
    there = sensitivity(filtered, pictures.cuda(), radius=0.2, samples=3)
    assert there.largest == pytest.approx(here.largest, rel=1e-2)
    assert jpeg_copies(pictures.cuda()).cpu().allclose(jpeg_copies(pictures), atol=1e-6)


def test_pictures_and_modes_are_left_alone(pictures):
    before = pictures.clone()
    with torch.no_grad():
        sensitivity(filtered, pictures, samples=1)
        shift_consistency(pooled, pictures, (4, 0))
        jpeg_consistency(filtered, pictures)
    assert torch.equal(before, pictures)


def test_what_makes_no_sense_is_refused(pictures):
    for radius in (0, -1, math.nan, math.inf):
        with pytest.raises(OptionError, match=r"radius is a positive share"):
            sensitivity(filtered, pictures, radius=radius)
    with pytest.raises(OptionError, match=r"samples is at least 1; got 0"):
        sensitivity(filtered, pictures, samples=0)
    with pytest.raises(OptionError, match=r"width is the width of the range of inputs.* got 0"):
        sensitivity(filtered, pictures, width=0)
    with pytest.raises(
        DataError, match=r"for each of 3 pictures, a tensor \(n, h, w\); got \(1, 3, 4\)"
    ):
        sensitivity(lambda x: torch.ones(1, 3, 4), pictures)
    with pytest.raises(DataError, match=r"a tensor \(n, h, w\); got ndarray"):
        flip_consistency(lambda x: np.ones((3, 3, 4)), pictures)
    grids = iter([torch.rand(3, 3, 4), torch.rand(3, 4, 4)])
    with pytest.raises(DataError, match=r"\(3, 4, 4\) and those of the pictures \(3, 3, 4\)"):
        flip_consistency(lambda x: next(grids), pictures)
    with pytest.raises(
        DataError, match=r"pictures are a float tensor \(n, C, H, W\); got \(3, 12, 16\)"
    ):
        flip_consistency(filtered, pictures[0])
    with pytest.raises(
        OptionError,
        match=r"a shift of \(4, 3\) pixels is no whole number of cells of maps \(3, 4\)",
    ):
        shift_consistency(pooled, pictures, (4, 3))
    for shift in ((0, 0), (12, 0), (0, -16)):
        with pytest.raises(OptionError, match=r"by less than their size and not by nothing"):
            shift_consistency(pooled, pictures, shift)
    for quality in (0, 96):
        with pytest.raises(OptionError, match=r"JPEG quality is 1 to 95"):
            jpeg_consistency(filtered, pictures, quality=quality)
    with pytest.raises(DataError, match=r"RGB in \[0, 1\]; got .* give the mean and std"):
        jpeg_copies(pictures * 3)
    with pytest.raises(
        DataError, match=r"JPEG holds RGB pictures \(n, 3, H, W\); got \(3, 1, 12, 16\)"
    ):
        jpeg_copies(pictures[:, :1])
