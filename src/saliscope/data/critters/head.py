"""What sits on the head: ears, muzzle, horns, eyes."""

from __future__ import annotations

import numpy as np

from saliscope.data.critters.pose import Points, Pose
from saliscope.data.critters.shapes import Shape, ellipse, moved, polygon, ribbon, turned

__all__ = ["ears", "head", "horn", "muzzle"]


def _on_head(pose: Pose, points: Points) -> Points:
    """From head units (radius 1, facing right) into those of the body."""
    return moved(turned(points * pose.head_radius, pose.pitch), pose.head)


def head(pose: Pose) -> list[Shape]:
    """The skull with its eye and cheek."""
    return [
        Shape("head", _on_head(pose, ellipse((0, 0), 1.0, 0.94, count=32)), "coat"),
        Shape(
            "head", _on_head(pose, ellipse((0.16, 0.42), 0.26, 0.17, count=14)), "blush", line=False
        ),
        Shape(
            "eyes",
            _on_head(pose, ellipse((0.28, -0.22), 0.24, 0.29, count=18)),
            "white",
            line=False,
        ),
        Shape(
            "eyes",
            _on_head(pose, ellipse((0.35, -0.20), 0.155, 0.21, count=16)),
            "black",
            line=False,
        ),
        Shape(
            "eyes",
            _on_head(pose, ellipse((0.39, -0.29), 0.065, 0.075, count=10)),
            "white",
            line=False,
        ),
    ]


def muzzle(kind: str, pose: Pose) -> list[Shape]:
    """The muzzle with its nose."""

    def shape(points: Points, colour: str, *, line: bool = True) -> Shape:
        return Shape("muzzle", _on_head(pose, points), colour, line=line)

    if kind == "long":
        snout = ribbon([(0.62, 0.38), (1.15, 0.46), (1.72, 0.52)], [0.38, 0.28, 0.15])
        return [shape(snout, "belly"), shape(ellipse((1.82, 0.46), 0.17, 0.15, count=14), "nose")]
    if kind == "boxy":
        block = _rounded((1.02, 0.38), 0.52, 0.46)
        disc = ellipse((1.46, 0.36), 0.20, 0.42, count=20)
        holes = [ellipse((1.48, y), 0.07, 0.10, count=10) for y in (0.20, 0.50)]
        return [
            shape(block, "belly"),
            shape(disc, "inner"),
            *(shape(h, "nose", line=False) for h in holes),
        ]
    if kind == "trunk":
        path = [(0.66, 0.34), (1.08, 0.44), (1.30, 0.86), (1.24, 1.28), (1.46, 1.52)]
        trunk = ribbon(path, [0.36, 0.30, 0.24, 0.20, 0.17])
        rings = [
            polygon((1.10, y), (1.46, y - 0.04), (1.46, y + 0.03), (1.10, y + 0.07))
            for y in (0.78, 1.02)
        ]
        return [shape(trunk, "coat"), *(shape(r, "line", line=False) for r in rings)]
    smile = ribbon([(0.62, 0.56), (0.76, 0.64), (0.92, 0.58)], [0.035] * 3)
    return [
        shape(ellipse((0.80, 0.36), 0.42, 0.34, count=20), "belly"),
        shape(ellipse((1.08, 0.22), 0.16, 0.12, count=12), "nose", line=False),
        shape(smile, "line", line=False),
    ]


def _rounded(centre: tuple[float, float], rx: float, ry: float) -> Points:
    round_ = ellipse((0, 0), 1, 1, count=28)
    square = np.sign(round_) * np.abs(round_) ** 0.45
    return moved(square * np.array([rx, ry]), centre)


def ears(kind: str, pose: Pose) -> tuple[list[Shape], list[Shape]]:
    """The far ear, drawn behind the head, and the near one."""
    return _ear(kind, pose, near=False), _ear(kind, pose, near=True)


def _ear(kind: str, pose: Pose, *, near: bool) -> list[Shape]:
    outer, inner = _EARS[kind]
    move = (-0.28, 0.0) if near else (0.42, -0.06)
    outside = "coat" if near else "shade"
    found = [Shape("ears", _on_head(pose, moved(outer, move)), outside)]
    if len(inner):
        found.append(Shape("ears", _on_head(pose, moved(inner, move)), "inner", line=False))
    return found


_NONE = np.zeros((0, 2))
_EARS: dict[str, tuple[Points, Points]] = {
    "small": (ellipse((-0.06, -0.92), 0.22, 0.24, count=14), _NONE),
    "prick": (
        polygon((-0.46, -0.66), (-0.30, -1.30), (-0.16, -1.74), (0.10, -1.34), (0.36, -0.74)),
        polygon((-0.24, -0.80), (-0.14, -1.42), (0.14, -0.84)),
    ),
    "lop": (
        ribbon(
            [(0.02, -0.80), (-0.40, -0.72), (-0.66, -0.10), (-0.62, 0.52)], [0.16, 0.26, 0.33, 0.20]
        ),
        _NONE,
    ),
    "hare": (
        ribbon([(-0.05, -0.70), (-0.16, -1.35), (-0.34, -2.10)], [0.22, 0.30, 0.12]),
        ribbon([(-0.07, -0.95), (-0.16, -1.40), (-0.29, -1.92)], [0.09, 0.15, 0.05]),
    ),
    "round": (
        ellipse((-0.14, -1.02), 0.60, 0.58, count=24),
        ellipse((-0.12, -0.98), 0.38, 0.37, count=20),
    ),
}


def horn(kind: str, pose: Pose) -> tuple[list[Shape], list[Shape]]:
    """Horns, those behind the head and those before it."""

    def shape(points: Points, colour: str = "horn", *, line: bool = True) -> Shape:
        return Shape("horn", _on_head(pose, points), colour, line=line)

    if kind == "one":
        cone = polygon((0.36, -0.76), (0.98, -1.86), (0.74, -0.54))
        band = polygon((0.55, -1.02), (0.80, -0.82), (0.83, -0.97), (0.64, -1.18))
        return [], [shape(cone), shape(band, "second", line=False)]
    if kind == "two":
        path = [(0.0, 0.0), (0.30, -0.20), (0.44, -0.55), (0.32, -0.92)]
        bull = ribbon(path, [0.17, 0.16, 0.12, 0.03])
        return [shape(moved(bull, (0.66, -0.66)))], [
            shape(moved(bull * (-1, 1) * 0.95, (0.22, -0.78)))
        ]
    if kind == "antlers":
        found = [[shape(branch) for branch in _antler(x)] for x in (0.52, 0.10)]
        return found[0], found[1]
    return [], []


def _antler(x: float) -> list[Points]:
    stem = ribbon([(x, -0.74), (x + 0.05, -1.20), (x - 0.10, -1.95)], [0.10, 0.09, 0.05])
    twigs = [
        ((x + 0.04, -1.15), (x + 0.40, -1.45)),
        ((x - 0.02, -1.48), (x - 0.36, -1.66)),
        ((x - 0.04, -1.60), (x + 0.24, -1.95)),
    ]
    return [stem, *(ribbon(list(t), [0.08, 0.045]) for t in twigs)]
