"""Superpixels: patches of similar colour, found by k-means in colour and place (SLIC)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from saliscope.errors import MethodError

__all__ = ["superpixels"]

_ROUNDS = 10  # "ten iterations suffice for most images" (Achanta et al. 2012)
_RANGE = (
    100.0  # of colours, as of lightness in CIELAB, so that compactness means what it does there
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def superpixels(image: Tensor, segments: int, *, compactness: float = 10.0) -> Tensor:
    """Label the pixels of an image (C, H, W): integers (H, W) from 0 on, each label one piece (4-neighbours).

    Achanta et al. 2012, SLIC: about `segments` centres on a grid, each moved to the flattest of its 3 x 3 pixels, then ten
    rounds of k-means in which a centre looks no farther than a grid step. Distance is that of colours, plus
    `compactness` squared times that of places in grid steps. Colours are the channels as they come, scaled so that the
    image's values span 100: CIELAB would need the RGB behind them. Pieces cut off from their segment go to the neighbour
    with the longest common border. An image of one colour gives a grid. Deterministic.
    """
    height, width = image.shape[1:]
    if segments > height * width:
        raise MethodError(
            f"{segments} segments were asked for in an image of {height} x {width} pixels; ask for fewer"
        )
    colours = _colours(image)
    rows = min(height, max(1, round(height / math.sqrt(height * width / segments))))
    grid = [rows, min(width, max(1, round(segments / rows)))]
    labels = _cells(grid, (height, width))
    reach = max(height / grid[0], width / grid[1])
    place = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1)
    features = np.concatenate([colours, place * (compactness / reach)], -1)
    centres = _seeds(colours, features, grid)
    for _ in range(_ROUNDS):
        labels = _assigned(features, centres, labels, reach, compactness / reach)
        centres = _means(features, labels, centres)
    return torch.from_numpy(_connected(labels))


def _colours(image: Tensor) -> Floats:
    values: Floats = image.detach().cpu().double().numpy().transpose(1, 2, 0)
    spread = float(values.max() - values.min())
    return values * (_RANGE / spread) if spread > 0 else np.zeros_like(values)


def _cells(grid: list[int], size: tuple[int, int]) -> Ints:
    """Which cell of the grid each pixel lies in."""
    rows, columns = (np.arange(n) * g // n for n, g in zip(size, grid, strict=True))
    return (rows[:, None] * grid[1] + columns[None, :]).astype(np.int64)


def _seeds(colours: Floats, features: Floats, grid: list[int]) -> Floats:
    """The features of the flattest pixel within one pixel of each cell's middle; the middle itself where none is flatter."""
    size = colours.shape[:2]
    padded = np.pad(colours, ((1, 1), (1, 1), (0, 0)), mode="edge")
    down = padded[2:, 1:-1] - padded[:-2, 1:-1]
    across = padded[1:-1, 2:] - padded[1:-1, :-2]
    steep = (down**2).sum(-1) + (across**2).sum(-1)
    around = sorted(
        ((a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)), key=lambda d: abs(d[0]) + abs(d[1])
    )
    found = []
    for i, j in np.ndindex(*grid):
        y, x = (int((k + 0.5) * n / g) for k, n, g in zip((i, j), size, grid, strict=True))
        near = [(y + a, x + b) for a, b in around if 0 <= y + a < size[0] and 0 <= x + b < size[1]]
        found.append(features[min(near, key=lambda at: float(steep[at]))])
    return np.stack(found)


def _assigned(features: Floats, centres: Floats, labels: Ints, reach: float, scale: float) -> Ints:
    """The nearest centre of each pixel among those within reach; the label it had where there is none."""
    size = labels.shape
    best, found = np.full(size, np.inf), labels.copy()
    for k, centre in enumerate(centres):
        middle = centre[-2:] / scale
        low = np.maximum(np.ceil(middle - reach), 0).astype(int)
        high = np.minimum(np.floor(middle + reach) + 1, size).astype(int)
        window = slice(low[0], high[0]), slice(low[1], high[1])
        distance = ((features[window] - centre) ** 2).sum(-1)
        nearer = distance < best[window]
        best[window][nearer] = distance[nearer]
        found[window][nearer] = k
    return found


def _means(features: Floats, labels: Ints, centres: Floats) -> Floats:
    """The mean of the features under each label; the centre as it was where a label is not used."""
    flat, count = labels.ravel(), np.bincount(labels.ravel(), minlength=len(centres))
    columns = features.reshape(-1, features.shape[-1]).T
    total = np.stack([np.bincount(flat, column, len(centres)) for column in columns], 1)
    used = count > 0
    return np.where(used[:, None], total / np.maximum(count, 1)[:, None], centres)


def _connected(labels: Ints) -> Ints:
    """Keep the largest piece of each label and give the others away; labels renumbered from 0."""
    pieces, owner, size = _pieces(labels)
    order = np.lexsort((np.arange(len(size)), -size, owner))
    first = np.ones(len(order), bool)
    first[1:] = owner[order][1:] != owner[order][:-1]
    held = np.full(len(size), -1)
    held[order[first]] = owner[order[first]]
    a, b, length = _borders(pieces)
    count = int(labels.max()) + 1
    while (held < 0).any():
        asking = (held[a] < 0) & (held[b] >= 0)
        piece, label = a[asking], held[b[asking]]
        pairs, where = np.unique(piece * count + label, return_inverse=True)
        shared = np.bincount(where, length[asking])
        piece, label = pairs // count, pairs % count
        # the last of each piece in this order has the longest border, and of those the lowest label
        ranked = np.lexsort((-label, shared, piece))
        held[piece[ranked]] = label[ranked]
    return np.unique(held[pieces], return_inverse=True)[1].reshape(labels.shape).astype(np.int64)


def _pieces(labels: Ints) -> tuple[Ints, Ints, Ints]:
    """Number the connected pieces; for each the label it has and its size in pixels."""
    pieces = np.zeros(labels.shape, np.int64)
    owner: list[int] = []
    from scipy import ndimage  # it changes the filters of warnings when it is imported

    for label, window in enumerate(ndimage.find_objects(labels + 1)):
        if window is None:
            continue
        found, count = ndimage.label(labels[window] == label)
        inside = found > 0
        pieces[window][inside] = found[inside] - 1 + len(owner)
        owner += [label] * count
    return pieces, np.array(owner), np.bincount(pieces.ravel(), minlength=len(owner))


def _borders(pieces: Ints) -> tuple[Ints, Ints, Ints]:
    """Neighbouring pieces, both ways round, and how many pixel edges they share."""
    across = np.stack([pieces[:, :-1].ravel(), pieces[:, 1:].ravel()])
    down = np.stack([pieces[:-1].ravel(), pieces[1:].ravel()])
    edges = np.concatenate([across, down], 1)
    edges = edges[:, edges[0] != edges[1]]
    a, b = np.concatenate([edges, edges[::-1]], 1)
    count = int(pieces.max()) + 1
    pairs, length = np.unique(a * count + b, return_counts=True)
    return pairs // count, pairs % count, length
