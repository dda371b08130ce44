"""Outlines to draw with: ellipses, limbs and ribbons as polygons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from saliscope.data.critters.pose import Points

__all__ = ["Shape", "ellipse", "limb", "moved", "polygon", "ribbon", "turned", "wavy"]


@dataclass(frozen=True, eq=False)
class Shape:
    """A filled outline (N, 2) that belongs to a part, in a colour named by its role.

    `line` draws the dark outline around it. A shape `on` another part shows only where that part is visible.
    """

    part: str
    points: Points
    colour: str
    line: bool = True
    on: str = ""


@lru_cache(maxsize=64)
def _circle(count: int) -> Points:
    angles = np.arange(count) * (2 * np.pi / count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def ellipse(centre: tuple[float, float], rx: float, ry: float, *, count: int = 28) -> Points:
    """An ellipse as a polygon."""
    return moved(_circle(count) * np.array([rx, ry]), centre)


def turned(points: Points, angle: float) -> Points:
    """Turn points around the origin, from x towards y."""
    if not angle:
        return points
    c, s = np.cos(angle), np.sin(angle)
    found: Points = points @ np.array([[c, s], [-s, c]])
    return found


def moved(points: Points, by: tuple[float, float]) -> Points:
    """Shift points."""
    found: Points = points + np.asarray(by)
    return found


def polygon(*corners: tuple[float, float]) -> Points:
    """A polygon by its corners."""
    return np.array(corners, np.float64)


def limb(
    start: tuple[float, float], end: tuple[float, float], width: float, tip: float | None = None
) -> Points:
    """A straight limb with round ends, `width` the half width at its start and `tip` that at its end."""
    return ribbon([start, end], [width, width if tip is None else tip])


@lru_cache(maxsize=32)
def _basis(count: int) -> Points:
    """The Catmull-Rom weights that lay a smooth path of five points a segment through `count` points."""
    steps = np.linspace(0, 1, 5, endpoint=False)
    t = steps[:, None]
    weights = np.concatenate(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3], 1
    )
    basis = np.zeros(((count - 1) * len(steps) + 1, count))
    for segment in range(count - 1):
        rows = slice(segment * len(steps), (segment + 1) * len(steps))
        for k in range(4):
            basis[rows, min(max(segment + k - 1, 0), count - 1)] += weights[:, k] / 2
    basis[-1, -1] = 1
    return basis


def ribbon(
    path: Sequence[tuple[float, float]] | Points, widths: Sequence[float] | Points
) -> Points:
    """A band of the given half widths along a smooth path, with round ends."""
    line = np.asarray(path, np.float64)
    half = np.asarray(widths, np.float64)[:, None]
    if 2 < len(line) < 12:
        line, half = _basis(len(line)) @ line, _basis(len(line)) @ half
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.hypot(along[:, :1], along[:, 1:]), 1e-9)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    ends = []
    for at, sign in ((-1, 1.0), (0, -1.0)):
        turn = np.linspace(np.pi / 2, -np.pi / 2, 9)[1:-1, None]
        ends.append(
            line[at]
            + half[at] * (np.cos(turn) * along[at] * sign + np.sin(turn) * across[at] * sign)
        )
    return np.concatenate([line + half * across, ends[0], (line - half * across)[::-1], ends[1]])


def wavy(centre: tuple[float, float], radius: float, bumps: int, depth: float = 0.12) -> Points:
    """A round outline with bumps, as of a flower or a bush."""
    angles = np.linspace(0, 2 * np.pi, bumps * 6, endpoint=False)
    r = radius * (1 - depth + depth * np.abs(np.cos(bumps * angles / 2)) * 2)
    return np.stack([centre[0] + r * np.cos(angles), centre[1] + r * np.sin(angles)], axis=1)
