"""How alike two maps of one picture are: by order, by value, by structure, by the directions of their edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from saliscope.errors import DataError, OptionError, nearest
from saliscope.localization import normalise
from saliscope.metrics.arrays import numbers
from saliscope.metrics.ranks import spearman
from saliscope.metrics.scores import Metric

__all__ = [
    "HOG_SIDE",
    "SIMILARITY_METRICS",
    "Likeness",
    "hog_features",
    "hog_similarity",
    "pearson",
    "similarity",
    "ssim",
]

Likeness = Literal["spearman-abs", "spearman", "pearson", "ssim", "hog"]
"""How two maps are compared; each is defined in `similarity`."""

_SIGMA, _REACH = 1.5, 5  # Wang et al. 2004, section III-C: an 11 x 11 circular Gaussian
_K1, _K2 = 0.01, 0.03
_ORIENTATIONS, _BLOCK, _CELL, _CEILING, _HOG_EPSILON = 9, 3, 16, 0.2, 1e-5
HOG_SIDE = _BLOCK * _CELL
"""The shortest side, in pixels, of pictures that `similarity` compares by HOG."""


def similarity(
    one: NDArray[np.floating], other: NDArray[np.floating], likeness: Likeness = "spearman"
) -> float:
    """How alike two signed maps (h, w) of one picture are; 1 for equal ones.

    `spearman` ranks the signed values, `spearman-abs` |M| (both of Adebayo et al. 2018), `pearson` correlates
    the values: in [-1, 1]. `ssim` and `hog` compare the two min-max heatmaps and need the size of the picture: 11 x 11 and
    48 x 48 pixels at least.

    NaN where either map is constant (and so says nothing) or not finite, whatever the likeness. Raises `OptionError` for an
    unknown likeness and `DataError` where the shapes differ or are too small.
    """
    if likeness not in get_args(Likeness):
        raise OptionError(
            f'likeness "{likeness}" is unknown; {nearest(str(likeness), get_args(Likeness))}'
        )
    a, b = _pair(one, other)
    if likeness == "spearman-abs":
        a, b = np.abs(a), np.abs(b)
    if not (_says_something(a) and _says_something(b)):
        return math.nan
    if likeness == "pearson":
        return pearson(a, b)
    if likeness in ("spearman", "spearman-abs"):
        return spearman(a, b)
    scaled = normalise(a), normalise(b)
    return ssim(*scaled) if likeness == "ssim" else hog_similarity(*scaled)


def pearson(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Pearson's correlation of the values of two maps of one shape, in [-1, 1]; NaN where either is constant or not finite."""
    a, b = _pair(one, other)
    if not (_says_something(a) and _says_something(b)):
        return math.nan
    # Divided by the largest value first: no square overflows or vanishes.
    a, b = (values / np.abs(values).max() for values in (a, b))
    a, b = a - a.mean(), b - b.mean()
    a, b = (values / np.abs(values).max() for values in (a, b))
    found = (a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum())
    return float(min(max(found, -1.0), 1.0))


def ssim(
    one: NDArray[np.floating], other: NDArray[np.floating], *, data_range: float = 1.0
) -> float:
    """Mean structural similarity of two pictures (H, W), in [-1, 1], 1 only for equal ones.

    Wang, Bovik, Sheikh, Simoncelli 2004, equation 13: with means, variances and covariance under a Gaussian window of 11 x 11 pixels
    (sigma 1.5) at each pixel, `(2 mu_x mu_y + C1)(2 s_xy + C2) / ((mu_x² + mu_y² + C1)(s_x² + s_y² + C2))`, `C1 = (.01 L)²`,
    `C2 = (.03 L)²`, L the `data_range`; the mean is over pixels whose whole window lies in the picture. Two-dimensional: flat
    rows of pixels have other neighbours and another SSIM.

    Raises `DataError` where the shapes differ, or a side is shorter than the window.
    """
    one, other = _pair(one, other)
    side = 2 * _REACH + 1
    if min(one.shape) < side:
        raise DataError(
            f"SSIM looks through a window of {side} x {side} pixels and the maps are {one.shape}; bring them to the picture"
        )
    if not data_range > 0:
        raise OptionError(f"data_range is the width of the range, e.g. 1; got {data_range}")
    mean_one, mean_other = _blurred(one), _blurred(other)
    variance_one = _blurred(one * one) - mean_one * mean_one
    variance_other = _blurred(other * other) - mean_other * mean_other
    covariance = _blurred(one * other) - mean_one * mean_other
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    above = (2 * mean_one * mean_other + c1) * (2 * covariance + c2)
    below = (mean_one**2 + mean_other**2 + c1) * (variance_one + variance_other + c2)
    return float((above / below).mean())


def _blurred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Gaussian mean around each pixel whose window lies inside: (H - 10, W - 10)."""
    from scipy.ndimage import correlate1d

    window = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / _SIGMA) ** 2)
    window /= window.sum()
    for axis in (0, 1):
        values = correlate1d(values, window, axis=axis)
    return values[_REACH:-_REACH, _REACH:-_REACH]


def hog_features(picture: NDArray[np.floating], *, cell: int = _CELL) -> NDArray[np.float64]:
    """Histograms of the directions of edges: float64, (blocks of 3 x 3 cells) x 9 x 9 orientations, flat.

    Dalal and Triggs 2005, with the choices of scikit-image's `hog(picture, 9, (cell, cell), (3, 3), "L2-Hys")`, which Adebayo
    et al. 2018 used: differences of the two neighbours (0 at the edge of the picture), each pixel's magnitude votes for the one of 9
    orientations of 20 degrees it falls in, blocks overlap, each divided by its norm, cut at .2, and divided again. `cell`
    is the side of a cell in pixels; pixels beyond the last whole cell vote for none. For a picture with values in [0, 1].

    Raises `DataError` for a picture of less than 3 x 3 cells.
    """
    values = numbers(picture)
    if values.ndim != 2 or min(values.shape) < _BLOCK * cell or cell < 1:
        raise DataError(
            f"HOG needs a picture (H, W) of {_BLOCK} x {_BLOCK} cells of {cell} pixels at least; got {values.shape}: bring "
            "the map to the picture, or make the cells smaller"
        )
    across, down = np.zeros(values.shape), np.zeros(values.shape)
    across[:, 1:-1] = values[:, 2:] - values[:, :-2]
    down[1:-1] = values[2:] - values[:-2]
    width = 180.0 / _ORIENTATIONS
    angle = np.rad2deg(np.arctan2(down, across)) % 180
    bins = (angle // width).astype(np.intp) % _ORIENTATIONS  # a rounded angle of 180 is 0
    rows, columns = (side // cell for side in values.shape)
    y, x = np.mgrid[: rows * cell, : columns * cell] // cell
    inside = np.s_[: rows * cell, : columns * cell]
    place = (y * columns + x) * _ORIENTATIONS + bins[inside]
    votes = np.bincount(
        place.ravel(), np.hypot(down, across)[inside].ravel(), rows * columns * _ORIENTATIONS
    )
    cells = (votes / cell**2).reshape(rows, columns, _ORIENTATIONS)
    blocks = np.lib.stride_tricks.sliding_window_view(cells, (_BLOCK, _BLOCK), axis=(0, 1))
    flat = blocks.transpose(0, 1, 3, 4, 2).reshape(-1, _BLOCK**2 * _ORIENTATIONS)
    features: NDArray[np.float64] = _unit(np.minimum(_unit(flat), _CEILING)).ravel()
    return features


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = rows / np.sqrt(
        (rows**2).sum(axis=1, keepdims=True) + _HOG_EPSILON**2
    )
    return scaled


def hog_similarity(
    one: NDArray[np.floating], other: NDArray[np.floating], *, cell: int = _CELL
) -> float:
    """Spearman's correlation of the `hog_features` of two pictures, in [-1, 1].

    Adebayo et al. 2018; so their notebooks, while their text speaks of Pearson's.

    It sees where edges run and which way, not where the heat is. NaN where either has no edges. Raises `DataError` where the
    shapes differ or the pictures are too small.
    """
    one, other = _pair(one, other)
    return spearman(hog_features(one, cell=cell), hog_features(other, cell=cell))


def _says_something(values: NDArray[np.float64]) -> bool:
    return bool(values.size and np.isfinite(values).all() and values.min() < values.max())


def _pair(
    one: NDArray[np.floating], other: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    one, other = numbers(one), numbers(other)
    if one.shape != other.shape or one.ndim != 2:
        raise DataError(
            f"two maps of one shape (H, W) are compared; got {one.shape} and {other.shape}: bring both to one grid"
        )
    return one, other


def _rows() -> tuple[Metric, ...]:
    adebayo = "Adebayo et al. 2018"
    both = (-1.0, 1.0)

    def compare(name: Likeness) -> Callable[..., float]:
        def alike(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
            return similarity(one, other, name)

        return alike

    by_order = Metric(
        "spearman-abs", compare("spearman-abs"), "higher", both,
        f"{adebayo}, ranks of |M|, ties share their mean rank",
        title="Rank correlation without sign",
        family="agreement",
        formula="spearman-abs = ρ(|M|, |M′|)",
        paper=f"{adebayo}, Sanity Checks for Saliency Maps",
        cannot_show="whether alike is good, which depends on what was changed between the two; what speaks for and against a class is one "
        "to it, and large flat areas fill the ranks",
        undefined="either map is constant or not finite",
        needs=("map",),
        picture="similarity",
    )  # fmt: skip
    by_shape = replace(
        by_order,
        name="ssim",
        function=compare("ssim"),
        protocol="Wang et al. 2004, equation 13, 11 x 11 Gaussian, min-max heatmaps",
        title="Structural similarity",
        formula="ssim = mean of (2 μ μ′ + C₁)(2 σ_{MM′} + C₂) / ((μ² + μ′² + C₁)(σ² + σ′² + C₂)) over windows",
        paper="Wang et al. 2004, Image Quality Assessment, equation 13",
        cannot_show="whether alike is good; and two maps that are mostly empty are alike for their emptiness",
    )
    return (
        by_order,
        replace(
            by_order,
            name="spearman",
            function=compare("spearman"),
            protocol=f"{adebayo}, ranks of M, ties share their mean rank",
            title="Rank correlation",
            formula="spearman = ρ(M, M′)",
            cannot_show="whether alike is good; nor how much hotter one place is than another, as only the order counts",
        ),
        replace(
            by_order,
            name="pearson",
            function=compare("pearson"),
            protocol="correlation of the values of M",
            title="Correlation of the values",
            formula="pearson = Σ (M − M̄)(M′ − M̄′) / √(Σ (M − M̄)² Σ (M′ − M̄′)²)",
            paper="Pearson 1895, Note on Regression and Inheritance in the Case of Two Parents",
            cannot_show="whether alike is good; and a few very hot pixels rule it",
        ),
        by_shape,
        replace(
            by_shape,
            name="hog",
            function=compare("hog"),
            protocol=f"{adebayo}, ranks of HOG features, 16 x 16 cells, min-max heatmaps",
            title="Similarity of edge directions",
            formula="hog = ρ(HOG(M), HOG(M′))",
            paper=f"{by_order.paper}; Dalal and Triggs 2005, Histograms of Oriented Gradients for Human Detection",
            undefined=f"{by_shape.undefined}, or without edges",
            cannot_show="where the heat is, only where its edges run and which way; nor whether alike is good",
        ),
    )


SIMILARITY_METRICS: Mapping[str, Metric] = MappingProxyType({row.name: row for row in _rows()})
"""Similarities of two maps; `higher` is more alike. Whether alike is good depends on what was changed between the two."""
