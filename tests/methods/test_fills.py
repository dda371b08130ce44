"""What pictures are filled with, and the superpixels they are cut into."""

import numpy as np
import pytest
import torch
from scipy import ndimage

import saliscope as sc
from saliscope.methods.fills import BLUR, blurred, filled
from saliscope.methods.superpixels import _connected, superpixels


@pytest.fixture
def images():
    return torch.randn(2, 3, 9, 7) + torch.tensor([0.0, 1.0, -2.0]).view(3, 1, 1)


def test_colours(images):
    for i, c in np.ndindex(2, 3):
        channel = images[i, c]
        for how, value in {
            "grey": torch.tensor(0.0),
            "mean": channel.mean(),
            "black": channel.min(),
            "white": channel.max(),
        }.items():
            found = filled(images, how)[i, c]
            torch.testing.assert_close(found, value.expand(9, 7))


def blur_twin(channel, sigma):
    """Each pixel the mean of all, weighted by a Gaussian of their distance."""
    out = np.zeros_like(channel)
    for y, x in np.ndindex(*channel.shape):
        total = weight = 0.0
        for b, a in np.ndindex(*channel.shape):
            w = np.exp(-((y - b) ** 2 + (x - a) ** 2) / (2 * sigma**2))
            total, weight = total + w * channel[b, a], weight + w
        out[y, x] = total / weight
    return out


def test_blur(images, close):
    assert BLUR == 10 / 224
    for found, sigma in ((filled(images, "blur"), 90 / 224), (blurred(images, 2.0), 2.0)):
        for i, c in np.ndindex(2, 3):
            close(found[i, c], blur_twin(images[i, c].double().numpy(), sigma))


def test_blur_is_exact_under_autocast(images):
    plain = blurred(images, 2.0)
    with torch.autocast("cpu", torch.bfloat16):
        found = blurred(images, 2.0)
    assert torch.equal(found, plain)


# --- superpixels -----------------------------------------------------------------------------------------------------


def slic_twin(image, rows, columns, compactness):
    """Pixel by pixel and centre by centre, straight from the paper; before pieces are given away."""
    height, width = image.shape[1:]
    spread = image.max() - image.min()
    lab = image * (100 / spread if spread else 0)
    step = max(height / rows, width / columns)

    def colour(y, x):
        return lab[:, min(max(y, 0), height - 1), min(max(x, 0), width - 1)]

    def gradient(y, x):
        down, across = colour(y + 1, x) - colour(y - 1, x), colour(y, x + 1) - colour(y, x - 1)
        return (down**2).sum() + (across**2).sum()

    centres, labels = [], np.zeros((height, width), int)
    for i in range(rows):
        for j in range(columns):
            y, x = int((i + 0.5) * height / rows), int((j + 0.5) * width / columns)
            best = (y, x)
            for b, a in [(-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]:
                inside = 0 <= y + b < height and 0 <= x + a < width
                if inside and gradient(y + b, x + a) < gradient(*best):
                    best = (y + b, x + a)
            centres.append([*colour(*best), *best])
    for y, x in np.ndindex(height, width):
        labels[y, x] = (y * rows // height) * columns + x * columns // width
    for _ in range(10):
        for y, x in np.ndindex(height, width):
            nearest = np.inf
            for k, centre in enumerate(centres):
                if abs(y - centre[-2]) > step or abs(x - centre[-1]) > step:
                    continue
                d_c = ((lab[:, y, x] - centre[:-2]) ** 2).sum()
                d_s = (y - centre[-2]) ** 2 + (x - centre[-1]) ** 2
                d = d_c + d_s / step**2 * compactness**2
                if d < nearest:
                    nearest, labels[y, x] = d, k
        for k in range(len(centres)):
            own = np.argwhere(labels == k)
            if len(own):
                seen = [[*lab[:, y, x], y, x] for y, x in own]
                centres[k] = np.mean(seen, axis=0)
    return labels


def scene(height=14, width=11):
    """A few soft colours with a little grain: edges that do not follow the grid."""
    y, x = np.mgrid[:height, :width]
    flat = np.stack([np.sin(y / 4 + x / 7), (x > y / 2) * 1.0, np.cos(x / 3)])
    return flat + np.random.default_rng(0).normal(0, 0.05, flat.shape)


@pytest.mark.parametrize(
    ("segments", "grid", "compactness"), [(12, (4, 3), 10.0), (6, (3, 2), 40.0), (20, (5, 4), 5.0)]
)
def test_slic(segments, grid, compactness):
    image = scene()
    twin = slic_twin(image, *grid, compactness)
    found = superpixels(torch.from_numpy(image), segments, compactness=compactness).numpy()
    np.testing.assert_array_equal(found, _connected(twin))
    assert (found == np.unique(twin, return_inverse=True)[1].reshape(found.shape)).mean() > 0.8


def pieces(labels):
    return [ndimage.label(labels == k)[1] for k in range(labels.max() + 1)]


@pytest.mark.parametrize("segments", [1, 2, 7, 30, 154])
@pytest.mark.parametrize("kind", ["scene", "noise", "even", "nan"])
def test_each_label_is_one_piece(segments, kind):
    image = torch.from_numpy(scene()) if kind == "scene" else torch.randn(3, 14, 11)
    if kind == "even":
        image = torch.full((3, 14, 11), 0.7)
    if kind == "nan":
        image[0, 3, 4] = float("nan")
    found = superpixels(image, segments)
    assert found.dtype == torch.int64
    assert set(pieces(found.numpy())) == {1}
    assert set(found.flatten().tolist()) == set(range(int(found.max()) + 1))
    assert torch.equal(found, superpixels(image, segments))
    if segments == 1:
        assert int(found.max()) == 0


def test_an_even_image_gives_a_grid():
    """Pixels half-way between two centres go to the first: 5 columns and 3, not 4 and 4."""
    found = superpixels(torch.zeros(3, 12, 8), 6)
    assert int(found.max()) == 5
    rows, columns = found[:, 0] // 2, found[0]
    assert torch.equal(found, rows[:, None] * 2 + columns)
    assert set(rows.bincount().tolist()) <= {3, 4, 5}
    assert set(columns.bincount().tolist()) <= {3, 4, 5}


def test_colours_decide_where_they_differ():
    image = torch.zeros(1, 12, 12)
    image[:, :, 5:] = 1.0
    found = superpixels(image, 4)
    assert not set(found[:, :5].unique().tolist()) & set(found[:, 5:].unique().tolist())
    shifted = superpixels(image * 1e-6 - 3, 4)
    assert torch.equal(found, shifted), "neither the zero nor the scale of the channels matters"


def test_pieces_go_to_the_neighbour_with_the_longest_border():
    labels = np.array(
        [
            [0, 0, 0, 2, 2, 2],
            [0, 0, 0, 2, 0, 2],
            [1, 1, 1, 2, 2, 2],
            [1, 0, 1, 1, 1, 1],
            [1, 1, 0, 3, 1, 1],
        ]
    )
    expected = np.array(
        [
            [0, 0, 0, 2, 2, 2],
            [0, 0, 0, 2, 2, 2],
            [1, 1, 1, 2, 2, 2],
            [1, 1, 1, 1, 1, 1],
            [1, 1, 1, 3, 1, 1],
        ]
    )
    np.testing.assert_array_equal(_connected(labels), expected)


def test_a_piece_inside_a_piece_that_is_given_away():
    labels = np.zeros((7, 12), int)
    labels[:, 6:] = 1
    labels[1:6, 0:5] = 1  # a smaller piece of label 1 ...
    labels[3, 2] = 0  # ... which holds one of label 0
    found = _connected(labels)
    assert set(pieces(found)) == {1}
    assert found[3, 2] == found[2, 2] == 0


def test_more_segments_than_pixels():
    with pytest.raises(sc.MethodError, match=r"13 segments were asked for in an image of 3 x 4 pixels; ask for fewer"):  # fmt: skip
        superpixels(torch.zeros(3, 3, 4), 13)
