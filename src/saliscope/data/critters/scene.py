"""The world behind the animals: places with a sky, a ground and a texture, and the light on everything."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from saliscope.data.critters.dice import Dice
from saliscope.data.critters.pose import Colour, hsv

__all__ = ["Light", "draw_light", "draw_place", "horizon_of", "lit", "textured"]

Picture = NDArray[np.uint8]

# Each place: hue, saturation and value of its far and its near end above the horizon, then below; hills or none.
_PLACES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "meadow": ((0.56, 0.30, 0.95), (0.54, 0.12, 0.98), (0.26, 0.45, 0.72), (0.29, 0.55, 0.55)),
    "heath": ((0.08, 0.25, 0.98), (0.03, 0.15, 0.97), (0.88, 0.22, 0.60), (0.20, 0.35, 0.48)),
    "beach": ((0.55, 0.40, 0.95), (0.52, 0.25, 0.90), (0.12, 0.30, 0.92), (0.10, 0.38, 0.80)),
    "snow": ((0.60, 0.22, 0.85), (0.60, 0.08, 0.95), (0.58, 0.06, 0.97), (0.60, 0.14, 0.88)),
    "dusk": ((0.68, 0.45, 0.42), (0.93, 0.35, 0.75), (0.42, 0.30, 0.36), (0.50, 0.35, 0.26)),
    "room": ((0.11, 0.20, 0.90), (0.11, 0.24, 0.84), (0.07, 0.45, 0.62), (0.06, 0.50, 0.50)),
    "wood": ((0.30, 0.35, 0.50), (0.28, 0.30, 0.66), (0.09, 0.40, 0.50), (0.08, 0.45, 0.38)),
}


@lru_cache(maxsize=8)
def _tile(number: int, side: int = 512) -> Picture:
    """A texture around 128, uint8 (side, side): noise of several grains, more of the fine ones in odd tiles."""
    bits = np.random.Philox(key=1000 + number)
    total = np.zeros((side, side), np.int32)
    for grain, weight in ((32, 4), (8, 3), (3, 2), (1, 1 + number % 2)):
        count = -(-side // grain) + 1
        raw = (bits.random_raw(count * count) >> np.uint64(56)).astype(np.uint8)
        large = cv2.resize(
            raw.reshape(count, count),
            None,
            fx=grain,
            fy=grain,
            interpolation=cv2.INTER_LINEAR_EXACT,
        )
        total += weight * (large[:side, :side].astype(np.int32) - 128)
    return np.clip(128 + total // 10, 0, 255).astype(np.uint8)


def textured(picture: Picture, dice: Dice, strength: float) -> None:
    """Roughen a picture uint8 (H, W, 3) in place by a texture, up to `strength` of its brightness."""
    tile = _tile(dice.below(4))
    height, width = picture.shape[:2]
    y, x = dice.below(tile.shape[0] - height + 1), dice.below(tile.shape[1] - width + 1)
    part = tile[y : y + height, x : x + width]
    if dice.chance(0.5):
        part = part[:, ::-1]
    gain = cv2.LUT(part, _gains(round(strength * 64)))
    cv2.multiply(picture, cv2.merge([gain, gain, gain]), dst=picture, scale=1 / 128)


@lru_cache(maxsize=64)
def _gains(strength: int) -> Picture:
    return np.clip(128 + (np.arange(256) - 128) * strength // 64, 0, 255).astype(np.uint8)


def horizon_of(dice: Dice, size: tuple[int, int]) -> int:
    """Say at which row the ground of a place begins, without drawing it."""
    return _plan(dice, size)[2]


def _plan(dice: Dice, size: tuple[int, int]) -> tuple[str, list[Colour], int]:
    """The first that is drawn of a place: which it is, its colours, its horizon."""
    place = dice.choice(tuple(_PLACES))
    ends = [_varied(dice, colour) for colour in _PLACES[place]]
    return place, ends, round(size[0] * dice.uniform(0.30, 0.62))


def draw_place(dice: Dice, size: tuple[int, int]) -> Picture:
    """Draw an empty place, uint8 (H, W, 3)."""
    height, width = size
    place, ends, horizon = _plan(dice, size)
    rows = np.empty((height, 1, 3), np.uint8)
    rows[:horizon] = _ramp(ends[0], ends[1], horizon)
    rows[horizon:] = _ramp(ends[2], ends[3], height - horizon)
    picture: Picture = np.repeat(rows, width, axis=1)
    _FURNISH[place](picture, dice, horizon, ends)
    textured(picture, dice, dice.uniform(0.15, 0.60))
    return picture


def _varied(dice: Dice, colour: tuple[float, float, float]) -> Colour:
    hue, saturation, value = colour
    return hsv(
        hue + dice.uniform(-0.05, 0.05),
        saturation * dice.uniform(0.6, 1.3),
        value * dice.uniform(0.85, 1.08),
    )


def _ramp(top: Colour, bottom: Colour, count: int) -> NDArray[np.float64]:
    share = np.linspace(0, 1, count)[:, None, None]
    mixed: NDArray[np.float64] = np.array(top) * (1 - share) + np.array(bottom) * share
    return np.rint(mixed)


def _hills(picture: Picture, dice: Dice, horizon: int, ends: list[Colour]) -> None:
    height, width = picture.shape[:2]
    for layer in (0.5, 0.2):
        colour = tuple(
            round(layer * a + (1 - layer) * b) for a, b in zip(ends[1], ends[2], strict=True)
        )
        for _ in range(2):
            centre = (round(dice.uniform(0, width)), horizon + round(0.06 * height))
            axes = (
                round(width * dice.uniform(0.18, 0.5)),
                round(height * dice.uniform(0.08, 0.22)),
            )
            cv2.ellipse(picture, centre, axes, 0, 180, 360, colour, -1, cv2.LINE_AA)
    picture[horizon:] = picture[horizon:, :1]


def _stripes(picture: Picture, dice: Dice, horizon: int, ends: list[Colour]) -> None:
    step = round(picture.shape[1] * dice.uniform(0.06, 0.14))
    darker = tuple(round(0.90 * c) for c in ends[0])
    for x in range(dice.below(step), picture.shape[1], 2 * step):
        cv2.rectangle(picture, (x, 0), (x + step - 1, horizon - 1), darker, -1)
    skirting = tuple(round(0.72 * c) for c in ends[0])
    cv2.rectangle(picture, (0, horizon - 4), (picture.shape[1], horizon - 1), skirting, -1)


def _trunks(picture: Picture, dice: Dice, horizon: int, ends: list[Colour]) -> None:
    height, width = picture.shape[:2]
    for _ in range(3 + dice.below(4)):
        x, half = dice.below(width), round(width * dice.uniform(0.015, 0.045))
        foot = horizon + round(height * dice.uniform(0.0, 0.08))
        colour = tuple(round(dice.uniform(0.55, 0.8) * c) for c in ends[2])
        cv2.rectangle(picture, (x - half, 0), (x + half, foot), colour, -1)


def _waves(picture: Picture, dice: Dice, horizon: int, ends: list[Colour]) -> None:
    top = round(horizon * dice.uniform(0.55, 0.85))
    sea = tuple(round(0.62 * c) for c in ends[0])
    picture[top:horizon] = sea
    for _ in range(5):
        x, y = dice.below(picture.shape[1]), top + dice.below(max(1, horizon - top))
        cv2.line(picture, (x, y), (x + round(0.12 * picture.shape[1]), y), (235, 245, 245), 1)


def _stars(picture: Picture, dice: Dice, horizon: int, ends: list[Colour]) -> None:
    _hills(picture, dice, horizon, ends)
    for _ in range(12):
        x, y = dice.below(picture.shape[1]), dice.below(max(1, horizon // 2))
        cv2.circle(picture, (x, y), 1, (250, 246, 220), -1, cv2.LINE_AA)


_FURNISH = {
    "meadow": _hills,
    "heath": _hills,
    "beach": _waves,
    "snow": _hills,
    "dusk": _stars,
    "room": _stripes,
    "wood": _trunks,
}


@dataclass(frozen=True)
class Light:
    """The light on a whole picture: a gain for each of R, G, B and a gamma."""

    gain: tuple[float, float, float]
    gamma: float


def draw_light(dice: Dice) -> Light:
    """Draw daylight, lamplight or shade."""
    level, warm = dice.uniform(0.78, 1.08), dice.uniform(-0.09, 0.09)
    return Light((level * (1 + warm), level, level * (1 - warm)), dice.uniform(0.85, 1.2))


def lit(picture: Picture, light: Light) -> Picture:
    """Put a picture into its light."""
    base = (np.arange(256) / 255) ** light.gamma
    table = np.stack([np.rint(255 * np.clip(base * gain, 0, 1)) for gain in light.gain], axis=-1)
    found: Picture = cv2.LUT(picture, table[None].astype(np.uint8))
    return found
