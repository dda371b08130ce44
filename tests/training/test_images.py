"""Images for training: equal to the plain preprocessing, repeatable, read once, damaged ones left out."""

import math

import numpy as np
import pytest
import torch

from saliscope.errors import DataError
from saliscope.models.preprocessing import Preprocessing
from saliscope.training import augment as augment_module
from saliscope.training.augment import augmented, stored_size
from saliscope.training.images import (
    Batches,
    Images,
    batch_loader,
    fits_in_memory,
    free_memory,
    read_images,
)

LOOK = Preprocessing((24, 20), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def loaded(images, epoch=0, *, workers=0, size=5, seed=7):
    batches = Batches(len(images), size, seed=seed)
    batches.set_epoch(epoch)
    return list(batch_loader(images, batches, workers=workers))


# --- one image -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resize", ["squash", "crop", "letterbox"])
@pytest.mark.parametrize("cached", [False, True])
def test_without_augmentation_it_is_the_preprocessing_to_the_bit(toy, resize, cached):
    look = Preprocessing((24, 20), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), resize)
    images = Images(toy.data(), look)
    if cached:
        read_images(images, keep=True)
        assert images.cache.shape == (22, 24, 20, 3)
    for row in (0, 7, 21):
        found, label = images[3, row]
        expected, _ = look(toy.data()[row].photo().pixels)
        assert torch.equal(found, torch.from_numpy(expected))
        assert label == row % 3


def test_an_index_alone_is_the_first_epoch(toy):
    images = Images(toy.data(), LOOK, augment="standard", seed=1)
    assert torch.equal(images[4][0], images[0, 4][0])


@pytest.mark.parametrize("kind", ["flip", "light", "standard"])
def test_a_change_depends_on_seed_epoch_and_place_alone(toy, kind):
    images = Images(toy.data(), LOOK, augment=kind, seed=1)
    first = [images[2, row][0] for row in range(22)]
    for row in reversed(range(22)):
        assert torch.equal(images[2, row][0], first[row])

    def changed(other, epoch):
        return sum(not torch.equal(other[epoch, row][0], first[row]) for row in range(22))

    assert changed(Images(toy.data(), LOOK, augment=kind, seed=1), 2) == 0
    assert changed(Images(toy.data(), LOOK, augment=kind, seed=2), 2) > 5
    assert changed(images, 3) > 5
    read_images(images, keep=True)
    assert changed(images, 2) == 0


def test_leaving_a_sample_out_does_not_change_the_others(toy):
    whole = Images(toy.data(), LOOK, augment="standard", seed=1)
    part = Images(toy.data(broken=(0, 5)), LOOK, augment="standard", seed=1)
    read_images(part, keep=True)
    assert len(part) == 20
    assert torch.equal(part[1, 0][0], whole[1, 1][0])
    assert torch.equal(part[1, 19][0], whole[1, 21][0])
    assert part[1, 4][1] == 6 % 3  # row 4 is sample 6, after 0 and 5


def test_labels_are_needed_and_must_be_classes(toy):
    with pytest.raises(DataError, match='sample "train/1" of toy has no single class'):
        Images(toy.data(count=2, labels=[0, None]), LOOK)
    with pytest.raises(
        DataError, match=r'sample "train/1" of toy has label 3, but there are 3 classes'
    ):
        Images(toy.data(count=2, labels=[0, 3]), LOOK)


# --- the stored size -------------------------------------------------------------------------------------------------


def test_pictures_to_crop_wait_a_little_larger(toy):
    small = Preprocessing((21, 14))
    assert stored_size((21, 14), "flip") == (21, 14)
    assert Images(toy.data(), small, augment="flip").stored == small
    assert Images(toy.data(), small, augment="standard").stored.size == (24, 16)
    assert Images(toy.data(), small).stored == small


def test_pictures_no_larger_than_the_input_are_not_magnified(toy):
    assert Images(toy.data(), Preprocessing((40, 50)), augment="light").stored.size == (40, 50)
    assert Images(toy.data(), Preprocessing((39, 50)), augment="light").stored.size == (45, 57)


@pytest.mark.parametrize("shorter", [None, 30])
def test_a_larger_crop_shows_the_same_part_of_the_photograph(toy, shorter):
    look = Preprocessing((28, 28), resize="crop", shorter=shorter)
    images = Images(toy.data(), look, augment="standard")
    plain, stored = look.frame((400, 500)).region, images.stored.frame((400, 500)).region
    assert images.stored.size == (32, 32)
    assert tuple(stored) == pytest.approx(tuple(plain), abs=14)  # one pixel of the input


# --- augmentation ----------------------------------------------------------------------------------------------------


class Fixed:
    """A generator whose uniform numbers are `share` of the way through their range."""

    def __init__(self, share, first=0.9):
        self.share, self.first = share, first

    def random(self):
        return self.first

    def uniform(self, low, high, count=None):
        value = low + self.share * (high - low)
        return value if count is None else np.full(count, value)

    def integers(self, high):
        return int(self.share * (high - 1))


def test_flip_mirrors_every_second_one(toy):
    picture = toy.picture(0)
    assert augmented(picture, (40, 50), "flip", Fixed(0.5, 0.9)) is picture
    mirrored = augmented(picture, (40, 50), "flip", Fixed(0.5, 0.1))
    assert np.array_equal(mirrored[:, 0], picture[:, -1])
    assert np.array_equal(mirrored[:, ::-1], picture)
    count = sum(
        augmented(picture, (40, 50), "flip", np.random.default_rng(i)) is not picture
        for i in range(400)
    )
    assert 160 < count < 240


def test_light_in_the_middle_changes_nothing(toy):
    picture = toy.picture(1)
    assert np.array_equal(augmented(picture, (40, 50), "light", Fixed(0.5)), picture)


def test_light_shifts_by_fifteen_hundredths():
    """A bright spot in a dark picture goes where the formula says."""
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[48:52, 48:52] = 255
    moved = augment_module._moved(picture, (100, 100), Fixed(1.0))
    y, x = np.argwhere(moved[..., 0] > 128).mean(0)
    assert (y, x) == pytest.approx((49.5 - 15 * 1.15, 49.5 - 15 * 1.15), abs=0.6)
    assert (moved[..., 0] > 128).sum() == pytest.approx(16 * 1.15**2, abs=6)


def test_standard_shows_thirty_five_hundredths_at_least():
    for seed in range(200):
        top, left, height, width = augment_module._crop(80, 100, np.random.default_rng(seed))
        assert 0 <= top <= 80 - height
        assert 0 <= left <= 100 - width
        assert 0.35 - 0.01 <= height * width / 8000 <= 1
        assert 0.74 <= (width / 100) / (height / 80) <= 1.35


def slow_colours(picture, light, saturation, random):
    """Brightness, then contrast about the mean grey, then saturation, pixel by pixel in float64."""
    bright, contrast = random.uniform(1 - light, 1 + light, 2)
    colour = random.uniform(1 - saturation, 1 + saturation) if saturation else 1.0
    values = picture.astype(float) * bright
    weights = np.array([0.299, 0.587, 0.114])
    mean = np.mean([pixel @ weights for row in values for pixel in row])
    values = contrast * values + (1 - contrast) * mean
    grey = (values @ weights)[..., None]
    return np.clip(colour * values + (1 - colour) * grey, 0, 255)


@pytest.mark.parametrize("saturation", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_colours_change_as_the_slow_twin_says(toy, saturation, seed):
    picture = toy.picture(seed)
    found = augment_module._coloured(picture, 0.3, saturation, np.random.default_rng(seed))
    expected = slow_colours(picture, 0.3, saturation, np.random.default_rng(seed))
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= (
        1.01 if saturation else 0.51
    )  # OpenCV counts in fixed point


def test_the_picture_given_stays_as_it_is(toy):
    picture = toy.picture(0)
    picture.setflags(write=False)
    for kind in ("flip", "light", "standard"):
        out = augmented(picture, (24, 20), kind, np.random.default_rng(1))
        assert out.shape == (40, 50, 3) if kind == "flip" else out.shape == (24, 20, 3)
    assert np.array_equal(picture, toy.picture(0))


# --- batches ---------------------------------------------------------------------------------------------------------


def rows(batches):
    return [[row for _, row in batch] for batch in batches]


def test_an_epoch_takes_every_image_once_in_an_order_of_its_own():
    batches = Batches(22, 5, seed=1)
    orders = []
    for epoch in (0, 1):
        batches.set_epoch(epoch)
        taken = list(batches)
        assert [len(batch) for batch in taken] == [5, 5, 5, 5, 2]
        assert {e for batch in taken for e, _ in batch} == {epoch}
        orders.append([row for batch in taken for _, row in batch])
        assert sorted(orders[-1]) == list(range(22))
    assert orders[0] != orders[1] != list(range(22))
    again = Batches(22, 5, seed=1)
    again.set_epoch(1)  # without having been through epoch 0
    assert [row for batch in rows(again) for row in batch] == orders[1]
    assert rows(Batches(22, 5, seed=2)) != rows(Batches(22, 5, seed=1))


@pytest.mark.parametrize(("count", "sizes"), [(10, [5, 5]), (11, [5, 5]), (12, [5, 5, 2]), (3, [3]), (1, [1])])  # fmt: skip
def test_a_last_batch_of_one_is_left_out(count, sizes):
    batches = Batches(count, 5, seed=0)
    assert [len(batch) for batch in batches] == sizes
    assert len(batches) == len(sizes)


def test_processes_share_a_batch():
    alone = Batches(23, 6, seed=4)
    together = [Batches(23, 6, seed=4, rank=rank, world=3) for rank in range(3)]
    assert [len(b) for b in together] == [3, 3, 3]  # the last 5 would be shared unevenly
    for whole, *parts in zip(rows(alone), *map(rows, together), strict=False):
        assert sorted(whole) == sorted(row for part in parts for row in part)
        assert {len(part) for part in parts} == {2}


def test_too_few_images_for_all_processes_make_no_batch():
    assert len(Batches(2, 6, seed=0, world=3)) == 0
    assert rows(Batches(5, 6, seed=0, world=3, rank=2))[0] == [Batches(5, 6, seed=0).order(0)[2]]


def test_validation_goes_in_order_and_is_padded():
    assert rows(Batches(5, 4)) == [[0, 1, 2, 3], [4]]
    parts = [rows(Batches(5, 4, rank=rank, world=2)) for rank in range(2)]
    assert parts == [[[0, 2], [4]], [[1, 3], [-5]]]  # -5 is row 4 without its label


def test_padding_has_no_label(toy):
    images = Images(toy.data(), LOOK)
    pictures, labels = images.__getitems__([(0, 4), (0, -5)])
    assert labels.tolist() == [1, -1]
    assert torch.equal(pictures[0], pictures[1])


@pytest.mark.parametrize("cached", [False, True])
def test_workers_load_the_same_batches(toy, cached):
    images = Images(toy.data(), LOOK, augment="standard", seed=5)
    if cached:
        read_images(images, keep=True)
    for epoch in (0, 2):
        for alone, shared in zip(
            loaded(images, epoch), loaded(images, epoch, workers=2), strict=True
        ):
            assert alone[0].dtype == torch.uint8
            assert torch.equal(alone[0], shared[0])
            assert torch.equal(alone[1], shared[1])


def test_batches_normalise_to_what_single_images_are(toy):
    images = Images(toy.data(), LOOK, augment="light", seed=5)
    pictures, labels = loaded(images, 3)[0]
    batches = Batches(22, 5, seed=7)
    batches.set_epoch(3)
    inputs = images.normalised(pictures)
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    for (epoch, row), value, label in zip(next(iter(batches)), inputs, labels, strict=True):
        assert torch.equal(value, images[epoch, row][0])
        assert label == images[epoch, row][1]


def test_loading_leaves_the_random_numbers_alone(toy):
    state = torch.get_rng_state()
    loaded(Images(toy.data(), LOOK, augment="standard"))
    assert torch.equal(torch.get_rng_state(), state)


# --- reading once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_read_is_left_out_and_named(toy, workers):
    images = Images(toy.data(broken=(3, 20)), LOOK)
    told = []
    failed = read_images(images, keep=True, workers=workers, tell=lambda *n: told.append(n))
    assert [row.id for row in failed] == ["train/3", "train/20"]
    assert "the image given as bytes is not a picture" in failed[0].message
    assert images.rows.tolist() == [i for i in range(22) if i not in (3, 20)]
    assert told[-1] == (20, 2, 22)
    assert np.array_equal(images.cache[21], LOOK.resized(toy.picture(21))[0])


def test_without_keeping_nothing_stays_in_memory(toy):
    images = Images(toy.data(broken=(3,)), LOOK)
    read_images(images, keep=False)
    assert images.cache is None
    assert len(images) == 21


def test_all_damaged_is_an_error(toy):
    images = Images(toy.data(count=2, broken=(0, 1)), LOOK, augment="standard")
    with pytest.raises(DataError, match=r"none of the 2 images of toy, train, can be read: .* not a picture"):  # fmt: skip
        read_images(images, keep=True)


def test_an_image_that_vanishes_later_is_an_error(toy):
    images = Images(toy.data(broken=(3,)), LOOK)
    with pytest.raises(
        DataError, match='sample "train/3" of toy could be read when the training began'
    ):
        images[0, 3]


def test_the_pictures_do_not_travel_to_other_processes(toy):
    images = Images(toy.data(), LOOK)
    read_images(images, keep=True)
    assert images.__getstate__()["cache"] is None
    assert images.cache is not None


def test_memory_is_asked_for(toy, monkeypatch):
    assert free_memory() > 10_000_000
    images = Images(toy.data(), LOOK)
    need = 22 * 24 * 20 * 3
    monkeypatch.setattr("saliscope.training.images.free_memory", lambda: 4 * need)
    assert fits_in_memory(images)
    monkeypatch.setattr("saliscope.training.images.free_memory", lambda: 4 * need - 4)
    assert not fits_in_memory(images)
    assert math.isclose(need, 31680)
