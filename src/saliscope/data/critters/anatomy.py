"""The animal: every part of a breed as shapes, from the back to the front."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from saliscope.data.critters.dice import Dice
from saliscope.data.critters.head import ears, head, horn, muzzle
from saliscope.data.critters.pose import Points, Pose
from saliscope.data.critters.shapes import Shape, ellipse, limb, moved, ribbon, turned, wavy

__all__ = ["PARTS", "animal"]

PARTS = (
    "torso",
    "head",
    "legs",
    "eyes",
    "ears",
    "tail",
    "muzzle",
    "coat",
    "horn",
    "collar",
    "back",
    "feet",
)
"""The parts that masks are made of: four that all animals share, then the slots of the breeds."""


def animal(kinds: Mapping[str, str], pose: Pose) -> list[Shape]:
    """The shapes of an animal, in the order they are drawn."""
    rear_ears, front_ears = ears(kinds["ears"], pose)
    rear_horn, front_horn = horn(kinds["horn"], pose)
    return [
        *_legs(pose, kinds["feet"], (0, 1)),
        *_tail(kinds["tail"], pose),
        *_back(kinds["back"], pose),
        *_torso(pose),
        *_coat(kinds["coat"], pose),
        *_legs(pose, kinds["feet"], (2, 3)),
        *rear_ears,
        *rear_horn,
        *_collar(kinds["collar"], pose),
        *head(pose),
        *muzzle(kinds["muzzle"], pose),
        *front_horn,
        *front_ears,
    ]


def _torso(pose: Pose) -> list[Shape]:
    rx, ry = pose.trunk
    neck = ribbon(
        [(rx * 0.45, -ry * 0.15), (pose.head[0] * 0.8, pose.head[1] * 0.55), pose.head],
        [ry * 0.72, ry * 0.62, pose.head_radius * 0.72],
    )
    belly = ellipse((0.02, ry * 0.55), rx * 0.72, ry * 0.36)
    return [
        Shape("torso", neck, "coat"),
        Shape("torso", ellipse((0, 0), rx, ry, count=36), "coat"),
        Shape("torso", neck * 0.97 + np.array(pose.head) * 0.03, "coat", line=False, on="torso"),
        Shape("torso", belly, "belly", line=False, on="torso"),
    ]


def _legs(pose: Pose, kind: str, which: tuple[int, ...]) -> list[Shape]:
    found: list[Shape] = []
    for leg in which:
        hip, ankle, width = pose.hips[leg], pose.ankles[leg], pose.leg_width
        found.append(
            Shape("legs", limb(hip, ankle, width * 1.25, width), "shade" if leg < 2 else "coat")
        )
        found += _foot(kind, hip, ankle, width)
    return found


def _foot(
    kind: str, hip: tuple[float, float], ankle: tuple[float, float], width: float
) -> list[Shape]:
    def at(share: float) -> tuple[float, float]:
        return (hip[0] + share * (ankle[0] - hip[0]), hip[1] + share * (ankle[1] - hip[1]))

    sole = (ankle[0] + width * 0.35, ankle[1] + width * 0.35)
    paw = ellipse(sole, width * 1.25, width * 0.8, count=16)
    if kind == "socks":
        leg = limb(at(0.58), ankle, width * 1.12, width * 1.08)
        return [Shape("feet", leg, "white"), Shape("feet", paw, "white")]
    bare = Shape("legs", paw, "shade")
    if kind == "rings":
        bands = ((0.42, 0.54), (0.70, 0.82))
        return [bare, *(Shape("feet", _band(at(a), at(b), width * 1.22), "mark") for a, b in bands)]
    return [bare]


def _band(start: tuple[float, float], end: tuple[float, float], half: float) -> Points:
    along = np.subtract(end, start)
    across = np.array([-along[1], along[0]]) * (half / np.hypot(*along))
    return np.array([start + across, end + across, end - across, start - across])


def _tail(kind: str, pose: Pose) -> list[Shape]:
    root = (-pose.trunk[0] * 0.90, -pose.trunk[1] * 0.30)

    def placed(points: Points) -> Points:
        return moved(turned(points, pose.sway), root)

    if kind == "curl":
        angles = np.linspace(0.9, 0.9 - 2 * np.pi * 1.2, 26)
        radius = np.linspace(0.22, 0.075, 26)
        spiral = np.stack(
            [-0.16 + radius * np.cos(angles), -0.20 + radius * np.sin(angles)], axis=1
        )
        path = np.concatenate([[(0.10, 0.06)], spiral])
        return [Shape("tail", placed(ribbon(path, np.linspace(0.075, 0.05, 27))), "coat")]
    if kind == "brush":
        outer = ribbon(
            [(0.05, 0.03), (-0.16, -0.10), (-0.30, -0.30), (-0.34, -0.52), (-0.28, -0.66)],
            [0.05, 0.12, 0.17, 0.13, 0.02],
        )
        tip = ribbon([(-0.335, -0.44), (-0.335, -0.54), (-0.28, -0.67)], [0.145, 0.12, 0.015])
        return [
            Shape("tail", placed(outer), "coat"),
            Shape("tail", placed(tip), "white", line=False, on="tail"),
        ]
    if kind == "pompon":
        stalk = ribbon([(0.05, 0.02), (-0.12, -0.14), (-0.18, -0.28)], [0.04, 0.035, 0.035])
        ball = wavy((-0.21, -0.40), 0.155, 9)
        return [Shape("tail", placed(stalk), "coat"), Shape("tail", placed(ball), "white")]
    if kind == "lion":
        line = [(0.05, 0.02), (-0.15, -0.02), (-0.32, 0.10), (-0.44, 0.06), (-0.50, -0.10)]
        tuft = ribbon(
            [(-0.50, -0.02), (-0.51, -0.18), (-0.53, -0.30), (-0.52, -0.46)],
            [0.05, 0.13, 0.10, 0.01],
        )
        return [
            Shape("tail", placed(ribbon(line, [0.045, 0.04, 0.035, 0.033, 0.03])), "coat"),
            Shape("tail", placed(tuft), "mark"),
        ]
    return [
        Shape(
            "tail",
            placed(ribbon([(0.06, 0.04), (-0.10, -0.04), (-0.20, -0.16)], [0.07, 0.055, 0.03])),
            "coat",
        )
    ]


def _back(kind: str, pose: Pose) -> list[Shape]:
    rx, ry = pose.trunk
    if kind == "smooth":
        return []
    at = np.linspace(-2.55, -1.05, 6 if kind == "ridge" else 7)
    found = []
    for angle in at:
        x, y = rx * np.cos(angle), ry * np.sin(angle)
        out = np.array([np.cos(angle) / rx, np.sin(angle) / ry])
        out /= np.hypot(*out)
        side = np.array([-out[1], out[0]])
        foot = np.array([x, y]) - out * 0.05
        if kind == "ridge":
            points = np.array([foot - side * 0.10, foot + out * 0.25, foot + side * 0.10])
        else:
            points = wavy((foot[0] + out[0] * 0.07, foot[1] + out[1] * 0.07), 0.12, 4, 0.08)
        found.append(Shape("back", points, "crest"))
    return found


def _coat(kind: str, pose: Pose) -> list[Shape]:
    rx, ry = pose.trunk
    dice = Dice("marks", kind, pose.speckle)
    if kind == "spots":
        return [
            _mark(ellipse(spot, dice.uniform(0.060, 0.085), dice.uniform(0.055, 0.075), count=14))
            for spot in _spots(dice, rx, ry)
        ]
    if kind == "stripes":
        lean = dice.uniform(-0.10, 0.10)
        places = np.linspace(-0.80, 0.62, 6) * rx
        return [
            _mark(
                ribbon(
                    [
                        (x - lean, -ry * 1.1),
                        (x + 0.03, -ry * 0.2),
                        (x + lean, ry * dice.uniform(0.3, 0.7)),
                    ],
                    [0.060, 0.048, 0.012],
                )
            )
            for x in places
        ]
    if kind == "saddle":
        edge = dice.uniform(-0.05, 0.15)
        return [_mark(ellipse((-0.06, -ry * 0.75), rx * 0.62, ry * (0.85 + edge), count=24))]
    return []


def _spots(dice: Dice, rx: float, ry: float) -> list[tuple[float, float]]:
    places = []
    for y, count in ((-0.62, 4), (-0.10, 5), (0.42, 4)):
        width = rx * float(np.sqrt(1 - y * y)) * 0.86
        for i in range(count):
            x = -width + 2 * width * (i + 0.5) / count
            places.append((x + dice.uniform(-0.04, 0.04), y * ry + dice.uniform(-0.03, 0.03)))
    return places


def _mark(points: Points) -> Shape:
    return Shape("coat", points, "mark", line=False, on="torso")


def _collar(kind: str, pose: Pose) -> list[Shape]:
    if kind == "none":
        return []
    hx, hy = pose.head
    base = np.array([pose.trunk[0] * 0.45, -pose.trunk[1] * 0.15])
    head_at = np.array([hx, hy])
    along = head_at - base
    along /= np.hypot(*along)
    side = np.array([-along[1], along[0]])
    middle = head_at - along * pose.head_radius * 0.92
    half = pose.head_radius * 0.86
    left, right = middle - side * half, middle + side * half
    if kind == "ruff":
        found = []
        for share in np.linspace(0, 1, 6):
            x, y = left + share * (right - left)
            found.append(
                Shape(
                    "collar",
                    wavy((float(x), float(y)), 0.115, 5, 0.06),
                    "collar" if round(share * 5) % 2 else "second",
                )
            )
        return found
    band = ribbon([tuple(left), tuple(middle - along * 0.03), tuple(right)], [0.055] * 3)
    if kind == "band":
        tag = right - along * 0.11 - side * 0.06
        return [
            Shape("collar", band, "collar"),
            Shape(
                "collar", ellipse((float(tag[0]), float(tag[1])), 0.065, 0.065, count=14), "second"
            ),
        ]
    cloth = np.array(
        [left * 0.55 + right * 0.45, right + side * 0.04, right * 0.72 + left * 0.28 - along * 0.36]
    )
    return [Shape("collar", cloth, "collar"), Shape("collar", band, "collar")]
