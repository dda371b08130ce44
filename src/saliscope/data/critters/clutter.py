"""Things that lie about: they share shapes and colours with the animals and mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from saliscope.data.critters.dice import Dice
from saliscope.data.critters.pose import Colour, Points, hsv
from saliscope.data.critters.shapes import ellipse, moved, polygon, ribbon, turned, wavy

__all__ = ["THINGS", "Thing", "draw_things", "paint", "thing_mask"]

_SHIFT = 4
Layer = tuple[Points, str]


@dataclass(frozen=True, eq=False)
class Thing:
    """An object: its noun, its layers in pixels with the RGB of each, and whether they have an outline."""

    noun: str
    layers: tuple[tuple[Points, Colour, bool], ...]


def _mushroom(_: Dice) -> list[Layer]:
    spots = [
        ellipse((x, y), 0.075, 0.055, count=12)
        for x, y in ((-0.24, -0.42), (0.04, -0.56), (0.26, -0.38))
    ]
    cap = np.array([p for p in ellipse((0, -0.34), 0.46, 0.40, count=32) if p[1] <= -0.24])
    return [
        (ribbon([(0, -0.3), (0, -0.1), (0.01, 0.0)], [0.13, 0.12, 0.15]), "pale"),
        (cap, "main"),
        *((s, "pale-") for s in spots),
    ]


def _ball(dice: Dice) -> list[Layer]:
    outline = ellipse((0, -0.3), 0.30, 0.30)
    if dice.chance(0.5):
        marks = [
            ellipse((x, y), 0.07, 0.07, count=12)
            for x, y in ((-0.12, -0.4), (0.1, -0.45), (0.02, -0.2), (-0.14, -0.17), (0.16, -0.28))
        ]
    else:
        marks = [
            polygon((x - 0.04, -0.49), (x + 0.04, -0.49), (x + 0.04, -0.11), (x - 0.04, -0.11))
            for x in (-0.14, 0.0, 0.14)
        ]
    return [(outline, "main"), *((m, "second-") for m in marks)]


def _fern(_: Dice) -> list[Layer]:
    angles = np.linspace(np.pi / 2, np.pi / 2 - 2 * np.pi * 1.2, 24)
    radius = np.linspace(0.20, 0.06, 24)
    spiral = np.stack([0.05 + radius * np.cos(angles), -0.66 - radius * np.sin(angles)], axis=1)
    stalk = np.linspace((0.0, 0.0), spiral[0], 6)[:-1]
    path = np.concatenate([stalk, spiral])
    return [(ribbon(path, np.linspace(0.06, 0.04, len(path))), "main")]


def _dandelion(_: Dice) -> list[Layer]:
    return [
        (ribbon([(0, 0), (0.03, -0.3), (-0.02, -0.6)], [0.035, 0.03, 0.03]), "green"),
        (wavy((-0.02, -0.74), 0.20, 9), "pale"),
    ]


def _cone(_: Dice) -> list[Layer]:
    return [
        (polygon((-0.26, 0), (0.26, 0), (0.04, -0.85)), "main"),
        (polygon((-0.18, -0.22), (0.20, -0.22), (0.14, -0.40), (-0.12, -0.40)), "second-"),
    ]


def _twig(_: Dice) -> list[Layer]:
    paths = (
        [(0, 0), (0.04, -0.4), (-0.06, -0.95)],
        [(0.03, -0.36), (0.30, -0.62)],
        [(-0.01, -0.58), (-0.28, -0.78)],
    )
    return [(ribbon(list(p), [0.07, 0.06, 0.03][: len(p)]), "pale") for p in paths]


def _flag(_: Dice) -> list[Layer]:
    return [
        (ribbon([(0, 0), (0, -1.0)], [0.03, 0.03]), "pale"),
        (polygon((0.02, -0.98), (0.52, -0.80), (0.02, -0.55)), "main"),
    ]


def _hoop(_: Dice) -> list[Layer]:
    outer, inner = (
        ellipse((0, -0.32), rx, ry, count=32) for rx, ry in ((0.24, 0.34), (0.16, 0.26))
    )
    ring = np.concatenate([outer, outer[:1], inner[::-1], inner[-1:]])
    return [(ring, "main-")]


def _leaf(_: Dice) -> list[Layer]:
    left = polygon((-0.34, 0), (-0.30, -0.45), (-0.16, -0.78), (-0.02, -0.40), (0.02, 0))
    return [(left, "green"), (moved(turned(left * 0.9, 0.35), (0.28, 0.0)), "green")]


def _stone(_: Dice) -> list[Layer]:
    return [
        (ellipse((0, -0.20), 0.44, 0.24), "coat"),
        (ellipse((-0.05, -0.28), 0.26, 0.09), "light-"),
    ]


def _bush(_: Dice) -> list[Layer]:
    return [(wavy((0, -0.34), 0.42, 8), "green")]


def _log(_: Dice) -> list[Layer]:
    return [
        (ribbon([(-0.45, -0.2), (0.40, -0.2)], [0.20, 0.20]), "coat"),
        (ellipse((0.42, -0.2), 0.14, 0.20), "light"),
        (ellipse((0.42, -0.2), 0.07, 0.10), "coat-"),
    ]


THINGS: dict[str, Callable[[Dice], list[Layer]]] = {
    "mushroom": _mushroom,
    "ball": _ball,
    "fern": _fern,
    "dandelion": _dandelion,
    "cone": _cone,
    "twig": _twig,
    "flag": _flag,
    "hoop": _hoop,
    "leaf": _leaf,
    "stone": _stone,
    "bush": _bush,
    "log": _log,
}
"""The kinds of things by noun; their shapes stand on the origin, in units of their height, y down."""


def draw_things(dice: Dice, size: tuple[int, int], horizon: int) -> list[Thing]:
    """Draw three to eight things, the far ones first; no two of one kind, so that a noun means one of them."""
    height, width = size
    nouns = list(THINGS)
    places = []
    for _ in range(3 + dice.below(6)):
        noun = nouns.pop(dice.below(len(nouns)))
        foot = dice.uniform(horizon + 2, height + 0.04 * height)
        far = (foot - horizon) / max(1, height - horizon)
        tall = height * dice.uniform(0.16, 0.30) * (0.7 + 0.8 * far)
        places.append((foot, noun, dice.uniform(0, width), tall))
    return [_thing(dice, noun, (x, foot), tall) for foot, noun, x, tall in sorted(places)]


def _thing(dice: Dice, noun: str, foot: tuple[float, float], tall: float) -> Thing:
    hue = dice.unit()
    palette = {
        "main": hsv(hue, dice.uniform(0.55, 0.9), dice.uniform(0.55, 0.95)),
        "second": hsv(hue + dice.uniform(0.2, 0.5), 0.4, 0.95),
        "pale": hsv(dice.uniform(0.08, 0.15), 0.18, dice.uniform(0.82, 0.97)),
        "green": hsv(dice.uniform(0.20, 0.42), dice.uniform(0.4, 0.7), dice.uniform(0.40, 0.75)),
        "coat": hsv(dice.uniform(0.03, 0.12), dice.uniform(0.15, 0.6), dice.uniform(0.4, 0.8)),
        "light": hsv(dice.uniform(0.06, 0.12), 0.25, 0.90),
    }
    lean = dice.uniform(-0.25, 0.25)
    flip = -1.0 if dice.chance(0.5) else 1.0
    layers = []
    for points, role in THINGS[noun](dice):
        place = moved(turned(points * (flip, 1.0), lean) * tall, foot)
        layers.append((place, palette[role.rstrip("-")], not role.endswith("-")))
    return Thing(noun, tuple(layers))


def paint(picture: NDArray[np.uint8], thing: Thing) -> None:
    """Draw a thing onto a picture uint8 (H, W, 3), in place."""
    for points, colour, outlined in thing.layers:
        fixed = [_fixed(points)]
        cv2.fillPoly(picture, fixed, colour, cv2.LINE_AA, _SHIFT)
        if outlined:
            dark = tuple(round(0.4 * c) for c in colour)
            cv2.polylines(picture, fixed, True, dark, 1, cv2.LINE_AA, _SHIFT)


def thing_mask(thing: Thing, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels (H, W) that a thing would cover if nothing stood before it."""
    mask = np.zeros(size, np.uint8)
    for points, _, _ in thing.layers:
        cv2.fillPoly(mask, [_fixed(points)], 1, cv2.LINE_8, _SHIFT)
    return mask.astype(np.bool_)


def _fixed(points: Points) -> NDArray[np.int32]:
    return np.rint((points - 0.5) * (1 << _SHIFT)).astype(np.int32)
