"""How an animal stands: its skeleton, in units of its body length, facing right, y down, and its colours."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saliscope.data.critters.dice import Dice

__all__ = ["Colours", "Points", "Pose", "draw_colours", "draw_pose", "hsv"]

Points = NDArray[np.float64]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Pose:
    """Where things are, before the animal is scaled and placed.

    The trunk is an ellipse around the origin with the half axes `trunk`. The head is a circle; `pitch` turns what is on
    it, in radians. `hips` and `ankles` are those of four legs, the two on the far side first. `sway` bends the tail,
    `tilt` turns the whole animal, `speckle` seeds the places of its marks.
    """

    trunk: tuple[float, float]
    head: tuple[float, float]
    head_radius: float
    pitch: float
    hips: tuple[tuple[float, float], ...]
    ankles: tuple[tuple[float, float], ...]
    leg_width: float
    sway: float
    tilt: float
    mirrored: bool
    speckle: int


def draw_pose(dice: Dice) -> Pose:
    """Draw a pose."""
    rx, ry = dice.uniform(0.46, 0.56), dice.uniform(0.26, 0.34)
    radius = dice.uniform(0.25, 0.31)
    head = (rx + dice.uniform(0.00, 0.10), -ry - dice.uniform(0.02, 0.20))
    leg = dice.uniform(0.26, 0.40)
    stride = dice.uniform(-0.14, 0.14)
    hips = tuple(
        (x, ry * 0.55) for x in (-0.62 * rx + 0.10, 0.55 * rx + 0.10, -0.62 * rx, 0.55 * rx)
    )
    swing = (stride, -stride, -stride, stride)
    lift = [dice.uniform(0.0, 0.05) for _ in range(4)]
    ankles = tuple(
        (hip[0] + s, ry * 0.8 + leg - up) for hip, s, up in zip(hips, swing, lift, strict=True)
    )
    return Pose(
        trunk=(rx, ry),
        head=head,
        head_radius=radius,
        pitch=dice.uniform(-0.30, 0.22),
        hips=hips,
        ankles=ankles,
        leg_width=dice.uniform(0.075, 0.10),
        sway=dice.uniform(-0.35, 0.35),
        tilt=dice.uniform(-0.16, 0.16),
        mirrored=dice.chance(0.5),
        speckle=dice.below(1 << 30),
    )


@dataclass(frozen=True)
class Colours:
    """The colours of an animal, RGB; `light` is the direction the light comes from, x and y."""

    coat: Colour
    shade: Colour
    belly: Colour
    mark: Colour
    crest: Colour
    inner: Colour
    horn: Colour
    collar: Colour
    second: Colour
    line: Colour
    light: tuple[float, float]

    def of(self, role: str) -> Colour:
        """The colour of a role; fixed ones besides those of the coat."""
        return _FIXED.get(role) or getattr(self, role)


_FIXED: dict[str, Colour] = {
    "white": (250, 248, 240),
    "black": (38, 32, 36),
    "nose": (66, 48, 52),
    "blush": (240, 150, 140),
}


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """RGB, 0 to 255, of a hue, saturation and value in [0, 1]."""
    r, g, b = colorsys.hsv_to_rgb(hue % 1.0, min(saturation, 1.0), min(value, 1.0))
    return round(255 * r), round(255 * g), round(255 * b)


def draw_colours(dice: Dice) -> Colours:
    """Draw a coat, natural or not, with marks that stand out and a collar of another hue."""
    natural = dice.chance(0.6)
    hue = dice.uniform(0.03, 0.12) if natural else dice.unit()
    saturation = dice.uniform(0.15, 0.70) if natural else dice.uniform(0.30, 0.65)
    value = dice.uniform(0.45, 0.95)
    dark_marks = value > 0.72 or (value > 0.60 and dice.chance(0.5))
    mark = (
        hsv(hue + dice.uniform(-0.06, 0.06), saturation, value * dice.uniform(0.38, 0.55))
        if dark_marks
        else hsv(hue + dice.uniform(-0.06, 0.06), saturation * 0.45, min(1.0, value + 0.42))
    )
    collar = hue + dice.uniform(0.28, 0.72)
    return Colours(
        coat=hsv(hue, saturation, value),
        shade=hsv(hue, saturation * 1.05, value * 0.80),
        belly=hsv(hue, saturation * 0.5, min(1.0, value * 1.18)),
        mark=mark,
        crest=hsv(hue + dice.uniform(0.10, 0.22), 0.55, value * 0.62 if value > 0.6 else 0.92),
        inner=hsv(dice.uniform(-0.03, 0.03), 0.35, min(1.0, value + 0.18)),
        horn=hsv(dice.uniform(0.09, 0.15), dice.uniform(0.10, 0.30), dice.uniform(0.85, 0.98)),
        collar=hsv(collar, dice.uniform(0.65, 0.90), dice.uniform(0.60, 0.95)),
        second=hsv(collar + dice.uniform(0.2, 0.4), 0.5, 0.95),
        line=hsv(hue, min(1.0, saturation + 0.15), value * 0.34),
        light=(dice.uniform(-0.8, 0.8), dice.uniform(-1.0, -0.3)),
    )
